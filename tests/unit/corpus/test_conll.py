"""One word per line: sentences, documents, columns; a broken line costs its sentence."""

import gzip

import pytest
from pydantic import ValidationError

from heliostat.commands import estimates
from heliostat.corpus.sources.base import Bad, Row
from heliostat.corpus.sources.conll import Conll

CONLL_2003 = b"""-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O
German JJ B-NP B-MISC

Peter NNP B-NP B-PER

-DOCSTART- -X- -X- O

Rome NNP B-NP B-LOC
"""
CONLL_U = b"""# sent_id = 1
# text = Du fromage
1-2\tDu\t_\t_\t_
1\tDe\tde\tADP\t_
2\tle\tle\tDET\t_
3\tfromage\tfromage\tNOUN\t_
3.1\t_\t_\tVERB\t_
4\t#\t#\tSYM\t_

"""


@pytest.fixture
def read(tmp_path):
    def go(data, name="x.conll", **options):
        file = tmp_path / name
        file.write_bytes(data)
        rows = list(Conll(paths=[str(file)], **options).rows(file))
        good = [(r.line, " ".join(r.values["tokens"]), " ".join(r.values["tags"])) for r in rows if isinstance(r, Row)]
        return good, [(r.line, r.reason) for r in rows if isinstance(r, Bad)]

    return go


@pytest.mark.parametrize("data", [CONLL_2003, CONLL_2003.replace(b"\n", b"\r\n"), CONLL_2003.replace(b"\n\n", b"\n \t\n\n")])
def test_sentences_end_at_blank_lines_and_documents_begin_where_they_say(read, tmp_path, data):
    good, bad = read(data)
    assert [row[1:] for row in good] == [("EU rejects German", "B-ORG O B-MISC"), ("Peter", "B-PER"), ("Rome", "B-LOC")]
    assert bad == []
    if data is CONLL_2003:
        assert [row[0] for row in good] == [3, 7, 11]
    file = tmp_path / "x.conll"
    assert [row.values["document"] for row in Conll(paths=["x"]).rows(file)] == ["x.conll:1", "x.conll:1", "x.conll:2"]
    assert Conll(paths=["x"]).peek(file) == ["tokens", "tags", "document"]


def test_any_column_may_hold_the_tag(read):
    assert read(CONLL_2003, tag_column=1)[0][0] == (3, "EU rejects German", "NNP VBZ JJ")


def test_comments_and_what_is_no_word_are_passed_over(read):
    options = {"token_column": 1, "tag_column": 3, "separator": "\t", "ignore": r"#|\d+[-.]\d"}
    assert read(CONLL_U, name="x.conllu", **options) == ([(4, "De le fromage #", "ADP DET NOUN SYM")], [])


def test_a_broken_line_costs_its_sentence_and_is_named(read):
    data = b"a O\nb\nc O\n\nd B-X\n\ne O\nf \xff\n\ng\0 O\n\nh O\n"
    good, bad = read(data)
    assert good == [(5, "d", "B-X"), (12, "h", "O")]
    assert bad == [(2, "missing_column"), (8, "wrong_encoding"), (10, "nul_bytes")]


@pytest.mark.parametrize("options", [{"tag_column": 5}, {"separator": "\t"}])
def test_columns_that_are_not_there_are_told_row_by_row(read, options):
    assert read(b"a O\n\nb O\n", **options) == ([], [(1, "missing_column"), (3, "missing_column")])


def test_an_empty_word_keeps_its_place(read):
    good, bad = read("我\tO\n \tO\n家\tB-X\n".encode(), separator="\t")
    assert good == [(1, "我  家", "O O B-X")]
    assert bad == []


def test_a_sentence_without_an_end_is_one_bad_row(read):
    good, bad = read(b"a O\n\n" + b"word O\n" * 5000 + b"\nb O\n", max_row_bytes=1024)
    assert good == [(1, "a", "O"), (5004, "b", "O")]
    assert bad == [(3, "too_long")]


def test_compressed_files_and_other_encodings_are_read(read):
    data = gzip.compress("北 B-LOC\n京 I-LOC\n".encode("gb18030"))
    assert read(data, name="x.conll.gz", encodings=["utf-8", "gb18030"]) == ([(1, "北 京", "B-LOC I-LOC")], [])


def test_a_pattern_that_is_none_is_refused():
    with pytest.raises(ValidationError, match="no regular expression"):
        Conll(paths=["x"], ignore="(")


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_plan_counts_sentences_and_not_lines(tmp_path, end):
    (tmp_path / "x.conll").write_bytes((b"a O\nb O\n\n" * 40 + b"c O\n").replace(b"\n", end))
    assert estimates.source_rows(Conll(paths=[str(tmp_path)])) == 41
