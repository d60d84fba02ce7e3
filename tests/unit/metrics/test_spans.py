"""Metrics of tagged words: they agree with seqeval, count words that were not read as missed, and are counts per row."""

import math
import warnings

import numpy as np
import pytest
from seqeval.metrics import accuracy_score, f1_score, precision_score, recall_score
from seqeval.scheme import IOB2

from heliostat.core import seeds
from heliostat.core.family import build
from heliostat.core.tags import outputs
from heliostat.metrics._intervals import bootstrap
from heliostat.metrics._spans import spans

CASES = [(40, 12, 3, 0.8), (60, 5, 1, 0.3), (8, 30, 5, 0.95), (25, 1, 2, 0.5), (50, 9, 4, 0.0)]
"""Rows, words at most, types, share of words decided right."""
EXPECTED = {"span_f1": f1_score, "span_precision": precision_score, "span_recall": recall_score}
EXACT = 1e-12


def made(case):
    """(logits, targets, true tags, decided tags): tags without any order, so that spans begin and end in every way."""
    rows, most, kinds, skill = CASES[case]
    rng = seeds.rng(case, "test", "spans")
    names = outputs(f"B-{k}" for k in range(kinds))
    lengths_N = rng.integers(1, most + 1, rows)
    there_NW = np.arange(most) < lengths_N[:, None]
    true_NW = rng.integers(0, len(names), (rows, most)) * (rng.random((rows, most)) < 0.7)
    said_NW = np.where(rng.random((rows, most)) < skill, true_NW, rng.integers(0, len(names), (rows, most)))
    logits_NWC = rng.normal(size=(rows, most, len(names))) + 20 * np.eye(len(names))[said_NW]
    told = [[[names[tag] for tag in row[:n]] for row, n in zip(tags, lengths_N, strict=True)] for tags in (true_NW, said_NW)]
    return logits_NWC, np.where(there_NW, true_NW, -100), *told


@pytest.mark.parametrize("case", range(len(CASES)))
@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("strict", [False, True])
def test_agrees_with_seqeval(name, case, strict):
    logits_NWC, targets_NW, true, said = made(case)
    how = {"mode": "strict", "scheme": IOB2} if strict else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ratios without anything below the line
        expected = EXPECTED[name](true, said, **how)
    metric = build("metrics", {"use": name, "strict": strict})
    assert metric.value(logits_NWC, targets_NW) == pytest.approx(expected, abs=EXACT)


@pytest.mark.parametrize("case", range(len(CASES)))
def test_accuracy_of_tags_agrees_with_seqeval(case):
    logits_NWC, targets_NW, true, said = made(case)
    assert build("metrics", "tag_accuracy").value(logits_NWC, targets_NW) == pytest.approx(accuracy_score(true, said), abs=EXACT)


@pytest.mark.parametrize(
    ("tags", "loose", "strict"),
    [
        ([1, 2, 2, 0, 3], {(0, 3, 0), (4, 1, 1)}, {(0, 3, 0), (4, 1, 1)}),
        ([2, 2, 0], {(0, 2, 0)}, set()),
        ([1, 4, 4], {(0, 1, 0), (1, 2, 1)}, {(0, 1, 0)}),
        ([1, 1, 2], {(0, 1, 0), (1, 2, 0)}, {(0, 1, 0), (1, 2, 0)}),
        ([0, 0, 0], set(), set()),
    ],
)
def test_where_spans_begin_and_end(tags, loose, strict):
    for expected, given in ((loose, spans(np.array([tags]))), (strict, spans(np.array([tags]), strict=True))):
        assert set(zip(given.start.tolist(), given.length.tolist(), given.kind.tolist(), strict=True)) == expected
        assert not given.row.any()


def test_a_span_of_one_row_does_not_go_on_in_the_next():
    given = spans(np.array([[0, 1], [2, 0]]))
    assert (given.row.tolist(), given.length.tolist()) == ([0, 1], [1, 1])


def test_words_that_were_not_read_are_missed():
    targets_NW = np.array([[1, 2, 0, 3]])
    logits_NWC = 9.0 * np.eye(5)[targets_NW]
    logits_NWC[0, 2:] = 0.0
    values = {name: build("metrics", name).value(logits_NWC, targets_NW) for name in (*EXPECTED, "tag_accuracy")}
    assert values == {"span_f1": pytest.approx(2 / 3), "span_precision": 1.0, "span_recall": 0.5, "tag_accuracy": 0.5}


def test_what_is_decided_where_there_is_no_word_does_not_count():
    targets_NW = np.array([[1, -100, -100]])
    logits_NWC = 9.0 * np.eye(3)[np.array([[1, 2, 1]])]
    assert {build("metrics", name).value(logits_NWC, targets_NW) for name in (*EXPECTED, "tag_accuracy")} == {1.0}


def test_rows_without_any_span_score_zero_as_in_seqeval_and_no_word_at_all_is_undefined():
    logits_NWC, targets_NW = np.zeros((2, 3, 3)), np.zeros((2, 3), dtype=int)
    assert {build("metrics", name).value(logits_NWC, targets_NW) for name in EXPECTED} == {0.0}
    assert math.isnan(build("metrics", "tag_accuracy").value(logits_NWC, np.full((2, 3), -100)))


def test_an_interval_is_that_of_resampled_rows():
    logits_NWC, targets_NW, true, said = made(0)
    metric = build("metrics", "span_f1")
    rng = seeds.rng(9, "test", "resampled")
    drawn_RN = rng.integers(0, len(true), (20, len(true)))
    weights_RN = np.stack([np.bincount(drawn, minlength=len(true)) for drawn in drawn_RN])
    expected = [f1_score([true[i] for i in drawn], [said[i] for i in drawn]) for drawn in drawn_RN]
    assert metric.resampled(logits_NWC, targets_NW, weights_RN) == pytest.approx(expected, abs=EXACT)
    interval = bootstrap({"span_f1": metric}, logits_NWC, targets_NW, seed=7, resamples=200)["span_f1"]
    assert interval.low < interval.value < interval.high
