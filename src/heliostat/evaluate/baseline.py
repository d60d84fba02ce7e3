"""What the base model reaches without tuning: logistic regression on its frozen embeddings.

Shapes: N rows, D width, C labels.
"""

from __future__ import annotations

import warnings

import numpy as np

SENTENCE = "base: logistic regression on the frozen encoder's mean-pooled embeddings, its L2 penalty chosen on the validation split"
STRENGTHS = (0.3, 3.0, 30.0, 300.0, 3000.0)
"""Inverse L2 penalties tried, weakest last; embeddings are unit vectors, so useful ones lie high."""
FLOOR = 1e-15


def log_probabilities(
    train: tuple[np.ndarray, np.ndarray], valid: tuple[np.ndarray, np.ndarray], test_ND: np.ndarray, *, labels: int
) -> np.ndarray:
    """Log-probabilities [N, C] float32 of the test rows; `train` and `valid` are (embeddings, label indices).

    The penalty with the lowest log-loss on `valid` is used; a label that `train` lacks gets a probability of almost 0.
    """
    fitted = [_fit(*train, strength) for strength in STRENGTHS]
    losses = [_loss(_log_probs(model, valid[0], labels), valid[1]) for model in fitted]
    return _log_probs(fitted[int(np.argmin(losses))], test_ND, labels).astype(np.float32)


def spaced(rows: int, most: int) -> np.ndarray:
    """At most `most` of `rows` indices, evenly spaced, rising."""
    return np.arange(rows) if rows <= most else np.linspace(0, rows - 1, most).round().astype(np.int64)


def _fit(embeddings_ND: np.ndarray, targets_N: np.ndarray, strength: float) -> object:
    from sklearn.dummy import DummyClassifier
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(targets_N)) < 2:
        return DummyClassifier(strategy="prior").fit(embeddings_ND, targets_N)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # an early end only counts as a little more penalty
        return LogisticRegression(C=strength, max_iter=300).fit(embeddings_ND, targets_N)


def _log_probs(model: object, embeddings_ND: np.ndarray, labels: int) -> np.ndarray:
    probs_NC = np.zeros((len(embeddings_ND), labels))
    if len(embeddings_ND):
        probs_NC[:, model.classes_] = model.predict_proba(embeddings_ND)  # type: ignore[attr-defined]
    return np.log(np.maximum(probs_NC, FLOOR))


def _loss(log_probs_NC: np.ndarray, targets_N: np.ndarray) -> float:
    return float(-log_probs_NC[np.arange(len(targets_N)), targets_N].mean()) if len(targets_N) else 0.0
