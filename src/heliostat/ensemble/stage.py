"""Choose which trained models answer together, and with what weights, from their saved validation logits.

No forward pass is made. What comes out is never worse on the validation split, by the task's metric, than the best
single candidate: if the combiner's choice were, that candidate answers alone. Shapes: M members, N rows, C labels.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from heliostat.artifacts import Corpus, Ensemble, Model
from heliostat.core.errors import RunFailed
from heliostat.core.family import build
from heliostat.core.manifest import write_json
from heliostat.ensemble.config import EnsembleConfig
from heliostat.metrics.base import log_softmax


def combine(config: EnsembleConfig, *, ctx: Any, members: list[Model], corpus: Corpus, task: Any) -> Ensemble:
    """Weights of `members` by `config.combiner`, on the validation split; writes `weights.json`."""
    targets_N = read_targets(corpus, list(task.columns())[-1])
    judge = Judge(task.metric, targets_N)
    probs = {m.name: read_probabilities(m, corpus, len(targets_N)) for m in members}
    alone = {name: judge(probs_NC) for name, probs_NC in probs.items()}
    able = sorted((m for m in members if np.isfinite(probs[m.name]).all()), key=lambda m: alone[m.name])
    if not able:
        raise RunFailed(
            f"ensemble: the validation logits of all {len(members)} candidates ({', '.join(m.name for m in members) or 'none given'}) "
            "hold NaN, so nothing can be combined. Narrow train.lr in tune.space, and start again with --replace."
        )
    probs_MNC = np.stack([probs[m.name] for m in able])
    weights_M = _checked(config.combiner.weights(probs_MNC, targets_N, judge.score), len(able))
    steps = config.combiner.steps(probs_MNC, targets_N, judge.score)
    combined = judge(mix(probs_MNC, weights_M))
    fell_back = combined[0] > alone[able[0].name][0]  # by the metric alone: log-loss only settles equals
    if fell_back:
        weights_M, combined = np.eye(len(able))[0], alone[able[0].name]
    weight = {m.name: float(w) for m, w in zip(able, weights_M, strict=True)}
    write_json(
        ctx.folder / "weights.json",
        {
            "metric": task.metric,
            "mode": judge.metric.mode,
            "rows": len(targets_N),
            "candidates": [{"name": m.name, **judge.told(alone[m.name]), "weight": weight.get(m.name, 0.0)} for m in members],
            "path": [able[m].name for m in steps],
            "combination": judge.told(combined),
            "fell_back_to_best": fell_back,
        },
    )
    chosen = [m for m in able if weight[m.name] > 0]
    ctx.show.update(ctx.name, len(members), len(members), "candidates", f"{len(chosen)} of them answer together")
    return Ensemble(
        fingerprint=ctx.fingerprint,
        members=tuple(chosen),
        weights=tuple(weight[m.name] for m in chosen),
        score=judge.told(combined)["score"],
    )


class Judge:
    """How good probabilities are on the validation split: (-merit, log-loss), smaller is better."""

    def __init__(self, metric: str, targets_N: np.ndarray):
        self.metric: Any = build("metrics", metric)
        self.loss: Any = build("metrics", "log_loss")
        self.targets_N = targets_N

    def score(self, probs_NC: np.ndarray, targets_N: np.ndarray) -> float:
        """The task's metric, larger is better, NaN is -inf: what a combiner is given."""
        with np.errstate(divide="ignore"):
            return self.metric.merit(self.metric.value(np.log(probs_NC), targets_N))

    def __call__(self, probs_NC: np.ndarray) -> tuple[float, float]:
        with np.errstate(divide="ignore"):
            loss = self.loss.value(np.log(probs_NC), self.targets_N)
        return -self.score(probs_NC, self.targets_N), math.inf if math.isnan(loss) else loss

    def told(self, badness: tuple[float, float]) -> dict[str, float | None]:
        """The metric as it is usually written, and the log-loss; None for what is not a number."""
        score = -badness[0] if self.metric.mode == "max" else badness[0]
        return {"score": score if math.isfinite(score) else None, "log_loss": badness[1] if math.isfinite(badness[1]) else None}


def mix(probs_MNC: np.ndarray, weights_M: np.ndarray) -> np.ndarray:
    """The weighted mean of probabilities, [N, C]."""
    return np.tensordot(weights_M, probs_MNC, axes=1)


def read_probabilities(member: Model, corpus: Corpus, rows: int) -> np.ndarray:
    """A member's saved validation probabilities [N, C], checked against the corpus."""
    if member.valid is None or not member.valid.exists():
        raise RunFailed(
            f"ensemble: '{member.name}' has no saved validation logits ({member.valid or 'none noted'}). Train it again: add --replace."
        )
    logits_NC = np.load(member.valid).astype(np.float64)
    wanted = (rows, len(corpus.labels))
    if logits_NC.shape != wanted or member.labels != corpus.labels:
        raise RunFailed(
            f"ensemble: '{member.name}' has validation logits {logits_NC.shape} for labels {', '.join(member.labels)}; the corpus has "
            f"{wanted} for {', '.join(corpus.labels)}. It was trained on another corpus: train it again with --replace."
        )
    return np.exp(log_softmax(logits_NC)) if np.all(logits_NC < math.inf) else np.full(wanted, math.nan)  # NaN compares false


def read_targets(corpus: Corpus, column: str) -> np.ndarray:
    """Label indices [N] of the validation split, in corpus order."""
    import pyarrow.parquet as pq

    index = {name: i for i, name in enumerate(corpus.labels)}
    names = [name for file in corpus.split("valid") for name in pq.read_table(file, columns=[column]).column(column).to_pylist()]
    return np.array([index[name] for name in names], dtype=np.int64)


def _checked(weights_M: np.ndarray, members: int) -> np.ndarray:
    weights_M = np.asarray(weights_M, dtype=np.float64)
    assert weights_M.shape == (members,), f"{weights_M.shape} weights for {members} members"
    assert (weights_M >= 0).all(), f"negative weights {weights_M}"
    assert abs(weights_M.sum() - 1) < 1e-6, f"weights sum to {weights_M.sum()}"
    return weights_M / weights_M.sum()
