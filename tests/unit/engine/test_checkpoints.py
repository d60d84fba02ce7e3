"""A checkpoint is whole or not there, and the newest whole one is used."""

import json
import shutil
import threading

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.saving import save

from heliostat.core.manifest import fingerprint
from heliostat.engine import checkpoints
from heliostat.engine.group import Group

FACTS = {"curve": [{"step": 3, "value": 0.1 + 0.2, "loss": None}], "best": None}


def saved(folder, step):
    weights = {"w": torch.full((4, 3), float(step)), "b": torch.arange(3.0)}
    states = {"weights/w": torch.ones(5) * step}, {"pieces": {}}
    return save(folder, step, weights=weights, states=states, predictions=np.eye(2), facts=FACTS, group=Group())


def test_what_is_saved_comes_back(tmp_path):
    place = saved(tmp_path, 3)
    assert checkpoints.latest(tmp_path) == place
    assert torch.equal(checkpoints.weights(place)["w"], torch.full((4, 3), 3.0))
    assert torch.equal(load_file(checkpoints.state_files(place)[0])["weights/w"], torch.full((5,), 3.0))
    assert np.array_equal(np.load(place / checkpoints.PREDICTIONS), np.eye(2))
    assert {k: checkpoints.facts(place)[k] for k in ("step", "world", *FACTS)} == {"step": 3, "world": 1, **FACTS}


def test_weights_alone_are_a_checkpoint(tmp_path):
    place = save(tmp_path, 1, weights={"w": torch.ones(2)}, facts={}, group=Group())
    assert sorted(p.name for p in place.iterdir()) == ["MANIFEST.json", "weights.safetensors"]
    assert checkpoints.is_valid(place)


def test_the_newest_is_the_one_with_the_highest_step(tmp_path):
    for step in (9, 100, 20):
        saved(tmp_path, step)
    assert checkpoints.latest(tmp_path).name == "step-00000100"


def test_saving_a_step_again_replaces_it(tmp_path):
    saved(tmp_path, 3)
    place = save(tmp_path, 3, weights={"w": torch.zeros(1)}, facts={}, group=Group())
    assert checkpoints.is_valid(place)
    assert checkpoints.weights(place).keys() == {"w"}


FILES = ["weights.safetensors", "states-00000.safetensors", "predictions.npy"]


@pytest.mark.parametrize("name", [*FILES, "MANIFEST.json"])
@pytest.mark.parametrize("harm", ["cut", "empty", "gone"])
def test_a_file_that_is_not_whole_makes_it_invalid_and_the_one_before_is_used(tmp_path, name, harm):
    before, broken = saved(tmp_path, 1), saved(tmp_path, 2)
    path = broken / name
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: -(path.stat().st_size // 3)] if harm == "cut" else b"")
    assert checkpoints.latest(tmp_path) == before
    assert not broken.exists()
    assert (tmp_path / "step-00000002.corrupt").is_dir()


@pytest.mark.parametrize("name", FILES)
def test_one_flipped_byte_makes_it_invalid(tmp_path, name):
    place = saved(tmp_path, 2)
    good = (place / name).read_bytes()
    for at in range(0, len(good), max(1, len(good) // 25)):
        (place / name).write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        assert not checkpoints.is_valid(place), at
    (place / name).write_bytes(good)
    assert checkpoints.is_valid(place)


def test_one_flipped_byte_in_the_manifest_makes_it_invalid(tmp_path):
    """Every byte in turn; a change of the white space between values changes nothing that is said."""
    place = saved(tmp_path, 2)
    path = place / "MANIFEST.json"
    good = path.read_bytes()
    for at in range(len(good)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        if checkpoints.is_valid(place):
            assert json.loads(path.read_bytes()) == json.loads(good), at


def test_several_broken_ones_are_passed_over(tmp_path):
    first = saved(tmp_path, 1)
    for step in (2, 3):
        (saved(tmp_path, step) / "weights.safetensors").write_bytes(b"x")
    assert checkpoints.latest(tmp_path) == first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000001", "step-00000002.corrupt", "step-00000003.corrupt"]


def test_looking_only_changes_nothing(tmp_path):
    (saved(tmp_path, 1) / "weights.safetensors").unlink()
    assert checkpoints.latest(tmp_path, repair=False) is None
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001"]


def test_what_a_crash_leaves_behind_is_never_the_latest(tmp_path):
    first = saved(tmp_path, 1)
    shutil.copytree(first, tmp_path / ".step-00000002.tmp")
    (tmp_path / ".step-00000002.tmp" / "MANIFEST.json").unlink()
    shutil.copytree(first, tmp_path / "step-00000003")
    (tmp_path / "step-00000003" / "MANIFEST.json").unlink()
    assert checkpoints.latest(tmp_path) == first
    assert checkpoints.is_valid(saved(tmp_path, 2))


def test_a_folder_that_is_not_there_has_no_checkpoint(tmp_path):
    assert checkpoints.latest(tmp_path / "nowhere") is None


def test_keep_only_leaves_what_is_not_a_checkpoint(tmp_path):
    for step in (1, 2, 3):
        saved(tmp_path, step)
    (tmp_path / "step-00000002").rename(tmp_path / "step-00000002.corrupt")
    checkpoints.keep_only(tmp_path, {"step-00000003"})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000002.corrupt", "step-00000003"]


def test_every_rank_writes_its_own_file_and_the_first_one_the_rest(tmp_path):
    """Two ranks that meet in threads."""
    meeting, table = threading.Barrier(2, timeout=20), [None, None]

    class Met(Group):
        def barrier(self):
            meeting.wait()

        def gather(self, value):
            table[self.rank] = value
            meeting.wait()
            return list(table)

    def work(rank):
        states = {"weights/w": torch.full((2,), float(rank))}, {"pieces": {}}
        save(tmp_path, 4, weights={"w": torch.full((1,), float(rank))}, states=states, facts={}, group=Met(rank, 2))

    second = threading.Thread(target=work, args=(1,))
    second.start()
    work(0)
    second.join(20)
    place = checkpoints.at(tmp_path, 4)
    assert checkpoints.is_valid(place)
    assert [float(load_file(path)["weights/w"][0]) for path in checkpoints.state_files(place)] == [0.0, 1.0]
    assert checkpoints.weights(place)["w"] == 0.0
    assert checkpoints.facts(place)["world"] == 2
    (place / "states-00001.safetensors").unlink()
    assert not checkpoints.is_valid(place)


def test_a_checkpoint_of_another_format_is_none(tmp_path):
    before, place = saved(tmp_path, 1), saved(tmp_path, 2)
    manifest = {**checkpoints.facts(place), "format": checkpoints.FORMAT - 1}
    del manifest["seal"]
    (place / "MANIFEST.json").write_text(json.dumps({**manifest, "seal": fingerprint(manifest)}))
    assert checkpoints.latest(tmp_path) == before


def test_a_step_is_replaced_only_when_the_new_one_is_whole(tmp_path, monkeypatch):
    before = saved(tmp_path, 3)
    monkeypatch.setattr(checkpoints, "write_json", None)
    with pytest.raises(TypeError):
        saved(tmp_path, 3)
    assert checkpoints.is_valid(before)
    monkeypatch.undo()
    saved(tmp_path, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000003"]
