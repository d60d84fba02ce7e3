"""Every wrong request is told with its path, what is allowed and the nearest valid thing; all of them at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from heliostat.config import RunConfig, read_config
from heliostat.core.errors import UserError
from heliostat.core.layout import Layout
from heliostat.core.settings import Settings, assign, merge, parse, parse_assignment, read_yaml, unidentified


class Inner(Settings):
    rate: float = 0.1
    folder: str = unidentified("here")


class Outer(Settings):
    inner: Inner = Inner()
    steps: int = 3


def problems(path: Path, *assignments: str, layout: Layout | None = None) -> list[str]:
    with pytest.raises(UserError) as caught:
        read_config(path, assignments, layout)
    return caught.value.problems


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("trian.epochs=1", ["trian", "Did you mean 'train'", "Allowed:"]),
        ("train.epoch=1", ["train.epoch", "Did you mean 'epochs'"]),
        ("train.optimizer.learning_rate=1", ["learning_rate", "not known"]),
        ("train.optimizer=adamv", ["train.optimizer", "adamv", "Did you mean 'adamw'"]),
        ("train.optimizer={lr: 1}", ["train.optimizer", "use: name"]),
        ("train.epochs=many", ["train.epochs", "number", "'many'"]),
        ("train.epochs=-1", ["train.epochs", "greater than 0", "-1"]),
        ("train.batch=1.5", ["train.batch", "1.5"]),
        ("seed=-3", ["seed", "-3"]),
        ("name=a b", ["name", "pattern", "a b"]),
        ("tune.space={}", ["tune.space", "empty"]),
        ("tune.space={train.optimizer.lr: {log_uniform: [0, 1]}}", ["log_uniform needs low > 0"]),
        ("tune.space={train.optimizer.lr: {uniform: [2, 1]}}", ["low < high"]),
        ("tune.space={train.optimizer.lr: {gaussian: [0, 1]}}", ["gaussian", "log_uniform"]),
        (
            "tune.space={train.nothing: {uniform: [0, 1]}}",
            ["train.nothing", "'train' has no 'nothing'", "Allowed: adapter, auxiliary, batch"],
        ),
        ("tune.space={corpus.split.test: {uniform: [0.1, 0.2]}}", ["corpus.split.test", "cannot be searched", "the same rows"]),
        ("tune.space={train.optimizer.lr: {uniform: [1, 20]}}", ["lr", "less than 10"]),
        ("tune.scheduler={use: asha, eta: 3, first: 0.9}", ["first", "Use at most"]),
        ("report.gates=[{metric: accuracy}]", ["exactly one of min, max, max_drop"]),
        ("train.precision=fp16", ["fp16 needs a GPU", "bf16"]),
        ("ensemble={candidates: 2}", ["ensemble", "no `tune`"]),
        ("distil={train: {objective: cross_entropy}}", ["does not read a teacher", "distillation"]),
        ("model.path=./nowhere", ["model.path", "./nowhere", "does not exist"]),
        ("model.path=package:no_such_package/model", ["no_such_package", "pip install"]),
        ("corpus.sources.0.paths=[nothing/*.csv]", ["nothing/*.csv"]),
        ("corpus.columns.text=txet", ["txet", "Did you mean 'text'", "It has: text, label"]),
        ("corpus.split.valid=0.9", ["leave nothing to train on"]),
        ("corpus.filters=[{use: length, min_chars: 5}]", ["corpus.filters.0.min_chars:", "Did you mean 'min_characters'"]),
        ("train=3", ["train: it must be a mapping", "3 was given"]),
        ("corpus.slices=a", ["corpus.slices: it must be a list", "'a' was given"]),
        ("train.batch=x", ["train.batch: it must be a whole number", "'x' was given"]),
        ("name=3", ["name: it must be text"]),
        ("train.precision=fp15", ["'fp32', 'bf16' or 'fp16'", "Did you mean 'fp16'"]),
        ("train.epochs=", ["it must be a number; nothing was given"]),
        ("train.adapter={use: lora, targets: []}", ["train.adapter.targets", "at least 1"]),
        ("corpus.filters.0.use=length", ["gives no list 'corpus.filters'", "corpus.filters=[...]"]),
        ("corpus.sources.9.paths=a", ["corpus.sources.9.paths: 'corpus.sources' is a list of 1", "0 to 0"]),
    ],
)
def test_a_wrong_value_is_told_in_full(tiny_config: Path, assignment: str, words: list[str]) -> None:
    told = "\n".join(problems(tiny_config, assignment))
    for word in words:
        assert word in told, told


def test_all_problems_come_at_once(tiny_config: Path) -> None:
    told = problems(tiny_config, "trian.epochs=1", "train.batch=0", "seed=x")
    assert len(told) == 3
    assert all(str(tiny_config) in line for line in told)


def test_a_batch_that_does_not_divide_names_the_nearest_ones(tiny_config: Path) -> None:
    told = problems(tiny_config, "train.batch=10", layout=Layout(workers=4, local_cpus=4))
    assert told == [f"{tiny_config}: train.batch: 10 rows do not divide among 4 workers. Nearest batches that do: 8 or 12."]
    told = problems(tiny_config, "train.batch=12", layout=Layout(workers=1, micro_batch=5))
    assert "Allowed: 1, 2, 3, 4, 6, 12." in told[0]


def test_a_folder_that_is_no_model_says_what_it_holds(tiny_config: Path) -> None:
    told = problems(tiny_config, f"model.path={tiny_config.parent}")
    assert "not a model folder" in told[0]
    assert "rows.csv" in told[0]


def test_a_missing_config_names_its_neighbour(tiny_config: Path) -> None:
    assert str(tiny_config) in problems(tiny_config.with_name("confg.yaml"))[0]
    broken = tiny_config.with_name("broken.yaml")
    broken.write_text("a: [1, 2")
    assert "not valid YAML" in problems(broken)[0]
    assert "line 1, column 9" in problems(broken)[0]
    for text, words in (
        ("- a list", "holds a list"),
        ("", "it is empty"),
        ("three", "a single value"),
        ("name: a\nname: b", "'name' is given twice (line 2"),
    ):
        broken.write_text(text)
        assert words in problems(broken)[0]
    broken.write_bytes("name: é".encode("latin-1"))
    assert "not UTF-8 text" in problems(broken)[0]
    assert "cannot be read: Is a directory" in problems(broken.parent)[0]


@pytest.mark.parametrize("text", ["train.epochs", "=3", "train.epochs=[1, 2"])
def test_a_set_that_is_none(text: str) -> None:
    with pytest.raises(UserError, match="--set"):
        parse_assignment(text)


def test_a_set_reads_numbers_people_write() -> None:
    assert parse_assignment("train.optimizer.lr=3e-5") == ("train.optimizer.lr", 3e-5)
    assert parse_assignment("ensemble=null") == ("ensemble", None)
    assert parse_assignment("name=run-1") == ("name", "run-1")
    assert parse_assignment("a=b=c") == ("a", "b=c")


def test_a_file_reads_numbers_people_write(tmp_path: Path) -> None:
    """YAML 1.1 takes those without a dot for texts, and 1.2 does not."""
    (tmp_path / "a.yaml").write_text("n: [1e-3, 3E5, -2e+3, .5e1, 1.5e-2]\nt: [e3, 1e, 1e-, 0x1e3z, '1e-3', v1e3]\n")
    found = read_yaml(tmp_path / "a.yaml")
    assert found["n"] == [1e-3, 3e5, -2e3, 5.0, 1.5e-2]
    assert found["t"] == ["e3", "1e", "1e-", "0x1e3z", "1e-3", "v1e3"]


def test_assign_steps_into_mappings_lists_and_short_forms() -> None:
    tree = {"a": {"b": 1}, "list": [{"c": 1}], "part": "adamw", "leaf": 3}
    assert assign(tree, "a.b", 2)["a"] == {"b": 2}
    assert tree["a"] == {"b": 1}
    assert assign(tree, "list.0.c", 2)["list"] == [{"c": 2}]
    assert assign(tree, "part.lr", 0.1)["part"] == {"use": "adamw", "lr": 0.1}
    assert assign(tree, "new.deep", 1)["new"] == {"deep": 1}
    with pytest.raises(UserError, match="0 to 0"):
        assign(tree, "list.4.c", 2)
    with pytest.raises(UserError, match="no settings below"):
        assign(tree, "leaf.x", 2)


def test_extends_lays_one_file_over_another(tmp_path: Path) -> None:
    (tmp_path / "below.yaml").write_text("a: {x: 1, y: 2}\npart: {use: one, o: 1}\nkept: 5\n")
    (tmp_path / "above.yaml").write_text("extends: below.yaml\na: {y: 3}\npart: {use: two}\n")
    assert read_yaml(tmp_path / "above.yaml") == {"a": {"x": 1, "y": 3}, "part": {"use": "two"}, "kept": 5}
    assert merge({"part": {"use": "one", "o": 1}}, {"part": {"o": 2}}) == {"part": {"use": "one", "o": 2}}


def test_an_extends_that_leads_nowhere_is_told(tmp_path: Path) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text("extends: two.yaml")
    two.write_text("extends: one.yaml")
    with pytest.raises(UserError, match=r"extends itself: .*one.yaml -> .*two.yaml -> .*one.yaml"):
        read_yaml(one)
    two.write_text("extends: tow.yaml")
    with pytest.raises(UserError, match=r"tow.yaml' does not exist \(extended by '.*two.yaml'\). Did you mean '.*two.yaml'"):
        read_yaml(one)
    two.write_text("extends: 3")
    with pytest.raises(UserError, match="must be the path of a config"):
        read_yaml(one)


def test_every_assignment_that_is_none_is_told_at_once(tiny_config: Path) -> None:
    told = problems(tiny_config, "train.epochs", "a..b=1", ".a=1", "a=[1")
    assert [line.split("'")[1] for line in told] == ["train.epochs", "a..b=1", ".a=1", "a=[1"]


def test_options_of_a_part_inside_a_part_have_their_whole_path(tiny_config: Path) -> None:
    (told,) = problems(tiny_config, "evaluate.general={a: {use: probe, source: {use: csv, paths: x, delimter: ','}}}")
    assert "evaluate.general.a.source.delimter: this key is not known. Did you mean 'delimiter'?" in told


def test_identity_leaves_out_where_and_how() -> None:
    assert Outer().identity() == {"inner": {"rate": 0.1}, "steps": 3}
    assert Outer(inner=Inner(folder="there")).identity() == Outer().identity()
    assert parse(Outer, {"inner": {"rate": 0.2}}).identity() != Outer().identity()


def test_identity_of_a_config_follows_content_not_places(tiny_config: Path, tmp_path: Path) -> None:
    config = read_config(tiny_config)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (moved / "rows.csv").write_bytes((tiny_config.parent / "rows.csv").read_bytes())
    other = read_config(tiny_config, [f"corpus.sources.0.paths=[{moved / 'rows.csv'}]"])
    assert other.corpus.identity() == config.corpus.identity()
    (moved / "rows.csv").write_text((moved / "rows.csv").read_text() + "one more old boat,river\n")
    assert other.corpus.identity() != config.corpus.identity()


def test_a_resolved_config_parses_back_to_itself(tiny_config: Path) -> None:
    config = read_config(tiny_config, ["tune={trials: 4}"])
    again = RunConfig.model_validate(yaml.safe_load(yaml.safe_dump(config.tree())))
    assert again.identity() == config.identity()
