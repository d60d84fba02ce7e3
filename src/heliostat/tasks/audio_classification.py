"""One label per recording."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from heliostat.tasks import _sound
from heliostat.tasks._media import VALUES, MediaTask, inputs, steady

WINDOWS_S = {"whisper": ("max_source_positions", 50), "audio-spectrogram-transformer": ("max_length", 100)}
"""Model types with a window: what in config.json says how long it is, and how many of it make a second."""
CLAP_S = 10
"""The window of CLAP: what is longer, it hears random cuts of."""
SEE_PADDING = ("data2vec-audio", "wav2vec2-conformer")
"""Model types that hear what a batch is filled up with in spite of a mask, as do all that norm their first layer over the whole
clip (`feat_extract_norm: group`): these hear every clip at full length, so that an answer does not depend on the batch."""


class AudioClassification(MediaTask):
    """One label per recording, with any Hugging Face audio encoder (Whisper's, CLAP's, AST, wav2vec2, HuBERT, WavLM ...).

    Recordings (wav, flac, ogg, mp3 ...) are mixed down to one channel, brought to the model's sampling rate and cut to
    `seconds`. Of an encoder-decoder only the encoder is used. Models with a fixed window (Whisper's 30 s, AST's 10 s) get one
    of `seconds`, and are exported with it; CLAP fills its 10 s with repetitions.
    """

    auto: ClassVar[str] = "AutoModelForAudioClassification"
    reads: ClassVar[Any] = "audio"
    pipeline_tag: ClassVar[str] = "audio-classification"
    processor_reads: ClassVar[tuple[str, ...]] = ("seconds",)
    model_reads: ClassVar[tuple[str, ...]] = ("seconds",)
    needs: ClassVar[tuple[str, str]] = ("soundfile", "audio")

    seconds: float = Field(10.0, ge=0.25, le=120)
    """Longer recordings are cut at the end; a shorter window is cheaper. Whisper's windows are whole seconds: it is rounded up."""
    min_seconds: float = Field(0.1, ge=0)
    """Shorter recordings are dropped as too_short."""
    keep: Literal["features", "samples"] = "features"
    """What prepared rows hold for models that read spectrograms: `features` are made once (float16); `samples` are made into
    features again for every batch. Models that read the waveform always keep samples (int16)."""

    def columns(self) -> dict[str, str]:
        return {"audio": "the bytes of a sound file", "label": "its class"}

    def judged(self, data: bytes) -> tuple[str | None, str]:
        fault, digest, seconds = _sound.listened_to(data)
        return fault or ("too_short" if seconds < self.min_seconds else None), digest

    def problems(self, model: Any) -> list[str]:
        facts = model.facts()
        name, per_second = WINDOWS_S.get(str(facts.get("model_type")), ("", 1))
        most = facts[name] / per_second if isinstance(facts.get(name), int) else CLAP_S if facts.get("model_type") == "clap" else None
        if most is not None and self.seconds > most:
            told = f"task.seconds: {self.seconds:g} asked for, and '{model.path}' hears at most {most:g} s."
            return [*super().problems(model), f"{told} Allowed: 0.25 to {most:g}."]
        return super().problems(model)

    def model(self, folder: str, labels: list[str] | None, layers: int | None, revision: str = "main") -> tuple[Any, list[str]]:
        from transformers import AutoModelForAudioClassification

        if self.knows_clap(folder, revision) and labels is None:
            return AutoModelForAudioClassification.from_pretrained(folder, revision=revision, dtype="float32"), []
        module, missing = super().model(folder, labels, layers, revision)
        if labels is None and module.config.is_encoder_decoder:
            module = module.get_encoder()
        return _sound.narrow_model(module, self.seconds), missing

    def reopen(self, folder: Any) -> tuple[Any, dict[str, Any]]:
        self.knows_clap(folder)
        return super().reopen(folder)

    @staticmethod
    def knows_clap(folder: Any, revision: str = "main") -> bool:
        """Whether the model is a CLAP, which transformers has no classifier for: it has from now on."""
        from transformers import AutoConfig

        if AutoConfig.from_pretrained(folder, revision=revision).model_type != "clap":
            return False
        from heliostat.tasks import _clap  # noqa: F401

        return True

    def shorten(self, config: Any, layers: int) -> None:
        if config.model_type == "clap":
            raise ValueError("model.layers: a CLAP has no list of equal encoder layers. Leave it out.")
        super().shorten(config, layers)

    def describe(self, config: Any, labels: Any) -> None:
        super().describe(config, labels)
        if hasattr(config, "layerdrop"):  # layers left out on one worker and not on another give gradients that do not meet
            config.layerdrop = 0.0

    def processor(self, folder: str, revision: str = "main") -> Any:
        from transformers import AutoConfig, AutoFeatureExtractor

        made = AutoFeatureExtractor.from_pretrained(folder, revision=revision)
        config = AutoConfig.from_pretrained(folder, revision=revision)
        if getattr(config, "feat_extract_norm", "") == "group" or config.model_type in SEE_PADDING:
            made.return_attention_mask = False
        return _sound.narrow_processor(made, self.seconds)

    def prepared(self, files: list[bytes], processor: Any) -> dict[str, list[Any]]:
        clips = [_sound.clip(data, processor.sampling_rate, self.seconds) for data in files]
        if self.keep == "samples" or not _sound.is_spectral(processor):
            return {"samples": [each.tobytes() for each in clips]}
        kept: dict[str, list[Any]] = {"features": [], "height": [], "frames": []}
        for each in clips:
            made = _sound.features([each], processor, self.seconds)
            (value,) = (made[name][0].numpy() for name in VALUES if name in made)
            value = value[0] if value.ndim == 3 else value  # CLAP's four channels are the same for what is not longer than its window
            value = value[: int(made["attention_mask"].sum())] if "attention_mask" in made else value
            kept["features"].append(value.astype(np.float16).tobytes())
            kept["height"].append(len(value))
            kept["frames"].append(int(made["frames"][0]) if "frames" in made else len(value))
        return kept

    def read(self, rows: dict[str, list[Any]], processor: Any) -> dict[str, Any]:
        import torch

        if "samples" in rows:
            return _sound.features([np.frombuffer(each, np.int16) for each in rows["samples"]], processor, self.seconds)
        stored = zip(rows["features"], rows["height"], strict=True)
        values = [np.frombuffer(each, np.float16).reshape(height, -1) for each, height in stored]
        made, mask = _sound.joined(values, processor.padding_value)
        if (channels := _sound.channels(processor)) is not None:
            return {processor.model_input_names[0]: made.unsqueeze(1).expand(-1, channels, -1, -1)}
        window = _sound.window_s(processor) is not None
        beside = {"frames": torch.tensor(rows["frames"])} if window else {"attention_mask": mask}
        return {processor.model_input_names[0]: made, **beside}

    def logits(self, module: Any, batch: dict[str, Any]) -> Any:
        steady(module)
        if module.training:  # SpecAugment draws from numpy's own generator: it follows torch's, which is seeded for every step
            import torch

            np.random.seed(int(torch.randint(2**31, ())))
        return module(**inputs(module, batch)).logits

    def embed(self, module: Any, batch: dict[str, Any]) -> Any:
        """The mean of the encoder's last hidden states; CLAP's own embedding."""
        import torch

        if module.config.model_type == "clap":
            steady(module)
            return torch.nn.functional.normalize(module.embed(**inputs(module, batch)).float(), dim=-1)
        encoder = getattr(module, "encoder", None) if module.config.model_type == "whisper" else None
        encoder = encoder or getattr(module, module.base_model_prefix, module)
        hidden_BTD = encoder(**inputs(encoder, batch)).last_hidden_state
        return torch.nn.functional.normalize(_sound.pooled(hidden_BTD.float(), batch, encoder), dim=-1)
