"""How many updates a training makes, and of what: as it will plan them itself where its rows are tokenised, else as far as is known.

A batch of rows needs their number only. One of tokens, one of packed sequences and texts that become several sequences need lengths in
tokens, which nobody knows before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from heliostat.artifacts import Corpus
from heliostat.config import RunConfig
from heliostat.train.config import TrainConfig

LATER = "known once the rows are tokenised"


@dataclass(frozen=True)
class Ahead:
    """One training that is still to be made."""

    train: TrainConfig
    task: Any
    rows: int
    """Training rows of its corpus, as far as files tell."""
    seed: int
    prepared: Path | None = None
    """These rows as model inputs, where they are there."""

    @property
    def needs_lengths(self) -> bool:
        """Whether the number of rows does not tell how many updates there are."""
        return self.train.batch_tokens is not None or self.train.packing or self.task.splits()

    @cached_property
    def steps(self) -> int | None:
        """Updates of the whole training; None is not known yet."""
        if self.prepared is None:
            return None if self.needs_lengths else self.least
        train = self.train
        if train.curriculum is not None and train.batch_tokens is None:
            train = train.model_copy(update={"curriculum": None})  # an order does not change how many batches of rows there are
        elif train.curriculum is not None and train.curriculum.needs_losses:
            return None
        from heliostat.train.batching import batches

        return batches(train, self.sequences, self.seed).steps(train.epochs)

    @cached_property
    def sequences(self) -> Any:
        """What the training deals to its updates, as `streams.Rows`."""
        from heliostat.engine.packing import plan
        from heliostat.engine.streams import opened

        assert self.prepared is not None
        rows = opened(self.prepared)
        if not self.train.packing:
            return rows
        kept_N = rows.trainable()
        weights_N = rows.column("weight")[kept_N]
        tokens_B = plan(rows.lengths_N[kept_N], weights_N, self.task.max_tokens, shifted=self.task.shifted).tokens_B()
        return SimpleNamespace(lengths_N=tokens_B, trainable=lambda: np.arange(len(tokens_B)))

    @property
    def least(self) -> int:
        """Updates if every row is one sequence."""
        return max(1, round(self.train.epochs * math.ceil(self.rows / self.train.batch)))

    def batch_rows(self, workers: int) -> int | None:
        """Rows, or sequences, of an update over all workers; None is not known yet."""
        if self.prepared is None:
            return None if self.train.batch_tokens is not None else self.train.batch
        from heliostat.train.batching import rows_of_update

        return rows_of_update(self.train, self.sequences.lengths_N, workers)

    def each(self) -> str:
        """What a batch counts."""
        return "sequences" if self.train.packing or self.task.splits() else "rows"

    def unit(self) -> str:
        """What an update is made of."""
        train = self.train
        if train.batch_tokens is not None:
            return f"{train.batch_tokens:,} tokens"
        if train.packing:
            return f"{train.batch} sequences of {self.task.max_tokens} tokens"
        return f"{train.batch} {self.each()}"

    def told(self) -> str:
        """How long it is, in a few words."""
        if self.steps is not None:
            return f"{self.steps:,} steps of {self.unit()}"
        if self.train.batch_tokens is None and not self.train.packing:
            return f"{self.least:,} steps of {self.unit()}, and more where a text becomes several: {LATER}"
        epochs = f"{self.train.epochs:g} epoch{'' if self.train.epochs == 1 else 's'}"
        return f"{epochs} in steps of {self.unit()}: how many is {LATER}"


def prepared_rows(run: RunConfig, root: Path, corpus: Any) -> Path | None:
    """The training rows of a finished corpus as model inputs, where an earlier attempt of the run in `root` has made them."""
    if not isinstance(corpus, Corpus) or not (root / "cache" / "rows").is_dir():
        return None
    from heliostat.core.manifest import read_json
    from heliostat.engine import streams
    from heliostat.engine.driver import source_of

    source, files = source_of(run.model), corpus.split("train")
    function = streams.Tokenise(source.folder, run.task, corpus.labels, run.train.kept(), source.revision)
    place = streams.place_of(root / "cache" / "rows", function, streams.content_of(files, source))
    return place if read_json(place / "manifest.json") is not None else None
