"""The stage's files: a page that stands alone, a JSON of a stable shape, a card for each model."""

from __future__ import annotations

import dataclasses
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from heliostat.core.artifact import open_artifact
from heliostat.report.direction import mode_of
from heliostat.report.sections.confusion import Confusion, confusion
from heliostat.report.sections.errors import Errors
from heliostat.report.stage import write
from heliostat.report.wording import bound, change, esc, excerpt, percent, score, seconds, setting, size


@pytest.fixture(scope="module")
def written(sample, full):
    return write(full.config, ctx=sample.context(full), **sample.inputs(full))


def test_report_says_what_the_page_says(written, full):
    assert (written.ship, written.passed) == ("student", True)
    assert written.because == full.verdict.because
    assert open_artifact(written.model_dump(mode="json")) == written


def test_json_has_the_stable_shape(written, full):
    found = json.loads((written.path / "report.json").read_text(encoding="utf-8"))
    assert list(found) == ["run", "verdict", "models", "sweep", "corpus", "seconds"]
    assert set(found["verdict"]) == {"ship", "because", "gates"}
    assert all(set(g) == {"name", "limit", "value", "passed"} for g in found["verdict"]["gates"])
    assert [m["name"] for m in found["models"]] == ["base", "trial-0006", "ensemble", "student"]
    for model in found["models"]:
        assert set(model) == {"name", "stage", "scores", "latency_ms", "params", "bytes"}
        assert set(model["scores"]["domain"]["accuracy"]) == {"value", "low", "high"}
        assert set(model["latency_ms"]) == {"p50", "p99"}
    assert set(found["sweep"]) == {"trials", "completed", "stopped", "failed", "wall_s", "busy_s", "goodput"}
    assert (found["sweep"]["trials"], found["sweep"]["failed"]) == (8, 1)
    assert found["corpus"] == {"rows": full.corpus.rows, "dropped": full.corpus.dropped}
    assert found["seconds"]["tune"] == 213.4
    assert "report" not in found["seconds"]


def test_json_of_the_smallest_run_writes_no_nan(sample, minimal):
    bad = minimal.scores.models[0].model_copy(update={"latency_ms": {"p50": float("nan")}})
    evidence = dataclasses.replace(minimal, scores=minimal.scores.model_copy(update={"models": (bad,)}))
    report = write(evidence.config, ctx=sample.context(evidence), **sample.inputs(evidence))
    found = json.loads((report.path / "report.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert found["sweep"] is None
    assert found["models"][0]["latency_ms"] == {"p50": None}


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.ids, self.targets, self.links, self.scripts = [], [], [], 0

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.scripts += tag == "script"
        self.ids += [found["id"]] if "id" in found else []
        self.targets += [found["href"]] if "href" in found else []
        self.links += [v for k, v in attrs if k in ("src", "href", "action", "data", "poster")]


def test_page_stands_alone(written):
    text = (written.path / "index.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.scripts == 1
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert len(page.ids) == len(set(page.ids))
    assert not re.search(r"https?://|@import|url\(", text)
    assert "新闻分类" in text
    assert "<script>alert" not in text


def test_a_missing_section_is_not_in_the_navigation(sample, minimal):
    report = write(minimal.config, ctx=sample.context(minimal), **sample.inputs(minimal))
    text = (report.path / "index.html").read_text(encoding="utf-8")
    assert 'href="#scores"' in text
    assert 'href="#sweep"' not in text


def test_cards_tell_scores_data_use_and_limits(written):
    names = sorted(p.name for p in (written.path / "cards").iterdir())
    assert names == ["ensemble.md", "student.md", "trial-0006.md"]
    card = (written.path / "cards" / "student.md").read_text(encoding="utf-8")
    for part in (
        "# student",
        "## Scores",
        "## Data",
        "## Intended use",
        "## Limits",
        "| domain | accuracy | 0.968 |",
        "98 exact duplicate",
    ):
        assert part in card
    assert "weight 0.500" in (written.path / "cards" / "ensemble.md").read_text(encoding="utf-8")
    assert "ship student, not this model" in (written.path / "cards" / "trial-0006.md").read_text(encoding="utf-8")


def test_failed_gates_are_told_on_the_page_and_in_the_card(sample, full, tmp_path):
    config = full.config.model_copy(update={"gates": [full.config.gates[0].model_copy(update={"min": 0.999})]})
    evidence = dataclasses.replace(full, config=config, folder=tmp_path / "report")
    report = write(config, ctx=sample.context(evidence), **sample.inputs(evidence))
    assert not report.passed
    assert "Do not ship yet" in (report.path / "index.html").read_text(encoding="utf-8")
    assert "Gate not met" in (report.path / "cards" / "ensemble.md").read_text(encoding="utf-8")


def test_the_shipped_model_has_the_same_colour_everywhere(full):
    assert full.colours["student"] == "var(--ship)"
    assert full.colours["base"] == "var(--base)"
    assert len(set(full.colours.values())) == 4


def test_logits_that_do_not_fit_the_test_rows_are_left_out(full, tmp_path):
    np.save(tmp_path / "student.npy", np.zeros((3, 5)))
    evidence = dataclasses.replace(full, scores=full.scores.model_copy(update={"path": tmp_path}))
    assert list(evidence.probabilities) == ["base"]
    assert np.allclose(evidence.probabilities["base"].sum(1), 1)


@pytest.mark.parametrize(
    ("metric", "mode"), [("accuracy", "max"), ("log_loss", "min"), ("heliostat.metrics.log_loss", "min"), ("spearman", "max")]
)
def test_direction_of_a_metric(metric, mode):
    assert mode_of(metric) == mode


def test_confusion_counts_pairs():
    assert confusion(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 0]), 3).tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]


def with_answers(full, folder, truth, answer):
    """The full run with one model that gives these answers, all as sure as the row is late, over as many classes as there are."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    labels = tuple(f"class {i:02d}" for i in range(max(truth) + 1))
    (folder / "test").mkdir(parents=True)
    pq.write_table(
        pa.table({"text": [f"row {i}" for i in range(len(truth))], "label": [labels[i] for i in truth]}), folder / "test" / "a.parquet"
    )
    logits = np.zeros((len(truth), len(labels)))
    logits[np.arange(len(truth)), answer] = 3 + np.arange(len(truth)) / 10
    np.save(folder / "student.npy", logits)
    scores = full.scores.model_copy(update={"path": folder, "models": full.scores.models[2:]})
    corpus = full.corpus.model_copy(update={"path": folder, "labels": labels})
    return dataclasses.replace(full, scores=scores, corpus=corpus, predictors=[full.predictors[2].model_copy(update={"labels": labels})])


def test_many_classes_are_listed_by_their_most_frequent_mistake(full, tmp_path):
    truth = np.repeat(np.arange(40), 3)
    answer = truth.copy()
    answer[:3] = 7
    answer[-1] = 0
    html = Confusion().render(with_answers(full, tmp_path, truth, answer))
    rows = re.findall(r"<tr>(.*?)</tr>", html.split("<tbody>")[1])
    assert len(rows) == 2
    assert "class 00" in rows[0]
    assert "class 07" in rows[0]
    assert "100 %" in rows[0]


def test_hardest_errors_come_most_confident_first_and_as_many_as_asked(full, tmp_path):
    truth = np.array([0, 1, 2, 0, 1, 2])
    answer = np.array([1, 1, 0, 0, 2, 2])
    evidence = with_answers(full, tmp_path, truth, answer)
    assert re.findall(r"row (\d)<", Errors().render(evidence)) == ["4", "2", "0"]
    two = dataclasses.replace(evidence, config=full.config.model_copy(update={"hardest": 2}))
    assert re.findall(r"row (\d)<", Errors().render(two)) == ["4", "2"]
    assert Errors().render(dataclasses.replace(evidence, config=full.config.model_copy(update={"hardest": 0}))) == ""


def test_a_model_without_mistakes_is_told(full, tmp_path):
    truth = np.array([0, 1, 2])
    evidence = with_answers(full, tmp_path, truth, truth)
    assert "makes no mistake" in Errors().render(evidence)
    assert "Every class is told apart" in Confusion().render(evidence)


@pytest.mark.parametrize(
    ("got", "wanted"),
    [
        (score(None), "–"),
        (score(float("nan")), "–"),
        (score(-0.5), "\u22120.500"),
        (change(0.0391), "+0.039"),
        (change(-0.0001), "±0.000"),
        (percent(0.993), "99.3 %"),
        (percent(0.17), "17 %"),
        (size(47_600_000), "47.6 MB"),
        (size(12), "12 B"),
        (seconds(8.04), "8.0 s"),
        (seconds(213.4), "3 min 33 s"),
        (seconds(7260), "2 h 01 min"),
        (setting(3e-5), "3e\u22125"),
        (setting(0.01), "0.01"),
        (setting({"use": "adamw"}), "adamw"),
        (setting(None), "null"),
        (excerpt("a  b\nc"), "a b c"),
        (excerpt("新" * 400), "新" * 299 + "…"),
        (esc('<a b="c">\x00&'), "&lt;a b=&quot;c&quot;&gt;\ufffd&amp;"),
        (bound("17 % of 4.2 ms, p = 0.69"), "17\u00a0% of 4.2\u00a0ms, p\u00a0=\u00a00.69"),
    ],
)
def test_wording(got, wanted):
    assert got == wanted
