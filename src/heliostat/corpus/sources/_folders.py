"""What the sources with one folder per class share: a file is one row, and its folder's name is the label."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from heliostat.core.provenance import content_fingerprint, locate
from heliostat.corpus.sources._files import read_file, sampled_fingerprint
from heliostat.corpus.sources.base import Bad, Base, Row


class Folders(Base):
    """A folder with one folder of files per class."""

    part: ClassVar[str] = "text"
    """The column that holds what is in the file."""
    called_rows: ClassVar[str] = "texts"
    """What the files are."""

    def fits(self, file: Path) -> bool:
        """Whether a file of a class folder is one of its rows."""
        return file.name.lower().endswith(self.suffixes)

    def expand(self, path: str) -> list[Path]:
        place = locate(path)
        return sorted(f for f in place.glob("*/*") if self.fits(f) and f.is_file() and not f.name.startswith("."))

    def content(self) -> list[str]:
        return [content_fingerprint(self.expand(path), locate(path)) for path in self.paths]

    def count(self) -> int | None:
        return len(self.files())

    def problems(self) -> list[str]:
        problems = super().problems()
        classes = sorted({file.parent.name for file in self.files()}) if not problems else []
        if len(classes) == 1:
            problems.append(
                f"paths: only one class folder holds {self.called_rows}: '{classes[0]}'. A path names the folder that holds one folder"
                f" per class, at least two, with files like {self.like()}."
            )
        return problems

    def like(self) -> str:
        """Names of the files that fit, as a pattern."""
        return " ".join(f"*{suffix}" for suffix in self.suffixes[:3])

    def peek(self, file: Path) -> list[str]:
        return [self.part, "label", "file"]


class MediaFolders(Folders):
    """A folder with one folder of pictures or recordings per class; the columns are the file's bytes, label and file."""

    is_text: ClassVar[bool] = False

    max_row_bytes: int = Field(32 << 20, ge=1024)
    """A larger file is dropped as too_long."""

    def content(self) -> list[str]:
        return [sampled_fingerprint(self.expand(path), locate(path)) for path in self.paths]

    def rows(self, file: Path) -> Iterator[Row | Bad]:
        data = read_file(file, self.max_row_bytes)
        yield Bad(1, data, file.name) if isinstance(data, str) else Row(1, {self.part: data, "label": file.parent.name, "file": file.name})
