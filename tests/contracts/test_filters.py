"""What every filter promises, found by itself in the family."""

import re

import pytest

from heliostat.core import family

TEXTS = [
    "a",
    "An ordinary sentence about a red car, written to be kept as it is.",
    "这家酒店的服务很好，房间干净，离地铁也很近，下次还会再来住的。",
    "spam " * 200,
    "line\n" * 100,
    "<p>Tom &amp; Jerry</p>",
    "\u200b \t ",
    "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
    "mail me: someone@example.org, +44 20 7946 0958",
]


@pytest.fixture(params=family.names("corpus.filters"))
def a_filter(request):
    member = family.build("corpus.filters", request.param)
    problems = member.problems()
    if any("not installed" in p for p in problems):
        pytest.skip(problems[0])
    assert problems == []
    return member


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_gives_a_row_or_a_reason_word_and_leaves_its_argument(a_filter, text):
    row = {"text": text, "label": "x"}
    result = a_filter.apply(row)
    assert row == {"text": text, "label": "x"}
    if isinstance(result, str):
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", result)
    else:
        assert isinstance(result["text"], str)
        assert result["label"] == "x"


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_says_the_same_again_and_changes_nothing_the_second_time(a_filter, text):
    result = a_filter.apply({"text": text})
    assert a_filter.apply({"text": text}) == result
    if not isinstance(result, str):
        assert a_filter.apply(result) == result


@pytest.mark.parametrize("text", TEXTS[1:3], ids=["en", "zh"])
def test_ordinary_text_passes_unchanged(a_filter, text):
    assert a_filter.apply({"text": text}) == {"text": text}
