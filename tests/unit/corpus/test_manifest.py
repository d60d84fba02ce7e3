"""Tables that name files."""

import gzip
import json

import pytest

from contracts.media_samples import picture, pixels
from heliostat.core import seeds
from heliostat.corpus.sources import manifest
from heliostat.corpus.sources.base import Bad, Row
from heliostat.corpus.sources.manifest import Manifest

RNG = seeds.rng(1, "test", "manifest")


@pytest.fixture
def table(tmp_path):
    """A CSV of five rows: three good ones, a missing file and no name."""
    (tmp_path / "data" / "pictures").mkdir(parents=True)
    for i in range(3):
        (tmp_path / "data" / "pictures" / f"{i}.png").write_bytes(picture(pixels(RNG)))
    lines = [
        "file_name,label,camera",
        "pictures/0.png,cat,a",
        "pictures/gone.png,cat,a",
        "pictures/1.png,dog,b",
        ",dog,b",
        " pictures/2.png ,cat,b",
    ]
    (tmp_path / "data" / "rows.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "data" / "rows.csv"


def read(source, file=None):
    return [row for each in ([file] if file else source.files()) for row in source.rows(each)]


def test_a_row_has_the_bytes_of_its_file_and_what_the_table_says(table):
    source = Manifest(paths=str(table))
    rows = read(source)
    assert source.problems() == []
    assert source.peek(table) == ["file_name", "label", "camera", "image", "audio"]
    good = [row.values for row in rows if isinstance(row, Row)]
    assert [(row["label"], row["camera"]) for row in good] == [("cat", "a"), ("dog", "b"), ("cat", "b")]
    assert (
        [row["image"] for row in good]
        == [row["audio"] for row in good]
        == [(table.parent / "pictures" / f"{i}.png").read_bytes() for i in range(3)]
    )
    bad = [row for row in rows if isinstance(row, Bad)]
    assert [(row.line, row.reason) for row in bad] == [(3, "missing_file"), (5, "missing_file_name")]
    assert bad[0].excerpt == "pictures/gone.png"


def test_json_lines_and_other_names_of_the_column(table):
    rows = [{"image": "pictures/0.png", "label": 1}, {"image": str(table.parent / "pictures" / "1.png"), "label": 2}, {"image": 7}]
    other = table.with_name("rows.jsonl")
    other.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read(Manifest(paths=str(other), file="image"))
    assert [getattr(row, "reason", None) for row in found] == [None, None, "missing_file_name"]
    assert found[1].values == {"image": (table.parent / "pictures" / "1.png").read_bytes(), "audio": found[1].values["audio"], "label": 2}


def test_a_column_that_is_not_there_is_told_with_the_nearest(table):
    (told,) = Manifest(paths=str(table), file="file_nam").problems()
    assert told == "file: 'rows.csv' has no column 'file_nam'. Did you mean 'file_name'? It has: file_name, label, camera."


def test_it_is_read_in_spans_that_together_are_the_whole(table, monkeypatch):
    monkeypatch.setattr(manifest, "SPAN_ROWS", 2)
    source = Manifest(paths=str(table))
    spans = source.spans(table)
    assert spans == [(0, 2), (2, 4), (4, 5)]
    assert [row for span in spans for row in source.span(table, *span)] == read(source)
    monkeypatch.setattr(manifest, "MOST_SPANS", 2)
    assert Manifest(paths=str(table)).spans(table) == [(0, 3), (3, 5)]


def test_a_span_opens_no_file_of_another(table, monkeypatch):
    opened = []
    before = manifest.read_file
    monkeypatch.setattr(manifest, "read_file", lambda file, most: (opened.append(file.name), before(file, most))[1])
    list(Manifest(paths=str(table)).span(table, 2, 5))
    assert opened == ["1.png", "2.png"]


def test_a_picture_that_changes_changes_the_identity_and_its_size_is_known(table):
    source = Manifest(paths=str(table))
    files = list((table.parent / "pictures").iterdir())
    assert source.count() == 5
    assert source.size() == table.stat().st_size + sum(file.stat().st_size for file in files)
    files[0].write_bytes(picture(pixels(RNG)))
    assert Manifest(paths=str(table)).identity() != source.identity()


def test_a_damaged_table_is_left_in_one_piece_for_the_reading_to_tell(table):
    packed = table.with_name("rows.csv.gz")
    packed.write_bytes(gzip.compress(table.read_bytes() * 50)[:-30])
    source = Manifest(paths=str(packed))
    assert source.spans(packed) is None
    assert source.count() == 0
    with pytest.raises(EOFError):
        read(source)
