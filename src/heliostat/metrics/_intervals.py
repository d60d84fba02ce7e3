"""How sure a number is: percentile bootstrap intervals and paired comparisons. Pure functions of arrays and a seed.

Shapes: N rows, R resamples. The resamples depend on the seed and the number of rows alone, so every model and every
metric is judged on the same ones (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from heliostat.artifacts import Interval
from heliostat.core import seeds
from heliostat.metrics.base import Base

LOW, HIGH = 0.025, 0.975
CHUNK_ELEMENTS = 4_000_000
"""Weights held at once: memory stays flat however many rows and resamples there are."""


def bootstrap(
    metrics: Mapping[str, Base], logits_NC: np.ndarray, targets_N: np.ndarray, *, seed: int, resamples: int
) -> dict[str, Interval]:
    """Each metric with its 95 % percentile interval over rows; NaN throughout when the metric is not defined."""

    def draw(weights_RN: np.ndarray) -> dict[str, np.ndarray]:
        return {name: metric.resampled(logits_NC, targets_N, weights_RN) for name, metric in metrics.items()}

    values = {name: metric.value(logits_NC, targets_N) for name, metric in metrics.items()}
    return _intervals(values, draw, rows=len(targets_N), seed=seed, resamples=resamples)


def bootstrap_means(values: Mapping[str, np.ndarray], *, seed: int, resamples: int) -> dict[str, Interval]:
    """The mean of each array [N] (all of one length) with its 95 % percentile interval."""
    names = list(values)
    values_NK = np.stack([np.asarray(values[name], dtype=np.float64) for name in names], axis=1)
    rows = len(values_NK)

    def draw(weights_RN: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(names, (weights_RN @ values_NK / rows).T, strict=True))

    means_K = values_NK.mean(0) if rows else np.full(len(names), math.nan)
    return _intervals(dict(zip(names, means_K.tolist(), strict=True)), draw, rows=rows, seed=seed, resamples=resamples)


def paired_difference(first_N: np.ndarray, second_N: np.ndarray, *, seed: int, resamples: int = 1000) -> Interval:
    """mean(first) - mean(second) of two values per row on the same rows, with its 95 % interval.

    Rows are resampled in pairs, so what makes a row hard for both cancels out: two models can differ surely although
    their own intervals overlap.
    """
    assert len(first_N) == len(second_N), f"{len(first_N)} and {len(second_N)} rows cannot be paired"
    difference_N = np.asarray(first_N, dtype=np.float64) - np.asarray(second_N, dtype=np.float64)
    return bootstrap_means({"difference": difference_N}, seed=seed, resamples=resamples)["difference"]


def mcnemar(first_right_N: np.ndarray, second_right_N: np.ndarray) -> float:
    """p of the exact, two-sided test that two models are right equally often (McNemar, Psychometrika 12, 1947).

    Only rows on which exactly one is right count: under the null hypothesis each is a fair coin.
    """
    first_N, second_N = np.asarray(first_right_N, dtype=bool), np.asarray(second_right_N, dtype=bool)
    assert first_N.shape == second_N.shape, f"{first_N.shape} and {second_N.shape} rows cannot be paired"
    only_first, only_second = int((first_N & ~second_N).sum()), int((~first_N & second_N).sum())
    tosses, fewer = only_first + only_second, min(only_first, only_second)
    logs = [math.lgamma(tosses + 1) - math.lgamma(k + 1) - math.lgamma(tosses - k + 1) - tosses * math.log(2) for k in range(fewer + 1)]
    return min(1.0, 2.0 * math.fsum(math.exp(x) for x in logs))


def _intervals(
    values: Mapping[str, float], draw: Callable[[np.ndarray], dict[str, np.ndarray]], *, rows: int, seed: int, resamples: int
) -> dict[str, Interval]:
    """Percentiles of what `draw` gives over all resamples, around `values`; an undefined value has no interval."""
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in values}
    for weights_RN in _resamples(rows, seed, resamples):
        for name, values_R in draw(weights_RN).items():
            drawn[name].append(values_R)
    out = {}
    for name, value in values.items():
        all_R = np.concatenate(drawn[name]) if drawn[name] else np.empty(0)
        defined_R = all_R[~np.isnan(all_R)]  # a resample without one of the labels may define no area
        if math.isnan(value) or not len(defined_R):
            out[name] = Interval(value=value, low=value, high=value)
        else:
            low, high = np.quantile(defined_R, (LOW, HIGH))
            out[name] = Interval(value=value, low=float(low), high=float(high))
    return out


def _resamples(rows: int, seed: int, resamples: int) -> Iterator[np.ndarray]:
    """How often each row is drawn, [chunk, N] at a time; nothing when there are no rows."""
    if rows == 0:
        return
    rng = seeds.rng(seed, "bootstrap", rows)
    chunk = max(1, CHUNK_ELEMENTS // rows)
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        drawn_RN = rng.integers(0, rows, (size, rows)) + np.arange(size)[:, None] * rows
        yield np.bincount(drawn_RN.ravel(), minlength=size * rows).reshape(size, rows).astype(np.float64)
