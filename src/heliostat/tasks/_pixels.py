"""Bytes of a picture to the pixels a model reads.

A model's own image processor decides how: it resizes and crops to whole numbers 0 to 255, and then scales every channel by
two constants. The first part is slow and the same every time, so prepared rows keep its result; the second is one
multiplication and one addition for a whole batch. `Scale` finds the two constants by asking the processor about grey
pictures, and `split` proves on another picture that nothing else happens.

Shapes: B pictures, C channels, H height, W width.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from heliostat.core.errors import UserError

FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
"""What is read. Pillow knows more, and some of it starts other programs (EPS)."""
MOST_PIXELS = 100_000_000
DEEP = ("I;16", "I;16L", "I;16B", "I;16N")
"""Modes of 16-bit greys."""
EXACT = 0.02
"""How far from a whole number a pixel may be that was scaled and scaled back."""


@lru_cache(maxsize=1)
def formats() -> tuple[str, ...]:
    """The formats of `FORMATS` that this Pillow can read."""
    from PIL import Image

    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


@lru_cache(maxsize=1)
def looked_at(data: bytes) -> tuple[str | None, str, int]:
    """(reason word why this is no usable picture, or None; what stands for its pixels; its shorter side).

    The last answer is kept: a row is checked, and then asked for its content.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=formats()) as image:
                if image.width * image.height > MOST_PIXELS:
                    return "too_many_pixels", "", 0
                seen = unified(image)
    except UnidentifiedImageError:
        return "not_an_image", "", 0
    except Image.DecompressionBombError:
        return "too_many_pixels", "", 0
    except Exception:  # noqa: BLE001  decoders stumble in many ways over broken bytes, and all of them mean the same
        return "broken_image", "", 0
    if seen is None:
        return "unknown_pixel_range", "", 0
    digest = hashlib.blake2b(f"{seen.width}x{seen.height}".encode(), digest_size=16)
    digest.update(seen.tobytes())
    return None, digest.hexdigest(), min(seen.size)


def opened(data: bytes, *, grey: bool = False) -> Any:
    """The picture in a file, as `unified` gives it."""
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=formats()) as image:
        return unified(image, grey=grey)


def unified(image: Any, *, grey: bool = False) -> Any:
    """The picture upright, in RGB or grey with 8 bits; None when its numbers have no known range.

    As transformers' pipelines open a picture (EXIF rotation, the first frame, transparency dropped), so that an exported model
    sees the same. 16-bit greys are the exception: they keep their upper 8 bits, where a plain conversion makes them all white.
    """
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode in DEEP:
        image = Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        return None
    return image.convert("L" if grey else "RGB")


@dataclass(frozen=True)
class Scale:
    """What an image processor does after resizing, and the size it resizes to."""

    factor_C: np.ndarray
    bias_C: np.ndarray
    height: int
    width: int

    def whole(self, values_CHW: np.ndarray) -> np.ndarray:
        """The pixels 0 to 255 behind a processor's result."""
        pixels_CHW = (values_CHW - self.bias_C[:, None, None]) / self.factor_C[:, None, None]
        return np.rint(pixels_CHW).clip(0, 255).astype(np.uint8)

    def scaled(self, pixels: list[bytes]) -> Any:
        """A processor's results float32 [B, C, H, W] for pictures as `whole` gave them."""
        import torch

        shape = (len(pixels), len(self.factor_C), self.height, self.width)
        raw_BCHW = torch.frombuffer(bytearray(b"".join(pixels)), dtype=torch.uint8).view(shape)
        factor, bias = (torch.from_numpy(each).view(1, -1, 1, 1) for each in (self.factor_C, self.bias_C))
        return raw_BCHW.float().mul_(factor).add_(bias)


def values(images: list[Any], processor: Any) -> np.ndarray:
    """What the processor makes of opened pictures, float32 [B, C, H, W]."""
    made = [np.asarray(processor(images=image, return_tensors="np")["pixel_values"][0], dtype=np.float32) for image in images]
    shapes = sorted({value.shape[-2:] for value in made})
    if len(shapes) > 1:
        told = " and ".join(f"{h} x {w}" for h, w in shapes[:2])
        raise UserError(
            f"model.path: its image processor makes pictures of different sizes ({told}), which fit into no batch."
            " Set a fixed size (height and width), or do_center_crop, in the model's preprocessor_config.json."
        )
    return np.stack(made)


def is_grey(processor: Any) -> bool:
    """Whether the processor is for one channel."""
    mean = getattr(processor, "image_mean", None)
    return isinstance(mean, list | tuple) and len(mean) == 1


@lru_cache(maxsize=8)
def split(processor: Any) -> Scale | None:
    """The processor's second part; None when what it does is more than a resize to whole numbers and a scale."""
    from PIL import Image

    mode = "L" if is_grey(processor) else "RGB"
    rng = np.random.default_rng(0)
    noise = [Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).convert(mode) for size in ((70, 110), (110, 70))]
    black, white, *made = values([Image.new("RGB", (90, 90), tone).convert(mode) for tone in ("black", "white")] + noise, processor)
    bias_C, top_C = (grey.reshape(len(grey), -1).mean(1, dtype=np.float64) for grey in (black, white))
    factor_C = (top_C - bias_C) / 255
    if not np.all(np.abs(factor_C) > 0):
        return None
    for value_CHW in made:
        pixels_CHW = (value_CHW.astype(np.float64) - bias_C[:, None, None]) / factor_C[:, None, None]
        if np.abs(pixels_CHW - np.rint(pixels_CHW)).max() > EXACT or pixels_CHW.min() < -EXACT or pixels_CHW.max() > 255 + EXACT:
            return None
    return Scale(factor_C.astype(np.float32), bias_C.astype(np.float32), *black.shape[-2:])
