"""A project so small that all of it is made here: a random two-layer BERT, its tokenizer, a table and a config.

`heliostat doctor` trains it for real; the tests that need a whole run use it too.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from heliostat.core import seeds

WIDTH, LAYERS, HEADS, POSITIONS = 32, 2, 2, 64
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
THEMES = {
    "river": "water boat bank stream fish bridge flood shore current delta".split(),
    "kitchen": "pan oven salt knife flour spoon recipe boil taste plate".split(),
    "garden": "seed soil rose shovel leaf root hedge bloom weed lawn".split(),
}
PLAIN = "the a of and to in on with from near old new small large quiet bright early late".split()


def write_project(folder: Path, rows: int = 150, **changes: Any) -> Path:
    """Model, table and config in `folder`; the config's path. `changes` replace parts of the config."""
    folder.mkdir(parents=True, exist_ok=True)
    write_model(folder / "model")
    write_table(folder / "rows.csv", rows)
    config = {
        "name": "tiny",
        "task": {"use": "text_classification", "max_tokens": 32},
        "model": {"path": str(folder / "model")},
        "corpus": {"sources": [{"use": "csv", "paths": [str(folder / "rows.csv")]}], "near_duplicates": None},
        "train": {"epochs": 4, "batch": 8, "optimizer": {"use": "adamw", "lr": 1e-2}, "validate_every": 1.0},
        "evaluate": {"resamples": 100, "latency_rows": 4},
        **changes,
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return path


def write_table(path: Path, rows: int) -> None:
    """Sentences about a few themes, labelled by theme."""
    names = list(THEMES)
    lines = ["text,label"]
    for i in range(rows):
        rng = seeds.rng(7, "tiny", i)
        theme = names[i % len(names)]
        words = [str(rng.choice(THEMES[theme] if rng.random() < 0.5 else PLAIN)) for _ in range(12)]
        lines.append(f"{' '.join(words)},{theme}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_model(folder: Path) -> None:
    """A model folder that plain `transformers` opens."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    words = [*SPECIAL, *PLAIN, *(word for theme in THEMES.values() for word in theme)]
    rng = seeds.rng(7, "tiny", "weights")
    tensors = {name: _initial(name, shape, rng) for name, shape in _shapes(len(words)).items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "vocab_size": len(words),
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": 2 * WIDTH,
        "max_position_embeddings": POSITIONS,
        "type_vocab_size": 2,
        "hidden_act": "gelu",
        "pad_token_id": 0,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    _write_tokenizer(folder, words)


def _initial(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    if name.endswith("LayerNorm.weight"):
        return np.ones(shape, np.float32)
    return np.zeros(shape, np.float32) if name.endswith("bias") else rng.normal(0, 0.05, shape).astype(np.float32)


def _shapes(words: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (words, WIDTH),
        "embeddings.position_embeddings.weight": (POSITIONS, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
        "embeddings.LayerNorm.weight": (WIDTH,),
        "embeddings.LayerNorm.bias": (WIDTH,),
        "pooler.dense.weight": (WIDTH, WIDTH),
        "pooler.dense.bias": (WIDTH,),
    }
    for i in range(LAYERS):
        layer = f"encoder.layer.{i}"
        linear = {f"attention.self.{part}": (WIDTH, WIDTH) for part in ("query", "key", "value")}
        linear |= {"attention.output.dense": (WIDTH, WIDTH), "intermediate.dense": (2 * WIDTH, WIDTH), "output.dense": (WIDTH, 2 * WIDTH)}
        for part, shape in linear.items():
            shapes |= {f"{layer}.{part}.weight": shape, f"{layer}.{part}.bias": shape[:1]}
        for part in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes |= {f"{layer}.{part}.weight": (WIDTH,), f"{layer}.{part}.bias": (WIDTH,)}
    return shapes


def _write_tokenizer(folder: Path, words: list[str]) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [(word, words.index(word)) for word in ("[CLS]", "[SEP]")]
    two = "[CLS] $A [SEP] $B:1 [SEP]:1"
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair=two, special_tokens=ends)
    tokenizer.save(str(folder / "tokenizer.json"))
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    facts = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": POSITIONS, "model_input_names": inputs, **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(facts, indent=1))
