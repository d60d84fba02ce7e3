"""What the report says of several labels per text, and of numbers."""

import dataclasses
import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from heliostat.metrics.f1_multilabel_macro import F1MultilabelMacro
from heliostat.report.cards import card
from heliostat.report.judged import inputs, judged
from heliostat.report.sections.corpus import Corpus
from heliostat.report.sections.errors import Errors
from heliostat.report.sections.estimates import Estimates
from heliostat.report.sections.names import Names
from heliostat.report.sections.tradeoff import Tradeoff
from heliostat.report.stage import page


@pytest.fixture(scope="module")
def plain():
    spec = importlib.util.spec_from_file_location("report_sample_plain", Path(__file__).with_name("sample_plain.py"))
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def several(plain, full, tmp_path_factory):
    return plain.several(tmp_path_factory.mktemp("several"), full)


@pytest.fixture(scope="module")
def numbers(plain, full, tmp_path_factory):
    return plain.numbers(tmp_path_factory.mktemp("numbers"), full)


def cells(html):
    return [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row) for row in re.findall(r"<tr[^>]*>(.*?)</tr>", html)]


def test_each_label_has_its_f1_and_they_make_the_metric(several, plain):
    ground = judged(several, "names")
    found = {}
    for row in cells(Names().render(several)):
        if len(row) == 9 and "label" not in row[0] and "given" not in row[2]:
            found[row[0]] = row[6]
    assert len(found) == len(plain.NAMES)
    assert found["never"] == "–" or float(found["never"]) == 0.0
    expected = F1MultilabelMacro().value(ground.answers[several.verdict.ship], ground.targets)
    told = [float(value) for value in found.values() if value != "–"]
    assert np.mean(told) == pytest.approx(expected, abs=5e-4)  # told with three digits


def test_the_rows_with_most_mistakes_come_first(several):
    html = Names().render(several)
    ground, ship = judged(several, "names"), several.verdict.ship
    worst = int(((ground.answers[ship] > 0) != (ground.targets > 0)).sum(1).argmax())
    first = re.search(r"<li>(.*?)</li>", html).group(1)
    assert f"文本 {worst} with" in first
    assert "missed" in first or "wrongly given" in first


def test_numbers_are_told_in_their_unit(numbers):
    html = Estimates().render(numbers)
    ground, ship = judged(numbers, "numbers"), numbers.verdict.ship
    off_N = np.abs(ground.answers[ship][:, 0] - ground.targets)
    assert f"within {np.quantile(off_N, 0.5):,.4g} of the true number" in html
    first = re.search(r"<li>(.*?)</li>", html).group(1)
    assert f"文本 {int(off_N.argmax())} with" in first
    assert "⁄ the second text &amp;" in first
    assert "\u2212" in first


def test_a_pair_is_shown_whole(numbers):
    assert inputs(numbers, np.array([3])) == {3: "文本 3 with <b>markup</b> ⁄ the second text & 3"}


def test_one_section_speaks_of_each_kind(several, numbers, full):
    assert [bool(section().render(run)) for run in (several, numbers, full) for section in (Names, Estimates, Errors)] == [
        *(True, False, False),
        *(False, True, False),
        *(False, False, True),
    ]


def test_answers_that_are_not_there_leave_the_section_out(several, numbers, tmp_path):
    for run, section in ((several, Names), (numbers, Estimates)):
        lost = dataclasses.replace(run, scores=run.scores.model_copy(update={"path": tmp_path}))
        assert section().render(lost) == ""


def test_shares_of_labels_are_of_the_rows(several):
    html = Corpus().render(several)
    labels = several.balance["train"]["cooking"] + several.balance["valid"]["cooking"] + several.balance["test"]["cooking"]
    assert f"{labels:,} · {100 * labels / sum(several.corpus.rows.values()):.0f} %" in html


def test_the_direction_of_the_metric_is_told(several, numbers):
    assert "Higher is better" in Tradeoff().render(several)
    assert "Lower is better" in Tradeoff().render(numbers)


@pytest.mark.parametrize(("run", "words"), [("several", "any number of 5 labels"), ("numbers", "with a number")])
def test_pages_and_cards_are_whole(run, words, request):
    evidence = request.getfixturevalue(run)
    assert "<script>alert" not in page(evidence)
    told = card(evidence, evidence.predictors[0])
    assert words in told
    assert told.startswith("---\npipeline_tag: text-classification\n")
    assert ("Each label is decided by itself" in told) == (run == "several")
