"""Personal data hidden before anything learns it."""

from __future__ import annotations

import re
from typing import ClassVar

from pydantic import Field

from heliostat.corpus.filters.base import Base, Row

_D = r"(?<![\w.+-])"  # not in the middle of a word or of a longer number
_E = r"(?![\w-])"
PATTERNS = {
    "email": re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*\.[A-Za-z]{2,24}"),
    "id": re.compile(
        r"(?<!\d)[1-9]\d{5}(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx](?![0-9A-Za-z])"  # Chinese resident identity
        rf"|{_D}\d{{3}}-\d{{2}}-\d{{4}}{_E}"  # US social security
        rf"|{_D}(?:\d{{4}}[ -]){{3}}\d{{4}}{_E}|(?<!\d)\d{{16}}(?!\d)"  # payment card
    ),
    "phone": re.compile(
        r"(?<!\d)(?:\+?86[ -]?)?1[3-9]\d(?:[ -]?\d{4}){2}(?!\d)"  # Chinese mobile
        r"|(?<![\w.])\+\d{1,3}(?:[ .-]?\(?\d{1,4}\)?){2,5}(?!\d)"  # international
        r"|(?<!\d)(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}(?!\d)"  # North American
        r"|(?<!\d)0\d{2,3}-\d{7,8}(?!\d)"  # Chinese landline
    ),
}


class MaskPersonal(Base):
    """Replaces mail addresses, identity and card numbers and phone numbers by [EMAIL], [ID], [PHONE]."""

    hides: ClassVar[bool] = True
    rewrites: ClassVar[bool] = True

    kinds: list[str] = Field(["email", "id", "phone"], min_length=1)
    """What is hidden: email, id, phone."""

    def problems(self) -> list[str]:
        return [f"kinds: '{kind}' is not known. Allowed: {', '.join(PATTERNS)}." for kind in self.kinds if kind not in PATTERNS]

    def apply(self, row: Row) -> Row | str:
        text = row["text"]
        for kind, pattern in PATTERNS.items():
            if kind in self.kinds:
                text = pattern.sub(f"[{kind.upper()}]", text)
        return {**row, "text": text}
