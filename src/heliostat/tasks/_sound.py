"""Bytes of a recording to what a model hears.

A recording is decoded, mixed down to one channel, brought to the model's sampling rate and cut; the model's own feature
extractor does the rest. Four kinds of extractors are told apart by what they have: a fixed window of spectrogram frames
(Whisper, AST), one that is filled with repetitions (CLAP), spectrograms of any length with a mask (wav2vec2-BERT), and the waveform
itself (wav2vec2, HuBERT, WavLM ...). Models of the first kind are made as short as the clips are (`narrow`): that saves most of
their work.

Shapes: B clips, C channels, S samples, T frames, F mel bins, D width.
"""

from __future__ import annotations

import hashlib
import io
import math
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

BLOCK = 1 << 20
LEAST_S = 0.25
"""Shorter clips are filled up with silence to this length: wav2vec2's masks need ten frames."""
FULL = 32767
WHISPER_POSITIONS_PER_S = 50
FRAMES_PER_S = 100


@lru_cache(maxsize=1)
def listened_to(data: bytes) -> tuple[str | None, str, float]:
    """(reason word why this is no usable recording, or None; what stands for its samples; seconds).

    The whole recording is decoded, block by block. The last answer is kept: a row is checked, and then asked for its content.
    """
    import soundfile

    try:
        file = soundfile.SoundFile(io.BytesIO(data))
    except soundfile.LibsndfileError:
        return "not_audio", "", 0.0
    with file:
        digest = hashlib.blake2b(f"{file.samplerate}x{file.channels}".encode(), digest_size=16)
        read, is_silent = 0, True
        try:
            while len(block := file.read(BLOCK, dtype="float32")):  # files of floats give nothing but zeros as whole numbers
                read += len(block)
                is_silent = is_silent and not block.any()
                digest.update((block * 32768).clip(-32768, 32767).astype(np.int16).tobytes())
        except soundfile.LibsndfileError:
            return "broken_audio", "", 0.0
        if read < file.frames:
            return "broken_audio", "", 0.0
    if read == 0:
        return "empty_audio", "", 0.0
    return ("silent_audio" if is_silent else None), digest.hexdigest(), read / file.samplerate


def clip(data: bytes, rate: int, seconds: float) -> np.ndarray:
    """The first `seconds` of a recording: one channel at `rate`, int16 [S]; the rest is not decoded."""
    import soundfile

    with soundfile.SoundFile(io.BytesIO(data)) as file:
        heard = file.read(math.ceil((seconds + 0.1) * file.samplerate), dtype="float32", always_2d=True).mean(axis=1)
        ratio = Fraction(rate, file.samplerate).limit_denominator(1000)
    if ratio != 1:
        from scipy.signal import resample_poly

        heard = resample_poly(heard, ratio.numerator, ratio.denominator)
    heard = np.rint(heard[: round(seconds * rate)] * FULL).clip(-FULL, FULL).astype(np.int16)
    return np.pad(heard, (0, max(0, round(LEAST_S * rate) - len(heard))))


def is_spectral(processor: Any) -> bool:
    """Whether the model reads spectrograms, which are costly to make, and not the waveform."""
    return hasattr(processor, "num_mel_bins") or processor.feature_size > 1


def window_s(processor: Any) -> float | None:
    """Seconds of the fixed window an extractor fills; None when clips keep their length."""
    if hasattr(processor, "chunk_length"):
        return float(processor.chunk_length)
    return processor.max_length / FRAMES_PER_S if hasattr(processor, "max_length") and is_spectral(processor) else None


def channels(processor: Any) -> int | None:
    """Channels C of CLAP's spectrograms: three cuts of a longer recording beside the whole, when it has learned from them; None for
    another extractor."""
    if not hasattr(processor, "max_length_s"):
        return None
    return 4 if processor.truncation == "fusion" else 1


def narrow_processor(processor: Any, seconds: float) -> Any:
    """The extractor with a window of `seconds` where it had a longer one; Whisper's are whole seconds."""
    if (window := window_s(processor)) is None or window <= seconds:
        return processor
    if hasattr(processor, "chunk_length"):
        processor.chunk_length = min(processor.chunk_length, math.ceil(seconds))
        processor.n_samples = processor.chunk_length * processor.sampling_rate
        processor.nb_max_frames = processor.n_samples // processor.hop_length
    else:
        processor.max_length = round(seconds * FRAMES_PER_S)
    return processor


def narrow_model(module: Any, seconds: float) -> Any:
    """The model with positions for `seconds` only, where it had more, in place."""
    kind = module.config.model_type
    if kind == "whisper":
        _narrow_whisper(module, math.ceil(seconds) * WHISPER_POSITIONS_PER_S)
    elif kind == "audio-spectrogram-transformer":
        _narrow_ast(module, round(seconds * FRAMES_PER_S))
    return module


def _narrow_whisper(module: Any, positions: int) -> None:
    import torch

    encoder = getattr(module, "encoder", module)
    if positions >= module.config.max_source_positions:
        return
    kept = torch.nn.Embedding.from_pretrained(encoder.embed_positions.weight.detach()[:positions].clone(), freeze=True)
    encoder.embed_positions = kept
    encoder.max_source_positions = module.config.max_source_positions = encoder.config.max_source_positions = positions


def _narrow_ast(module: Any, frames: int) -> None:
    """Position embeddings lie in a grid of frequencies by times, after two tokens of their own: the first times are kept."""
    import torch

    config = module.config
    if frames >= config.max_length:
        return
    embeddings = getattr(module, module.base_model_prefix, module).embeddings
    rows, columns = embeddings.get_shape(config)
    config.max_length = embeddings.config.max_length = frames
    _, kept = embeddings.get_shape(config)
    own_12D, grid_1PD = embeddings.position_embeddings.detach().split([2, rows * columns], dim=1)
    width = grid_1PD.shape[-1]
    grid_1PD = grid_1PD.view(1, rows, columns, width)[:, :, :kept].reshape(1, rows * kept, width)
    embeddings.position_embeddings = torch.nn.Parameter(torch.cat([own_12D, grid_1PD], dim=1))


def features(clips: list[np.ndarray], processor: Any, seconds: float) -> dict[str, Any]:
    """What the extractor makes of int16 clips: tensors by name, and `frames` [B] where it fills a window.

    A model that reads no mask hears every clip at the full length of `seconds`, so that its answer does not depend on what
    else is in the batch.
    """
    import torch

    rate = processor.sampling_rate
    options: dict[str, Any] = {"sampling_rate": rate, "return_tensors": "pt"}
    waves = [each.astype(np.float32) / FULL for each in clips]
    if channels(processor) is not None:  # which of them `is_longer` is drawn at random, where none is
        cut = [each[: processor.nb_max_samples] for each in waves]
        return {"input_features": processor(cut, **options)["input_features"].float()}
    if window_s(processor) is not None:
        made = {name: value for name, value in processor(waves, **options).items() if name != "attention_mask"}
        most = next(iter(made.values())).shape[-1 if hasattr(processor, "chunk_length") else -2]
        counts = [min(most, math.ceil(len(each) * FRAMES_PER_S / rate)) for each in clips]
        return {**made, "frames": torch.tensor(counts)}
    if processor.return_attention_mask:
        return dict(processor(waves, padding=True, return_attention_mask=True, **options))
    return dict(processor(waves, padding="max_length", max_length=round(seconds * rate), truncation=True, **options))


def joined(rows: list[np.ndarray], fill: float) -> tuple[Any, Any | None]:
    """(spectrograms as one float32 tensor, filled up at the end of their first axis; where they are, int64, if some were shorter)."""
    import torch

    longest = max(len(row) for row in rows)
    out = np.full((len(rows), longest, rows[0].shape[1]), fill, dtype=np.float32)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    lengths_B = torch.tensor([len(row) for row in rows])
    return torch.from_numpy(out), (torch.arange(longest)[None] < lengths_B[:, None]).long()


def pooled(hidden_BTD: Any, batch: dict[str, Any], encoder: Any) -> Any:
    """The mean [B, D] of hidden states over what was heard, without the silence a window or a batch is filled up with."""
    import torch

    mask_BT = torch.ones(hidden_BTD.shape[:2], device=hidden_BTD.device)
    if "attention_mask" in batch:
        mask_BT = encoder._get_feature_vector_attention_mask(hidden_BTD.shape[1], batch["attention_mask"])
    elif "frames" in batch and encoder.config.model_type == "whisper":  # two frames make one position
        positions = torch.arange(hidden_BTD.shape[1], device=hidden_BTD.device)
        mask_BT = positions[None] < (batch["frames"][:, None] + 1) // 2
    mask_BT1 = mask_BT.to(hidden_BTD.dtype).unsqueeze(-1)
    return (hidden_BTD * mask_BT1).sum(1) / mask_BT1.sum(1).clamp(min=1)
