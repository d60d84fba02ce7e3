"""Retrieval and probe: their arithmetic, their data, and what they say when the data is wrong."""

import hashlib
import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from heliostat.core import seeds
from heliostat.core.family import build
from heliostat.evaluate.config import EvaluateConfig
from heliostat.evaluate.suites import _documentation
from heliostat.evaluate.suites.probe import Probe, cross_validated, folds
from heliostat.evaluate.suites.retrieval import BLOCK, Retrieval, ranks


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_ranks_agree_with_sorting_across_blocks():
    rng = seeds.rng(1, "test", "ranks")
    passages_QD = unit(rng.normal(size=(BLOCK + 50, 8)))
    queries_QD = unit(passages_QD + 0.5 * rng.normal(size=passages_QD.shape))
    order_QQ = np.argsort(-(queries_QD @ passages_QD.T), axis=1)
    expected_Q = 1 + np.argmax(order_QQ == np.arange(BLOCK + 50)[:, None], axis=1)
    assert (ranks(queries_QD, passages_QD) == expected_Q).all()


def test_collapsed_or_broken_embeddings_find_nothing():
    same_QD = np.ones((6, 4)) / 2
    assert ranks(same_QD, same_QD).tolist() == [6] * 6
    broken_QD = np.eye(6)
    broken_QD[2] = np.nan
    assert ranks(broken_QD, np.eye(6)).tolist() == [1, 1, 6, 1, 1, 1]


def test_retrieval_turns_ranks_into_recall_and_mrr(tmp_path):
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps({"query": f"q{i}", "passage": f"p{i}"}) + "\n" for i in range(4)))
    query_of = {0: [1, 0, 0, 0], 1: [0, 1, 0, 0], 2: [0, 0, 0.5, 0.8], 3: [0.9, 0.8, 0.7, 0.1]}  # ranks 1, 1, 2, 4
    engine = SimpleNamespace(
        embed=lambda p, texts, task: np.array([query_of[int(t[1:])] if t[0] == "q" else np.eye(4)[int(t[1:])] for t in texts])
    )
    scores = Retrieval(pairs=str(file)).score(None, engine=engine, task=None, seed=7, resamples=100)
    assert scores["recall_at_1"].value == 0.5
    assert scores["recall_at_5"].value == 1.0
    assert scores["mrr"].value == pytest.approx((1 + 1 + 1 / 2 + 1 / 4) / 4)


def test_documentation_pairs_are_many_and_distinct():
    pairs = _documentation.documentation()
    assert len(pairs) > 500
    assert len({q for q, _ in pairs} | {p for _, p in pairs}) == 2 * len(pairs)
    queries, passages = Retrieval(max_pairs=100).read()
    assert len(queries) == len(passages) == 100
    assert (queries[0], queries[-1]) == (pairs[0][0], pairs[-1][0])


def test_documentation_is_the_same_in_another_process_quickly_and_imports_nothing():
    code = (
        "import hashlib, sys, time; from heliostat.evaluate.suites._documentation import documentation;"
        "began = time.process_time(); pairs = documentation(); seconds = time.process_time() - began;"
        "print(hashlib.sha256(repr(pairs).encode()).hexdigest(), 'smtplib' in sys.modules or 'mailbox' in sys.modules, seconds)"
    )
    digest, imported, seconds = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert digest == hashlib.sha256(repr(_documentation.documentation()).encode()).hexdigest()
    assert imported == "False"
    assert float(seconds) < 3


def test_docstrings_are_public_and_in_order():
    source = (
        'class A:\n  "a"\n  def f(self):\n    "f"\n  def _g(self):\n    "g"\n'
        'class _B:\n  "b"\n  def h(self):\n    "h"\nasync def i():\n  "i"\n'
    )
    assert list(_documentation.docstrings(source)) == ["a", "f", "i"]


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("Too short. " + "word " * 20, None),
        ("Return the first of all the things. " + "word " * 20, ("Return the first of all the things", " ".join(["word"] * 20))),
        ("Return version 3.5 of all\nthe things\n\n" + "word " * 20, ("Return version 3.5 of all the things", " ".join(["word"] * 20))),
        ("S.find(sub) -> int of the place\n\n" + "word " * 20, None),
        ("Return the first of all the things.", None),
    ],
)
def test_a_docstring_is_divided_after_its_first_sentence(text, pair):
    assert _documentation.divide(text) == pair


def test_identity_is_the_content_of_the_pairs_not_their_place(tmp_path):
    line = json.dumps({"query": "a", "passage": "b"}) + "\n"
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "pairs.jsonl").write_text(line * 2)
    first, second = (Retrieval(pairs=str(tmp_path / place / "pairs.jsonl")) for place in ("one", "two"))
    assert first.identity() == second.identity()
    (tmp_path / "two" / "pairs.jsonl").write_text(line * 3)
    assert first.identity() != second.identity()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"query": "a", "passage": "b"}\nnot json\n', ["line 2", "not JSON"]),
        ('{"question": "a", "passage": "b"}\n', ["line 1", "query and passage", "question, passage"]),
        ('{"query": "a", "passage": " "}\n', ["line 1", "needs a text"]),
        ('["a", "b"]\n', ["line 1", "it holds list"]),
        ('{"query": "a", "passage": "b"}\n', ["1 found", "at least 2"]),
    ],
)
def test_wrong_pairs_are_problems_that_name_the_line(tmp_path, content, words):
    (tmp_path / "pairs.jsonl").write_text(content)
    (problem,) = EvaluateConfig(general={"general": {"use": "retrieval", "pairs": str(tmp_path / "pairs.jsonl")}}).problems()
    assert problem.startswith("evaluate.general.general.pairs: ")
    assert all(word in problem for word in words), problem


def test_a_missing_file_is_told_with_the_nearest_one(tmp_path):
    (tmp_path / "pairs.jsonl").write_text("")
    (problem,) = Retrieval(pairs=str(tmp_path / "pair.jsonl")).problems()
    assert "does not exist" in problem
    assert "Did you mean" in problem
    assert "pairs.jsonl'" in problem


def test_domain_is_no_name_for_a_general_suite():
    (problem,) = EvaluateConfig(general={"domain": "retrieval"}).problems()
    assert "'domain'" in problem


def test_folds_deal_out_every_class_evenly():
    targets_N = np.array([0] * 50 + [1] * 23 + [2] * 7)
    fold_N = folds(targets_N, 5, seed=7)
    assert (fold_N == folds(targets_N, 5, seed=7)).all()
    for label, rows in enumerate([50, 23, 7]):
        counts = np.bincount(fold_N[targets_N == label], minlength=5)
        assert counts.max() - counts.min() <= 1
        assert counts.sum() == rows


def test_cross_validation_finds_what_is_there_and_nothing_in_noise():
    rng = seeds.rng(3, "test", "probe")
    targets_N = rng.integers(0, 2, 200)
    told_ND = unit(rng.normal(size=(200, 6)) + 4 * np.eye(6)[targets_N])
    fold_N = folds(targets_N, 5, seed=7)
    assert (cross_validated(told_ND, targets_N, fold_N, 10.0) == targets_N).mean() > 0.95
    noise_ND = unit(rng.normal(size=(200, 6)))
    assert 0.35 < (cross_validated(noise_ND, targets_N, fold_N, 10.0) == targets_N).mean() < 0.65  # 4 standard errors around 0.5


def test_probe_names_the_columns_that_are_missing(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"texts": "a", "label": "b"}\n')
    probe = build("evaluate.suites", {"use": "probe", "source": {"use": "jsonl", "paths": [str(tmp_path / "rows.jsonl")]}})
    assert isinstance(probe, Probe)
    (problem,) = probe.problems()
    assert problem.startswith("text: ")
    assert "Did you mean 'texts'?" in problem


def test_a_probe_of_pictures_hands_over_bytes_evenly_spaced(tmp_path):
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        for i in range(20):
            (tmp_path / label / f"{i:02d}.png").write_bytes(f"{label} {i}".encode())
    suite = Probe(source={"use": "image_folders", "paths": str(tmp_path)}, max_rows=20)
    assert suite.problems() == []
    inputs, labels = suite.rows
    assert len(inputs) == 20
    assert inputs[0] == b"cat 0"
    assert inputs[-1] == b"dog 19"
    assert labels == ["cat"] * 10 + ["dog"] * 10
    asked = []

    def embed(predictor, given, *, task):
        asked.extend(given)
        return np.array([[1.0, 0.0] if data.startswith(b"cat") else [0.0, 1.0] for data in given])

    scores = suite.score(None, engine=SimpleNamespace(embed=embed), task=None, seed=1, resamples=100)
    assert asked == inputs
    assert scores["accuracy"].value == 1.0
