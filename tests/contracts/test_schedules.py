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
def test_after_the_warm_up_it_never_jumps_and_never_rises(name, total):
    factors = [schedule(name, warmup=0.0).factor(step, total) for step in range(total)]
    falls = [before - after for before, after in pairwise(factors)]
    assert min(falls) >= 0.0
    assert max(falls) < 3 / total  # half a cosine is steepest at pi / 2 of the even slope


def test_it_is_a_pure_function_of_the_step(name):
    one = schedule(name)
    forward = [one.factor(step, 40) for step in range(40)]
    assert [schedule(name).factor(step, 40) for step in reversed(range(40))] == forward[::-1]
