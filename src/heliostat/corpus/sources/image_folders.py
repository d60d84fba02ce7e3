"""A folder of class folders: one picture is one row, its folder's name is its label."""

from __future__ import annotations

from typing import ClassVar

from heliostat.corpus.sources._files import IMAGE_SUFFIXES
from heliostat.corpus.sources._folders import MediaFolders


class ImageFolders(MediaFolders):
    """A folder with one folder of pictures per class; the columns are image, label and file."""

    suffixes: ClassVar[tuple[str, ...]] = IMAGE_SUFFIXES
    part: ClassVar[str] = "image"
    called_rows: ClassVar[str] = "pictures"
