"""Warm start: what an older sweep's ledger says about a new one, and what it does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from heliostat.commands.request import Request
from heliostat.config import read_config
from heliostat.core.errors import UserError
from heliostat.core.ledger import Ledger
from heliostat.core.manifest import write_json
from heliostat.tune.config import TuneConfig, WarmStart
from heliostat.tune.earlier import Earlier, earlier, sweep_folder

LR = "train.optimizer.lr"
BATCH = "train.batch"
SPACE = {LR: {"log_uniform": [1e-4, 1e-2]}, BATCH: {"choice": [8, 16]}}
TRIALS = [(1e-3, 8), (2e-3, 16), (5e-3, 8), (9e-3, 16), (2e-4, 8)]
RUNGS = (0.25, 0.5, 1.0)


def write_sweep(folder: Path, results: list[tuple[int, int, float | None]], trials: Any = TRIALS, **config: Any) -> Path:
    """A run with an unfinished sweep: one trial per settings, and the results given."""
    (folder / "tune").mkdir(parents=True)
    identity = {
        "config": {"scheduler": {"use": "asha", "eta": 2, "first": 0.25}, "metric": None, "mode": None, "objectives": [], **config},
        "inputs": {"task": {"use": "text_classification", "metric": "accuracy"}},
    }
    (folder / "tune" / "stage.json").write_text(json.dumps({"fingerprint": "f", "identity": identity}))
    ledger = Ledger(folder / "tune" / "ledger.jsonl")
    for number, (lr, batch) in enumerate(trials):
        ledger.append({"event": "job", "trial": number, "rung": 0, "settings": {LR: lr, BATCH: batch}})
    for number, rung, value in results:
        if rung:
            ledger.append({"event": "job", "trial": number, "rung": rung})
        ledger.append({"event": "result", "trial": number, "rung": rung, "value": value})
    ledger.close()
    return folder


RESULTS: list[tuple[int, int, float | None]] = [(0, 0, 0.6), (1, 0, 0.7), (2, 0, None), (1, 1, 0.8), (3, 0, 0.65), (1, 2, 0.85)]


def of(folder: Path, space: dict[str, Any] = SPACE, rungs: tuple[float, ...] = RUNGS, metric: str = "accuracy", **warm: Any) -> Earlier:
    tune = TuneConfig(space=space, constraints=warm.pop("constraints", []))
    return earlier(WarmStart(run=str(folder), **warm), tune.searched(), metric=metric, rungs=rungs)


def test_trials_are_told_with_negative_numbers_and_the_values_of_shared_rungs(tmp_path: Path) -> None:
    found = of(write_sweep(tmp_path / "old", RESULTS))
    assert [(t.number, t.state) for t in found.trials] == [(-4, "paused"), (-3, "completed"), (-2, "failed"), (-1, "paused")]
    assert found.trials[1].values == {0: 0.7, 1: 0.8, 2: 0.85}
    assert found.trials[1].settings == {LR: 2e-3, BATCH: 16}
    assert found.left_out == {"without a result": 1}
    assert "4 of 5 trials" in found.told
    assert "1 without a result" in found.told


def test_a_rung_counts_where_this_sweep_has_one_at_the_same_share(tmp_path: Path) -> None:
    found = of(write_sweep(tmp_path / "old", RESULTS), rungs=(0.5, 1.0))
    assert [(t.settings[LR], t.values) for t in found.trials] == [(2e-3, {0: 0.8, 1: 0.85}), (5e-3, {})]
    assert found.left_out == {"without a value at a rung of this sweep": 2, "without a result": 1}


def test_only_points_of_the_new_space_are_told(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "old", RESULTS)
    assert [t.settings[LR] for t in of(folder, SPACE | {LR: {"log_uniform": [1e-4, 3e-3]}}).trials] == [1e-3, 2e-3]
    assert [t.settings[LR] for t in of(folder, constraints=["train.batch < 16"]).trials] == [1e-3, 5e-3]
    for strange in ({LR: SPACE[LR]}, SPACE | {"train.epochs": {"choice": [1, 2]}}, SPACE | {BATCH: {"choice": [4]}}):
        with pytest.raises(UserError, match=r"none of the 5 trials .* outside the space"):
            of(folder, strange)


def test_with_changed_data_the_best_settings_are_tried_first(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "old", RESULTS)
    found = of(folder, data="changed", best=2)
    assert found.trials == ()
    assert found.first_points == ({LR: 2e-3, BATCH: 16}, {LR: 9e-3, BATCH: 16})
    assert of(folder, {LR: SPACE[LR]}, data="changed", best=2).first_points == ({LR: 2e-3}, {LR: 9e-3})
    assert of(folder, data="changed", metric="f1_macro").first_points, "their order is the older sweep's"
    hung = SPACE | {LR: {"log_uniform": [1e-4, 1e-2], "when": {BATCH: 8}}}
    assert of(folder, hung, data="changed", best=2).first_points == ({BATCH: 16}, {BATCH: 8, LR: 1e-3})


def test_values_that_rank_by_something_else_are_refused(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "old", RESULTS)
    with pytest.raises(UserError, match=r"ranks by accuracy \(max\) and this one by log_loss \(min\)"):
        of(folder, metric="log_loss")
    weighed = write_sweep(tmp_path / "weighed", RESULTS, objectives=[{"use": "latency"}])
    with pytest.raises(UserError, match=r"weighs other tune.objectives"):
        of(weighed)


def test_what_a_trial_gave_with_other_settings_is_not_theirs(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "old", [(0, 0, 0.9)])
    ledger = Ledger(folder / "tune" / "ledger.jsonl")
    ledger.append({"event": "job", "trial": 0, "rung": 1, "settings": {LR: 4e-3, BATCH: 8}})
    ledger.append({"event": "result", "trial": 0, "rung": 1, "value": 0.8})
    ledger.close()
    (told,) = of(folder).trials
    assert (told.settings[LR], told.values) == (4e-3, {1: 0.8})


def test_a_run_that_is_not_there_is_named_with_the_nearest_one(tmp_path: Path) -> None:
    write_sweep(tmp_path / "runs" / "sweep-one", RESULTS)
    (tmp_path / "runs" / "empty").mkdir()
    with pytest.raises(UserError, match=r"is no run. Did you mean 'sweep-one'"):
        sweep_folder("sweep-oen", tmp_path / "runs")
    with pytest.raises(UserError, match="'empty' holds no sweep"):
        sweep_folder("empty", tmp_path / "runs")
    assert sweep_folder("sweep-one", tmp_path / "runs") == sweep_folder(str(tmp_path / "runs" / "sweep-one"))


def test_identity_is_what_was_found_and_not_where_it_lies(tmp_path: Path) -> None:
    one, two = (write_sweep(tmp_path / name, RESULTS) for name in ("one", "two"))
    other = write_sweep(tmp_path / "other", RESULTS[:3])
    assert WarmStart(run=str(one)).identity() == WarmStart(run=str(two)).identity()
    assert WarmStart(run=str(one)).identity() != WarmStart(run=str(other)).identity()
    assert WarmStart(run=str(one)).identity() != WarmStart(run=str(one), data="changed").identity()
    assert str(tmp_path) not in json.dumps(WarmStart(run=str(one)).identity())


def test_a_config_finds_the_older_run_in_the_storage(tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from heliostat.core.layout import Layout

    write_sweep(tmp_path / "store" / "old", RESULTS)
    layout = Layout(storage=str(tmp_path / "store"))
    space = "tune.space={train.optimizer.lr: {log_uniform: [1.0e-4, 1.0e-2]}, train.batch: {choice: [8, 16]}}"
    run = read_config(tiny_config, [space, "tune.warm_start={run: old}"], layout)
    assert run.tune
    assert run.tune.warm_start
    assert run.tune.warm_start.run == str(tmp_path / "store" / "old")
    with pytest.raises(UserError, match=r"tune.warm_start: 'odl' is no run. Did you mean 'old'"):
        read_config(tiny_config, [space, "tune.warm_start={run: odl}"], layout)


def test_what_a_sweep_began_with_stays_when_the_older_one_goes_on(tiny_config: Path, tmp_path: Path) -> None:
    older = write_sweep(tmp_path / "store" / "old", RESULTS)
    space = "tune.space={train.optimizer.lr: {log_uniform: [1.0e-4, 1.0e-2]}, train.batch: {choice: [8, 16]}}"

    def asked(name: str, run: str = "old") -> tuple[WarmStart, dict[str, Any], int]:
        request = Request(tiny_config, assignments=(space, f"tune.warm_start={{run: {run}}}"), name=name, storage=tmp_path / "store")
        run_config, _, root = request.resolve()
        assert run_config.tune
        warm = run_config.tune.warm_start
        assert warm
        told = earlier(warm, run_config.tune.searched(), metric="accuracy", rungs=RUNGS).trials
        (root / "tune").mkdir(parents=True, exist_ok=True)
        if not (root / "tune" / "stage.json").exists():
            write_json(root / "tune" / "stage.json", {"identity": {"config": {"warm_start": warm.identity()}}})
        return warm, warm.identity(), len(told)

    began = asked("new")
    ledger = Ledger(older / "tune" / "ledger.jsonl")
    ledger.append({"event": "result", "trial": 4, "rung": 0, "value": 0.9})
    ledger.close()
    assert asked("new") == began
    later = asked("later")
    assert (began[2], later[2]) == (4, 5)
    assert later[1]["found"] != began[1]["found"]
    write_sweep(tmp_path / "store" / "another", RESULTS, [*TRIALS, (3e-3, 8)])
    assert asked("new", "another")[1]["found"] != began[1]["found"], "another sweep is another one"
    assert asked("new", "another")[0].up_to == (tmp_path / "store/another/tune/ledger.jsonl").stat().st_size
