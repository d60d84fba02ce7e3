"""Which pretrained model a run starts from."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field

from heliostat.core.errors import UserError
from heliostat.core.provenance import content_fingerprint, locate
from heliostat.core.settings import Settings

WEIGHTS = ("*.safetensors", "pytorch_model*.bin")


class ModelConfig(Settings):
    """A pretrained model: a folder, `package:NAME/folder` inside an installed package, or a hub id."""

    path: str
    """Where the model is."""
    layers: int | None = Field(None, ge=1)
    """Keep only the first so many encoder layers; None keeps all."""
    revision: str = "main"
    """Branch, tag or commit of a hub id."""

    def folder(self) -> Path | None:
        """The local folder, or None when `path` reads as a hub id."""
        place = locate(self.path)
        if place.is_dir():
            return place
        is_hub_id = self.path.count("/") <= 1 and not self.path.startswith((".", "/", "~", "package:")) and not place.suffix
        return None if is_hub_id else place

    @cached_property
    def fingerprint(self) -> str:
        """Stands for the model's content, not for where it lies."""
        folder = self.folder()
        if folder is None:
            return f"hub:{self.path}@{self.revision}:{self.layers}"
        files = [p for pattern in (*WEIGHTS, "config.json", "tokenizer*.json", "vocab.txt") for p in folder.glob(pattern)]
        return f"{content_fingerprint(files, folder)}:{self.layers}"

    def identity(self) -> dict[str, Any]:
        return {"fingerprint": self.fingerprint}

    def problems(self) -> list[str]:
        """Why the model cannot be used, as far as its files can tell."""
        try:
            folder = self.folder()
        except UserError as error:
            return error.problems
        if folder is None:
            return []
        if not folder.exists():
            return [f"model.path: '{self.path}' does not exist (looked at {folder})."]
        if not (folder / "config.json").exists() or not any(next(folder.glob(p), None) for p in WEIGHTS):
            found = ", ".join(sorted(p.name for p in folder.iterdir())[:8]) or "nothing"
            return [f"model.path: '{self.path}' is not a model folder: it needs config.json and *.safetensors; it holds {found}."]
        return []
