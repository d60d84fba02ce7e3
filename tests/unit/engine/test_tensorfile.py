"""What is written is what safetensors reads, and what the manifest says of it."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from heliostat.engine import tensorfile

KINDS = [getattr(torch, name) for name in tensorfile.DTYPES]


def some(dtype):
    values = torch.arange(6).reshape(2, 3)
    return values % 2 == 0 if dtype is torch.bool else values.to(dtype)


@pytest.mark.parametrize("dtype", KINDS, ids=str)
def test_every_type_comes_back(tmp_path, dtype):
    given = {"b": some(dtype), "a": torch.tensor([7], dtype=torch.uint8), "scalar": torch.tensor(1.5), "none": torch.zeros(0, 3)}
    told = tensorfile.write(tmp_path / "x", given, {"step": "3", "notes": '{"ä": 1}'})
    found = load_file(tmp_path / "x")
    assert found.keys() == given.keys()
    assert all(torch.equal(found[name], value) and found[name].dtype == value.dtype for name, value in given.items())
    data = (tmp_path / "x").read_bytes()
    assert told == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    with safe_open(tmp_path / "x", "pt") as file:
        assert file.metadata() == {"step": "3", "notes": '{"ä": 1}'}


def test_every_tensor_begins_at_a_multiple_of_its_width(tmp_path):
    names = ["bool", "float64", "int8", "float16", "float32"]
    tensorfile.write(tmp_path / "x", {name: torch.ones(3).to(getattr(torch, name)) for name in names}, {})
    data = (tmp_path / "x").read_bytes()
    assert int.from_bytes(data[:8], "little") % tensorfile.ALIGNED == 0
    with safe_open(tmp_path / "x", "np") as file:
        assert all(np.array_equal(file.get_tensor(name), np.ones(3)) for name in names)


def test_views_and_transposed_tensors_are_written_as_they_look(tmp_path):
    whole = torch.arange(12.0).reshape(3, 4)
    tensorfile.write(tmp_path / "x", {"turned": whole.T, "part": whole[1:]}, {})
    found = load_file(tmp_path / "x")
    assert torch.equal(found["turned"], whole.T)
    assert torch.equal(found["part"], whole[1:])


def test_a_full_disk_is_told():
    with pytest.raises(OSError, match="No space left"):
        tensorfile.write(Path("/dev/full"), {"x": torch.zeros(1000)}, {})
