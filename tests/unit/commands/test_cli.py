"""What the command line says, and how it ends."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from heliostat import cli
from heliostat.commands.schema import schema
from heliostat.commands.tiny import write_model
from heliostat.core import family
from heliostat.core.errors import GateFailed, RunFailed, UserError
from heliostat.core.manifest import read_json
from heliostat.core.settings import read_tree
from tiny_decoder import write_decoder

ROOT = Path(__file__).parents[3]
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))


def run(*arguments: str) -> int:
    return cli.main(list(arguments))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UserError(["one", "two"]), 2),
        (GateFailed("missed"), 3),
        (RunFailed("broke"), 4),
        (KeyError("odd"), 4),
        (KeyboardInterrupt(), 130),
        (SystemExit(15), 143),
    ],
)
def test_every_error_has_its_exit_code(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(run: Path) -> None:
        raise error

    monkeypatch.setattr("heliostat.commands.show.show", fail)
    assert run("show", "anything") == code
    told = capsys.readouterr()
    assert told.out == ""
    assert "Traceback" not in told.err
    assert "\x1b" not in told.err
    if isinstance(error, UserError):
        assert all(f"  - {problem}" in told.err for problem in error.problems)


def test_an_unknown_error_leaves_its_traceback_in_a_file(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(run: Path) -> None:
        raise KeyError("odd")

    monkeypatch.setattr("heliostat.commands.show.show", fail)
    run("show", "anything")
    log = Path(capsys.readouterr().err.split()[-1])
    assert "Traceback" in log.read_text()
    log.unlink()


@pytest.mark.parametrize(
    "arguments", [["runn"], ["run"], ["run", "a.yaml", "--nope"], ["submit", "a.yaml"], ["list", "nothing"], ["show", "nothing"]]
)
def test_a_wrong_call_exits_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_every_wrong_part_of_a_request_is_told_at_once(tiny_config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("plan", str(tiny_config), "--cluster", "nowhere", "--name", "a/b", "--set", "train.epohcs=1") == 2
    told = capsys.readouterr().err
    assert told.startswith("error: 3 problems:")
    assert all(words in told for words in ("--cluster 'nowhere'", "--name 'a/b'", "train.epohcs"))


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    told = capsys.readouterr().out
    assert "..." not in told.replace("[ARGS]...", ""), "every command is told in full"
    assert all(f"  {name} " in told for name in ("run", "plan", "list", "show", "sweep", "diff", "init", "submit", "schema", "doctor"))


def test_list_shows_families_members_and_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list") == 0
    assert "asha, full" in capsys.readouterr().out
    assert run("list", "tune/schedulers") == 0
    told = capsys.readouterr().out
    assert "eta" in told
    assert "One in so many trials" in told
    assert run("list", "schedulers") == 0
    assert capsys.readouterr().out == told
    assert run("list", "trackers") == 0
    told = capsys.readouterr().out
    assert all(word in told for word in ("tensorboard", "mlflow", "wandb", "tracking_uri", "Most points of one training's loss curve"))


MADE = re.compile(r"(?<![\w./:-])(?:data|models)/[\w./-]+")
"""Places that scripts beside the configs make."""
STAND_INS = {"instruct": write_decoder}
"""Config to what makes a small model of the same kind."""


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_every_config_loads_plans_and_fits_the_schema(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    validator = pytest.importorskip("jsonschema").Draft202012Validator
    tree = read_tree(path)
    for package in re.findall(r"package:(\w+)", json.dumps(tree)):
        pytest.importorskip(package)
    monkeypatch.chdir(ROOT)
    made = schema()
    validator.check_schema(made)
    assert not list(validator(made).iter_errors(yaml.safe_load(path.read_text())))
    missing = [place for place in MADE.findall(json.dumps(tree)) if not (ROOT / place).exists()]
    instead = []
    if path.stem in STAND_INS:
        instead = ["--set", f"model.path={STAND_INS[path.stem](tmp_path / 'model', max_position_embeddings=512)}"]
    elif family.find("tasks", tree["task"].get("use", "text_classification")).reads != "text":  # type: ignore[attr-defined]
        pytest.skip("pictures and recordings: tests/unit/test_media_configs.py")
    elif any(place.startswith("data/") for place in missing):
        pytest.skip(f"'{missing[0]}' is made by a script beside the config")
    elif not tree["model"]["path"].startswith("package:"):  # a person makes or downloads it
        write_model(tmp_path / "model")
        instead = ["--set", f"model.path={tmp_path / 'model'}", "--set", "task.max_tokens=64"]
    assert run("plan", str(path), *instead) == 0
    assert "report" in capsys.readouterr().out


def test_the_schema_refuses_what_a_config_refuses(tiny_config: Path) -> None:
    validator = pytest.importorskip("jsonschema").Draft202012Validator(schema())
    good = yaml.safe_load(tiny_config.read_text())
    assert not list(validator.iter_errors(good))
    for wrong in ({"trian": {}}, {"train": {"epochs": "two"}}, {"corpus": {"sources": [{"use": "nothing"}]}}, {"name": 3}):
        assert list(validator.iter_errors({**good, **wrong})), wrong
    assert list(validator.iter_errors({"extends": "x.yaml", "trian": {}}))


def test_plan_starts_nothing_and_shows_what_is_there(tiny_config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    storage = tiny_config.parent / "runs"
    assert run("plan", str(tiny_config), "--storage", str(storage), "--set", "tune={trials: 8}") == 0
    told = capsys.readouterr().out
    assert not storage.exists()
    assert "about 150 rows read" in told
    assert "8 trials of 56 steps" in told
    assert "unknown until" in told
    assert "352 kB per worker for 0.0 M parameters" in told


def test_show_and_diff_read_manifests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, lr, value in (("a", 0.1, 0.9), ("b", 0.2, 0.95)):
        score = {"value": value, "low": value - 0.01, "high": value + 0.01}
        model = {"name": "trained", "stage": "train", "scores": {"domain": {"accuracy": score}}}
        outputs = {
            "train": {"kind": "model", "fingerprint": f"t{name}", "name": "trained", "stage": "train", "path": "${run}/train/model"},
            "evaluate": {
                "kind": "scores",
                "fingerprint": f"e{name}",
                "path": "${run}/evaluate",
                "models": [model],
                "suites": {},
                "metric": "accuracy",
            },
        }
        for at, (stage, output) in enumerate(outputs.items()):
            identity = {"config": {"lr": lr}} if stage == "train" else {"inputs": {"predictors": [f"t{name}"]}}
            manifest = {
                "stage": stage,
                "fingerprint": output["fingerprint"],
                "identity": identity,
                "output": output,
                "seconds": 1.5,
                "finished_unix": at,
            }
            folder = tmp_path / name / stage
            folder.mkdir(parents=True)
            (folder / "manifest.json").write_text(json.dumps(manifest))
        (tmp_path / name / "run.json").write_text("{}")
    assert run("show", str(tmp_path / "a")) == 0
    told = capsys.readouterr().out
    assert "0.9000 [0.8900, 0.9100]" in told
    assert "accuracy: trained 0.9000" in told
    assert run("diff", str(tmp_path / "a"), str(tmp_path / "b")) == 0
    told = capsys.readouterr().out
    assert "train.lr: 0.1 -> 0.2" in told
    assert "predictors" not in told, "what only follows from a difference is not one"
    assert "+0.0500" in told
    assert read_json(tmp_path / "a" / "run.json") == {}
