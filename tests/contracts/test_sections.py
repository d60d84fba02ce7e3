"""Every section of the report, on a full run and on the smallest one: well-formed, self-contained, escaped."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from heliostat.core.family import members

SAMPLE = Path(__file__).parents[1] / "unit" / "report" / "sample.py"
SECTIONS = members("report.sections")
ABOUT = {
    "spans": "tagged words",
    "names": "several labels",
    "estimates": "numbers",
    "pretraining": "pretrained",
    "pseudo_labels": "pseudo-labelled",
}
"""Sections that have something to say about a run of another kind."""
SWEEPS = ["a wide sweep", "a sweep of one trial", "a sweep that failed", "an older sweep"]
KINDS = ["tagged words", "several labels", "numbers", "pretrained", "pseudo-labelled"]
RUNS = ["full", "minimal", "no sweep", "no ensemble", "no logits", "log-probabilities of zero", *KINDS, *SWEEPS]
VOID = {"br", "hr", "img", "input", "meta", "link", "wbr"}


def load_sample(name):
    spec = importlib.util.spec_from_file_location(f"report_{name}", SAMPLE.with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


sample, sample_tags, sample_plain = (load_sample(name) for name in ("sample", "sample_tags", "sample_plain"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    full = sample.full(tmp_path_factory.mktemp("full"))
    no_logits = dataclasses.replace(full, scores=full.scores.model_copy(update={"path": full.folder / "nowhere"}))
    infinite = sample.full(tmp_path_factory.mktemp("infinite"))
    for file in (infinite.scores.path).glob("ensemble.npy"):
        logits = np.load(file)
        logits[:, 0] = np.where(logits.argmax(1) == 0, logits[:, 0], -np.inf)
        np.save(file, logits)
    wide = sample.many(tmp_path_factory.mktemp("many"))
    failed = tuple(t.model_copy(update={"best": None, "value": None, "state": "failed", "curve": ()}) for t in wide.sweep.trials)
    bare = {"importance": {}, "confirmation": None, "expected": None, "spent": None, "front": (), "objectives": {}, "rungs": (1.0,)}
    return {
        "full": full,
        "a wide sweep": wide,
        "a sweep of one trial": dataclasses.replace(full, sweep=full.sweep.model_copy(update={**bare, "trials": full.sweep.trials[:1]})),
        "a sweep that failed": dataclasses.replace(wide, sweep=wide.sweep.model_copy(update={**bare, "trials": failed})),
        "an older sweep": dataclasses.replace(full, sweep=full.sweep.model_copy(update=bare)),
        "minimal": sample.minimal(tmp_path_factory.mktemp("minimal")),
        "no sweep": dataclasses.replace(full, sweep=None),
        "no ensemble": dataclasses.replace(full, council=None, predictors=full.predictors[:1]),
        "no logits": no_logits,
        "log-probabilities of zero": infinite,
        "several labels": sample_plain.several(tmp_path_factory.mktemp("several"), full),
        "numbers": sample_plain.numbers(tmp_path_factory.mktemp("numbers"), full),
        "tagged words": sample_tags.tagged(tmp_path_factory.mktemp("tagged"), full),
        "pretrained": pretrained(tmp_path_factory.mktemp("pretrained")),
        "pseudo-labelled": pseudo_labelled(tmp_path_factory.mktemp("pseudo")),
    }


def pretrained(folder):
    """A full run with continued pretraining before it."""
    evidence = sample.full(folder)
    place = evidence.folder.parent / "pretrain"
    place.mkdir()
    grounds = {"field": {"before": 31000.5, "after": 41.2}, "general": {"before": 28.0, "after": 29.5}}
    finished(place, "scores", {"metric": "perplexity", "rows": 400, "general_rows": 80, "grounds": grounds})
    return evidence


def pseudo_labelled(folder):
    """A full run that labelled texts."""
    evidence = sample.full(folder)
    place = evidence.folder.parent / "pseudo_label"
    place.mkdir()
    labels = {"<b>art</b>": 30, "sport": 0}
    finished(place, "labels", {"texts": 90, "known": 4, "teacher": "ensemble", "min_confidence": 0.95, "rows": 400, "labels": labels})
    return evidence


def finished(place, name, content):
    """Write what a stage told, and that it finished."""
    manifest = {"stage": place.name, "fingerprint": "0", "identity": {}, "seconds": 9.0, "finished_unix": 999.0}
    for file, told in ((name, content), ("manifest", manifest)):
        (place / f"{file}.json").write_text(json.dumps(told), encoding="utf-8")


class Balance(HTMLParser):
    """Fails on a tag that is not closed where it should be, and collects attributes."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.attributes = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes another tag"


@pytest.mark.parametrize("name", SECTIONS)
@pytest.mark.parametrize("run", RUNS)
def test_section_is_wellformed_and_stands_alone(name, run, runs):
    html = SECTIONS[name]().render(runs[run])
    page = Balance()
    page.feed(html)
    page.close()
    assert page.open == []
    assert "script" not in page.tags
    for key, value in page.attributes:
        assert not key.startswith("on"), f"{key} is a handler"
        assert key not in ("src", "href", "xlink:href", "action") or (value or "").startswith("#")
        assert not re.search(r"url\(", value or "")
    for drawing in re.findall(r"<svg.*?</svg>", html, flags=re.S):
        root = ElementTree.fromstring(drawing)
        assert root.get("aria-label")
        assert not re.search(
            r"\b(nan|inf|None)\b", " ".join(str(v) for e in root.iter() for k, v in e.attrib.items() if k not in ("data-tip", "aria-label"))
        )


@pytest.mark.parametrize("name", SECTIONS)
def test_section_says_something_about_a_full_run(name, runs):
    assert SECTIONS[name]().render(runs[ABOUT.get(name, "full")])


@pytest.mark.parametrize("name", SECTIONS)
def test_section_escapes_names_from_data(name, runs, tmp_path):
    full = runs["full"]
    bad = 'x"><script>alert(1)</script>'
    models = tuple(m.model_copy(update={"name": bad + m.name, "stage": bad}) for m in full.scores.models)
    trials = tuple(t.model_copy(update={"settings": {bad: bad + str(t.number)}, "error": bad}) for t in full.sweep.trials)
    sweep = full.sweep.model_copy(update={"trials": trials, "importance": {bad: 1.0}, "metric": bad})
    corpus = full.corpus.model_copy(update={"dropped": {bad: 4}, "rows": {**full.corpus.rows, bad: 5}})
    scores = full.scores.model_copy(update={"models": models, "suites": {bad: bad}})
    html = SECTIONS[name]().render(dataclasses.replace(full, scores=scores, corpus=corpus, sweep=sweep))
    assert "<script" not in html
    page = Balance()
    page.feed(html)
    assert page.open == []


def test_titles_and_orders_are_distinct():
    assert len({s.title for s in SECTIONS.values()}) == len({s.order for s in SECTIONS.values()}) == len(SECTIONS)
