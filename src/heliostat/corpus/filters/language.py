"""Language by py3langid (Lui and Baldwin, 2012)."""

from __future__ import annotations

import importlib.util

from pydantic import Field

from heliostat.corpus.filters.base import Base, Row

MISSING = "it needs the package py3langid, which is not installed. Install it with: pip install 'heliostat[language]'"


class Language(Base):
    """Drops texts in other languages (wrong_language); needs the extra `language`."""

    keep: list[str] = Field(["en", "zh"], min_length=1)
    """ISO 639-1 codes of the languages to keep."""
    min_characters: int = Field(20, ge=1)
    """Shorter texts are not judged: there is too little to tell."""

    def problems(self) -> list[str]:
        if importlib.util.find_spec("py3langid") is None:
            return [f"language: {MISSING}"]
        import py3langid

        known = {code for code, _ in py3langid.rank("any text")}
        allowed = ", ".join(sorted(known))
        return [f"keep: '{code}' is not a language py3langid knows. Allowed: {allowed}." for code in self.keep if code not in known]

    def apply(self, row: Row) -> Row | str:
        import py3langid

        if len(row["text"]) < self.min_characters:
            return row
        return row if py3langid.classify(row["text"])[0] in self.keep else "wrong_language"
