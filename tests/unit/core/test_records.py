"""Manifests, ledgers and seeds: what is on disk is whole, or refused, or known to be torn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from heliostat.core import seeds
from heliostat.core.errors import RunFailed
from heliostat.core.ledger import Ledger, replay
from heliostat.core.manifest import canonical, fingerprint, read_json, write_json
from heliostat.core.provenance import content_fingerprint, describe, locate

EVENTS = [{"event": "job", "trial": 0}, {"event": "result", "trial": 0, "value": 0.5}, {"event": "job", "trial": 1, "note": "标签 ✓"}]


def written(path: Path) -> bytes:
    ledger = Ledger(path)
    for event in EVENTS:
        ledger.append(event)
    ledger.close()
    return path.read_bytes()


def test_a_ledger_cut_at_any_byte_replays_its_whole_lines(tmp_path: Path) -> None:
    data = written(tmp_path / "whole.jsonl")
    ends = [i + 1 for i, byte in enumerate(data) if byte == ord("\n")]
    for cut in range(len(data) + 1):
        path = tmp_path / "cut.jsonl"
        path.write_bytes(data[:cut])
        whole = sum(end <= cut for end in ends)
        ledger = Ledger(path)
        assert ledger.read() == EVENTS[:whole], cut
        ledger.append({"event": "after", "cut": cut})
        ledger.close()
        assert replay(path)[0] == [*EVENTS[:whole], {"event": "after", "cut": cut}]


def test_a_ledger_damaged_at_any_byte_replays_nothing_false(tmp_path: Path) -> None:
    data = written(tmp_path / "whole.jsonl")
    path = tmp_path / "damaged.jsonl"
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x15]) + data[at + 1 :])
        try:
            events, _ = replay(path)
        except RunFailed:
            continue
        assert events == EVENTS[: len(events)], at
        # Damage to the last line, or to the line end before it, cannot be told from a write that was cut short.
        assert at >= data[:-1].rindex(b"\n"), f"byte {at}: damage before the last line has to be refused"


def test_manifests_are_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "manifest.json"
    write_json(path, {"a": 1, "标": "签"})
    assert read_json(path) == {"a": 1, "标": "签"}
    path.write_text(path.read_text()[:-4])
    assert read_json(path) is None
    assert read_json(tmp_path / "nothing.json") is None
    assert not list(path.parent.glob("*.tmp"))


def test_a_run_can_be_moved(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    write_json(here / "m.json", {"path": str(here / "models" / "a"), "other": "/elsewhere"}, here)
    here.rename(there)
    assert read_json(there / "m.json", there) == {"path": str(there / "models" / "a"), "other": "/elsewhere"}


def test_fingerprints_follow_values_not_order() -> None:
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": [1, 2], "a": 1})
    assert len({fingerprint(v) for v in ({"a": 1}, {"a": 2}, {"a": "1"}, {"a": [1]}, {"a": None}, {})}) == 6
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical({"a": float("nan")})
    assert json.loads(canonical({"ü": "标"})) == {"ü": "标"}


def test_content_counts_and_names_below_the_root_count(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.txt").write_text("same")
    files = {f: [tmp_path / f / "x.txt"] for f in ("a", "b")}
    assert content_fingerprint(files["a"], tmp_path / "a") == content_fingerprint(files["b"], tmp_path / "b")
    assert content_fingerprint(files["a"], tmp_path) != content_fingerprint(files["b"], tmp_path)
    before = content_fingerprint(files["a"])
    (tmp_path / "a" / "x.txt").write_text("Same")
    assert content_fingerprint(files["a"]) != before


def test_seeds_are_named() -> None:
    assert seeds.derive(7, "order", 1) == seeds.derive(7, "order", 1)
    assert len({seeds.derive(s, n, e) for s in (1, 2) for n in ("a", "b") for e in (1, 11)}) == 8
    assert seeds.derive(1, "a", "bc") != seeds.derive(1, "ab", "c")
    assert 0 <= seeds.derive(7) < 2**63
    assert seeds.rng(7, "x").random() == seeds.rng(7, "x").random()


def test_provenance_describes_this_machine(tmp_path: Path) -> None:
    told = describe()
    assert told["packages"]["numpy"]
    assert told["machine"]["cpus"] >= 1
    json.dumps(told)
    assert locate("~").is_absolute()
    assert locate("package:heliostat/core").is_dir()


def test_an_event_that_cannot_be_written_leaves_the_ledger_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk takes a part of a line: none of it stays, and the ledger can be written again when there is room."""
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append(EVENTS[0])
    whole = ledger.path.read_bytes()

    class Full:
        def __init__(self, file):
            self.file = file

        def __getattr__(self, name):
            return getattr(self.file, name)

        def write(self, line):
            return self.file.write(line[: len(line) // 2])

    file = ledger._file
    ledger._file = Full(file)
    with pytest.raises(RunFailed, match=r"No space left on device.*Make room"):
        ledger.append(EVENTS[1])
    assert ledger.path.read_bytes() == whole
    ledger._file = file
    ledger.append(EVENTS[1])
    assert ledger.read() == EVENTS[:2]
    ledger.close()
