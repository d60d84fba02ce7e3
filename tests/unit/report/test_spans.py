"""The page's section about spans: its numbers are those of the metrics, its mistakes are those of the rows."""

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from seqeval.metrics import classification_report

from heliostat.core.tags import type_of
from heliostat.report.cards import card
from heliostat.report.sections.scores import Scores
from heliostat.report.sections.spans import Spans


def load(name):
    spec = importlib.util.spec_from_file_location(f"spans_{name}", Path(__file__).parent / f"{name}.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def evidence(tmp_path_factory):
    full = load("sample").full(tmp_path_factory.mktemp("full"))
    return load("sample_tags").tagged(tmp_path_factory.mktemp("tagged"), full)


def cells(html):
    """First cell of each row of the table to its others, as text."""
    rows = re.findall(r"<tr><th scope=\"row\".*?</tr>", html)
    told = [[re.sub("<.*?>", "", cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", row)] for row in rows]
    return {name: values for name, *values in told}


def test_each_type_has_the_numbers_of_seqeval(evidence):
    ship = evidence.verdict.ship
    labels, tags = evidence.corpus.labels, evidence.column("test", "tags")
    answers = np.load(evidence.scores.path / f"{ship}.npy").argmax(2)
    said = [[labels[i] for i in row[: len(true)]] for row, true in zip(answers, tags, strict=True)]
    expected = classification_report(tags, said, output_dict=True)
    found = cells(Spans().render(evidence))
    names = {type_of(label) for label in labels[1:] if "<" not in label}
    for name in names:
        true, _, _, precision, recall, f1, _ = found[name]
        values = expected[name]
        assert int(true) == values["support"]
        assert [float(precision), float(recall), float(f1)] == pytest.approx(
            [values["precision"], values["recall"], values["f1-score"]], abs=5e-4
        )
    assert "<script" not in Spans().render(evidence)


def test_a_mistake_is_told_with_its_words(evidence, tmp_path):
    labels, tags = evidence.corpus.labels, evidence.column("test", "tags")
    ship = evidence.verdict.ship
    perfect = np.zeros((len(tags), max(map(len, tags)), len(labels)), np.float32)
    for i, row in enumerate(tags):
        perfect[i, np.arange(len(row)), [labels.index(tag) for tag in row]] = 9
    only = evidence.scores.model_copy(update={"path": tmp_path})
    from dataclasses import replace

    np.save(tmp_path / f"{ship}.npy", perfect)
    assert "makes no mistake" in Spans().render(replace(evidence, scores=only))
    perfect[1, 8] = 9 * np.eye(len(labels))[labels.index("I-LOC")]  # one character more than the place has
    np.save(tmp_path / f"{ship}.npy", perfect)
    html = Spans().render(replace(evidence, scores=only))
    assert "missed <b>北京 (LOC)</b>" in html
    assert "marked <b>北京会 (LOC)</b>" in html
    assert html.count("<li>") == 1


def test_other_tasks_and_plain_tags_have_no_such_section(evidence, tmp_path_factory):
    from dataclasses import replace

    assert Spans().render(load("sample").full(tmp_path_factory.mktemp("labels"))) == ""
    plain = replace(evidence, corpus=evidence.corpus.model_copy(update={"labels": ("O", *evidence.corpus.labels[2:])}))
    assert Spans().render(plain) == ""


def test_the_rest_of_the_report_knows_that_words_are_tagged_and_the_base_has_no_score(evidence):
    told = card(evidence, evidence.predictors[0])
    assert told.startswith("---\npipeline_tag: token-classification\n")
    assert "each word with one of 9 tags." in told
    assert "always answers with one of its labels" not in told
    assert "dashed" not in Scores().render(evidence)
