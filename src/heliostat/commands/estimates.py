"""What a run will cost, as far as files can tell: rows, steps, models, memory. Pure reading; nothing is started."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from heliostat.artifacts import Corpus
from heliostat.commands.updates import Ahead
from heliostat.config import RunConfig
from heliostat.core.layout import Layout
from heliostat.corpus.lines import open_bytes
from heliostat.tasks.config import ModelConfig
from heliostat.train.config import TrainConfig
from heliostat.train.dividing import Footprint
from heliostat.tune.trial import sections

COUNTED_BYTES = 64 << 20
"""Text files up to this size together are counted; beyond it rows are estimated from their beginnings."""
GZIP_RATIO = 3.0
MOST_MODELS = 64
OF_LENGTH = ("batch", "batch_tokens", "packing", "epochs")
"""Settings of a training that decide how many updates it makes."""
TOKENISE = ("task.", "model.")
"""Sections that decide how rows become sequences."""


@dataclass(frozen=True)
class Rows:
    """Rows of a corpus: of each split, and whether they are known or estimated."""

    read: int
    splits: dict[str, int]
    exact: bool

    def told(self, name: str) -> str:
        return f"{'' if self.exact else 'about '}{self.splits[name]:,}"


def rows_of(run: RunConfig, corpus: Any) -> Rows:
    """Rows of a finished corpus, or of the source files by the shares of the split."""
    if isinstance(corpus, Corpus):
        return Rows(corpus.read, corpus.rows, True)
    read = sum(source_rows(source) for source in run.corpus.sources)
    valid, test = round(read * run.corpus.split.valid), round(read * run.corpus.split.test)
    return Rows(read, {"train": max(0, read - valid - test), "valid": valid, "test": test}, False)


def pretraining_rows(run: RunConfig) -> int:
    """About how many rows continued pretraining trains on, general ones included."""
    own = run.pretrain
    if own is None:
        return 0
    read = sum(source_rows(source) for source in own.corpus.sources)
    rows = read - round(read * own.corpus.split.valid) - round(read * own.corpus.split.test)
    return round(rows / (1 - own.replay.share)) if own.replay else rows


def source_rows(source: Any) -> int:
    """Rows in the files of one source, before cleaning."""
    known = source.count()
    if known is not None:
        return known
    files = source.files()
    header = 1 if source.name() == "csv" else 0
    total = sum(file.stat().st_size * (GZIP_RATIO if file.name.endswith(".gz") else 1.0) for file in files)
    return max(0, round(_ends(files, total, source.row_end)) - header * len(files))


def _ends(files: list[Path], total_bytes: float, end: bytes) -> float:
    """Rows of text files by what ends them: counted, or extrapolated from what fits into `COUNTED_BYTES`."""
    rows = read = 0
    for file in files:
        with open_bytes(file) as stream:
            last = end
            while read < COUNTED_BYTES and (chunk := stream.read(1 << 20)):
                read += len(chunk)
                chunk = chunk.replace(b"\r\n", b"\n")
                rows += chunk.count(end)
                last = chunk[-len(end) :]
            rows += last != end
        if read >= COUNTED_BYTES:
            return rows * max(1.0, total_bytes / read)
    return rows


def step_range(run: RunConfig, main: Ahead) -> tuple[int, int] | None:
    """Fewest and most updates of a trial, if all were as the `main` training but for what the sweep searches; None is not known yet."""
    dimensions = run.tune.searched().dimensions if run.tune else {}
    tried = {name: [*dimensions[f"train.{name}"].examples()] for name in OF_LENGTH if f"train.{name}" in dimensions}
    settings = [dict(zip(tried, values, strict=True)) for values in itertools.product(*tried.values())]
    trials = [replace(main, train=main.train.model_copy(update=each)) for each in settings]
    if any(path.startswith(TOKENISE) for path in dimensions):  # rows are prepared otherwise than those that may be there
        trials = [replace(trial, prepared=None) for trial in trials]
    counts = [trial.steps for trial in trials]
    known = [count for count in counts if count is not None]
    return (min(known), max(known)) if len(known) == len(counts) else None


def models(run: RunConfig) -> list[ModelConfig]:
    """Every model a run may train: the config's, and those its sweep searches."""
    space = run.tune.searched().dimensions if run.tune else {}
    own = {path: dimension.examples() for path, dimension in space.items() if path.startswith("model.")}
    settings = [dict(zip(own, values, strict=True)) for values in islice(itertools.product(*own.values()), MOST_MODELS)]
    return list(dict.fromkeys([run.model, *(sections(run.sections(), each).model for each in settings)]))


def checkpoint_bytes(trained: int, train: TrainConfig) -> tuple[int, int]:
    """(a paused trial's, a best step's): weights in fp32, and for a paused one the optimiser's states."""
    return (4 + train.optimizer.state_bytes) * trained, 4 * trained


def footprint(params: int, trained: int, train: TrainConfig, layout: Layout) -> Footprint:
    """What a training of a model with so many parameters holds, with as few workers as it may have."""
    return Footprint(params, trained, train.optimizer.state_bytes, layout.fewest(), layout.offload)
