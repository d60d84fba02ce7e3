"""Tags of every scheme become the same spans in BIO, or have a reason why not."""

import pytest
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import BILOU, IOBES, Tokens

from heliostat.core import seeds
from heliostat.core.tags import BAD_TAG, BROKEN_SPAN, OUTSIDE, as_bio, marked, outputs, type_of


@pytest.mark.parametrize(
    ("scheme", "tags", "made"),
    [
        ("bio", "B-X I-X O B-X B-Y I-Y", "B-X I-X O B-X B-Y I-Y"),
        ("bio", "B I O B", "B I O B"),
        ("bio", "B-per-art I-per-art", "B-per-art I-per-art"),
        ("iob1", "I-X I-X O I-X B-X I-X I-Y", "B-X I-X O B-X B-X I-X B-Y"),
        ("iob1", "B-X I-X O B-Y", "B-X I-X O B-Y"),
        ("bioes", "B-X I-X E-X S-Y O B-Y E-Y", "B-X I-X I-X B-Y O B-Y I-Y"),
        ("bioes", "B-X M-X E-X S-X", "B-X I-X I-X B-X"),
        ("bioes", "B-X I-X L-X U-X O", "B-X I-X I-X B-X O"),
        ("plain", "DET NN B-X I-Y", "DET NN B-X I-Y"),
        ("bio", "I-X O", BROKEN_SPAN),
        ("bio", "B-X I-Y", BROKEN_SPAN),
        ("bio", "B-X O I-X", BROKEN_SPAN),
        ("bioes", "B-X I-X", BROKEN_SPAN),
        ("bioes", "B-X O E-X", BROKEN_SPAN),
        ("bioes", "B-X S-X", BROKEN_SPAN),
        ("bioes", "S-X I-X E-X", BROKEN_SPAN),
        ("bio", "E-X", BAD_TAG),
        ("bio", "PER", BAD_TAG),
        ("bio", "B-", BAD_TAG),
        ("bio", "BX O", BAD_TAG),
        ("bio", "o", BAD_TAG),
    ],
)
def test_tags_of_a_scheme_become_bio(scheme, tags, made):
    got = as_bio(tags.split(), scheme)
    assert (got if isinstance(got, str) else " ".join(got)) == made


def tags_of(letters, rng):
    kinds = ("X", "Y")
    return [OUTSIDE if letter == "O" else f"{letter}-{rng.choice(kinds)}" for letter in rng.choice(list(letters), rng.integers(1, 7))]


def test_iob1_means_what_conlleval_reads():
    rng = seeds.rng(1, "test", "tags", "iob1")
    for tags in (tags_of("IBO", rng) for _ in range(300)):
        assert get_entities(as_bio(tags, "iob1")) == get_entities(tags), tags


def test_bioes_is_accepted_where_all_of_it_is_whole_and_then_has_the_spans_seqeval_sees():
    rng = seeds.rng(1, "test", "tags", "bioes")
    accepted = 0
    for tags in (tags_of("BIESO", rng) for _ in range(600)):
        made = as_bio(tags, "bioes")
        found = {(e.tag, e.start, e.end - 1) for e in Tokens(tags, IOBES).entities}
        whole = sum(end - start + 1 for _, start, end in found) == len(tags) - tags.count(OUTSIDE)
        assert isinstance(made, list) == whole, tags
        assert not whole or set(get_entities(made)) == found
        accepted += whole and bool(found)
    assert accepted > 20


def test_bilou_is_bioes_with_other_letters():
    tags = "U-X O B-Y I-Y L-Y B-X L-X".split()
    expected = {(e.tag, e.start, e.end - 1) for e in Tokens(tags, BILOU).entities}
    assert set(get_entities(as_bio(tags, "bioes"))) == expected


def test_outputs_hold_both_tags_of_each_type_in_their_places():
    assert outputs(["B-LOC", "B-PER", "I-PER", "O"]) == ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    assert outputs(["B", "I"]) == ["O", "B", "I"]
    assert outputs(["O"]) == ["O"]
    assert [type_of(tag) for tag in ("B-LOC", "I-per-art", "B", "O")] == ["LOC", "per-art", "", ""]


def test_words_are_marked_as_a_span_or_as_outside():
    assert marked(3, "LOC") == ["B-LOC", "I-LOC", "I-LOC"]
    assert marked(2, None) == ["O", "O"]
    assert marked(2, "") == ["B", "I"]
