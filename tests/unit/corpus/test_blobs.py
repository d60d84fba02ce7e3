"""A corpus of pictures: bytes never pass through the driver, and come out as they went in."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.media_samples import COLOURS, picture, pixels
from heliostat.core import seeds
from heliostat.corpus import blobs, reading
from heliostat.corpus.config import CorpusConfig
from heliostat.corpus.stage import build
from heliostat.tasks.image_classification import ImageClassification

RNG = seeds.rng(1, "test", "blobs")
EACH = 14
TASK = ImageClassification()


@pytest.fixture
def folder(tmp_path):
    """Pictures of three colours; one of them twice in two formats, one under two labels, one broken, one tiny."""
    for label, tone in COLOURS.items():
        place = tmp_path / "data" / label
        place.mkdir(parents=True)
        for i in range(EACH):
            (place / f"{i:02d}.png").write_bytes(picture(pixels(RNG, tone=tone)))
    twice, both = pixels(RNG, tone=COLOURS["red"]), pixels(RNG)
    (tmp_path / "data" / "red" / "20.png").write_bytes(picture(twice))
    (tmp_path / "data" / "red" / "21.bmp").write_bytes(picture(twice, "BMP"))
    for label in ("green", "blue"):
        (tmp_path / "data" / label / "30.png").write_bytes(picture(both))
    (tmp_path / "data" / "blue" / "40.png").write_bytes(picture(both)[:300])
    (tmp_path / "data" / "blue" / "41.png").write_bytes(picture(pixels(RNG, 3, 3)))
    return tmp_path / "data"


def settings(folder, **changes):
    return CorpusConfig(sources=[{"use": "image_folders", "paths": str(folder)}], max_bad_share=0.2, **changes)


def test_every_picture_is_where_it_belongs_with_its_own_bytes(folder, context, rows_of, quarantined):
    corpus = build(settings(folder), ctx=context(), task=TASK)
    assert corpus.dropped == {"broken_image": 1, "conflicting_labels": 2, "exact_duplicate": 1, "too_small": 1}
    assert sum(corpus.rows.values()) == 3 * EACH + 1
    assert corpus.labels == ("blue", "green", "red")
    files = {file.read_bytes(): file.parent.name for file in folder.glob("*/*")}
    rows = rows_of(corpus)
    assert all(files[row["image"]] == row["label"] for row in rows)
    assert len({row["image"] for row in rows}) == len(rows)
    assert {row["reason"]: row["file"].rsplit("/", 1)[-1] for row in quarantined()}["exact_duplicate"] == "21.bmp"
    assert "bytes" in next(row["excerpt"] for row in quarantined() if row["reason"] == "too_small")
    assert set(pq.read_schema(corpus.split("train")[0]).names) == {"id", "text", "label", "image", "source", "domain", "weight"}
    assert not (corpus.path / blobs.FOLDER).exists(), "what was kept beside the table is gone"


def test_the_driver_is_given_places_and_no_bytes(folder, tmp_path):
    config = settings(folder)
    (piece,) = reading.pieces(config)
    table = reading.ReadPiece(config, TASK, folder=tmp_path)(piece)
    assert not [field for field in table.schema if pa.types.is_large_binary(field.type)]
    kept = sum(len(file.read_bytes()) for file in folder.glob("*/*.[pb][nm][gp]")) - 300 - len((folder / "blue" / "41.png").read_bytes())
    assert sum(size for size in table.column(blobs.SIZE).to_pylist() if size) == kept
    assert table.nbytes < kept / 4


def test_the_rows_are_the_same_however_they_are_cut_into_files_and_pieces(folder, context, monkeypatch):
    one = build(settings(folder), ctx=context(folder="one"), task=TASK)
    monkeypatch.setattr(blobs, "BATCH_BYTES", 5000)
    monkeypatch.setattr(blobs, "SHARD_BYTES", 20_000)
    monkeypatch.setattr("heliostat.corpus.sources.base.PIECE_FILES", 5)
    two = build(settings(folder), ctx=context(folder="two"), task=TASK)
    assert len(two.split("train")) > len(one.split("train")) == 1
    assert all(pq.read_table(file).column("image").nbytes <= 25_000 for file in two.split("train"))
    for name in one.rows:
        first, second = (pa.concat_tables([pq.read_table(file) for file in each.split(name)]) for each in (one, two))
        assert first.equals(second)


def test_files_end_at_so_many_rows_or_bytes():
    sizes = pa.array([10, 10, 100, 10, 10, 10]).to_numpy()
    assert list(blobs.shards(sizes, 2)) == [(0, 2), (2, 4), (4, 6)]
    assert list(blobs.shards(sizes, 100)) == [(0, 6)]
    assert list(blobs.shards(sizes[:0], 2)) == []
    large = pa.array([blobs.SHARD_BYTES - 5, 3, 3, blobs.SHARD_BYTES + 1, 1]).to_numpy()
    assert list(blobs.shards(large, 100)) == [(0, 2), (2, 3), (3, 4), (4, 5)]


def test_a_look_before_the_run_keeps_nothing(folder, tmp_path):
    for file in folder.glob("*/[1234]*"):
        file.unlink()
    config = CorpusConfig(sources=[{"use": "image_folders", "paths": str(folder)}])
    assert config.problems(TASK) == []
    for file in (*folder.glob("red/*"), *folder.glob("green/0[1-9]*")):
        file.unlink()
    (told,) = config.problems(TASK)
    assert "class 'green' has 1; at least 3 are needed" in told
    assert not list(tmp_path.glob("**/*.arrow"))


def test_a_variant_of_the_corpus_trains_on_none_of_the_held_out_pictures(folder, context, rows_of):
    own = build(settings(folder), ctx=context(folder="own"), task=TASK)
    copied = folder / "red" / "99.bmp"
    held = next(row for row in rows_of(own, "test") if row["label"] == "red")
    from PIL import Image

    with Image.open(next(file for file in folder.glob("red/*") if file.read_bytes() == held["image"])) as image:
        image.save(copied)
    variant = build(settings(folder), ctx=context(folder="variant"), task=TASK, held_out=own)
    assert rows_of(variant, "valid", "test") == rows_of(own, "valid", "test")
    contents = [{TASK.content(row) for row in rows_of(variant, name)} for name in variant.rows]
    assert not contents[0] & (contents[1] | contents[2])
    assert variant.rows["train"] == own.rows["train"]


def test_text_filters_and_near_duplicates_are_refused_for_pictures(folder):
    found = settings(folder, near_duplicates={}, filters=["length"]).problems(TASK)
    assert found == [
        f"corpus.{name}: it reads text, and a row of image_classification holds image. Leave it out."
        for name in ("filters", "near_duplicates")
    ]
