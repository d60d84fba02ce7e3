"""How soon a sweep finds a good setting, on real learning curves: `make bench ONLY=search`. One JSON line per figure.

The time of a sweep is the simulated time until a configuration among the best 2 % of the table (by its score at the end) has
been trained to its end for the first time. Every competitor of a pair tries the same rows in the same order, on as many slots.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from bench.figures import figure, interval_of_median, met
from bench.simulator import Contest, Curves, Leg, Oracle, Ours, RayAsha, load, order, simulate
from heliostat.core.family import build

CURVES = load(Path(__file__).with_name("curves.npz"))
PAIRS = 400
SLOTS, OTHER_SLOTS, OVERHEAD_S, TOP = 1, (2, 4, 8), 0.05, 0.02
"""With one slot a figure is of the search alone; with more, of how much of it is a last training that nothing shortens too."""
TRAINING_S = 20.0
"""The table's trainings, whose mean is 0.67 s, are slowed down to this mean: a small fine-tuning, beside which the overhead is small."""
BROKEN, BROKEN_BEFORE = 0.25, 0.1
"""In the NaN figure: a quarter of the trials turn NaN, at a random time in the tenth of a training in which the rate rises."""
ETA = 3
OPTIONS = f"asha, eta {ETA}, first 1/27, one bracket, decision_lag null"
MANY = OTHER_SLOTS[-1]

Maker = Callable[[Curves, int], Contest]


def random_search(curves: Curves, seed: int) -> Contest:
    return Ours(curves, build("tune.schedulers", "full"), seed)


def ours(curves: Curves, seed: int) -> Contest:
    return Ours(curves, build("tune.schedulers", {"use": "asha", "eta": ETA, "first": 1 / 27, "decision_lag": None}), seed)


def as_published(curves: Curves, seed: int) -> Contest:
    return Ours(curves, build("tune.schedulers", {"use": "asha", "eta": ETA, "first": 1 / 27, "decision_lag": None, "behind": 1}), seed)


def with_lag(curves: Curves, seed: int, lag: int = MANY - 1) -> Contest:
    return Ours(curves, build("tune.schedulers", {"use": "asha", "eta": ETA, "first": 1 / 27, "decision_lag": lag}), seed)


def stock(curves: Curves, seed: int) -> Contest:
    return RayAsha(curves, seed, eta=ETA, first_points=1)


def oracle(curves: Curves, seed: int) -> Contest:
    return Oracle(curves, seed, first=1 / 27, wanted=CURVES.top(TOP))


def slowed(curves: Curves) -> Curves:
    """The same trainings, `TRAINING_S` long in the mean."""
    return replace(curves, seconds_N=curves.seconds_N * TRAINING_S / curves.seconds_N.mean())


def seconds_to_top(make: Maker, curves: Curves, seed: int, slots: int = SLOTS) -> float:
    """Simulated time of one sweep; what it did is checked leg by leg."""
    top, contest = CURVES.top(TOP), make(curves, seed)
    rows = order(curves, seed).tolist()
    at: dict[int, float] = {}

    def found(leg: Leg, value: float | None) -> bool:
        return leg.end == 1.0 and value is not None and leg.row in top

    done = simulate(contest, curves, slots=slots, overhead_s=OVERHEAD_S, until=found)
    for leg, value in done.legs:
        assert leg.row == rows[leg.trial]
        assert leg.begin == at.get(leg.trial, 0.0) < leg.end
        assert value == curves.value(leg.row, leg.end)
        at[leg.trial] = leg.end
    assert found(*done.legs[-1])
    assert not any(found(*leg) for leg in done.legs[:-1])
    assert done.busy_s <= slots * done.seconds + 1e-6
    return done.seconds


def checked_pairs(name: str, goal: str | None, against: Maker, mine: Maker, tables: list[Curves], told: str, slots: int = SLOTS) -> None:
    """Print the median of the paired ratios of times, with its 95 % interval; every sweep is checked leg by leg."""
    pairs = [
        (seconds_to_top(against, curves, seed, slots), seconds_to_top(mine, curves, seed, slots)) for seed, curves in enumerate(tables)
    ]
    ratios = [theirs / own for theirs, own in pairs]
    medians = [statistics.median(times) for times in zip(*pairs, strict=True)]
    against_text = f"{told}; {slots} slots, {len(pairs)} pairs, medians {medians[0]:.1f} s and {medians[1]:.1f} s"
    figure(name, ratios, goal, None if goal is None else met(goal, ratios), against_text, interval=interval_of_median(ratios))


def broken(pairs: int, before: float = BROKEN_BEFORE) -> list[Curves]:
    """For each pair the table with other trials broken."""
    return [slowed(CURVES).broken(BROKEN, before, seed) for seed in range(pairs)]


def test_sweep_search_against_random() -> None:
    """Random search trains every configuration to its end."""
    checked_pairs("sweep.random_ratio", ">= 5", random_search, ours, [slowed(CURVES)] * PAIRS, f"random search; {OPTIONS}")


def test_sweep_search_against_stock_asha() -> None:
    """Ray's AsyncHyperBandScheduler with the same eta and first rung."""
    checked_pairs("sweep.asha_ratio", ">= 1.2", stock, ours, [slowed(CURVES)] * PAIRS, f"Ray's AsyncHyperBandScheduler; {OPTIONS}")


def test_sweep_search_against_stock_asha_with_nan() -> None:
    """Ray lets a trial that reports NaN train to its end; here it ends at the step where its loss was no number."""
    told = f"Ray's AsyncHyperBandScheduler, {BROKEN:.0%} of the trials NaN; {OPTIONS}"
    checked_pairs("sweep.asha_nan_ratio", ">= 2.5", stock, ours, broken(PAIRS), told)


def test_sweep_search_elsewhere() -> None:
    """The same with other numbers of slots, other failures, other lengths and a fixed lag; these figures have no goal."""
    for slots in OTHER_SLOTS:
        tables = [slowed(CURVES)] * PAIRS
        checked_pairs(f"sweep.random_ratio_{slots}_slots", None, random_search, ours, tables, "random search", slots)
        checked_pairs(f"sweep.asha_ratio_{slots}_slots", None, stock, ours, tables, "Ray's ASHA", slots)
        checked_pairs(f"sweep.asha_nan_ratio_{slots}_slots", None, stock, ours, broken(PAIRS), "Ray's ASHA, 25% NaN", slots)
    tables = [slowed(CURVES)] * PAIRS
    for slots in (SLOTS, *OTHER_SLOTS):
        checked_pairs(f"sweep.random_limit_{slots}_slots", None, random_search, oracle, tables, "random search; an oracle", slots)
        checked_pairs(f"sweep.published_ratio_{slots}_slots", None, as_published, ours, tables, "ASHA as published, behind 1", slots)
    late = broken(PAIRS, before=1 / 3)
    checked_pairs("sweep.asha_nan_ratio_late", None, stock, ours, late, "Ray's ASHA, 25% NaN somewhere in the first third")
    checked_pairs("sweep.random_ratio_short", None, random_search, ours, [CURVES] * PAIRS, "random search, trainings of 0.67 s")
    checked_pairs(f"sweep.lag_ratio_{MANY}_slots", None, with_lag, ours, tables, f"decision_lag {MANY - 1}", MANY)
    checked_pairs("sweep.lag_ratio_2_slots", None, partial(with_lag, lag=1), ours, tables, "decision_lag 1", 2)
