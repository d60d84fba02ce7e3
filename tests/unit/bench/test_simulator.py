"""Simulated sweeps: what time they take, what they leave out, and that Ray's own ASHA is driven as it is."""

import math
from dataclasses import replace

import numpy as np
import pytest

from bench.simulator import Curves, Oracle, Ours, RayAsha, simulate
from heliostat.core import seeds
from heliostat.core.family import build


def table(finals, *, seconds=1.0, lived=None, points=9):
    """Rows whose score rises in equal steps to `finals`."""
    finals_N = np.asarray(finals, float)
    lived_N = np.ones(len(finals_N)) if lived is None else np.asarray(lived, float)
    done_P = np.arange(1, points + 1) / points
    scores_NP = np.where(done_P[None] <= lived_N[:, None], finals_N[:, None] * done_P, np.nan)
    return Curves(scores_NP, np.full(len(finals_N), seconds), lived_N)


def scheduler(use, **options):
    return build("tune.schedulers", {"use": use, **options})


def never(leg, value):
    return False


def run(contest, curves, *, slots=2, overhead_s=0.0, until=never):
    return simulate(contest, curves, slots=slots, overhead_s=overhead_s, until=until)


def test_full_trainings_fill_the_slots_and_each_pays_its_overhead():
    curves = table([0.1, 0.2, 0.3, 0.4, 0.5])
    done = run(Ours(curves, scheduler("full"), 1), curves, overhead_s=0.25)
    assert done.seconds == pytest.approx(3 * 1.25)
    assert done.busy_s == pytest.approx(5 * 1.25)


def test_the_clock_stops_at_the_leg_that_was_wanted():
    curves = table(np.linspace(0.1, 0.9, 12))
    wanted = curves.top(1 / 12)
    done = run(Ours(curves, scheduler("full"), 3), curves, until=lambda leg, value: leg.row in wanted)
    assert done.legs[-1][0].row == 11
    assert done.busy_s == pytest.approx(2 * done.seconds)


def test_a_slot_that_goes_on_with_its_trial_pays_no_second_overhead():
    curves = table([0.5])
    done = run(RayAsha(curves, 0, eta=3, first_points=1), curves, slots=1, overhead_s=0.25)
    assert [leg.end for leg, _ in done.legs] == pytest.approx([1 / 9, 1 / 3, 1.0])
    assert done.seconds == pytest.approx(1.25)


def test_asha_trains_the_best_to_the_end_and_most_trials_hardly_at_all():
    curves = table(np.linspace(0.1, 0.9, 81))
    done = run(Ours(curves, scheduler("asha", eta=3, first=1 / 9, decision_lag=None), 5), curves, slots=4)
    at_the_end = {leg.row for leg, _ in done.legs if leg.end == 1.0}
    assert 80 in at_the_end
    assert len({leg.row for leg, _ in done.legs}) == 81
    assert done.busy_s < 81 / 2


def test_what_diverged_ends_there_for_us_and_is_trained_on_by_ray():
    curves = table([0.3, 0.6], lived=[0.05, 1.0])
    ours = run(Ours(curves, scheduler("asha", eta=3, first=1 / 9, decision_lag=None), 0), curves, slots=1)
    stock = run(RayAsha(curves, 0, eta=3, first_points=1), curves, slots=1)
    assert ours.busy_s == pytest.approx(0.05 + 1.0)  # one until it diverged, the other to its end
    assert {leg.end for leg, value in ours.legs if leg.row == 0} == {1 / 9}
    assert {leg.end for leg, _ in stock.legs if leg.row == 0} == {1 / 9, 3 / 9, 1.0}


def test_ray_stops_below_the_quantile_of_what_it_saw():
    """With eta 3 a trial must not be below the 2/3 quantile of those before it at the milestone."""
    curves = table(seeds.rng(4, "test", "finals").random(40))
    done = run(RayAsha(curves, 7, eta=3, first_points=1), curves, slots=1)
    seen: list[float] = []
    for leg, value in done.legs:
        if leg.end > 0.2:
            continue
        went_on = any(other.trial == leg.trial and other.end > 0.2 for other, _ in done.legs)
        assert went_on == (not seen or value >= np.percentile(seen, 100 * (1 - 1 / 3)))
        seen.append(value)
    assert len(seen) == 40


def test_broken_trainings_are_so_many_and_have_no_score_after_it():
    curves = table(np.linspace(0.1, 0.9, 40), points=27)
    broken = curves.broken(0.25, 1 / 3, seed=2)
    hit = broken.lived_N < 1
    assert hit.sum() == 10
    assert (broken.lived_N[hit] < 1 / 3).all()
    assert np.isnan(broken.scores_NP[hit][:, 9:]).all()
    np.testing.assert_array_equal(broken.scores_NP[~hit], curves.scores_NP[~hit])
    assert all(broken.value(row, 1.0) is None for row in np.flatnonzero(hit))


def test_the_top_holds_what_ties_with_its_last():
    assert table([0.1, 0.9, 0.9, 0.5]).top(0.25) == {1, 2}
    assert table([0.1, 0.9, 0.9, 0.5], lived=[1, 0.5, 1, 1]).top(0.25) == {2}


def test_the_same_seed_tries_the_same_rows_in_the_same_order():
    curves = table(np.linspace(0.1, 0.9, 30))
    orders = []
    for contest in (Ours(curves, scheduler("full"), 9), Ours(curves, scheduler("asha"), 9), RayAsha(curves, 9, eta=3, first_points=1)):
        if isinstance(contest, Ours) and len(contest.shares) > 1:
            contest = Ours(curves, scheduler("asha", eta=3, first=1 / 9), 9)
        rows = {}
        for leg, _ in run(contest, curves).legs:
            rows[leg.trial] = leg.row
        orders.append([rows[trial] for trial in sorted(rows)])
    assert orders[0] == orders[1] == orders[2]
    assert sorted(orders[0]) == list(range(30))


def test_a_share_that_is_no_point_of_the_table_is_an_error():
    with pytest.raises(AssertionError, match="not a point"):
        table([0.5]).value(0, 0.5)
    assert not math.isnan(table([0.5]).value(0, 1 / 3))


def test_the_oracle_trains_only_what_is_wanted():
    curves = table(np.linspace(0.1, 0.9, 30))
    done = run(Oracle(curves, 2, first=1 / 9, wanted=frozenset({29})), curves, slots=1)
    assert {leg.row for leg, _ in done.legs if leg.end == 1.0} == {29}
    assert done.seconds == pytest.approx(30 / 9 + 8 / 9)


def test_settings_of_a_sampler_become_the_nearest_rows_each_once():
    space = {"a": {"choice": ["x", "y"]}, "b": {"uniform": [0.0, 1.0], "when": {"a": "y"}}}
    columns = {"a": np.array([0, 1, 1, 1], np.float32), "b": np.array([np.nan, 0.1, 0.5, 0.9], np.float32)}
    curves = replace(table([0.1, 0.2, 0.3, 0.4]), space=space, columns=columns)
    for sampler in ("random", "sobol"):
        contest = Ours(curves, scheduler("full"), 3, build("tune.samplers", sampler))
        run(contest, curves)
        assert sorted(contest.rows) == [0, 1, 2, 3]
        assert contest.decisions.settings[contest.rows.index(0)] == {"a": "x"}
        assert contest.decisions.settings[contest.rows.index(3)] == {"a": "y", "b": 0.9}
