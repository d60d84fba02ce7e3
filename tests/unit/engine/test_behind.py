"""What is written behind the training is whole, in order, and fails whoever waits next."""

import threading

import pytest
import torch

from heliostat.engine import behind, checkpoints
from heliostat.engine.behind import Behind, Meeting
from heliostat.engine.group import Group


def test_things_are_written_one_after_the_other():
    done, go, writer = [], threading.Event(), Behind()
    writer.submit(lambda: (go.wait(20), done.append(1)))
    assert done == []
    go.set()
    writer.submit(lambda: done.append(2))
    writer.wait()
    assert done == [1, 2]
    writer.close()


def test_what_goes_wrong_is_raised_once_by_whoever_waits_next():
    writer = Behind()
    writer.submit(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        writer.submit(lambda: None)
    writer.wait()
    writer.close()


def test_closing_waits_for_what_is_being_written(tmp_path):
    writer = Behind()
    writer.submit(lambda: (threading.Event().wait(0.1), (tmp_path / "a").write_text("done")))
    writer.close()
    assert (tmp_path / "a").read_text() == "done"


def part(rank, folder, writer):
    """Write rank's part of step 3 behind."""
    group = Group(rank, 2)
    content = checkpoints.Content(
        weights={"w": torch.ones(2)} if rank == 0 else None, states=({"weights/w": torch.full((1,), float(rank))}, {"pieces": {}})
    )
    meeting = Meeting(group, checkpoints.unfinished(folder, 3), writer)
    writer.submit(lambda: checkpoints.write(folder, 3, content, {"best": None}, meeting))


def test_workers_meet_through_files_and_leave_none_behind(tmp_path):
    checkpoints.begin([(tmp_path, 3)], Group())
    writers = [Behind(), Behind()]
    part(0, tmp_path, writers[0])
    assert checkpoints.latest(tmp_path) is None, "half of it is missing"
    part(1, tmp_path, writers[1])
    for writer in writers:
        writer.wait()
    place = checkpoints.latest(tmp_path)
    assert sorted(path.name for path in place.iterdir()) == [
        "MANIFEST.json", "states-00000.safetensors", "states-00001.safetensors", "weights.safetensors",
    ]  # fmt: skip
    assert checkpoints.facts(place)["world"] == 2


def test_a_worker_that_closes_does_not_wait_for_ever_for_one_that_is_gone(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(behind, "PATIENCE_S", 0.05)
    checkpoints.begin([(tmp_path, 3)], Group())
    writer = Behind()
    part(0, tmp_path, writer)
    writer.close()
    assert checkpoints.latest(tmp_path) is None
    assert "worker 1 has not written its part" in capsys.readouterr().out
