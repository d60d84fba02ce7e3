"""CSV: one broken row costs one row."""

import gzip

import pytest

from heliostat.corpus.sources.base import Bad, Row
from heliostat.corpus.sources.csv import Csv


@pytest.fixture
def read(tmp_path):
    def go(data, name="x.csv", **options):
        file = tmp_path / name
        file.write_bytes(data)
        rows = list(Csv(paths=[str(file)], **options).rows(file))
        return [(r.line, r.values) for r in rows if isinstance(r, Row)], [(r.line, r.reason) for r in rows if isinstance(r, Bad)]

    return go


def test_quoted_fields_hold_line_ends_delimiters_and_quotes(read):
    good, bad = read(b'text,label\n"one\ntwo, ""three""",a\r\nfour,b\n')
    assert good == [(2, {"text": 'one\ntwo, "three"', "label": "a"}), (4, {"text": "four", "label": "b"})]
    assert bad == []


def test_a_quote_inside_an_unquoted_field_is_an_ordinary_character(read):
    good, bad = read(b'text,label\n5" screen,a\nx,b\n')
    assert [values["text"] for _, values in good] == ['5" screen', "x"]
    assert bad == []


@pytest.mark.parametrize("rest", [b"", b'"d",b\ne,f\n', b"d,b\ne,f\n"])
def test_a_quote_that_is_never_closed_costs_its_own_line(read, rest):
    good, bad = read(b'text,label\nok,a\n"open,a\n' + rest)
    assert bad == [(3, "broken_quotes")]
    assert [line for line, _ in good] == ([2, 4, 5] if rest else [2])


def test_an_open_quote_reads_ahead_no_further_than_the_limit(read):
    rows = b"".join(b"text %d,a\n" % i for i in range(3000))
    good, bad = read(b'text,label\n"open,a\n' + rows, max_row_bytes=1024)
    assert bad == [(2, "broken_quotes")]
    assert len(good) == 3000


def test_undecodable_nul_and_uneven_rows_are_bad_one_by_one(read):
    good, bad = read(b"text,label\ncaf\xe9,a\nok,a\nnu\0l,a\nonly\nthree,a,b\nend,b\n")
    assert bad == [(2, "wrong_encoding"), (4, "nul_bytes"), (5, "wrong_column_count"), (6, "wrong_column_count")]
    assert [line for line, _ in good] == [3, 7]


def test_a_line_of_50_mb_is_one_bad_row_and_is_not_held(read):
    good, bad = read(b"text,label\na,1\n" + b"x" * 50_000_000 + b",1\nb,2\n")
    assert bad == [(3, "too_long")]
    assert [values["text"] for _, values in good] == ["a", "b"]


def test_a_long_line_inside_open_quotes_does_not_swallow_its_neighbours(read):
    good, bad = read(b'text,label\n"open,a\n' + b"x" * 5000 + b"\nb,2\n", max_row_bytes=1024)
    assert bad == [(2, "broken_quotes"), (3, "too_long")]
    assert [values["text"] for _, values in good] == ["b"]


def test_encodings_are_tried_row_by_row(read):
    data = b"text,label\n" + "很好,正\n".encode("gb18030") + "很差,负\n".encode()
    good, bad = read(data, encodings=["utf-8", "gb18030"])
    assert [values for _, values in good] == [{"text": "很好", "label": "正"}, {"text": "很差", "label": "负"}]
    assert bad == []


def test_a_byte_order_mark_is_not_part_of_the_first_name(read):
    assert read(b"\xef\xbb\xbftext,label\nx,y\n")[0] == [(2, {"text": "x", "label": "y"})]


def test_tab_and_gzip_by_the_name(read):
    assert read(gzip.compress(b"text\tlabel\na,b\tc\n"), name="x.tsv.gz")[0] == [(2, {"text": "a,b", "label": "c"})]


def test_a_field_of_many_kilobytes_is_read(read):
    good, _ = read(b"text,label\n" + b"y" * 300_000 + b",a\n")
    assert len(good[0][1]["text"]) == 300_000
