"""Which settings of a sweep mattered: how much each one decides whether a trial is among the best.

PED-ANOVA (Watanabe et al. 2023, arXiv:2304.10255; with dimensions that exist in some trials only, arXiv:2601.20800): the
values that the best quarter of the trials have, against those that were tried. Only the order of the trials counts, so a
few terrible ones do not hide the rest. The best of few trials differ from all of them by chance, too: what the same trials
show on average with their values dealt out at random is taken off, and a setting counts when it is above all of that.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from heliostat.artifacts import Trial
from heliostat.core import seeds
from heliostat.tune.distributions import distribution, kept
from heliostat.tune.space import Space

FEWEST_TRIALS = 20
"""The best quarter of fewer is no group to speak of."""
BEST_SHARE = 0.25
DEALS = 20
"""How often values are dealt out at random; a setting that decides nothing is above all of it once in 21 times."""
MANY_TRIALS = 1000
"""Chance shows next to nothing among so many."""


def importance(trials: Sequence[Trial], space: Space) -> dict[str, float]:
    """Path to its share of what decided beyond chance, most important first; the shares sum to 1.

    Empty with fewer than 20 trials that have a result, or when no setting made a difference. A setting that was the same in
    every trial has 0. A failed trial counts as the worst one; one that has no result yet does not count.
    """
    known = [t for t in trials if t.value is not None and t.state != "failed"]
    if len(known) < FEWEST_TRIALS or len({t.value for t in known}) < 2:
        return {}
    worst = min(t.value for t in known if t.value is not None)
    rows = [(t.settings, t.value) for t in known if t.value is not None] + [(t.settings, worst) for t in trials if t.state == "failed"]
    shares = _beyond_chance(rows, space)
    whole = sum(shares.values())
    if not whole > 0:
        return {}
    return {path: share / whole for path, share in sorted(shares.items(), key=lambda item: (-item[1], item[0]))}


def _beyond_chance(rows: Sequence[tuple[dict[str, Any], float]], space: Space) -> dict[str, float]:
    """The divergence of each setting without what chance shows; 0 where that is as much."""
    found = _divergences(rows, space)
    if len(rows) >= MANY_TRIALS:
        return found
    settings, values = [tried for tried, _ in rows], [value for _, value in rows]
    orders = [seeds.rng(deal, "importance").permutation(len(rows)) for deal in range(DEALS)]
    dealt = [_divergences([(tried, values[i]) for tried, i in zip(settings, order, strict=True)], space) for order in orders]
    chance = {path: [one[path] for one in dealt] for path in found}
    return {path: value - sum(chance[path]) / DEALS if value > max(chance[path]) else 0.0 for path, value in found.items()}


def _divergences(rows: Sequence[tuple[dict[str, Any], float]], space: Space) -> dict[str, float]:
    """Pearson divergence between the best trials and all, for each setting that was tried."""
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the evaluator is marked as experimental
            study = optuna.create_study(direction="maximize")
            words = {path: distribution(dimension) for path, dimension in space.dimensions.items()}
            study.add_trials([_trial(settings, value, space, words) for settings, value in rows])
            found = PedAnovaImportanceEvaluator(target_quantile=BEST_SHARE).evaluate(study)
    finally:
        optuna.logging.set_verbosity(before)
    tried = {path for settings, _ in rows for path in settings if path in space.dimensions}
    constant = {path for path in tried if len({repr(s.get(path)) for s, _ in rows if path in s}) < 2}
    return {path: 0.0 if path in constant else float(found.get(path, 0.0)) for path in tried}


def _trial(settings: dict[str, Any], value: float, space: Space, words: dict[str, Any]) -> Any:
    from optuna.trial import create_trial

    own = {path: kept(space.dimensions[path], tried) for path, tried in settings.items() if path in space.dimensions}
    there = {path: place for path, place in own.items() if place is not None}
    params = {path: words[path].to_external_repr(place) for path, place in there.items()}
    return create_trial(value=value, params=params, distributions={path: words[path] for path in there})
