"""What the page is made from: the inputs of the stage, and what follows from them, worked out once.

Sections read an `Evidence` and nothing else. Test texts are read for the rows that are shown only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from heliostat.artifacts import Corpus, Ensemble, Model, ModelScores, Scores, Sweep
from heliostat.core.manifest import read_json
from heliostat.report.config import ReportConfig
from heliostat.report.direction import mode_of
from heliostat.report.verdict import Metric, Verdict, judge

PALETTE = ("--m1", "--m2", "--m3", "--m4", "--m5", "--m6")
SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Evidence:
    """The inputs of the report stage."""

    folder: Path
    """The report's own folder; the other stages are beside it."""
    config: ReportConfig
    run_name: str
    base: Scores
    scores: Scores
    sweep: Sweep | None
    council: Ensemble | None
    predictors: list[Model | Ensemble]
    corpus: Corpus
    task: Any

    @cached_property
    def metric(self) -> Metric:
        """The metric that ranks models on the domain."""
        return Metric(self.scores.metric, mode_of(self.scores.metric))

    @cached_property
    def base_model(self) -> ModelScores | None:
        return self.base.of("base") or next(iter(self.base.models), None)

    @cached_property
    def contenders(self) -> list[ModelScores]:
        """Every model but the base, in the order they were made."""
        own = self.base_model.name if self.base_model else None
        return [m for m in self.scores.models if m.name != own]

    @cached_property
    def models(self) -> list[ModelScores]:
        """The base first, then the contenders."""
        return ([self.base_model] if self.base_model else []) + self.contenders

    @cached_property
    def verdict(self) -> Verdict:
        return judge(self.contenders, base=self.base_model, metric=self.metric, config=self.config, right=self.right)

    @cached_property
    def shipped(self) -> ModelScores:
        return next(m for m in self.contenders if m.name == self.verdict.ship)

    @cached_property
    def colours(self) -> dict[str, str]:
        """Model name to CSS colour, the same in every chart: the shipped one is the sun, the base is grey."""
        out: dict[str, str] = {}
        for model in self.models:
            if model is self.base_model:
                out[model.name] = "var(--base)"
            elif model.name == self.verdict.ship:
                out[model.name] = "var(--ship)"
            else:
                taken = sum(c.startswith("var(--m") for c in out.values())
                out[model.name] = f"var({PALETTE[taken % len(PALETTE)]})"
        return out

    @cached_property
    def suites(self) -> list[str]:
        """The general suites, in the order they were scored."""
        return list(dict.fromkeys(s for m in self.models for s in m.scores if s != "domain"))

    def metrics(self, suite: str) -> list[str]:
        """The metrics of one suite; the ranking metric first."""
        found = dict.fromkeys(k for m in self.models for k in m.scores.get(suite, {}))
        return sorted(found, key=lambda k: k != self.metric.name)

    @cached_property
    def columns(self) -> tuple[str, str]:
        """The row's input column and its target column."""
        names = list(self.task.columns())
        return names[0], names[-1]

    def column(self, split: str, name: str) -> list[Any] | None:
        """One column of one split; None when a file lacks it or there is no file."""
        import pyarrow.parquet as pq

        values: list[Any] = []
        files = self.corpus.split(split)
        for file in files:
            if name not in pq.read_schema(file).names:
                return None
            values += pq.read_table(file, columns=[name]).column(name).to_pylist()
        return values if files else None

    def values(self, split: str, name: str, rows: np.ndarray) -> dict[int, Any]:
        """Row number to the value of one column, for some rows of a split: other files, with their pictures, stay unread."""
        import pyarrow.parquet as pq

        found: dict[int, Any] = {}
        start = 0
        for file in self.corpus.split(split):
            count = pq.read_metadata(file).num_rows
            wanted = [int(row) for row in rows if start <= row < start + count]
            if wanted and name in pq.read_schema(file).names:
                column = pq.read_table(file, columns=[name]).column(name)
                found |= {row: column[row - start].as_py() for row in wanted}
            start += count
        return found

    @cached_property
    def truth(self) -> np.ndarray | None:
        """Index of the true label of each test row [rows]; None when the target is not one of the labels."""
        values = self.column("test", self.columns[1]) if self.task.answers_are == "labels" else None
        index = {label: i for i, label in enumerate(self.corpus.labels)}
        if not values or not index or not all(isinstance(v, str) and v in index for v in values):
            return None
        return np.array([index[v] for v in values])

    @cached_property
    def probabilities(self) -> dict[str, np.ndarray]:
        """Model name to test probabilities [rows, labels], columns in the corpus's label order."""
        out: dict[str, np.ndarray] = {}
        if self.truth is None:
            return out
        for scores in (self.base, self.scores):
            for model in scores.models:
                logits = _load(scores.path / f"{model.name}.npy")
                if logits is not None and logits.shape == (len(self.truth), len(self.corpus.labels)):
                    out[model.name] = softmax(logits)
        return out

    @cached_property
    def right(self) -> dict[str, np.ndarray]:
        """Model name to which test rows it answered correctly [rows]."""
        return {name: p.argmax(1) == self.truth for name, p in self.probabilities.items()}

    @cached_property
    def profile(self) -> dict[str, dict[str, Any]]:
        """Split to its statistics in the corpus profile; empty when there is none."""
        found = read_json(self.corpus.path / "profile.json")
        return found.get("splits", {}) if isinstance(found, dict) else {}

    @cached_property
    def balance(self) -> dict[str, dict[str, int]]:
        """Split to rows per class, for the splits whose classes were counted."""
        return {split: classes for split in SPLITS if (classes := self.profile.get(split, {}).get("classes"))}

    @cached_property
    def stages(self) -> dict[str, dict[str, Any]]:
        """Stage name to its manifest, in the order they finished."""
        root = self.folder.parent
        found = {p.parent.name: read_json(p, root) for p in root.glob("*/manifest.json") if p.parent != self.folder}
        whole = {name: m for name, m in found.items() if isinstance(m, dict)}
        return dict(sorted(whole.items(), key=lambda item: (item[1].get("finished_unix", 0.0), item[0])))

    @cached_property
    def seconds(self) -> dict[str, float]:
        """Seconds of each finished stage."""
        return {name: float(m["seconds"]) for name, m in self.stages.items() if "seconds" in m}

    @cached_property
    def run(self) -> dict[str, Any]:
        """`run.json`: the resolved config, the layout and the provenance; empty when it is not there."""
        found = read_json(self.folder.parent / "run.json")
        return found if isinstance(found, dict) else {}


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities [rows, labels]; log-probabilities come back as their probabilities."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)


def _load(path: Path) -> np.ndarray | None:
    if not path.exists():
        return None
    values = np.load(path, allow_pickle=False)
    return values if values.ndim == 2 and len(values) and np.isfinite(values.max(1)).all() else None  # -inf is a probability of 0
