"""What every schedule promises, found by itself in the family."""

from itertools import pairwise

import pytest

from heliostat.core import family

NAMES = family.names("train.schedules")


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


def schedule(name, **options):
    return family.build("train.schedules", {"use": name, **options})


@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("total", [1, 2, 7, 100])
def test_it_is_a_share_of_the_peak_at_every_step(name, warmup, total):
    factors = [schedule(name, warmup=warmup).factor(step, total) for step in range(total)]
    assert all(0.0 <= factor <= 1.0 for factor in factors)
    assert max(factors) == 1.0
    assert factors[0] > 0.0  # no update is wasted


@pytest.mark.parametrize("total", [20, 33, 1000])
def test_the_warm_up_rises_evenly_to_the_peak_and_goes_on_from_there(name, total):
    factors = [schedule(name, warmup=0.25).factor(step, total) for step in range(total)]
    warm = -(-total // 4)
    # a line from 0 to 1; float rounding of step / warm
    assert factors[:warm] == pytest.approx([(step + 1) / warm for step in range(warm)], abs=1e-12)
    assert factors[warm] == factors[warm - 1] == 1.0


@pytest.mark.parametrize("total", [50, 1000])
def test_after_the_warm_up_it_never_jumps_and_rises_only_to_restart(name, total):
    factors = [schedule(name, warmup=0.0).factor(step, total) for step in range(total)]
    falls = [before - after for before, after in pairwise(factors)]
    rises = [fall for fall in falls if fall < 0.0]
    assert len(rises) == (2 if name == "cosine_restarts" else 0)  # three cycles
    assert max(falls) < (3 * 3 if rises else 3) / total  # half a cosine is steepest at pi / 2 of the even slope; a square falls at 2


def test_it_is_a_pure_function_of_the_step(name):
    one = schedule(name)
    forward = [one.factor(step, 40) for step in range(40)]
    assert [schedule(name).factor(step, 40) for step in reversed(range(40))] == forward[::-1]


def test_restarts_begin_at_the_peak_and_may_grow_longer():
    factors = [schedule("cosine_restarts", warmup=0.0, cycles=3, stretch=2.0, floor=0.1).factor(step, 700) for step in range(700)]
    assert [factors[step] for step in (0, 100, 300)] == [1.0, 1.0, 1.0]
    # the middle of each cycle is half way down; the last step before a restart is all but at the floor
    assert [factors[step] for step in (50, 200, 500)] == pytest.approx([0.55] * 3)
    assert [factors[step] for step in (99, 299, 699)] == pytest.approx([0.1] * 3, abs=1e-3)


@pytest.mark.parametrize("power", [0.5, 1.0, 3.0])
def test_a_polynomial_by_hand(power):
    falling = schedule("polynomial", warmup=0.0, power=power, floor=0.2)
    assert [falling.factor(step, 10) for step in range(10)] == pytest.approx([0.2 + 0.8 * (1 - step / 10) ** power for step in range(10)])


def test_a_plateau_falls_each_time_nothing_gets_better_and_not_below_the_floor():
    flat = schedule("plateau", warmup=0.0, reduce=0.5, patience=2, least_gain=0.01, floor=0.2)
    merits = [0.1, 0.2, 0.205, 0.19, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3]
    assert [flat.factor(5, 10, merits[:count]) for count in range(len(merits) + 1)] == [
        *([1.0] * 4), 0.5, 0.5, 0.5, 0.25, 0.25, 0.2, 0.2, 0.2
    ]  # fmt: skip
    assert flat.factor(5, 10, [0.5, float("-inf"), float("-inf")]) == 0.5
