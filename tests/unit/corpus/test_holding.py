"""Variants of a corpus: nothing they train on is like what the corpus judges by, and all the rest is there."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from heliostat.core.errors import UserError
from heliostat.corpus import duplicates
from heliostat.corpus.shingles import key, signatures

NEAR = {"threshold": 0.7}


def jsonl(*paths, **options):
    return [{"use": "jsonl", "paths": list(paths), **options}]


@pytest.fixture
def messy(texts):
    """Rows of two classes with groups, near and exact duplicates, mark-up, contradictions, short and long ones, and a rare class."""
    rows = []
    for i, text in enumerate(texts(240)):
        row = {"text": text, "label": "ab"[i % 2], "author": f"g{i // 3}" if i < 90 else None}
        rows.append(row)
        if i % 4 == 0:
            rows.append({**row, "text": f"{text} tail{i}", "author": None})  # nearly the same
        if i % 6 == 0:
            rows.append({**row, "text": f"  {text.upper()} ", "author": f"h{i}"})
        if i % 10 == 0:  # the same once mark-up is out
            rows.append({**row, "text": f"<div class='x{i} y{i} z{i}'>" + "".join(f"<b>{w}</b> " for w in text.split()) + "</div>"})
        if i % 15 == 0:
            rows.append({**row, "text": f"{text} more{i}", "author": None, "label": "ba"[i % 2]})
        if i % 8 == 1:
            rows.append({**row, "text": " ".join([*text.split()[:9], "x", "y", f"z{i}"]), "author": None})  # half the same
    rows += [{"text": f"word{i} {i}", "label": "ab"[i % 2], "author": f"g{i}"} for i in range(20)]
    return rows + [{"text": f"r{i} s{i}", "label": "rare", "author": None} for i in range(2)]


VARIANTS = {
    "nothing": {},
    "no filters": {"filters": []},
    "no near-duplicates": {"near_duplicates": None},
    "longer texts": {"filters": ["fix_text", {"use": "length", "min_characters": 60}]},
    "shorter texts": {"filters": ["fix_text", {"use": "length", "min_characters": 1, "max_characters": 78}]},
    "looser": {"near_duplicates": {"threshold": 0.45}},
    "stricter": {"near_duplicates": {"threshold": 0.95}},
    "other shingles": {"near_duplicates": {"threshold": 0.7, "shingle_words": 1, "permutations": 64}},
    "kept together": {"near_duplicates": {"threshold": 0.7, "action": "group"}},
    "other reading": {"filters": [], "near_duplicates": None, "sources": {"encodings": ["latin-1"]}},
}
BASE = {"filters": ["fix_text", {"use": "length", "min_characters": 12}], "near_duplicates": NEAR, "split": {"group": "author"}}


def similarity(one, other, length=3, permutations=128):
    """Largest estimated similarity of each text of `one` to those of `other`."""
    a, b = signatures(one, length, permutations), signatures(other, length, permutations)
    return np.array([(row == b).mean(axis=1).max() for row in a])


@pytest.mark.parametrize("action", ["drop", "group"])
@pytest.mark.parametrize("name", VARIANTS)
def test_nothing_like_the_held_out_rows_is_trained_on_and_all_the_rest_is(run, rows_of, write_jsonl, quarantined, messy, name, action):
    path = write_jsonl(messy)
    base = {**BASE, "near_duplicates": {**NEAR, "action": action}}
    corpus = run(sources=jsonl(path), folder="base", **base)
    changes = dict(VARIANTS[name])
    sources = jsonl(path, **changes.pop("sources", {}))
    settings = {**base, **changes}
    variant = run(sources=sources, folder="variant", held_out=corpus, **settings)

    assert [f.read_bytes() for s in ("valid", "test") for f in variant.split(s)] == [
        f.read_bytes() for s in ("valid", "test") for f in corpus.split(s)
    ]
    assert variant.labels == corpus.labels == ("a", "b")
    dropped = quarantined("variant")
    assert variant.read == len(messy) == variant.rows["train"] + sum(variant.dropped.values())
    assert sum(variant.dropped.values()) == len(dropped)
    assert (variant.rows["valid"], variant.rows["test"]) == (corpus.rows["valid"], corpus.rows["test"])

    train, judged = rows_of(variant, "train"), rows_of(corpus, "valid", "test")
    positions = pq.read_table(corpus.path / "positions.parquet").to_pylist()
    out, kept = {row["line"] for row in positions}, {row["line"] for row in positions if row["kept"]}
    assert len(kept) == corpus.rows["valid"] + corpus.rows["test"] < len(out) or action == "group"
    inside = set(range(1, len(messy) + 1)) - {row["line"] for row in dropped}
    assert not inside & out
    assert not {key(r["text"]) for r in train} & {key(r["text"]) for r in judged}
    authors = {messy[line - 1]["author"] for line in kept} - {None}
    assert authors
    assert not authors & {messy[line - 1]["author"] for line in inside}
    here = settings["near_duplicates"] or NEAR
    looser = min(here["threshold"], 0.7)
    texts = [r["text"] for r in train]
    assert similarity(texts, [r["text"] for r in judged]).max() < looser
    measure = (here.get("shingle_words", 3), here.get("permutations", 128))
    raw = [messy[line - 1]["text"] for line in sorted(kept)]
    if not settings["filters"]:
        assert similarity(texts, raw, *measure).max() < looser
    assert similarity(texts, [r["text"] for r in judged], *measure).max() < looser

    if name == "nothing":
        assert {r["id"] for r in train} == {r["id"] for r in rows_of(corpus, "train")}
    for row in (row for row in dropped if row["reason"] == "held_out" and row["line"] not in out):
        given = messy[row["line"] - 1]
        text = given["text"] if not settings["filters"] else given["text"].strip()
        near = max(similarity([text], [*raw, *(r["text"] for r in judged)], *way)[0] for way in (measure, (3, 128)))
        assert given["author"] in authors or near >= looser or "<" in text, "held out without a reason"


def test_a_duplicate_that_only_the_corpus_can_see_is_held_out(run, rows_of, write_jsonl, texts):
    some = texts(60)
    marked = [f"<div id='{i}'>" + "".join(f"<b>{w}</b><i></i>" for w in text.split()) + "</div>" for i, text in enumerate(some)]
    rows = [{"text": text, "label": "ab"[i % 2]} for i, text in enumerate(some)]
    path = write_jsonl(rows + [{**row, "text": text.replace("</b><i></i>", "</b> ")} for row, text in zip(rows, marked, strict=True)])
    corpus = run(sources=jsonl(path), folder="base")
    assert corpus.dropped == {"exact_duplicate": 60}
    variant = run(sources=jsonl(path), folder="variant", held_out=corpus, filters=[])
    judged = {r["text"] for r in rows_of(corpus, "valid", "test")}
    assert judged
    assert not {i for i, text in enumerate(some) if text in judged} & {
        i for i in range(60) for r in rows_of(variant, "train") if f"id='{i}'" in r["text"]
    }


@pytest.mark.parametrize(
    ("base", "changes", "marked"),
    [
        ({"near_duplicates": {"threshold": 0.7}}, {"near_duplicates": {"threshold": 0.95}}, False),
        ({"near_duplicates": {"threshold": 0.95}}, {"near_duplicates": {"threshold": 0.7}}, False),
        ({"near_duplicates": None}, {}, False),
        ({"near_duplicates": {"threshold": 0.7}}, {"near_duplicates": None}, False),
        ({}, {}, True),
    ],
    ids=["looser corpus", "looser variant", "off in the corpus", "off in the variant", "alike only as it reads here"],
)
def test_a_near_duplicate_that_the_corpus_filtered_is_held_out(run, rows_of, write_jsonl, texts, base, changes, marked):
    some = texts(60)
    if marked:
        some = [" ".join(f"<b id='{i}x{k}'>{w}</b>" for k, w in enumerate(text.split())) for i, text in enumerate(some)]
    rows = [{"text": text, "label": "ab"[i % 2]} for i, text in enumerate(some)]
    rows += [{"text": f"{text} tail{i} {'long' * 30}", "label": "ab"[i % 2]} for i, text in enumerate(some)]
    path = write_jsonl(rows)
    short = ["fix_text", {"use": "length", "max_characters": 100}]
    corpus = run(sources=jsonl(path), folder="base", filters=short, **base)
    assert corpus.dropped == {"too_many_characters": 60}
    near = {"near_duplicates": {"threshold": 0.7}} | changes
    variant = run(sources=jsonl(path), folder="variant", held_out=corpus, filters=[], **near)
    judged = {row["line"] for row in pq.read_table(corpus.path / "positions.parquet").to_pylist()}
    held = [i for i in range(60) if i + 1 in judged]
    assert held
    inside = {r["text"] for r in rows_of(variant, "train")}
    assert variant.dropped["held_out"] == 2 * len(held)
    assert not inside & {rows[i + 60]["text"] for i in held}


def test_a_duplicate_that_the_corpus_could_not_read_is_held_out(run, tmp_path, texts):
    lines = [json.dumps({"text": f"caf\u00e9 {text}", "label": "ab"[i % 2]}, ensure_ascii=False) + "\n" for i, text in enumerate(texts(60))]
    (tmp_path / "one.jsonl").write_text("".join(lines), encoding="utf-8")
    (tmp_path / "two.jsonl").write_text("".join(lines), encoding="latin-1")
    both = [{"use": "jsonl", "paths": str(tmp_path / name)} for name in ("one.jsonl", "two.jsonl")]
    settings = {"near_duplicates": None, "max_bad_share": 1.0}
    corpus = run(sources=both, folder="base", **settings)
    assert corpus.dropped == {"wrong_encoding": 60}
    both[1]["encodings"] = ["utf-8", "latin-1"]
    variant = run(sources=both, folder="variant", held_out=corpus, **settings)
    assert variant.dropped == {"held_out": 2 * (corpus.rows["valid"] + corpus.rows["test"]), "exact_duplicate": corpus.rows["train"]}
    assert variant.rows == corpus.rows


def test_rows_of_other_classes_are_dropped_with_a_reason(run, rows_of, write_jsonl, texts):
    rows = [{"text": text, "label": "ab"[i % 2]} for i, text in enumerate(texts(40))]
    path = write_jsonl([*rows, *({"text": f"z{i}", "label": "rare"} for i in range(3))])
    corpus = run(sources=jsonl(path), folder="base", filters=[{"use": "length", "min_characters": 5}])
    variant = run(sources=jsonl(path), folder="variant", held_out=corpus, filters=[])
    assert (variant.labels, variant.dropped["label_not_in_corpus"]) == (("a", "b"), 3)
    assert {r["label"] for r in rows_of(variant, "train")} == {"a", "b"}


def test_a_variant_stands_alone_and_a_half_written_one_is_overwritten(run, rows_of, write_jsonl, texts, tmp_path):
    path = write_jsonl([{"text": text, "label": "ab"[i % 2]} for i, text in enumerate(texts(60))])
    corpus = run(sources=jsonl(path), folder="base")
    before = rows_of(corpus)
    for _ in range(2):
        variant = run(sources=jsonl(path), folder="variant", held_out=corpus, near_duplicates=None)
    assert rows_of(corpus) == before
    for file in (tmp_path / "base").rglob("*.parquet"):
        file.unlink()
    assert rows_of(variant, "valid", "test") == [r for r in before if r in rows_of(variant, "valid", "test")]
    told = json.loads((tmp_path / "variant" / "profile.json").read_text())
    assert {name: part["rows"] for name, part in told["splits"].items()} == variant.rows
    assert (variant.path / "positions.parquet").exists()


def test_data_that_moved_are_the_same_places(run, rows_of, write_jsonl, texts, tmp_path):
    rows = [{"text": text, "label": "ab"[i % 2]} for i, text in enumerate(texts(80))]
    for part in range(4):
        write_jsonl(rows[part::4], f"old/{part}.jsonl")
    corpus = run(sources=jsonl(str(tmp_path / "old")), folder="base")
    (tmp_path / "old").rename(tmp_path / "new")
    variant = run(sources=jsonl(str(tmp_path / "new")), folder="variant", held_out=corpus, filters=["mask_personal"], near_duplicates=None)
    assert {r["id"] for r in rows_of(variant, "train")} == {r["id"] for r in rows_of(corpus, "train")}
    with pytest.raises(UserError, match=r"corpus: of 80 rows read, after cleaning none is left"):
        run(sources=jsonl(str(tmp_path / "new")), folder="none", held_out=corpus, filters=[{"use": "length", "max_characters": 1}])


def test_every_row_of_a_large_bucket_is_compared():
    rng = np.random.default_rng(1)
    held = rng.integers(0, 2**32, (3, 64), dtype=np.uint32)
    rows = np.repeat(held[:1], 300, axis=0)
    rows[:, :16] = rng.integers(0, 2**32, (300, 16), dtype=np.uint32)  # three quarters agree
    others = rng.integers(0, 2**32, (50, 64), dtype=np.uint32)
    found = duplicates.like_one_of(held, np.concatenate([rows, others]), 0.7)
    assert found.tolist() == [True] * 300 + [False] * 50
    assert not duplicates.like_one_of(held, rows, 0.8).any()


def test_like_one_of_is_what_comparing_all_with_all_says(monkeypatch):
    monkeypatch.setattr(duplicates, "CHUNK_PAIRS", 7)
    rng = np.random.default_rng(2)
    pool = rng.integers(0, 3, (60, 32), dtype=np.uint32)
    held, rows = pool[:10], pool[10:]
    for threshold in (0.31, 0.5, 0.9):
        wanted = [bool(((row == held).mean(axis=1) >= threshold).any()) for row in rows]
        assert duplicates.like_one_of(held, rows, threshold).tolist() == wanted
    assert duplicates.like_one_of(held, rows[:0], 0.5).tolist() == []
