"""Parquet: columns of many types, and text that is not UTF-8."""

import pyarrow as pa
import pyarrow.parquet as pq

from heliostat.corpus.sources.base import Bad, Row
from heliostat.corpus.sources.parquet import Parquet


def read(file, table, **options):
    pq.write_table(table, file)
    return list(Parquet(paths=[str(file)], **options).rows(file))


def test_values_keep_their_types_and_rows_their_numbers(tmp_path):
    table = pa.table({"text": ["a", None], "n": [1, 2], "ok": [True, False], "kind": pa.array(["x", "y"]).dictionary_encode()})
    rows = read(tmp_path / "x.parquet", table)
    assert rows == [
        Row(1, {"text": "a", "n": 1, "ok": True, "kind": "x"}),
        Row(2, {"text": None, "n": 2, "ok": False, "kind": "y"}),
    ]


def test_text_that_is_not_in_the_encoding_is_one_bad_row(tmp_path):
    claimed = pa.StringArray.from_buffers(3, pa.array([b"ok", b"\xff", b"ok"]).buffers()[1], pa.array([b"ok", b"\xff", b"ok"]).buffers()[2])
    rows = read(tmp_path / "x.parquet", pa.table({"text": claimed}))
    assert [type(row) for row in rows] == [Row, Bad, Row]
    assert (rows[1].line, rows[1].reason) == (2, "wrong_encoding")


def test_binary_columns_are_read_as_text(tmp_path):
    rows = read(
        tmp_path / "x.parquet", pa.table({"text": pa.array(["很好".encode("gb18030")], pa.binary())}), encodings=["utf-8", "gb18030"]
    )
    assert rows == [Row(1, {"text": "很好"})]


def test_nul_and_overlong_values_are_bad_rows(tmp_path):
    rows = read(tmp_path / "x.parquet", pa.table({"text": ["a\0b", "x" * 2000, "ok"]}), max_row_bytes=1024)
    assert [getattr(row, "reason", None) for row in rows] == ["nul_bytes", "too_long", None]


def test_lists_of_words_are_read_and_a_broken_word_costs_its_row(tmp_path):
    lists = pa.array([["EU", "很好"], [], None, ["x", None]], pa.list_(pa.string()))
    table = pa.table({"tokens": lists, "ner": pa.array([[3, 0], [], None, [1, 1]], pa.list_(pa.int8()))})
    assert [row.values for row in read(tmp_path / "x.parquet", table)] == [
        {"tokens": ["EU", "很好"], "ner": [3, 0]},
        {"tokens": [], "ner": []},
        {"tokens": None, "ner": None},
        {"tokens": ["x", None], "ner": [1, 1]},
    ]
    claimed = pa.StringArray.from_buffers(3, *pa.array([b"ok", b"\xff", b"ok"]).buffers()[1:])
    broken = pa.ListArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), claimed)
    rows = read(tmp_path / "y.parquet", pa.table({"tokens": broken}))
    assert [getattr(row, "reason", None) for row in rows] == [None, "wrong_encoding", None]
    long = read(tmp_path / "z.parquet", pa.table({"tokens": [["x" * 600, "y" * 600], ["ok"]]}), max_row_bytes=1024)
    assert [getattr(row, "reason", None) for row in long] == ["too_long", None]
