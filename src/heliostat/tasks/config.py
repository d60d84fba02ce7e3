"""Which pretrained model a run starts from."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field

from heliostat.core.errors import UserError
from heliostat.core.provenance import content_fingerprint, locate
from heliostat.core.settings import Settings

HUB_TIMEOUT_S = 5.0
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
            return reach(self.path, self.revision)
        if not folder.exists():
            return [f"model.path: '{self.path}' does not exist (looked at {folder})."]
        if not (folder / "config.json").exists() or not any(next(folder.glob(p), None) for p in WEIGHTS):
            found = ", ".join(sorted(p.name for p in folder.iterdir())[:8]) or "nothing"
            return [f"model.path: '{self.path}' is not a model folder: it needs config.json and *.safetensors; it holds {found}."]
        return []


def reach(hub_id: str, revision: str) -> list[str]:
    """Why a hub id cannot be used from here: neither in the local cache nor reachable within seconds."""
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        if isinstance(huggingface_hub.try_to_load_from_cache(hub_id, "config.json", revision=revision), str):
            return []
        huggingface_hub.model_info(hub_id, revision=revision, timeout=HUB_TIMEOUT_S)
    except HFValidationError as error:
        return [f"model.path: '{hub_id}' is neither a folder nor a hub id: {str(error).splitlines()[0]}"]
    except HfHubHTTPError as error:
        return [f"model.path: the hub has no '{hub_id}' at revision '{revision}' that you may read: {str(error).splitlines()[0]}"]
    except Exception as error:  # noqa: BLE001  whatever the network does, the person needs the same next step
        return [
            f"model.path: '{hub_id}' is no folder here, and the model hub cannot be reached ({type(error).__name__}). "
            f"To work offline, run `hf download {hub_id} --local-dir models/{hub_id.rsplit('/', 1)[-1]}` where there is a "
            "network, copy the folder, and give its path."
        ]
    return []
