"""Text as its author meant it."""

from __future__ import annotations

import html
import re
import unicodedata
from typing import ClassVar

from heliostat.corpus.filters.base import Base, Row

TAGS = """a abbr article b blockquote body br button caption center code dd div dl dt em figure font footer form h1 h2 h3 h4 h5 h6
head header hr html i iframe img input label li link main meta nav ol option p pre section select small span strong sub sup table
tbody td textarea tfoot th thead title tr u ul video"""
_TAG = re.compile(rf"</?(?:{'|'.join(TAGS.split())})(?:\s[^<>]*)?/?>|<!--.*?-->|<!doctype[^>]*>", re.IGNORECASE | re.DOTALL)
_UNSHOWN = re.compile(r"<(script|style)\b[^>]*>.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_BLOCK = re.compile(r"<(?:/p|br\s*/?|/div|/li|/tr|/h[1-6])>", re.IGNORECASE)
_SPACES = re.compile(r"[^\S\n]+")
_LINE_EDGES = re.compile(r" ?\n ?")
_BLANK_LINES = re.compile(r"\n{3,}")


class FixText(Base):
    """Mends broken encodings, takes out HTML, evens out white space; changes texts and drops none."""

    rewrites: ClassVar[bool] = True

    mojibake: bool = True
    """Mend text that was decoded wrongly (ftfy); also control characters and odd line ends."""
    nfkc: bool = False
    """Unicode compatibility form: full-width letters and digits become ordinary ones."""
    strip_html: bool = True
    """Take out tags and read entities such as &amp;."""
    collapse_spaces: bool = True
    """Runs of spaces become one; at most one blank line in a row."""

    def apply(self, row: Row) -> Row | str:
        text = row["text"]
        if self.strip_html and ("<" in text or "&" in text):
            text = without_html(text)
        if self.mojibake and not text.isascii():
            import ftfy

            text = ftfy.fix_text(text, unescape_html=False, uncurl_quotes=False, fix_character_width=False, normalization="NFC")
        if self.nfkc:
            text = unicodedata.normalize("NFKC", text)
        if self.collapse_spaces:
            text = _LINE_EDGES.sub("\n", _SPACES.sub(" ", text.replace("\r\n", "\n").replace("\r", "\n")))
            text = _BLANK_LINES.sub("\n\n", text).strip()
        return {**row, "text": text}


def without_html(text: str) -> str:
    """`text` with known tags gone, block ends as line ends and entities read; `a < b` stays."""
    text = _BLOCK.sub("\n", _UNSHOWN.sub(" ", text))
    return html.unescape(_TAG.sub("", text))
