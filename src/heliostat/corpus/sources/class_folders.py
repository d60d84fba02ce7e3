"""A folder of class folders: one text file is one row, its folder's name is its label."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from heliostat.core.provenance import content_fingerprint, locate
from heliostat.corpus.lines import decode, excerpt, open_bytes
from heliostat.corpus.sources.base import Bad, Base, Row


class ClassFolders(Base):
    """A folder with one folder of text files per class; the columns are text, label and file."""

    suffixes: ClassVar[tuple[str, ...]] = (".txt", ".txt.gz")

    pattern: str = Field("*.txt", min_length=1)
    """Names of the files that are texts."""

    def expand(self, path: str) -> list[Path]:
        place = locate(path)
        return sorted(f for f in place.glob(f"*/{self.pattern}") if f.is_file() and not f.name.startswith("."))

    def content(self) -> list[str]:
        return [content_fingerprint(self.expand(path), locate(path)) for path in self.paths]

    def problems(self) -> list[str]:
        problems = super().problems()
        classes = sorted({file.parent.name for file in self.files()}) if not problems else []
        if len(classes) == 1:
            problems.append(
                f"paths: only one class folder holds texts: '{classes[0]}'. A path names the folder that holds one folder per class,"
                f" at least two, with files like {self.pattern}."
            )
        return problems

    def peek(self, file: Path) -> list[str]:
        return ["text", "label", "file"]

    def rows(self, file: Path) -> Iterator[Row | Bad]:
        with open_bytes(file) as stream:
            data = stream.read(self.max_row_bytes + 1)
        if len(data) > self.max_row_bytes:
            yield Bad(1, "too_long", excerpt(data[:1000].decode(self.encodings[0], "replace")))
            return
        text, bad = decode(data.removeprefix(b"\xef\xbb\xbf"), self.encodings)
        values = {"text": text, "label": file.parent.name, "file": file.name}
        yield Bad(1, bad, excerpt(text)) if bad else Row(1, values)
