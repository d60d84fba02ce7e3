"""A checkpoint is whole or not there, and the newest whole one is used."""

import json
import shutil

import pytest
import torch

from heliostat.engine import checkpoints
from heliostat.engine.group import Group

FACTS = {"curve": [{"step": 3, "value": 0.1 + 0.2, "loss": None}], "best": None}


def saved(folder, step):
    weights = {"w": torch.full((4, 3), float(step)), "b": torch.arange(3.0)}
    return checkpoints.save(folder, step, weights=weights, shard={"exp_avg": torch.ones(5) * step}, facts=FACTS, group=Group())


def test_what_is_saved_comes_back(tmp_path):
    place = saved(tmp_path, 3)
    assert checkpoints.latest(tmp_path) == place
    assert torch.equal(checkpoints.weights(place)["w"], torch.full((4, 3), 3.0))
    assert torch.equal(checkpoints.shard(place, 0)["exp_avg"], torch.full((5,), 3.0))
    assert {k: checkpoints.facts(place)[k] for k in ("step", "world", *FACTS)} == {"step": 3, "world": 1, **FACTS}


def test_weights_alone_are_a_checkpoint(tmp_path):
    place = checkpoints.save(tmp_path, 1, weights={"w": torch.ones(2)}, shard=None, facts={}, group=Group())
    assert sorted(p.name for p in place.iterdir()) == ["MANIFEST.json", "weights.safetensors"]
    assert checkpoints.is_valid(place)


def test_the_newest_is_the_one_with_the_highest_step(tmp_path):
    for step in (9, 100, 20):
        saved(tmp_path, step)
    assert checkpoints.latest(tmp_path).name == "step-00000100"


def test_saving_a_step_again_replaces_it(tmp_path):
    saved(tmp_path, 3)
    place = checkpoints.save(tmp_path, 3, weights={"w": torch.zeros(1)}, shard=None, facts={}, group=Group())
    assert checkpoints.is_valid(place)
    assert checkpoints.weights(place).keys() == {"w"}


@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer-00000.pt", "MANIFEST.json"])
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


@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer-00000.pt"])
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


def test_every_rank_writes_its_shard_and_the_first_one_the_rest(tmp_path):
    """Two ranks take turns: the second one's part is done at the first one's first barrier."""

    class First(Group):
        def barrier(self):
            if (tmp_path / ".step-00000004.tmp").exists() and not list(tmp_path.glob(".step*/optimizer-00001.pt")):
                checkpoints.save(tmp_path, 4, weights=None, shard={"rank": 1}, facts={}, group=Second(1, 2))

    class Second(Group):
        def barrier(self):
            """Its turn comes between the first one's barriers."""

    place = checkpoints.save(tmp_path, 4, weights={"w": torch.ones(1)}, shard={"rank": 0}, facts={}, group=First(0, 2))
    assert checkpoints.is_valid(place)
    assert [checkpoints.shard(place, rank)["rank"] for rank in (0, 1)] == [0, 1]
    assert checkpoints.facts(place)["world"] == 2
    (place / "optimizer-00001.pt").unlink()
    assert not checkpoints.is_valid(place)
