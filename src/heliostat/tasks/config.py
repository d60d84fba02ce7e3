"""Which pretrained model a run starts from."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field

from heliostat.core.errors import UserError, nearest
from heliostat.core.provenance import content_fingerprint, locate
from heliostat.core.settings import Settings

HUB_TIMEOUT_S = 5.0
DEPTH = ("num_hidden_layers", "n_layers", "num_layers", "n_layer", "encoder_layers")
STAGES = "depths"
"""Models that have it are built of stages of unequal layers (ResNet, Swin, ConvNeXT)."""
POSITIONS = ("max_position_embeddings", "n_positions")
COUNT_FROM_PADDING = ("roberta", "camembert", "mpnet", "longformer", "roberta-prelayernorm", "xmod", "data2vec-text")
"""Model types whose first position is the one after the padding token's number."""
PROCESSORS = ("preprocessor_config.json", "processor_config.json")
TEMPLATES = ("chat_template.jinja", "chat_template.json", "additional_chat_templates/*.jinja")
TOKENIZERS = (
    *("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "merges.txt", "*.model"),
    *("special_tokens_map.json", "added_tokens.json", *TEMPLATES),
)
CONTENT = ("config.json", *TOKENIZERS, *PROCESSORS)
"""Files of a model folder, beside its weights, on which depends what a row becomes and what the model answers."""
READERS = {
    "text": ("tokenizer", ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "*.model")),
    "image": ("image processor", PROCESSORS),
    "audio": ("feature extractor", PROCESSORS),
}
"""What turns a row into model inputs, by what the row holds: its name, and the files it is kept in."""
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
        is_file = place.is_file() or place.suffix[1:].isalpha()  # bge-small-en-v1.5 is no file
        is_hub_id = self.path.count("/") <= 1 and not self.path.startswith((".", "/", "~", "package:")) and not is_file
        return None if is_hub_id else place

    @cached_property
    def fingerprint(self) -> str:
        """Stands for the model's content, not for where it lies."""
        folder = self.folder()
        if folder is None:
            return f"hub:{self.path}@{self.revision}:{self.layers}"
        files = {p for pattern in (*WEIGHTS, *CONTENT) for p in folder.glob(pattern)}
        return f"{content_fingerprint(sorted(files), folder)}:{self.layers}"

    def identity(self) -> dict[str, Any]:
        return {"fingerprint": self.fingerprint}

    def facts(self) -> dict[str, Any]:
        """Its config.json, from the folder or from the hub's local cache; empty when only a download could tell."""
        return self.told("config.json")

    def told(self, name: str) -> dict[str, Any]:
        """One of its JSON files; empty when there is none here."""
        try:
            folder = self.folder()
        except UserError:
            return {}
        file = folder / name if folder else cached(self.path, self.revision, name)
        try:
            found = json.loads(file.read_text(encoding="utf-8")) if file else {}
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def depth(self) -> int | None:
        """Encoder layers the folder has, before `layers`; None when its facts do not tell, or it is built of stages."""
        facts = self.facts()
        if STAGES in facts:
            return None
        places = (facts, facts.get("vision_config") or {})
        return next((count for place in places for name in DEPTH if isinstance(count := place.get(name), int)), None)

    def positions(self) -> int | None:
        """Most tokens the encoder can read; None when its facts set no limit."""
        facts = self.facts()
        most = next((value for name in POSITIONS if isinstance(value := facts.get(name), int) and value > 0), None)
        relative = facts.get("position_biased_input") is False or "relative_attention_num_buckets" in facts  # DeBERTa, T5
        if most is None or relative:
            return None
        first = (facts.get("pad_token_id") or 0) + 1 if str(facts.get("model_type")).endswith(COUNT_FROM_PADDING) else 0
        return most - first

    def problems(self) -> list[str]:
        """Why the model cannot be used, as far as its files can tell."""
        if not self.path.strip():
            return ["model.path: it is empty. Give a folder with config.json and *.safetensors, package:NAME/folder, or a hub id."]
        try:
            folder = self.folder()
        except UserError as error:
            return [f"model.path: {problem}" for problem in error.problems]
        if folder is None:
            return reach(self.path, self.revision)
        if not folder.exists():
            return [f"model.path: '{self.path}' does not exist (looked at {folder}).{_near_folder(folder)}"]
        if not folder.is_dir():
            return [f"model.path: '{self.path}' is a file. Give the folder that holds config.json and *.safetensors."]
        weights = [file for pattern in WEIGHTS for file in folder.glob(pattern)]
        if not (folder / "config.json").exists() or not weights:
            found = ", ".join(sorted(p.name for p in folder.iterdir())[:8]) or "nothing"
            return [f"model.path: '{self.path}' is not a model folder: it needs config.json and *.safetensors; it holds {found}."]
        if not self.facts():
            return [f"model.path: '{folder / 'config.json'}' is not a JSON object. Copy the model again."]
        if self.layers and self.shapeless():
            return [f"model.layers: {self.shapeless()} Leave it out."]
        if self.layers and (depth := self.depth()) and self.layers > depth:
            return [f"model.layers: {self.layers} asked for, and '{self.path}' has {depth} encoder layers. Allowed: 1 to {depth}."]
        return [f"model.path: '{file}' holds no weights: {why}" for file in weights if (why := unreadable(file))]

    def shapeless(self) -> str | None:
        """A sentence when its facts are known and tell of no list of equal encoder layers."""
        facts = self.facts()
        if not facts or self.depth() is not None:
            return None
        return f"'{self.path}' ({facts.get('model_type', 'unknown type')}) has no list of equal encoder layers."

    def lacks(self, reads: str) -> list[str]:
        """A problem when the folder holds nothing that turns rows of `reads` (text, image, audio) into model inputs."""
        what, files = READERS[reads]
        try:
            folder = self.folder()
        except UserError:
            return []
        if folder is None or not (folder / "config.json").exists() or any(next(folder.glob(pattern), None) for pattern in files):
            return []
        return [f"model.path: '{self.path}' holds no {what}. It needs one of {', '.join(files)}."]


def unreadable(weights: Path) -> str | None:
    """Why a file cannot hold the weights its name promises, from its beginning; None when it may."""
    with weights.open("rb") as stream:
        start = stream.read(64)
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer. Fetch the file it stands for: git lfs pull"
    if weights.suffix == ".safetensors" and int.from_bytes(start[:8], "little") + 8 > weights.stat().st_size:
        return "it is cut off or not safetensors. Copy the model again."
    return None


def cached(hub_id: str, revision: str, name: str = "config.json") -> Path | None:
    """One file of a hub id in the local cache."""
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError

    try:
        found = huggingface_hub.try_to_load_from_cache(hub_id, name, revision=revision)
    except HFValidationError:
        return None
    return Path(found) if isinstance(found, str) else None


class Adapted(ModelConfig):
    """What a stage of this run makes of the config's model, in its place: the stage stands for it, also before it has run."""

    made_by: str
    """Fingerprint of the stage."""

    @classmethod
    def of(cls, model: ModelConfig, made: Any) -> Adapted:
        """`model` as the artifact `made` has it (or, in a plan, as what stands for that artifact will)."""
        return cls(path=str(getattr(made, "path", model.path)), layers=model.layers, made_by=made.fingerprint)

    @cached_property
    def fingerprint(self) -> str:
        return f"{self.made_by}:{self.layers}"


def _near_folder(place: Path) -> str:
    beside = [p.name for p in place.parent.iterdir() if p.is_dir()] if place.parent.is_dir() else []
    close = nearest(place.name, beside)
    return f" Did you mean '{place.parent / close}'?" if close else ""


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
