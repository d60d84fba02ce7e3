"""What every source promises, found by itself in the family."""

import gzip
import random
import shutil
import zlib

import pyarrow as pa
import pytest
from pydantic import ValidationError

from heliostat.core import family
from heliostat.corpus.sources.base import Bad, Row

NAMES = family.names("corpus.sources")
DAMAGE = (OSError, EOFError, zlib.error, ValueError, pa.ArrowException)
"""What a file that cannot be read at all may raise; never because of one row."""


def fill(folder, suffix, data):
    """Two files that any source takes for its own when it is given `folder`."""
    for name in ("one", "two"):
        (folder / name).mkdir(parents=True)
        (folder / name / f"x{suffix}").write_bytes(data)
    return str(folder)


@pytest.fixture(params=NAMES)
def kind(request):
    return family.find("corpus.sources", request.param)


def test_finds_files_in_a_folder_in_a_fixed_order(kind, tmp_path):
    source = kind(paths=fill(tmp_path / "data", kind.suffixes[0], b"x"))
    assert [f.parent.name for f in source.files()] == ["one", "two"]
    assert [f for piece in source.pieces() for f in piece] == source.files()


def test_identity_is_the_content_and_not_the_place(kind, tmp_path):
    first = kind(paths=fill(tmp_path / "a", kind.suffixes[0], b"text,label\n"))
    moved = kind(paths=[str(shutil.copytree(tmp_path / "a", tmp_path / "b"))])
    other = kind(paths=fill(tmp_path / "c", kind.suffixes[0], b"text,label\nmore,1\n"))
    assert first.identity() == moved.identity()
    assert first.identity() != other.identity()
    assert str(tmp_path) not in str(first.identity())
    assert kind(paths=first.paths, max_row_bytes=9999).identity() != first.identity()


@pytest.mark.parametrize("path", ["absent/*.x", "absent", "dta"])
def test_a_path_without_files_is_told_with_what_is_near(kind, tmp_path, path):
    (tmp_path / "data").mkdir()
    (problem,) = kind(paths=[str(tmp_path / path)]).problems()
    assert problem.startswith("paths: ")
    assert "data" in problem
    assert ("Did you mean" in problem) == (path == "dta")


def test_a_folder_without_fitting_files_is_told(kind, tmp_path):
    (tmp_path / "notes.odt").touch()
    (problem,) = kind(paths=[str(tmp_path)]).problems()
    assert kind.suffixes[0] in problem
    assert ".odt" in problem


def test_a_missing_package_is_told(kind):
    (problem,) = kind(paths=["package:no_such_package/data"]).problems()
    assert "pip install no-such-package" in problem


@pytest.mark.parametrize("encoding", ["utf8x", "utf-16"])
def test_an_encoding_that_cannot_be_read_row_by_row_is_refused(kind, encoding):
    with pytest.raises(ValidationError, match=encoding):
        kind(paths=["x"], encodings=[encoding])


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("packed", [False, True])
def test_no_bytes_at_all_raise_because_of_a_row(kind, tmp_path, seed, packed):
    rng = random.Random(seed)
    data = bytes(rng.choice(b'{}[]",\n\r\0\\:a1\xff\xe9\xe5\xa5\xbd ') for _ in range(4000)) if seed else b""
    suffix = next((s for s in kind.suffixes if s.endswith(".gz")), None) if packed else kind.suffixes[0]
    if suffix is None:
        pytest.skip("not read compressed")
    fill(tmp_path / "data", suffix, gzip.compress(data) if packed else data)
    source = kind(paths=[str(tmp_path / "data")])
    try:
        rows = [row for file in (tmp_path / "data").glob("*/*") for row in source.rows(file)]
    except DAMAGE:
        assert not packed
        assert "parquet" in kind.suffixes[0]
        return
    assert all(isinstance(row, Row | Bad) for row in rows)
    assert all(len(row.excerpt) <= 200 and row.excerpt.isprintable() for row in rows if isinstance(row, Bad))
