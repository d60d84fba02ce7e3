"""One input of a test row as markup: a text, a small picture, a few seconds of sound. Everything is inside the page."""

from __future__ import annotations

import base64
import io
from typing import Any

from heliostat.report.wording import esc, excerpt, size

SIDE, SMALL = 144, 64
"""Longest side of a picture in pixels; one below `SMALL` is enlarged, with its pixels as they are."""
SECONDS = 5
FORMATS = (("MP3", "mpeg"), ("FLAC", "flac"), ("WAV", "wav"))


def shown(value: Any, name: str, reads: str) -> str:
    """What a row holds, after its `name`; bytes that cannot be shown are told by their number."""
    if isinstance(value, str):
        return f'<p class="text" dir="auto">{esc(excerpt(value))}</p>'
    if not isinstance(value, bytes):
        return f'<p class="text">{esc(name)}</p>'
    inside = {"image": _picture, "audio": _sound}.get(reads, _nothing)(value, name)
    return f'<p class="text">{inside or esc(f"{name}, {size(len(value))}")}</p>'


def _nothing(data: bytes, name: str) -> str:
    return ""


def _picture(data: bytes, name: str) -> str:
    try:
        from PIL import Image, ImageOps

        with Image.open(io.BytesIO(data)) as opened:
            image = ImageOps.exif_transpose(opened).convert("RGB")
    except (ImportError, OSError, ValueError, SyntaxError):
        return ""
    image.thumbnail((SIDE, SIDE))
    scale = max(1, SIDE // (2 * max(image.size))) if max(image.size) < SMALL else 1
    width, height = (scale * side for side in image.size)
    pixels = ' class="pixels"' if scale > 1 else ""
    out = io.BytesIO()
    image.save(out, "PNG")
    return f'<img{pixels} src="{_uri("image/png", out)}" alt="{esc(name)}" width="{width}" height="{height}">'


def _sound(data: bytes, name: str) -> str:
    try:
        import soundfile
    except ImportError:
        return ""
    known = soundfile.available_formats()
    form, kind = next((form, kind) for form, kind in FORMATS if form in known)
    out = io.BytesIO()
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            soundfile.write(out, file.read(SECONDS * file.samplerate), file.samplerate, format=form)
    except soundfile.LibsndfileError:
        return ""
    return f'<audio controls preload="none" src="{_uri(f"audio/{kind}", out)}" aria-label="{esc(name)}"></audio>'


def _uri(kind: str, data: io.BytesIO) -> str:
    return f"data:{kind};base64,{base64.b64encode(data.getvalue()).decode()}"
