"""A folder of class folders: one recording is one row, its folder's name is its label."""

from __future__ import annotations

from typing import ClassVar

from heliostat.corpus.sources._files import AUDIO_SUFFIXES
from heliostat.corpus.sources._folders import MediaFolders


class AudioFolders(MediaFolders):
    """A folder with one folder of recordings per class; the columns are audio, label and file."""

    suffixes: ClassVar[tuple[str, ...]] = AUDIO_SUFFIXES
    part: ClassVar[str] = "audio"
    called_rows: ClassVar[str] = "recordings"
