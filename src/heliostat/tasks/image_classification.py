"""One label per picture."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from heliostat.tasks import _pixels
from heliostat.tasks._media import MediaTask, inputs, steady

FIXED_SIZE = ("vit", "deit", "vit_msn")
"""Model types that read pictures of one size only."""
MEND = "Mend preprocessor_config.json."


class ImageClassification(MediaTask):
    """One label per picture, with any Hugging Face image encoder (ViT, DeiT, DINOv2, Swin, ResNet, ConvNeXT ...).

    Pictures are opened upright, in RGB (in grey for a model of one channel), and resized by the model's own image processor.
    Batch normalisation keeps the statistics of the pretrained model, so that an update does not depend on how a batch is cut.
    """

    auto: ClassVar[str] = "AutoModelForImageClassification"
    reads: ClassVar[Any] = "image"
    pipeline_tag: ClassVar[str] = "image-classification"
    needs: ClassVar[tuple[str, str]] = ("PIL", "image")

    min_side: int = Field(8, ge=1)
    """Pictures with a shorter side, in pixels, are dropped as too_small."""
    keep: Literal["pixels", "files"] = "pixels"
    """What prepared rows hold: `pixels` are decoded and resized once (height x width x 3 bytes on disk each: 150 kB at 224);
    `files` are decoded again for every batch, some 15 to 70 times slower, and take no more room than the corpus."""

    def columns(self) -> dict[str, str]:
        return {"image": "the bytes of a picture file", "label": "its class"}

    def judged(self, data: bytes) -> tuple[str | None, str]:
        fault, digest, side = _pixels.looked_at(data)
        return fault or ("too_small" if side < self.min_side else None), digest

    def problems(self, model: Any) -> list[str]:
        return super().problems(model) or unfit(model.path, model.facts(), model.told("preprocessor_config.json"))

    def model(self, folder: str, labels: list[str] | None, layers: int | None, revision: str = "main") -> tuple[Any, list[str]]:
        module, missing = super().model(folder, labels, layers, revision)
        return (getattr(module, "vision_model", module) if labels is None else module), missing

    def shorten(self, config: Any, layers: int) -> None:
        own = getattr(config, "vision_config", config)
        if not hasattr(own, "num_hidden_layers") or hasattr(own, "depths"):
            raise ValueError(f"model.layers: a {config.model_type} has no list of equal encoder layers. Leave it out.")
        super().shorten(own, layers)

    def processor(self, folder: str, revision: str = "main") -> Any:
        from transformers import AutoImageProcessor

        return AutoImageProcessor.from_pretrained(folder, revision=revision, backend="pil")  # the same pixels with and without torchvision

    def prepared(self, files: list[bytes], processor: Any) -> dict[str, list[Any]]:
        scale = _pixels.split(processor)  # also where files are kept: it refuses a processor whose pictures fit into no batch
        if scale is None or self.keep == "files":
            return {"image": files}
        grey = _pixels.is_grey(processor)
        return {"pixels": [scale.whole(_pixels.values([_pixels.opened(data, grey=grey)], processor)[0]).tobytes() for data in files]}

    def read(self, rows: dict[str, list[Any]], processor: Any) -> dict[str, Any]:
        import torch

        if "pixels" in rows:
            scale = _pixels.split(processor)
            assert scale is not None, "rows with pixels were made by a processor that can be split"
            return {"pixel_values": scale.scaled(rows["pixels"])}
        grey = _pixels.is_grey(processor)
        return {"pixel_values": torch.from_numpy(_pixels.values([_pixels.opened(data, grey=grey) for data in rows["image"]], processor))}

    def logits(self, module: Any, batch: dict[str, Any]) -> Any:
        steady(module)
        return module(**inputs(module, batch)).logits

    def embed(self, module: Any, batch: dict[str, Any]) -> Any:
        """The mean over places, beside the class token where the encoder has one (as in the linear evaluation of DINOv2: Oquab et
        al., 2023, arXiv:2304.07193)."""
        import torch
        import torch.nn.functional as F

        steady(module)
        encoder = tower(module)
        hidden = encoder(**inputs(encoder, batch)).last_hidden_state
        if hidden.ndim == 4:  # feature maps [B, D, H, W]
            return F.normalize(hidden.float().mean((2, 3)), dim=-1)
        parts = [hidden.float().mean(1)]
        if any("class_embedding" in name or "cls_token" in name for name, _ in encoder.named_parameters()):
            parts.append(hidden.float()[:, 0])
        return F.normalize(torch.cat([F.normalize(part, dim=-1) for part in parts], dim=-1), dim=-1)


def unfit(path: str, facts: dict[str, Any], processor: dict[str, Any]) -> list[str]:
    """What the image processor of a model gives and the model does not take."""
    channels, mean = facts.get("num_channels"), processor.get("image_mean")
    if isinstance(channels, int) and isinstance(mean, list) and len(mean) != channels:
        return [f"model.path: the image_mean of '{path}' is for {len(mean)} channels, and the model reads {channels}. {MEND}"]
    size, wanted = processor.get("size"), facts.get("image_size")
    side = size.get("height") if isinstance(size, dict) and not processor.get("do_center_crop") else None
    if facts.get("model_type") in FIXED_SIZE and isinstance(wanted, int) and isinstance(side, int) and side != wanted:
        return [f"model.path: the image processor of '{path}' makes pictures of {side} pixels, and the model reads {wanted}. {MEND}"]
    return []


def tower(module: Any) -> Any:
    """The image encoder inside a model."""
    body = getattr(module, module.base_model_prefix, module)
    return getattr(body, "vision_model", body)
