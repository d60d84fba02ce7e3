"""Language models on one GPU, random weights, bf16, sequences of 2,048 tokens: `make bench ONLY=gpu`. Skipped without a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ray import cloudpickle

from bench import races_gpu
from bench.figures import figure
from heliostat.artifacts import Corpus
from heliostat.core import seeds
from heliostat.core.family import build
from heliostat.core.layout import Layout, local_gpus
from heliostat.core.progress import Progress
from heliostat.core.workspace import Context
from heliostat.engine.driver import Engine
from heliostat.engine.orders import ModelSource
from heliostat.train.config import TrainConfig
from heliostat.train.stage import training
from tiny_decoder import write_tokenizer

cloudpickle.register_pickle_by_value(races_gpu)  # Ray's workers cannot import it
pytestmark = pytest.mark.skipif(not local_gpus(), reason="this machine has no GPU")

TOKENS, WORDS = 2048, 32_000
PEAK_FLOPS = {"H100": 989.4e12, "H200": 989.4e12, "A100": 312e12}
"""Dense bf16 operations per second on the data sheets."""
MODELS = {
    "125m": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "num_key_value_heads": 12, "intermediate_size": 2560},
    "1b": {"hidden_size": 2048, "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 8192},
}
"""Llamas; the second has the layers of Llama 3.2 1B."""
ROWS = {"125m": 16, "1b": 6}
"""Sequences of an update."""
PAIRS, STEPS = 4, 6


def write_ground(folder: Path, name: str, rows: int = 96) -> tuple[Path, Corpus]:
    """A random model and random texts of exactly so many tokens, the last of which ends the text."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    words = ["<pad>", "<unk>", "<start>", "<end>", *(f"w{i}" for i in range(WORDS - 4))]
    ends = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    told = {"vocab_size": WORDS, "max_position_embeddings": TOKENS, "tie_word_embeddings": True}
    torch.manual_seed(7)
    with torch.device("cuda"):
        LlamaForCausalLM(LlamaConfig(**MODELS[name], **told, **ends)).to(torch.bfloat16).save_pretrained(folder / name)
    write_tokenizer(folder / name, words, None)
    torch.cuda.empty_cache()
    for split, count in {"train": rows, "valid": 2, "test": 2}.items():
        (folder / split).mkdir(exist_ok=True)
        ids_RT = seeds.rng(7, split).zipf(1.2, (count, TOKENS - 1)) % (WORDS - 4)
        columns = {
            "id": [f"{split}-{i}" for i in range(count)],
            "text": [" ".join(f"w{i}" for i in row) for row in ids_RT],
            "label": [""] * count,
            "weight": pa.array(np.ones(count), pa.float32()),
        }
        pq.write_table(pa.table(columns), folder / split / "part-00000.parquet")
    return folder / name, Corpus(fingerprint=name, path=folder, labels=(), rows={"train": rows}, dropped={}, read=rows)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: Any) -> Iterator[Engine]:
    with Engine(Layout(gpus_per_worker=1, cpus_per_worker=8, local_cpus=12), tmp_path_factory.mktemp("gpu")) as engine:
        yield engine


@pytest.fixture(scope="module", params=list(MODELS))
def ground(request: Any, engine: Engine, tmp_path_factory: Any) -> Callable[..., dict[str, Any]]:
    """Performs `OnGpu` on a model and its texts; its argument `name` is the model's."""
    folder = tmp_path_factory.mktemp(request.param)
    model, corpus = write_ground(folder, request.param)
    plain = {"schedule": {"use": "constant", "warmup": 0}, "dropout": 0.0, "optimizer": {"use": "adamw", "lr": 1e-4}}
    config = TrainConfig(epochs=100, batch=ROWS[request.param], precision="bf16", **plain)
    task = build("tasks", {"use": "causal_lm", "max_tokens": TOKENS})

    def perform(other: str | None, key: str, **changes: Any) -> dict[str, Any]:
        ctx = Context(folder / key, key, 7, engine.layout, engine, Progress(), "train")
        fields = training(config, ctx=ctx, source=ModelSource(folder=str(model)), corpus=corpus, task=task)
        more = {"until": 1, "resumable": False, "scratch": str(folder / "hf"), "other": other}
        return engine.perform(races_gpu.OnGpu(**fields | more | changes)).value | {"name": request.param, "steps": changes["steps"]}

    perform.name = request.param  # type: ignore[attr-defined]
    return perform


def told_of(told: dict[str, Any]) -> str:
    """Tokens per second, and what share of the GPU's arithmetic that is."""
    import torch

    name = told["name"]
    shape = MODELS[name]
    width, layers = shape["hidden_size"], shape["num_hidden_layers"]
    heads = shape["num_key_value_heads"] / shape["num_attention_heads"]
    matrices = layers * (2 * width**2 * (1 + heads) + 3 * width * shape["intermediate_size"]) + WORDS * width
    flops = 6 * matrices + 6 * layers * width * TOKENS  # a token sees half of its sequence
    rate = (told["steps"] - 1) * ROWS[name] * TOKENS / float(np.median(told["ours"]))
    gpu = torch.cuda.get_device_name()
    peak = next((most for kind, most in PEAK_FLOPS.items() if kind in gpu), None)
    used = f", MFU {rate * flops / peak:.3f} of {peak / 1e12:.0f} TFLOP/s" if peak else ""
    return f"{matrices / 1e6:.0f} M parameters, {gpu}: {rate:,.0f} tokens/s{used}, {told['peak_bytes'] / 2**30:.1f} GiB"


@pytest.mark.parametrize(("key", "other", "compiled", "against"), [
    ("trainer", "trainer", False, "transformers.Trainer"),
    ("by_hand", "by_hand", False, "autocast by hand"),
    ("compiled", "by_hand", True, "autocast by hand, layers compiled too"),
])  # fmt: skip
def test_gpu_rate(ground: Any, key: str, other: str, compiled: bool, against: str) -> None:
    """Tokens per second over those of another way."""
    told = ground(other, key, compiled=compiled, pairs=PAIRS, steps=STEPS)
    assert len(told["ours"]) == PAIRS
    for ours, theirs in told["losses"]:
        assert ours == pytest.approx(theirs, rel=2e-2)
    found = [theirs / ours for theirs, ours in zip(told["theirs"], told["ours"], strict=True)]
    figure(f"engine.gpu_{ground.name}_{key}", found, None, None, f"{against}; {told_of(told)}")


def test_gpu_offload(ground: Any) -> None:
    """GPU memory with everything on it over that with the optimiser's states in CPU memory, at ZeRO 2, and what an update then takes."""
    kinds = ("none", "optimizer")
    whole, off = (ground(None, f"offload-{kind}", zero=2, offload=kind, pairs=2, steps=4) for kind in kinds)
    for one, other in zip(whole["losses"], off["losses"], strict=True):
        assert one == pytest.approx(other, rel=2e-2)
    against = f"with them on the GPU, {told_of(whole)}; without, {told_of(off)}"
    figure(f"engine.gpu_{ground.name}_offload_memory", [whole["peak_bytes"] / off["peak_bytes"]], None, None, against)
    figure(f"engine.gpu_{ground.name}_offload_time", [o / w for o, w in zip(off["ours"], whole["ours"], strict=True)], None, None, against)
