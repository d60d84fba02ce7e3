"""What the base model reaches without tuning: a linear model on its frozen embeddings.

For labels it is logistic regression, for names that apply or not one logistic regression each, for numbers ridge regression.
Shapes: N rows, D width, C labels or names.
"""

from __future__ import annotations

import warnings

import numpy as np

ON = "on the frozen encoder's mean-pooled embeddings, its L2 penalty chosen on the validation split"
SENTENCES = {
    "labels": f"base: logistic regression {ON}",
    "names": f"base: logistic regression for each label {ON}",
    "numbers": f"base: ridge regression {ON}",
}
"""What a probe is, by what the task answers with."""
STRENGTHS = (0.3, 3.0, 30.0, 300.0, 3000.0)
"""Inverse L2 penalties tried, weakest last; embeddings are unit vectors, so useful ones lie high."""
PENALTIES = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)
"""L2 penalties tried for numbers, strongest last."""
FLOOR = 1e-15

Known = tuple[np.ndarray, np.ndarray]
"""Embeddings [N, D] and targets [N, ...] of rows whose targets may be looked at."""


def answers(kind: str, train: Known, valid: Known, test_ND: np.ndarray, *, labels: int) -> np.ndarray:
    """What a probe answers about the test rows, in the form that metrics of `kind` take; `kind` is one of `SENTENCES`."""
    if kind == "names":
        return log_odds(train, valid, test_ND)
    if kind == "numbers":
        return estimates(train, valid, test_ND)
    assert kind == "labels", f"there is no probe for {kind}"
    return log_probabilities(train, valid, test_ND, labels=labels)


def log_probabilities(train: Known, valid: Known, test_ND: np.ndarray, *, labels: int) -> np.ndarray:
    """Log-probabilities [N, C] float32 of the test rows; `train` and `valid` are (embeddings, label indices).

    The penalty with the lowest log-loss on `valid` is used; a label that `train` lacks gets a probability of almost 0.
    """
    fitted = [_fit(*train, strength) for strength in STRENGTHS]
    losses = [_loss(_log_probs(model, valid[0], labels), valid[1]) for model in fitted]
    return _log_probs(fitted[int(np.argmin(losses))], test_ND, labels).astype(np.float32)


def log_odds(train: Known, valid: Known, test_ND: np.ndarray) -> np.ndarray:
    """Log-odds [N, C] float32 that each name applies; `train` and `valid` are (embeddings, 0 or 1 [N, C]).

    One penalty for all names: the one with the lowest mean binary log-loss on `valid`.
    """
    best_BC = found_BC = np.zeros((train[0].shape[1] + 1, train[1].shape[1]))
    lowest = np.inf
    for strength in STRENGTHS:
        found_BC = _fit_names(*train, strength, found_BC)
        loss = _surprise(_with_ones(valid[0]) @ found_BC, valid[1]) / max(1, valid[1].size)
        best_BC, lowest = (found_BC, loss) if loss < lowest else (best_BC, lowest)
    return (_with_ones(test_ND) @ best_BC).astype(np.float32)


def estimates(train: Known, valid: Known, test_ND: np.ndarray) -> np.ndarray:
    """Estimates [N, 1] float32 of the test rows' numbers; the penalty with the lowest squared error on `valid` is used."""
    from sklearn.linear_model import Ridge

    fitted = [Ridge(alpha=penalty).fit(*train) for penalty in PENALTIES]
    errors = [float(np.square(model.predict(valid[0]) - valid[1]).mean()) if len(valid[1]) else 0.0 for model in fitted]
    best = fitted[int(np.argmin(errors))]
    return best.predict(test_ND)[:, None].astype(np.float32) if len(test_ND) else np.empty((0, 1), np.float32)


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


def _fit_names(embeddings_ND: np.ndarray, targets_NC: np.ndarray, strength: float, start_BC: np.ndarray) -> np.ndarray:
    """Weights and, in the last row, intercepts [D + 1, C] of one logistic regression per name, from `start_BC` on.

    All names at once: a step reads the embeddings once, whatever the number of names.
    """
    from scipy.optimize import minimize

    inputs_NB, signs_NC = _with_ones(embeddings_ND), np.where(targets_NC > 0, -1.0, 1.0)

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights_BC = flat.reshape(start_BC.shape)
        against_NC = signs_NC * (inputs_NB @ weights_BC)
        kept_BC = weights_BC / strength
        kept_BC[-1] = 0.0  # intercepts are free
        slope_BC = inputs_NB.T @ (signs_NC / (1.0 + np.exp(-against_NC))) + kept_BC
        return float(np.logaddexp(0.0, against_NC).sum() + 0.5 * (kept_BC * weights_BC).sum()), slope_BC.ravel()

    options = {"maxiter": 100, "gtol": 1e-4}  # an early end only counts as a little more penalty
    return minimize(loss, start_BC.ravel(), jac=True, method="L-BFGS-B", options=options).x.reshape(start_BC.shape)


def _with_ones(embeddings_ND: np.ndarray) -> np.ndarray:
    return np.concatenate([embeddings_ND, np.ones((len(embeddings_ND), 1))], axis=1, dtype=np.float64)


def _surprise(odds_NC: np.ndarray, targets_NC: np.ndarray) -> float:
    """Sum of the binary log-losses."""
    return float(np.logaddexp(0.0, np.where(targets_NC > 0, -odds_NC, odds_NC)).sum())


def _loss(log_probs_NC: np.ndarray, targets_N: np.ndarray) -> float:
    return float(-log_probs_NC[np.arange(len(targets_N)), targets_N].mean()) if len(targets_N) else 0.0
