"""What a run will cost, as far as files can tell: rows, steps, jobs of a sweep, memory. Pure reading; nothing is started."""

from __future__ import annotations

import json
import math
import re
import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heliostat.artifacts import Corpus
from heliostat.config import RunConfig
from heliostat.core import seeds
from heliostat.core.layout import Layout
from heliostat.corpus.lines import open_bytes
from heliostat.train.config import TrainConfig
from heliostat.tune.config import TuneConfig
from heliostat.tune.decisions import Decisions

COUNTED_BYTES = 64 << 20
"""Text files up to this size together are counted; beyond it rows are estimated from their beginnings."""
GZIP_RATIO = 3.0
LAYER = re.compile(r"(?:^|\.)(?:layers?|h|block)\.(\d+)\.")
STATE_BYTES = {"adamw": 8, "sgd": 4}
SIMULATIONS = 25


@dataclass(frozen=True)
class Rows:
    """Rows of a corpus: of each split, and whether they are known or estimated."""

    read: int
    splits: dict[str, int]
    exact: bool

    def told(self, name: str) -> str:
        return f"{'' if self.exact else 'about '}{self.splits[name]:,}"


@dataclass(frozen=True)
class SweepCost:
    """A simulated sweep: median over made-up results."""

    jobs: tuple[int, ...]
    """Jobs at each rung."""
    trainings: float
    """Work in whole trainings; a plain search would do as many as there are trials."""


def rows_of(run: RunConfig, corpus: Any) -> Rows:
    """Rows of a finished corpus, or of the source files by the shares of the split."""
    if isinstance(corpus, Corpus):
        return Rows(corpus.read, corpus.rows, True)
    read = sum(source_rows(source) for source in run.corpus.sources)
    valid, test = round(read * run.corpus.split.valid), round(read * run.corpus.split.test)
    return Rows(read, {"train": max(0, read - valid - test), "valid": valid, "test": test}, False)


def source_rows(source: Any) -> int:
    """Rows in the files of one source, before cleaning."""
    files = source.files()
    kind = source.name()
    if kind == "class_folders":
        return len(files)
    if kind == "parquet":
        import pyarrow.parquet as pq

        return sum(pq.read_metadata(file).num_rows for file in files)
    header = 1 if kind == "csv" else 0
    total = sum(file.stat().st_size * (GZIP_RATIO if file.name.endswith(".gz") else 1.0) for file in files)
    return max(0, round(_lines(files, total)) - header * len(files))


def _lines(files: list[Path], total_bytes: float) -> float:
    """Lines of text files: counted, or extrapolated from what fits into `COUNTED_BYTES`."""
    lines = read = 0
    for file in files:
        with open_bytes(file) as stream:
            last = b"\n"
            while read < COUNTED_BYTES and (chunk := stream.read(1 << 20)):
                lines += chunk.count(b"\n")
                read += len(chunk)
                last = chunk[-1:]
            lines += last != b"\n"
        if read >= COUNTED_BYTES:
            return lines * max(1.0, total_bytes / read)
    return lines


def steps(train: TrainConfig, rows: int) -> int:
    """Updates of a whole training on so many rows."""
    return max(1, round(train.epochs * math.ceil(rows / train.batch)))


def sweep_cost(tune: TuneConfig, seed: int) -> SweepCost:
    """Jobs of each rung and the work of the whole sweep, from a few sweeps with made-up results."""
    rungs = tune.scheduler.rungs()
    done = sorted((simulate(tune, seed, i) for i in range(SIMULATIONS if tune.trials <= 200 else 1)), key=lambda jobs: sum(jobs.values()))
    jobs = done[len(done) // 2]
    work = sum(count * (rungs[rung] - (rungs[rung - 1] if rung else 0.0)) for rung, count in jobs.items())
    return SweepCost(tuple(jobs.get(rung, 0) for rung in range(len(rungs))), work)


def simulate(tune: TuneConfig, seed: int, number: int) -> Counter[int]:
    """Jobs per rung of one sweep whose results are random numbers."""
    draws = seeds.rng(seed, "plan", number)
    decisions = Decisions(tune.scheduler, tune.trials, [], lambda event: None)
    jobs: Counter[int] = Counter()
    while (job := decisions.next()) is not None:
        decisions.finish(job, float(draws.random()), {})
        jobs[job.rung] += 1
    return jobs


def parameters(model: Any) -> int | None:
    """Parameters of a `ModelConfig`'s encoder, from the headers of its weights; None when only a download could tell."""
    folder = model.folder()
    if folder is None:
        return None
    shapes: dict[str, list[int]] = {}
    for file in folder.glob("*.safetensors"):
        shapes |= safetensors_shapes(file)
    if not shapes:
        return sum(p.stat().st_size for p in folder.glob("pytorch_model*.bin")) // 4 or None
    return sum(math.prod(shape) for name, shape in shapes.items() if _kept(name, model.layers))


def _kept(name: str, layers: int | None) -> bool:
    match = LAYER.search(name)
    return layers is None or match is None or int(match.group(1)) < layers


def safetensors_shapes(file: Path) -> dict[str, list[int]]:
    """Tensor name to shape, from the header alone."""
    with file.open("rb") as f:
        (length,) = struct.unpack("<Q", f.read(8))
        header = json.loads(f.read(length))
    return {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}


def memory_bytes(params: int, train: TrainConfig, layout: Layout) -> float:
    """Bytes one worker holds for weights, gradients and optimiser states in fp32 (Rajbhandari et al., 2020); activations come on top."""
    weights, gradients = 4.0 * params, 4.0 * params
    states = float(STATE_BYTES.get(train.optimizer.name(), 8) * params)
    if train.lora is not None:  # adapters are a percent or so of the weights, and only they have gradients and states
        gradients, states = gradients * 0.02, states * 0.02
    if layout.zero >= 1:
        states /= layout.workers
    if layout.zero >= 2:
        gradients /= layout.workers
    if layout.zero >= 3:
        weights /= layout.workers
    return weights + gradients + (0.0 if layout.offload == "optimizer" else states)
