"""Pictures in IDX files, the format of MNIST: a header of big-endian numbers, then all pixels (http://yann.lecun.com/exdb/mnist)."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO, ClassVar

from pydantic import Field

from heliostat.core.errors import UserError
from heliostat.core.provenance import content_fingerprint
from heliostat.corpus.lines import CHUNK_BYTES, open_bytes
from heliostat.corpus.sources.base import Bad, Base, Row

IMAGES, LABELS = (0x0803, 3), (0x0801, 1)
"""Magic number and dimensions: unsigned bytes, three dimensions or one."""
SPAN_ROWS, MOST_SPANS = 2000, 64


class Idx(Base):
    """Grey pictures of `*-images-idx3-ubyte` files and the labels beside them, plain or gzip; the columns are image and label.

    Pictures become PNG files, so that a corpus holds them like any others.
    """

    suffixes: ClassVar[tuple[str, ...]] = ("-images-idx3-ubyte", "-images-idx3-ubyte.gz", "-images.idx3-ubyte", "-images.idx3-ubyte.gz")
    is_text: ClassVar[bool] = False

    names: list[str] = []
    """Names of the labels 0, 1, 2 ...; empty keeps the numbers."""
    max_row_bytes: int = Field(32 << 20, ge=1024)
    """A picture of more pixels is dropped as too_long."""

    def problems(self) -> list[str]:
        found = super().problems()
        for file in [] if found else self.files():
            beside = labels_of(file)
            if not beside.is_file():
                found.append(f"paths: '{file.name}' has no labels: '{beside.name}' is not beside it in '{file.parent}'.")
            elif (images := header(file, IMAGES)) is None or (labels := header(beside, LABELS)) is None:
                found.append(f"paths: '{file.name if images is None else beside.name}' in '{file.parent}' is no IDX file of that kind.")
            elif images[0] != labels[0]:
                found.append(f"paths: '{file.name}' holds {images[0]:,} pictures, and '{beside.name}' {labels[0]:,} labels.")
        return found

    def content(self) -> list[str]:
        return [
            content_fingerprint([each for f in self.expand(path) for each in (f, labels_of(f)) if each.is_file()]) for path in self.paths
        ]

    def pieces(self) -> list[list[Path]]:
        return [[file] for file in self.files()]

    def spans(self, file: Path) -> list[tuple[int, int]] | None:
        count = (header(file, IMAGES) or (0,))[0]
        step = max(SPAN_ROWS, -(-count // MOST_SPANS))
        return [(start, min(start + step, count)) for start in range(0, count, step)] or None

    def count(self) -> int | None:
        return sum((header(file, IMAGES) or (0,))[0] for file in self.files())

    def peek(self, file: Path) -> list[str]:
        return ["image", "label"]

    def rows(self, file: Path) -> Iterator[Row | Bad]:
        return self._from(file, 0)

    def span(self, file: Path, start: int, stop: int) -> Iterator[Row | Bad]:
        return islice(self._from(file, start), stop - start)

    def _from(self, file: Path, start: int) -> Iterator[Row | Bad]:
        """The rows from number `start`; those before it are passed over."""
        shape = header(file, IMAGES)
        if shape is None:
            yield Bad(1, "not_idx", file.name)
            return
        count, height, width = shape
        if not 0 < height * width <= self.max_row_bytes:
            yield Bad(1, "too_long", f"pictures of {height} x {width} pixels")
            return
        labels = self._labels(labels_of(file))
        with open_bytes(file) as stream:
            pass_over(stream, 16 + start * height * width)
            for i in range(start, count):
                pixels = stream.read(height * width)
                if len(pixels) < height * width:
                    raise EOFError(f"the file ends in picture {i + 1} of {count}")
                if i < len(labels):
                    yield Row(i + 1, {"image": png(pixels, height, width), "label": labels[i]})
                else:
                    yield Bad(i + 1, "missing_label", file.name)

    def _labels(self, file: Path) -> list[str]:
        """The labels of all pictures; fewer when the file holds fewer or is not there."""
        if not file.is_file() or (shape := header(file, LABELS)) is None:
            return []
        with open_bytes(file) as stream:
            pass_over(stream, 8)
            numbers = stream.read(shape[0])
        return [self.names[n] if n < len(self.names) else str(n) for n in numbers]


def labels_of(file: Path) -> Path:
    """Where the labels of a file of pictures are."""
    return file.with_name(file.name.replace("images-idx3", "labels-idx1").replace("images.idx3", "labels.idx1"))


def header(file: Path, kind: tuple[int, int]) -> tuple[int, ...] | None:
    """The sizes of the dimensions; None when the file is no IDX file of the kind."""
    magic, dimensions = kind
    with open_bytes(file) as stream:
        try:
            start = stream.read(4 + 4 * dimensions)
        except (OSError, EOFError, zlib.error):
            return None
    if len(start) < 4 + 4 * dimensions or start[:4] != struct.pack(">I", magic):
        return None
    return struct.unpack(f">{dimensions}I", start[4:])


def pass_over(stream: IO[bytes], count: int) -> None:
    """Read on by `count` bytes; a packed stream has to be unpacked for it."""
    while count > 0 and (passed := len(stream.read(min(count, CHUNK_BYTES)))):
        count -= passed


def png(pixels: bytes, height: int, width: int) -> bytes:
    """A grey picture as a PNG file."""
    try:
        from PIL import Image
    except ImportError:
        raise UserError("idx: it needs the package PIL, which is not installed. Install it with: pip install 'heliostat[image]'") from None
    out = io.BytesIO()
    Image.frombytes("L", (width, height), pixels).save(out, "PNG", compress_level=6)
    return out.getvalue()
