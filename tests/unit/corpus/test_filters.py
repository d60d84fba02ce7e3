"""What each filter changes and drops."""

import pytest

from heliostat.corpus.filters.fix_text import FixText
from heliostat.corpus.filters.language import Language
from heliostat.corpus.filters.length import Length
from heliostat.corpus.filters.mask_personal import MaskPersonal
from heliostat.corpus.filters.repetition import Repetition


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("schÃ¶n", "schön"),
        ("<p>Tom &amp; Jerry</p><br/>end<script>x = 1</script>", "Tom & Jerry\n\nend"),
        ("if a < b and c > d, <tag> stays", "if a < b and c > d, <tag> stays"),
        ("  a \t b\r\n\r\n\r\n\r\nc  ", "a b\n\nc"),
        ("ＡＢＣ１２３，很好", "ＡＢＣ１２３，很好"),
        ("“quotes” stay", "“quotes” stay"),
    ],
)
def test_fix_text(given, wanted):
    assert FixText().apply({"text": given})["text"] == wanted


def test_fix_text_with_nfkc_makes_full_width_ordinary():
    assert FixText(nfkc=True).apply({"text": "ＡＢＣ１２３"})["text"] == "ABC123"


def test_fix_text_leaves_what_is_switched_off():
    off = FixText(mojibake=False, strip_html=False, collapse_spaces=False)
    assert off.apply({"text": "<p> schÃ¶n  </p>"})["text"] == "<p> schÃ¶n  </p>"


def test_length_limits_are_inclusive():
    limits = Length(min_characters=2, max_characters=3)
    assert [limits.apply({"text": "x" * n}) for n in (1, 2, 3, 4)] == ["too_short", {"text": "xx"}, {"text": "xxx"}, "too_many_characters"]


def test_length_limits_that_drop_everything_are_told():
    (problem,) = Length(min_characters=9, max_characters=3).problems()
    assert "every row" in problem


@pytest.mark.parametrize("text", ["very good " * 40, "太烫了" * 15, "\n".join(["the same long line of ten words in a row here"] * 4)])
def test_repetition_drops_what_repeats_itself(text):
    assert Repetition().apply({"text": text}) == "repetition"


@pytest.mark.parametrize("text", ["ha ha ha ha", " ".join(f"word{i}" for i in range(60)) + " the end " * 3])
def test_repetition_keeps_short_and_varied_texts(text):
    assert Repetition().apply({"text": text}) == {"text": text}


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("write to jane.doe+x@mail.example.co.uk.", "write to [EMAIL]."),
        ("电话13812345678，谢谢", "电话[PHONE]，谢谢"),
        ("call +44 20 7946 0958 or (212) 555-0123 now", "call [PHONE] or [PHONE] now"),
        ("身份证11010519491231002X号", "身份证[ID]号"),
        ("ssn 078-05-1120, card 4111 1111 1111 1111", "ssn [ID], card [ID]"),
        ("in 2004 it sold 1,450,000 of 16:9 sets for 199.99", "in 2004 it sold 1,450,000 of 16:9 sets for 199.99"),
    ],
)
def test_mask_personal(given, wanted):
    assert MaskPersonal().apply({"text": given})["text"] == wanted


def test_mask_personal_hides_only_what_is_asked_for():
    assert MaskPersonal(kinds=["email"]).apply({"text": "a@b.org 13812345678"})["text"] == "[EMAIL] 13812345678"
    assert "Allowed: email, id, phone" in MaskPersonal(kinds=["name"]).problems()[0]


def test_language_keeps_the_languages_asked_for():
    pytest.importorskip("py3langid")
    german = {"text": "Das ist ein ganz gewöhnlicher deutscher Satz über das Wetter."}
    assert Language().apply(german) == "wrong_language"
    assert Language(keep=["de"]).apply(german) == german
    assert Language().apply({"text": "Ja, gut"}) == {"text": "Ja, gut"}


def test_language_tells_codes_it_does_not_know():
    pytest.importorskip("py3langid")
    (problem,) = Language(keep=["en", "chinese"]).problems()
    assert problem.startswith("keep: 'chinese'")


def test_language_without_its_package_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "heliostat[language]" in Language().problems()[0]
