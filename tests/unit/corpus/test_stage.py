"""The whole stage, without Ray."""

import gzip
import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from heliostat.core.errors import UserError
from heliostat.core.values import name_of
from heliostat.core.workspace import Workspace
from heliostat.corpus.config import CorpusConfig
from heliostat.corpus.labels import in_natural_order
from heliostat.corpus.stage import build
from heliostat.tasks.text_classification import TextClassification


class InProcess:
    """Maps pieces here and now."""

    def map_pieces(self, pieces, function):
        return map(function, pieces)


@pytest.fixture
def two_classes(texts):
    return [{"text": text, "label": "ab"[i % 2]} for i, text in enumerate(texts(100))]


def jsonl(*paths, **options):
    return [{"use": "jsonl", "paths": list(paths), **options}]


def test_rows_come_out_clean_split_and_in_a_fixed_order(run, rows_of, write_jsonl, two_classes, tmp_path):
    corpus = run(sources=jsonl(write_jsonl(two_classes), called="mine"), rows_per_shard=30)
    assert corpus.rows == {"train": 68, "valid": 16, "test": 16}  # 34, 8 and 8 of each class
    assert corpus.labels == ("a", "b")
    assert (corpus.read, corpus.dropped, corpus.fingerprint, corpus.path) == (100, {}, "mark", tmp_path / "out")
    assert [f.name for f in corpus.split("train")] == ["part-00000.parquet", "part-00001.parquet", "part-00002.parquet"]
    rows = rows_of(corpus)
    assert {(r["text"], r["label"]) for r in rows} == {(r["text"], r["label"]) for r in two_classes}
    assert len({r["id"] for r in rows}) == 100
    assert list(rows[0]) == ["id", "text", "label", "source", "domain", "weight"]
    assert (rows[0]["source"], rows[0]["domain"], rows[0]["weight"]) == ("mine", "domain", 1.0)
    ids = [r["id"] for r in rows_of(corpus, "train")]
    assert ids == sorted(ids)


def test_the_same_rows_give_the_same_files_however_they_are_cut(run, write_jsonl, two_classes, tmp_path):
    one = run(sources=jsonl(write_jsonl(two_classes)), folder="one")
    random.Random(1).shuffle(two_classes)
    parts = [write_jsonl(two_classes[i::7], f"parts/{i}.jsonl") for i in range(7)]
    many = run(sources=jsonl(*parts), folder="many")
    for split in one.rows:
        assert [f.read_bytes() for f in one.split(split)] == [f.read_bytes() for f in many.split(split)]


def test_another_seed_gives_another_split_and_the_same_ids(run, rows_of, write_jsonl, two_classes):
    path = write_jsonl(two_classes)
    one, other = run(sources=jsonl(path), folder="one"), run(seed=8, sources=jsonl(path), folder="other")
    assert {r["id"] for r in rows_of(one)} == {r["id"] for r in rows_of(other)}
    assert {r["id"] for r in rows_of(one, "test")} != {r["id"] for r in rows_of(other, "test")}


def test_every_dropped_row_is_in_the_quarantine_with_its_line_and_reason(run, quarantined, write_jsonl, two_classes):
    words = two_classes[3]["text"].split()
    broken = [
        {"text": two_classes[0]["text"].upper(), "label": "a"},
        {"text": two_classes[1]["text"], "label": "a"},
        {"text": " ".join(["W0", *words]), "label": "b"},
        {"text": " \n", "label": "a"},
        {"text": None, "label": "a"},
        {"label": "a"},
        {"text": 5, "label": "a"},
        {"text": "a\u0000b", "label": "a"},
        {"text": "no label", "label": None},
        {"text": "x", "label": "a"},
        {"text": "again " * 50, "label": "a"},
    ]
    path = write_jsonl(two_classes + broken)
    with open(path, "ab") as file:
        file.write(b'{"text": "caf\xe9 au lait", "label": "a"}\n{"text": "half \\ud83d", "label": "a"}\n{broken\n')
    corpus = run(sources=jsonl(path), max_bad_share=0.2)
    assert corpus.dropped == {
        "broken_json": 1,
        "conflicting_labels": 2,
        "empty_text": 1,
        "exact_duplicate": 1,
        "missing_label": 1,
        "missing_text": 2,
        "near_duplicate": 1,
        "nul_bytes": 1,
        "repetition": 1,
        "text_not_string": 1,
        "too_short": 1,
        "wrong_encoding": 2,
    }
    rows = quarantined()
    assert len(rows) == sum(corpus.dropped.values()) == corpus.read - sum(corpus.rows.values())
    assert all(set(row) == {"source", "file", "line", "reason", "excerpt"} and row["file"] == path for row in rows)
    assert {row["line"]: row["reason"] for row in rows} == {
        101: "exact_duplicate",
        2: "conflicting_labels",
        102: "conflicting_labels",
        103: "near_duplicate",
        104: "empty_text",
        105: "missing_text",
        106: "missing_text",
        107: "text_not_string",
        108: "nul_bytes",
        109: "missing_label",
        110: "too_short",
        111: "repetition",
        112: "wrong_encoding",
        113: "wrong_encoding",
        114: "broken_json",
    }


def test_near_duplicates_that_are_kept_share_a_split(run, rows_of, write_jsonl, texts):
    rows = [{"text": f"{text} {end}", "label": "ab"[i % 2]} for i, text in enumerate(texts(60)) for end in ("one", "two")]
    corpus = run(sources=jsonl(write_jsonl(rows)), near_duplicates={"action": "group", "threshold": 0.6})
    assert sum(corpus.rows.values()) == 120
    heads = {split: {r["text"].rsplit(" ", 1)[0] for r in rows_of(corpus, split)} for split in corpus.rows}
    assert sum(map(len, heads.values())) == len(set.union(*heads.values())) == 60


def test_near_duplicates_can_be_left_alone(run, write_jsonl, two_classes):
    rows = two_classes + [{"text": f"{row['text']} more", "label": row["label"]} for row in two_classes]
    assert run(sources=jsonl(write_jsonl(rows)), near_duplicates=None).dropped == {}


def test_a_group_never_crosses_a_split_and_rows_without_one_stand_alone(run, rows_of, write_jsonl, two_classes):
    rows = [{**row, "author": i // 5 if i < 80 else None, "part": f"{i // 5}"} for i, row in enumerate(two_classes)]
    corpus = run(sources=jsonl(write_jsonl(rows)), split={"group": "author"}, slices=["part"])
    found = {split: {r["part"] for r in rows_of(corpus, split) if int(r["part"]) < 16} for split in corpus.rows}
    assert sum(map(len, found.values())) == 16
    assert all(found.values())


def test_slices_are_carried_as_text(run, rows_of, write_jsonl, two_classes):
    rows = [{**row, "year": 2000 + i % 3, "vip": i % 2 == 0, "note": None} for i, row in enumerate(two_classes)]
    out = rows_of(run(sources=jsonl(write_jsonl(rows)), slices=["year", "vip", "note"]))
    assert {r["year"] for r in out} == {"2000", "2001", "2002"}
    assert {r["vip"] for r in out} == {"true", "false"}
    assert {r["note"] for r in out} == {None}


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([0, 1], ("0", "1")),
        ([True, False], ("false", "true")),
        ([0.5, 1.0], ("0.5", "1")),
        ([10, 9], ("9", "10")),
        (["好", "差"], ("好", "差")),
    ],
)
def test_labels_of_any_type_become_their_names(run, tmp_path, texts, values, names):
    file = tmp_path / "x.parquet"
    pq.write_table(pa.table({"text": texts(20), "label": values * 10}), file)
    assert set(run(sources=[{"use": "parquet", "paths": [str(file)]}]).labels) == set(names)


def test_names_of_values_that_are_none():
    assert [name_of(v) for v in (None, float("nan"), "", "  ", [1], {"a": 1}, "\0", "\ud800")] == [None] * 8
    assert [name_of(v) for v in (3, 3.0, "3", " x ", True, 0.25, -0.0)] == ["3", "3", "3", "x", "true", "0.25", "0"]


def test_labels_are_in_natural_order():
    assert in_natural_order(["10", "9", "b", "-1", "class 10", "class 2", "2.5"]) == ["-1", "2.5", "9", "10", "b", "class 2", "class 10"]


def test_several_sources_of_several_formats_make_one_corpus(run, rows_of, tmp_path, texts):
    for label, start in (("a", 0), ("b", 10)):
        (tmp_path / "folders" / label).mkdir(parents=True)
        for i, text in enumerate(texts(10, start)):
            (tmp_path / "folders" / label / f"{i}.txt").write_text(text)
    body = "".join(f"{text};{'ab'[i % 2]}\n" for i, text in enumerate(texts(20, 50)))
    (tmp_path / "x.csv").write_text("body;class\n" + body)
    csv = {"use": "csv", "paths": str(tmp_path / "*.csv"), "delimiter": ";", "columns": {"text": "body", "label": "class"}}
    corpus = run(sources=[{"use": "class_folders", "paths": str(tmp_path / "folders")}, csv])
    assert sorted(r["source"] for r in rows_of(corpus)) == ["class_folders"] * 20 + ["csv"] * 20


def test_too_many_malformed_rows_stop_the_run_with_their_counts(run, quarantined, write_jsonl, two_classes):
    path = write_jsonl([*two_classes, *[{"text": "no label"}] * 10, {"text": None, "label": "a"}])
    with pytest.raises(UserError) as caught:
        run(sources=jsonl(path))
    message = str(caught.value)
    assert "11 of 111 rows (9.9%)" in message
    assert "10 missing_label, 1 missing_text" in message
    assert "quarantine.jsonl" in message
    assert len(quarantined()) == 11


def test_filtered_rows_and_duplicates_are_not_malformed(run, write_jsonl, two_classes):
    path = write_jsonl(two_classes * 3 + [{"text": "x", "label": "a"}] * 50)
    assert run(sources=jsonl(path), max_bad_share=0).dropped == {"exact_duplicate": 200, "too_short": 50}


def test_a_refused_corpus_may_be_made_with_other_settings(tmp_path, write_jsonl, two_classes):
    sources = jsonl(write_jsonl([*two_classes, {"text": "", "label": "a"}]))
    with Workspace(tmp_path / "run", seed=7, engine=InProcess()) as space:
        with pytest.raises(UserError, match="max_bad_share"):
            space.do(build, CorpusConfig(sources=sources, max_bad_share=0), task=TextClassification())
        assert (tmp_path / "run" / "corpus" / "quarantine.jsonl").exists()
        assert space.do(build, CorpusConfig(sources=sources, max_bad_share=0.5), task=TextClassification()).dropped["empty_text"] == 1


def test_the_wrong_encoding_is_told_with_the_setting_that_helps(run, tmp_path, texts):
    data = "text,label\n" + "".join(f"{i} 这家酒店很好,{'ab'[i % 2]}\n" for i in range(20))
    (tmp_path / "x.csv").write_bytes(data.encode("gb18030"))
    with pytest.raises(UserError, match=r"20 wrong_encoding.*`encodings`"):
        run(sources=[{"use": "csv", "paths": str(tmp_path / "x.csv")}])


@pytest.mark.parametrize("kept", [1000, 30])
def test_a_truncated_file_stops_the_run(run, write_jsonl, two_classes, tmp_path, kept):
    whole = gzip.compress(Path(write_jsonl(two_classes)).read_bytes())
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[: min(kept, len(whole) - 20)])
    with pytest.raises(UserError, match=r"1 files cannot be read to their end: .*cut\.jsonl\.gz.*Restore"):
        run(sources=jsonl(write_jsonl(two_classes), str(tmp_path / "cut.jsonl.gz")))


def test_one_class_is_refused(run, write_jsonl, texts):
    with pytest.raises(UserError, match="all have the class 'a'"):
        run(sources=jsonl(write_jsonl([{"text": text, "label": "a"} for text in texts(20)])))


@pytest.mark.parametrize("rows", [[], [{"text": "x", "label": "a"}, {"text": "y", "label": "b"}]], ids=["empty", "all dropped"])
def test_nothing_left_is_refused_with_what_was_dropped(run, write_jsonl, rows):
    dropped = "2 too_short" if rows else "none"
    with pytest.raises(UserError, match=f"of {len(rows)} rows read, after cleaning none is left. Dropped: {dropped}"):
        run(sources=jsonl(write_jsonl(rows)))


def test_a_class_too_small_is_refused(run, write_jsonl, two_classes):
    with pytest.raises(UserError, match="class 'rare' has 1 rows after cleaning"):
        run(sources=jsonl(write_jsonl([*two_classes, {"text": "seen only once", "label": "rare"}])))


def test_a_half_written_folder_is_overwritten(run, rows_of, write_jsonl, two_classes, tmp_path):
    path = write_jsonl(two_classes)
    clean = run(sources=jsonl(path), folder="clean")
    left = tmp_path / "out" / "train"
    left.mkdir(parents=True)
    (left / "part-00007.parquet").write_bytes(b"torn")
    (tmp_path / "out" / "quarantine.jsonl").write_text("{torn")
    again = run(sources=jsonl(path))
    assert rows_of(again) == rows_of(clean)
    assert (tmp_path / "out" / "quarantine.jsonl").read_bytes() == b""
    assert not list((tmp_path / "out").rglob("*.tmp"))


def test_the_profile_counts_what_is_there(run, rows_of, write_jsonl, two_classes, tmp_path):
    near = {"text": two_classes[0]["text"] + " more", "label": "a"}
    corpus = run(sources=jsonl(write_jsonl([*two_classes, near])))
    profile = json.loads((tmp_path / "out" / "profile.json").read_text())
    assert (profile["read"], profile["rows"], profile["dropped"]) == (101, 100, {"near_duplicate": 1})
    train = rows_of(corpus, "train")
    lengths = sorted(len(r["text"]) for r in train)
    told = profile["splits"]["train"]
    assert told["rows"] == len(train)
    assert told["classes"] == {label: sum(r["label"] == label for r in train) for label in "ab"}
    assert (told["characters"]["0"], told["characters"]["1"]) == (lengths[0], lengths[-1])
    (pair,) = profile["near_duplicate_pairs"]
    assert pair["second"] == near["text"]
    assert 0.8 <= pair["similarity"] < 1


def test_progress_is_told_in_pieces(context, write_jsonl, two_classes):
    ctx = context()
    build(CorpusConfig(sources=jsonl(write_jsonl(two_classes)) * 2), ctx=ctx, task=TextClassification())
    assert ctx.show.seen == [("corpus", 1, 2, "pieces"), ("corpus", 2, 2, "pieces")]
