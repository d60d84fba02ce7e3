"""Folds: every row is held out once, classes are dealt evenly, and the deal does not depend on the order of the rows."""

import numpy as np

from heliostat.train.folds import folds


def test_every_class_is_dealt_evenly_and_the_same_whatever_the_order():
    rng = np.random.default_rng(1)
    labels_N = rng.integers(0, 3, 101)
    ids = [f"row-{i}" for i in range(101)]
    fold_N = folds(ids, labels_N, 5, 7)
    for label in range(3):
        counts = np.bincount(fold_N[labels_N == label], minlength=5)
        assert counts.max() - counts.min() <= 1
    assert np.bincount(fold_N).max() - np.bincount(fold_N).min() <= 1
    order_N = rng.permutation(101)
    again_N = folds([ids[i] for i in order_N], labels_N[order_N], 5, 7)
    assert np.array_equal(again_N, fold_N[order_N])
    assert not np.array_equal(folds(ids, labels_N, 5, 8), fold_N)
