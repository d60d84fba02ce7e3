"""JSON lines and arrays: one broken object costs one row."""

import gzip
import json

import pytest

from heliostat.corpus import lines
from heliostat.corpus.sources import jsonl
from heliostat.corpus.sources.base import Bad, Row


@pytest.fixture
def read(tmp_path):
    def go(data, name="x.jsonl", **options):
        file = tmp_path / name
        file.write_bytes(data)
        rows = list(jsonl.Jsonl(paths=[str(file)], **options).rows(file))
        return [(r.line, r.values) for r in rows if isinstance(r, Row)], [(r.line, r.reason) for r in rows if isinstance(r, Bad)]

    return go


def test_every_kind_of_broken_line_is_one_bad_row(read):
    data = (
        b'{"t": 1}\n{"t": \n[1]\n"text"\n{"t": "\xff"}\n{"t": "a\0b"}\n\n'
        + b'{"t": "'
        + b"x" * 3000
        + b'"}\n'
        + b"[" * 1000
        + b'\n{"t": 2}'
    )
    good, bad = read(data, max_row_bytes=2048)
    assert good == [(1, {"t": 1}), (10, {"t": 2})]
    assert bad == [
        (2, "broken_json"),
        (3, "not_an_object"),
        (4, "not_an_object"),
        (5, "wrong_encoding"),
        (6, "nul_bytes"),
        (8, "too_long"),
        (9, "broken_json"),
    ]


def test_a_line_of_50_mb_is_one_bad_row(read):
    good, bad = read(b'{"t": "' + b"x" * 50_000_000 + b'"}\n{"t": 2}\n')
    assert (good, bad) == ([(2, {"t": 2})], [(1, "too_long")])


def test_gzip_and_other_encodings(read):
    data = gzip.compress('{"t": "很好"}\n'.encode("gb18030"))
    assert read(data, name="x.jsonl.gz", encodings=["utf-8", "gb18030"]) == ([(1, {"t": "很好"})], [])


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("chunk", [7, 1 << 20])
def test_an_array_is_read_object_by_object(read, monkeypatch, indent, chunk):
    monkeypatch.setattr(jsonl, "CHUNK_BYTES", chunk)
    objects = [{"t": f'say "hi", [{i}] é很', "n": i} for i in range(20)]
    good, bad = read(json.dumps(objects, indent=indent, ensure_ascii=False).encode(), name="x.json")
    assert [values for _, values in good] == objects
    assert [line for line, _ in good] == list(range(1, 21))
    assert bad == []


@pytest.mark.parametrize("chunk", [7, 1 << 20])
def test_broken_objects_of_an_array_cost_themselves_only(read, monkeypatch, chunk):
    monkeypatch.setattr(jsonl, "CHUNK_BYTES", chunk)
    good, bad = read(b'[{"t": 1}, {"t": }, {"t": 2}, 5, {"t": "\xff"},\n{"t": 3}]\n', name="x.json")
    assert [values["t"] for _, values in good] == [1, 2, 3]
    assert bad == [(2, "broken_json"), (4, "not_an_object"), (5, "wrong_encoding")]


def test_an_array_that_is_cut_off_keeps_what_is_whole(read):
    good, bad = read(b'[{"t": 1}, {"t": 2}, {"t": ', name="x.json")
    assert [values["t"] for _, values in good] == [1, 2]
    assert bad == [(3, "broken_json")]


def test_an_overlong_object_of_an_array_is_one_bad_row(read, monkeypatch):
    monkeypatch.setattr(jsonl, "CHUNK_BYTES", 512)
    data = b'[{"t": 1}, {"t": "' + b"x" * 9000 + b'"}, {"t": 2}]'
    good, bad = read(data, name="x.json", max_row_bytes=2048)
    assert [values["t"] for _, values in good] == [1, 2]
    assert bad == [(2, "too_long")]


def test_an_array_in_another_encoding(read):
    data = json.dumps([{"t": "很好"}], ensure_ascii=False).encode("gb18030")
    assert read(data, name="x.json", encodings=["utf-8", "gb18030"]) == ([(1, {"t": "很好"})], [])


def test_an_empty_array_has_no_row(read):
    assert read(b" [ ] \n", name="x.json") == ([], [])


def test_excerpts_are_short_and_safe_to_write():
    short = lines.excerpt("a\0b\n\n\ud800" + "x" * 1000)
    assert len(short) == lines.EXCERPT_CHARACTERS
    assert short.encode("utf-8").startswith("a\u2400b ?".encode())


def test_lists_of_words_are_values_like_others(read):
    good, bad = read(b'{"tokens": ["EU", "\\u5f88"], "tags": ["B-ORG", 0]}\n{"tokens": [], "tags": null}\n')
    assert good == [(1, {"tokens": ["EU", "很"], "tags": ["B-ORG", 0]}), (2, {"tokens": [], "tags": None})]
    assert bad == []
