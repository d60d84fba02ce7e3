"""A folder of class folders: one text file is one row, its folder's name is its label."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from heliostat.corpus.lines import decode, excerpt, open_bytes
from heliostat.corpus.sources._folders import Folders
from heliostat.corpus.sources.base import Bad, Row


class ClassFolders(Folders):
    """A folder with one folder of text files per class; the columns are text, label and file."""

    suffixes: ClassVar[tuple[str, ...]] = (".txt", ".txt.gz")

    pattern: str = Field("*.txt", min_length=1)
    """Names of the files that are texts."""

    def fits(self, file: Path) -> bool:
        return fnmatch.fnmatchcase(file.name, self.pattern)

    def like(self) -> str:
        return self.pattern

    def rows(self, file: Path) -> Iterator[Row | Bad]:
        with open_bytes(file) as stream:
            data = stream.read(self.max_row_bytes + 1)
        if len(data) > self.max_row_bytes:
            yield Bad(1, "too_long", excerpt(data[:1000].decode(self.encodings[0], "replace")))
            return
        text, bad = decode(data.removeprefix(b"\xef\xbb\xbf"), self.encodings)
        values = {"text": text, "label": file.parent.name, "file": file.name}
        yield Bad(1, bad, excerpt(text)) if bad else Row(1, values)
