"""The stage with an engine that makes up its answers: what is asked, what is kept, what is written."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from heliostat.artifacts import Corpus, Scores
from heliostat.core.errors import RunFailed, UserError
from heliostat.core.family import build
from heliostat.evaluate.config import EvaluateConfig
from heliostat.evaluate.stage import read_rows, score
from heliostat.tasks.image_classification import ImageClassification

LABELS = ("art", "money", "sport")
GENERAL = {"general": {"use": "retrieval", "max_pairs": 20}}


def run(room, predictors, **config):
    return score(EvaluateConfig(resamples=200, **config), ctx=room.ctx, predictors=predictors, corpus=room.corpus, task=room.task)


def test_every_predictor_on_every_suite_with_its_cost(room):
    scores = run(room, [room.trial, room.council, room.student], general=GENERAL, latency_rows=5)
    assert [(m.name, m.stage) for m in scores.models] == [("trial-0001", "tune"), ("ensemble", "ensemble"), ("student", "distil")]
    for model in scores.models:
        assert set(model.scores) == {"domain", "general"}
        assert list(model.scores["domain"]) == ["accuracy", "f1_macro", "log_loss", "calibration_error"]
        assert set(model.scores["general"]) == {"recall_at_1", "recall_at_5", "mrr"}
        assert model.latency_ms == {"p50": 1.5, "p99": 3.0}
    assert [(m.params, m.bytes) for m in scores.models] == [(10, 40), (20, 80), (10, 40)]
    assert [c for c in room.ctx.engine.calls if c[0] == "latency"] == [("latency", 5)] * 3
    assert scores.metric == "accuracy"
    assert scores.fingerprint == "mark"


def test_the_numbers_are_those_of_the_saved_test_logits(room):
    scores = run(room, [room.trial, room.student])
    targets_N = read_rows(room.corpus, "test", room.task).targets
    for model in scores.models:
        logits_NC = np.load(scores.path / f"{model.name}.npy")
        assert logits_NC.dtype == np.float32
        for metric, interval in model.scores["domain"].items():
            assert interval.value == pytest.approx(build("metrics", metric).value(logits_NC, targets_N))


def test_the_base_is_a_linear_classifier_on_frozen_embeddings(room):
    scores = run(room, [room.base], general=GENERAL)
    (base,) = scores.models
    assert (base.name, base.stage, base.params, base.bytes) == ("base", "base", 1000, 4000)
    assert [c for c in room.ctx.engine.calls if c[0] != "latency"][:3] == [
        ("embed", "base", 120),
        ("embed", "base", 60),
        ("embed", "base", 90),
    ]
    assert base.scores["domain"]["accuracy"].value > 0.8  # its embeddings show the target
    log_probs_NC = np.load(scores.path / "base.npy")
    assert np.exp(log_probs_NC).sum(1) == pytest.approx(np.ones(90), abs=1e-5)  # float32
    assert "base: logistic regression on the frozen encoder's mean-pooled embeddings" in scores.suites["domain"]
    assert "never tuned for" in scores.suites["general"]


def test_long_training_data_is_thinned_out_evenly_for_the_base(room):
    run(room, [room.base], base_rows=10)
    assert room.ctx.engine.calls[:3] == [("embed", "base", 10), ("embed", "base", 10), ("embed", "base", 90)]
    rows = read_rows(room.corpus, "train", room.task, 10)
    assert (rows.inputs["text"][0].split()[1:], rows.inputs["text"][-1].split()[1:]) == (["train", "0", "0"], ["train", "1", "79"])


def test_bytes_stay_in_the_files_but_for_the_rows_that_are_timed(tmp_path):
    for split, files in (("train", 1), ("test", 3)):
        (tmp_path / split).mkdir()
        for part in range(files):
            rows = range(10 * part, 10 * part + 10)
            table = pa.table({"image": pa.array([bytes([i]) for i in rows], pa.large_binary()), "label": [LABELS[i % 3] for i in rows]})
            pq.write_table(table, tmp_path / split / f"{part}.parquet", row_group_size=4)
    corpus = Corpus(fingerprint="c", path=tmp_path, labels=LABELS, rows={"train": 10, "test": 30}, dropped={}, read=40)
    rows = read_rows(corpus, "test", ImageClassification())
    assert rows.inputs == {}
    assert rows.targets.tolist() == [i % 3 for i in range(30)]
    assert rows.first(12) == {"image": [bytes([i]) for i in range(12)]}
    assert rows.first(99) == {"image": [bytes([i]) for i in range(30)]}
    assert read_rows(corpus, "test", ImageClassification(), 3).targets.tolist() == [0 % 3, 14 % 3, 29 % 3]


def test_the_domain_sentence_speaks_of_the_base_only_when_it_is_there(room):
    said = run(room, [room.trial]).suites["domain"]
    assert said == "90 rows of the test split, which took part in no training and no choice."


def test_rows_are_read_in_corpus_order(room):
    rows = read_rows(room.corpus, "test", room.task)
    assert [t.split()[2:] for t in rows.inputs["text"]] == [["0", str(i)] for i in range(30)] + [["1", str(i)] for i in range(60)]
    assert [room.corpus.labels[t] for t in rows.targets] == [t.split()[0] for t in rows.inputs["text"]]


def test_an_interrupted_evaluation_goes_on_with_the_next_model(room):
    whole = run(room, [room.trial, room.student])
    room.ctx.engine.calls.clear()
    (room.ctx.folder / "models" / "student.json").unlink()
    again = run(room, [room.trial, room.student])
    assert again == whole
    assert [c for c in room.ctx.engine.calls if c[0] == "predict"] == [("predict", "student")]


def test_scores_json_and_the_manifest_give_the_scores_back(room):
    scores = run(room, [room.trial], general=GENERAL)
    told = json.loads((scores.path / "scores.json").read_text())
    assert Scores.model_validate({**told, "path": scores.path}) == scores
    assert Scores.model_validate(json.loads(json.dumps(scores.model_dump(mode="json")))) == scores


def test_progress_counts_models(room):
    run(room, [room.trial, room.student])
    updates = room.ctx.show.updates
    assert [(u[0], u[1], u[2], u[3]) for u in updates] == [("evaluate", i, 2, "models") for i in range(3)]
    assert [u[4] for u in updates] == ["trial-0001", "student", ""]


def test_diverged_logits_give_nan_not_a_crash(room):
    room.ctx.engine.skill["student"] = np.nan
    scores = run(room, [room.student])
    assert np.isnan(scores.models[0].scores["domain"]["accuracy"].value)


def test_an_unknown_metric_is_refused_with_the_nearest(room):
    room.task = room.task.model_copy(update={"also": ["f1_makro"]})
    with pytest.raises(UserError, match="Did you mean 'f1_macro'"):
        run(room, [room.trial])


def test_a_label_outside_the_corpus_is_a_clear_failure(room):
    corpus = room.corpus.model_copy(update={"labels": ("art", "money", "sports")})
    with pytest.raises(RunFailed, match=r"label 'sport' is not known\. Did you mean 'sports'"):
        read_rows(corpus, "test", room.task)


def test_a_missing_split_is_a_clear_failure(room):
    for file in room.corpus.split("test"):
        file.unlink()
    with pytest.raises(RunFailed, match="holds no parquet file"):
        run(room, [room.trial])


def test_the_corpus_is_only_read(room):
    before = [pq.read_table(f).to_pylist() for f in room.corpus.split("test")]
    run(room, [room.trial, room.base])
    assert [pq.read_table(f).to_pylist() for f in room.corpus.split("test")] == before
