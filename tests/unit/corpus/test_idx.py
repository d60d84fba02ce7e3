"""The files of MNIST and its likes."""

import gzip
import io
import struct

import numpy as np
import pytest
from PIL import Image

from heliostat.core import seeds
from heliostat.corpus.sources import idx
from heliostat.corpus.sources.base import Bad, Row
from heliostat.corpus.sources.idx import Idx

COUNT, HEIGHT, WIDTH = 7, 5, 6
RNG = seeds.rng(1, "test", "idx")
PIXELS = RNG.integers(0, 256, (COUNT, HEIGHT, WIDTH), dtype=np.uint8)
NUMBERS = np.array([0, 1, 2, 0, 1, 2, 9], np.uint8)


def write(folder, packed, images=None, labels=None):
    images = struct.pack(">4I", 0x803, COUNT, HEIGHT, WIDTH) + PIXELS.tobytes() if images is None else images
    labels = struct.pack(">2I", 0x801, COUNT) + NUMBERS.tobytes() if labels is None else labels
    end, pack = (".gz", gzip.compress) if packed else ("", bytes)
    file = folder / f"x-images-idx3-ubyte{end}"
    file.write_bytes(pack(images))
    (folder / f"x-labels-idx1-ubyte{end}").write_bytes(pack(labels))
    return file


@pytest.mark.parametrize("packed", [False, True])
def test_pictures_and_labels_come_back_as_they_were(tmp_path, packed):
    file = write(tmp_path, packed)
    source = Idx(paths=str(tmp_path), names=["zero", "one"])
    assert source.problems() == []
    rows = list(source.rows(file))
    assert [row.line for row in rows] == list(range(1, COUNT + 1))
    assert [row.values["label"] for row in rows] == ["zero", "one", "2", "zero", "one", "2", "9"]
    for row, expected in zip(rows, PIXELS, strict=True):
        opened = Image.open(io.BytesIO(row.values["image"]))
        assert (opened.format, opened.mode) == ("PNG", "L")
        assert np.array_equal(np.asarray(opened), expected)
    assert source.count() == COUNT


@pytest.mark.parametrize("packed", [False, True])
def test_it_is_read_in_spans_that_together_are_the_whole(tmp_path, packed, monkeypatch):
    monkeypatch.setattr(idx, "SPAN_ROWS", 3)
    monkeypatch.setattr(idx, "CHUNK_BYTES", 11)
    file = write(tmp_path, packed)
    source = Idx(paths=str(tmp_path))
    assert source.spans(file) == [(0, 3), (3, 6), (6, 7)]
    assert [row for span in source.spans(file) for row in source.span(file, *span)] == list(source.rows(file))
    monkeypatch.setattr(idx, "MOST_SPANS", 2)
    assert source.spans(file) == [(0, 4), (4, 7)]


def test_files_that_are_not_what_they_seem_are_told_before_anything_is_read(tmp_path):
    file = write(tmp_path, False, labels=struct.pack(">2I", 0x801, 6) + NUMBERS[:6].tobytes())
    source = Idx(paths=str(tmp_path))
    assert source.problems() == ["paths: 'x-images-idx3-ubyte' holds 7 pictures, and 'x-labels-idx1-ubyte' 6 labels."]
    rows = list(source.rows(file))
    assert [type(row) for row in rows] == [Row] * 6 + [Bad]
    assert (rows[-1].line, rows[-1].reason) == (7, "missing_label")
    (tmp_path / "x-labels-idx1-ubyte").unlink()
    assert "'x-labels-idx1-ubyte' is not beside it" in source.problems()[0]
    write(tmp_path, False, images=b"\x89PNG and so on, which is no IDX file")
    assert "'x-images-idx3-ubyte' in" in source.problems()[0]
    assert [row.reason for row in source.rows(file)] == ["not_idx"]


def test_a_file_that_ends_too_soon_is_damaged_and_a_giant_picture_too_long(tmp_path):
    file = write(tmp_path, False, images=struct.pack(">4I", 0x803, COUNT, HEIGHT, WIDTH) + PIXELS.tobytes()[:-3])
    rows = Idx(paths=str(tmp_path)).rows(file)
    assert [next(rows).line for _ in range(6)] == [1, 2, 3, 4, 5, 6]
    with pytest.raises(EOFError, match="picture 7 of 7"):
        next(rows)
    write(tmp_path, False, images=struct.pack(">4I", 0x803, 1, 100_000, 100_000))
    assert [row.reason for row in Idx(paths=str(tmp_path)).rows(file)] == ["too_long"]


def test_other_labels_are_another_corpus(tmp_path):
    write(tmp_path, True)
    before = Idx(paths=str(tmp_path)).identity()
    write(tmp_path, True, labels=struct.pack(">2I", 0x801, COUNT) + NUMBERS[::-1].tobytes())
    assert Idx(paths=str(tmp_path)).identity() != before
