"""The memory of a run: a stage runs once, a half-done one is resumed, a changed one is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest

from heliostat.core import workspace
from heliostat.core.artifact import Artifact, Pending
from heliostat.core.errors import UserError
from heliostat.core.settings import Settings, unidentified
from heliostat.core.workspace import Plan, Workspace, difference


class Note(Artifact):
    kind: Literal["test-note"] = "test-note"
    path: Path
    value: int


class NoteConfig(Settings):
    value: int = 1
    width: int = unidentified(1)


ran: list[str] = []


def write(config: NoteConfig, *, ctx: Any, after: Any = None) -> Note:
    """A stage; its file is there already when it is resumed."""
    ran.append(ctx.name)
    ctx.folder.mkdir(parents=True, exist_ok=True)
    if config.value == 13 and not (ctx.folder / "half").exists():
        (ctx.folder / "half").write_text("done")
        raise RuntimeError("killed half-way")
    (ctx.folder / "note").write_text(str(config.value))
    return Note(fingerprint=ctx.fingerprint, path=ctx.folder / "note", value=config.value)


write.__module__ = "heliostat.corpus.stage"  # where VERSION is looked up


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    ran.clear()


def story(do: Any, first: int = 1, second: int = 2, width: int = 1) -> Note:
    one = do(write, NoteConfig(value=first, width=width), name="one")
    return do(write, NoteConfig(value=second), name="two", after=one)


def run(root: Path, replace: bool = False, **values: int) -> Note:
    with Workspace(root, seed=7, replace=replace) as space:
        return story(space.do, **values)


def test_a_second_run_keeps_everything(tmp_path: Path) -> None:
    first = run(tmp_path)
    assert ran == ["one", "two"]
    assert run(tmp_path) == first
    assert ran == ["one", "two"]
    assert run(tmp_path, width=5) == first, "what bears no identity changes nothing"
    assert ran == ["one", "two"]


def test_a_difference_is_refused_and_shown(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(UserError) as caught:
        run(tmp_path, first=5)
    assert "config.value: 1 -> 5" in str(caught.value)
    assert "--replace" in str(caught.value)
    assert (tmp_path / "one" / "note").read_text() == "1", "nothing is deleted silently"
    assert run(tmp_path, replace=True, first=5).value == 2
    assert ran == ["one", "two", "one", "two"], "what follows from a changed stage is made again too"


def test_a_changed_later_stage_leaves_the_earlier_ones(tmp_path: Path) -> None:
    run(tmp_path)
    run(tmp_path, replace=True, second=9)
    assert ran == ["one", "two", "two"]


def test_a_half_done_stage_is_resumed_where_it_is(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        run(tmp_path, second=13)
    assert not (tmp_path / "two" / "manifest.json").exists()
    assert run(tmp_path, second=13).value == 13
    assert ran == ["one", "two", "two"]


def test_a_torn_manifest_is_no_proof(tmp_path: Path) -> None:
    run(tmp_path)
    manifest = tmp_path / "two" / "manifest.json"
    manifest.write_text(manifest.read_text()[:50])
    run(tmp_path)
    assert ran == ["one", "two", "two"]


def test_a_moved_run_is_kept(tmp_path: Path) -> None:
    run(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    assert run(tmp_path / "b").path == tmp_path / "b" / "two" / "note"
    assert ran == ["one", "two"]


def test_a_run_is_locked_while_it_is_open(tmp_path: Path) -> None:
    with Workspace(tmp_path, seed=7), pytest.raises(UserError, match="Another process"), Workspace(tmp_path, seed=7):
        pytest.fail("two at once")
    run(tmp_path)
    assert ran == ["one", "two"]


def test_seed_and_version_bear_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = workspace.identity_of(write, NoteConfig(), 7, {})
    assert workspace.identity_of(write, NoteConfig(), 8, {}) != identity
    from heliostat.corpus import config

    monkeypatch.setattr(config, "VERSION", config.VERSION + 1)
    assert workspace.identity_of(write, NoteConfig(), 7, {}) != identity


def test_a_plan_says_what_would_happen_and_does_nothing(tmp_path: Path) -> None:
    def states(**values: int) -> list[str]:
        plan = Plan(tmp_path, seed=7)
        story(plan.do, **values)
        return [d.state for d in plan.decisions]

    assert states() == ["run", "run"]
    assert not list(tmp_path.iterdir())
    run(tmp_path)
    assert states() == ["kept", "kept"]
    assert states(second=3) == ["kept", "changed"]
    assert states(first=3) == ["changed", "changed"]
    (tmp_path / "two" / "manifest.json").unlink()
    assert states() == ["kept", "resume"]
    assert ran == ["one", "two"]


def test_pending_stands_for_any_part() -> None:
    assert [p.fingerprint for p in Pending(fingerprint="f").best(2)] == [p.fingerprint for p in Pending(fingerprint="f").best(2)]


def test_differences_are_told_field_by_field() -> None:
    before = {"a": 1, "b": {"c": [1, 2]}, "gone": 1}
    after = {"a": 1, "b": {"c": [1, 3]}, "new": 2}
    assert difference(before, after) == ["b.c.1: 2 -> 3", "gone: 1 -> None", "new: None -> 2"]
    assert difference([1], [1, 2], "x") == ["x: [1] -> [1, 2]"]
