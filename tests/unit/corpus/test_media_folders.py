"""Folders of pictures and of recordings."""

import os

import numpy as np
import pytest

from contracts.media_samples import picture, pixels, recording, wave
from heliostat.core import seeds
from heliostat.corpus.sources.audio_folders import AudioFolders
from heliostat.corpus.sources.base import Bad, Row
from heliostat.corpus.sources.image_folders import ImageFolders

RNG = seeds.rng(1, "test", "folders")


@pytest.fixture
def folder(tmp_path):
    """Two classes of pictures and recordings, with what lies about in such folders."""
    for label in ("cat", "dog"):
        place = tmp_path / "data" / label
        place.mkdir(parents=True)
        (place / "one.PNG").write_bytes(picture(pixels(RNG)))
        (place / "two.jpeg").write_bytes(picture(pixels(RNG), "JPEG"))
        (place / "._one.PNG").write_bytes(b"left by another system")
        (place / "three.wav").write_bytes(recording(wave(RNG, 0.2)))
        (place / "notes.txt").write_text("not a picture")
        (place / "deeper").mkdir()
        (place / "deeper" / "four.png").write_bytes(picture(pixels(RNG)))
    (tmp_path / "data" / "cover.png").write_bytes(picture(pixels(RNG)))
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("kind", "part", "names"), [(ImageFolders, "image", ["one.PNG", "two.jpeg"]), (AudioFolders, "audio", ["three.wav"])]
)
def test_a_row_is_a_file_of_a_class_folder(folder, kind, part, names):
    source = kind(paths=str(folder))
    assert source.problems() == []
    rows = [row for file in source.files() for row in source.rows(file)]
    assert [(row.values["label"], row.values["file"]) for row in rows] == [(label, name) for label in ("cat", "dog") for name in names]
    assert [row.values[part] for row in rows] == [file.read_bytes() for file in source.files()]
    assert source.peek(source.files()[0]) == [part, "label", "file"]
    assert source.count() == len(rows)
    assert source.size() == sum(len(row.values[part]) for row in rows)


def test_one_class_is_told(folder):
    os.rename(folder / "dog", folder.parent / "dog")
    (told,) = ImageFolders(paths=str(folder)).problems()
    assert told.startswith("paths: only one class folder holds pictures: 'cat'.")
    assert "*.png *.jpg" in told


def test_a_file_that_cannot_be_read_is_one_bad_row(folder):
    source = ImageFolders(paths=str(folder), max_row_bytes=1024)
    large = folder / "cat" / "large.png"
    large.write_bytes(bytes(1025))
    gone = folder / "cat" / "gone.png"
    assert list(source.rows(large)) == [Bad(1, "too_long", "large.png")]
    assert list(source.rows(gone)) == [Bad(1, "missing_file", "gone.png")]
    assert list(source.rows(folder / "cat" / "deeper")) == [Bad(1, "unreadable_file", "deeper")]


@pytest.mark.parametrize("place", [0, -1])
def test_a_file_that_changes_changes_the_identity(folder, place):
    file = folder / "cat" / "one.PNG"
    file.write_bytes(picture(pixels(RNG, 200, 200)))  # larger than what is looked at
    before = ImageFolders(paths=str(folder)).identity()
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(bytes(data))
    changed = ImageFolders(paths=str(folder)).identity()
    assert changed != before
    file.rename(file.with_name("renamed.png"))
    assert ImageFolders(paths=str(folder)).identity() != changed


def test_empty_files_are_left_to_the_task(folder):
    (folder / "cat" / "empty.png").touch()
    source = ImageFolders(paths=str(folder))
    assert list(source.rows(folder / "cat" / "empty.png")) == [Row(1, {"image": b"", "label": "cat", "file": "empty.png"})]
    assert np.all([file.suffix for file in source.files()])
