"""Packed rows hold every token and every target of their documents once."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from heliostat.core import seeds
from heliostat.engine import packing
from heliostat.engine.packing import pack, pieces, plan

SCHEMA = pa.schema({
    "id": pa.string(), "weight": pa.float32(), "input_ids": pa.list_(pa.int32()), "labels": pa.list_(pa.int64()), "units": pa.float32(),
})  # fmt: skip


def table(rows, *, shifted=True, shards=3):
    """`rows` of (id, weight, tokens, prompt): a prompt is not trained on; every token of the table is another number."""
    out, token = [], 0
    for name, weight, tokens, prompt in rows:
        ids = list(range(token, token + tokens))
        labels = [-100] * prompt + ids[prompt:]
        units = sum(x != -100 for x in labels[int(shifted) :])
        out.append({"id": name, "weight": weight, "input_ids": ids, "labels": labels, "units": float(units)})
        token += tokens
    parts = [pa.Table.from_pylist(list(part), schema=SCHEMA) for part in np.array_split(np.array(out, dtype=object), shards)]
    return pa.concat_tables(parts)


def mix(count=60, longest=70, weights=(1.0,)):
    rng = seeds.rng(4, "test", "packing")
    lengths = rng.integers(1, longest + 1, count)
    return [(f"d{i}", float(rng.choice(weights)), int(n), int(rng.integers(0, n + 1))) for i, n in enumerate(lengths)]


def pairs(prepared, *, shifted=True):
    """Counter of (the token before, target) of everything that is trained on; without a shift (the token there, target)."""
    found = Counter()
    for row in prepared.to_pylist():
        starts = np.cumsum([0, *row.get("documents", [])])[:-1].tolist()
        for i, label in enumerate(row["labels"]):
            if label == -100 or (shifted and i == 0):
                continue
            assert not (shifted and i in starts), "a document's first token is predicted from the document before"
            found[row["input_ids"][i - int(shifted)], label] += 1
    return found


@pytest.mark.parametrize("shifted", [True, False], ids=["shifted", "in place"])
@pytest.mark.parametrize("capacity", [2, 7, 32, 100])
def test_every_target_is_trained_once_from_the_same_token(capacity, shifted, tmp_path):
    rows = table(mix(), shifted=shifted)
    packed = pack(rows, capacity, tmp_path / "packed.arrow", shifted=shifted)
    assert pairs(packed, shifted=shifted) == pairs(rows, shifted=shifted)
    assert sum(packed.column("units").to_pylist()) == sum(rows.column("units").to_pylist())
    for row in packed.to_pylist():
        assert row["units"] == sum(label != -100 for label in row["labels"])


@pytest.mark.parametrize("shifted", [True, False], ids=["shifted", "in place"])
@pytest.mark.parametrize("capacity", [7, 32, 100])
def test_no_token_is_lost_and_none_doubled(capacity, shifted, tmp_path):
    """But for the one that stands before a later piece, which is its context and no target."""
    rows = table(mix(), shifted=shifted)
    packed = pack(rows, capacity, tmp_path / "packed.arrow", shifted=shifted)
    seen = Counter(token for ids in packed.column("input_ids").to_pylist() for token in ids)
    every = {token for row in rows.to_pylist() if row["units"] for token in row["input_ids"]}
    assert set(seen) == every
    split = [len(row["input_ids"]) for row in rows.to_pylist() if row["units"] and len(row["input_ids"]) > capacity]
    again = sum(-(-(n - 1) // (capacity - 1)) - 1 for n in split) if shifted else 0
    assert sum(seen.values()) == len(every) + again


def test_what_a_packed_row_holds(tmp_path):
    rows = table([("a", 1.0, 3, 0), ("b", 1.0, 4, 3), ("c", 1.0, 4, 2), ("d", 1.0, 2, 0)], shards=2)
    packed = pack(rows, 8, tmp_path / "packed.arrow").to_pylist()
    assert packed == [
        {
            "id": "a",
            "weight": 1.0,
            "input_ids": [0, 1, 2, 11, 12],
            "labels": [-100, 1, 2, -100, 12],
            "position_ids": [0, 1, 2, 0, 1],
            "documents": [3, 2],
            "ids": ["a", "d"],
            "pieces": [0, 0],
            "rows": 2,
            "units": 3.0,
        },
        {
            "id": "b",
            "weight": 1.0,
            "input_ids": [3, 4, 5, 6, 7, 8, 9, 10],
            "labels": [-100, -100, -100, 6, -100, -100, 9, 10],
            "position_ids": [0, 1, 2, 3, 0, 1, 2, 3],
            "documents": [4, 4],
            "ids": ["b", "c"],
            "pieces": [0, 0],
            "rows": 2,
            "units": 3.0,
        },
    ]


def test_a_packed_row_is_described_by_its_own_columns(tmp_path):
    packed = pack(table(mix(weights=(1.0, 0.5))), 32, tmp_path / "packed.arrow")
    for row in packed.to_pylist():
        assert len(row["input_ids"]) == len(row["labels"]) == len(row["position_ids"]) == sum(row["documents"]) <= 32
        assert row["position_ids"] == [p for n in row["documents"] for p in range(n)]
        assert row["rows"] == len(row["documents"]) == len(row["ids"])
        assert row["id"] == row["ids"][0]


def test_pieces_and_words_go_along(tmp_path):
    rows = table([("a", 1.0, 4, 0), ("a", 1.0, 2, 0), ("b", 1.0, 2, 0)], shards=2, shifted=False)
    numbered = rows.append_column("piece", pa.array([0, 1, 0], pa.int32())).append_column(
        "words", pa.array([[-1, 0, 0, 1], [0, 1], [0, 0]])
    )
    packed = pack(numbered, 4, tmp_path / "packed.arrow", shifted=False).to_pylist()
    assert [(row["ids"], row["pieces"], row["words"]) for row in packed] == [
        (["a"], [0], [-1, 0, 0, 1]),
        (["a", "b"], [1, 0], [0, 1, 0, 0]),
    ]


def test_rows_of_different_weights_share_no_packed_row(tmp_path):
    rows = mix(weights=(1.0, 0.5, 2.0))
    weight = {name: w for name, w, _, _ in rows}
    packed = pack(table(rows), 64, tmp_path / "packed.arrow").to_pylist()
    assert {row["weight"] for row in packed} == {1.0, 0.5, 2.0}
    assert all(weight[name] == row["weight"] for row in packed for name in row["ids"])


def test_cutting_keeps_the_beginning_of_a_long_document_and_counts_what_is_left(tmp_path):
    packed = pack(table([("a", 1.0, 20, 0), ("b", 1.0, 3, 0)]), 8, tmp_path / "packed.arrow", long="cut").to_pylist()
    assert [row["input_ids"] for row in packed] == [list(range(8)), [20, 21, 22]]
    assert [row["units"] for row in packed] == [7.0, 2.0]


@pytest.mark.parametrize(("length", "overlap", "expected"), [
    (8, 1, [(0, 8)]),
    (9, 1, [(0, 8), (7, 9)]),
    (15, 1, [(0, 8), (7, 15)]),
    (16, 1, [(0, 8), (7, 15), (14, 16)]),
    (16, 0, [(0, 8), (8, 16)]),
    (17, 0, [(0, 8), (8, 16), (16, 17)]),
    (1, 1, [(0, 1)]),
])  # fmt: skip
def test_a_long_document_is_split_into_full_pieces_and_a_rest(length, overlap, expected):
    row_P, start_P, stop_P = pieces(np.array([2, length]), 8, long="split", overlap=overlap)
    assert row_P.tolist() == [0] + [1] * len(expected)
    assert list(zip(start_P.tolist(), stop_P.tolist(), strict=True)) == [(0, 2), *expected]


def test_the_plan_is_a_pure_function_and_follows_the_corpus():
    rng = seeds.rng(5, "test", "plan")
    lengths_N, weights_N = rng.integers(1, 50, 500), rng.choice([0.5, 1.0], 500)
    one, again = (plan(lengths_N, weights_N, 32) for _ in range(2))
    assert all(np.array_equal(getattr(one, name), getattr(again, name)) for name in ("row_P", "start_P", "stop_P", "first_B"))
    firsts = one.row_P[one.first_B[:-1]]
    assert (np.diff(firsts) >= 0).all()
    for low, high in zip(one.first_B[:-1], one.first_B[1:], strict=True):
        assert (np.diff(one.row_P[low:high]) >= 0).all()
    assert one.tokens_B().max() <= 32


@pytest.mark.parametrize("tokens", [1, 40, 100, 10_000])
def test_the_table_is_the_same_however_much_is_written_at_once(tokens, tmp_path, monkeypatch):
    rows = table(mix())
    whole = pack(rows, 32, tmp_path / "whole.arrow")
    monkeypatch.setattr(packing, "BATCH_TOKENS", tokens)
    parts = pack(rows, 32, tmp_path / "parts.arrow")
    assert parts.equals(whole)
    sizes = [sum(map(len, chunk.to_pylist())) for chunk in parts.column("input_ids").chunks]
    assert max(sizes) <= max(tokens, 32)


def test_nothing_to_pack_is_an_empty_table(tmp_path):
    packed = pack(SCHEMA.empty_table(), 8, tmp_path / "packed.arrow")
    assert packed.num_rows == 0
    assert packed.column_names[:3] == ["id", "weight", "input_ids"]


def test_a_document_that_trains_nothing_takes_no_room(tmp_path):
    rows = table([("empty", 1.0, 0, 0), ("a", 1.0, 3, 0), ("prompt", 1.0, 4, 4), ("one", 1.0, 1, 0), ("b", 1.0, 3, 1)])
    packed = pack(rows, 8, tmp_path / "packed.arrow").to_pylist()
    assert [row["ids"] for row in packed] == [["a", "b"]]
    assert [row["units"] for row in packed] == [4.0]


def test_units_that_are_not_the_targets_are_noticed(tmp_path):
    rows = table([("a", 1.0, 3, 0)], shards=1)
    wrong = rows.set_column(rows.schema.get_field_index("units"), "units", pa.array([3.0], pa.float32()))
    with pytest.raises(AssertionError, match=r"2\.0 targets are trained"):
        pack(wrong, 8, tmp_path / "packed.arrow")
    assert not (tmp_path / "packed.arrow").exists()
