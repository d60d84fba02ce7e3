"""The vocabulary: the frozen types that stages exchange. Read this first, then `pipeline.py`.

An artifact is a small value that says where its files are and what they are; it is stored in the manifest of the stage
that made it, and carries that stage's fingerprint. `Model`, `Ensemble` and any later compressed model are predictors:
whatever scores, explains, teaches or serves takes any of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from heliostat.core.artifact import Artifact


class Corpus(Artifact):
    """Clean, split rows: `<path>/{train,valid,test}/*.parquet`, `profile.json`, `quarantine.jsonl`, `positions.parquet`.

    Columns: `id` (stable content hash), `text`, `label` (its name, a string), `source`, `domain`, `weight` and any
    slice columns. Files are read in name order; rows keep their order inside a file.
    """

    kind: Literal["corpus"] = "corpus"
    path: Path
    labels: tuple[str, ...]
    """Label names in index order."""
    rows: dict[str, int]
    """Rows of each split."""
    dropped: dict[str, int]
    """Rows left out, by reason word."""
    read: int
    """Rows that came from the sources, good and bad."""

    def split(self, name: str) -> list[Path]:
        """The parquet files of one split, in order."""
        return sorted((self.path / name).glob("*.parquet"))

    def summary(self) -> str:
        kept = ", ".join(f"{n:,} {split}" for split, n in self.rows.items())
        gone = ", ".join(f"{n:,} {reason.replace('_', ' ')}" for reason, n in sorted(self.dropped.items(), key=lambda x: -x[1]))
        return f"{self.read:,} rows read; {kept}; dropped: {gone or 'none'}"


class Model(Artifact):
    """A model folder that plain `transformers` (or `peft`) opens."""

    kind: Literal["model"] = "model"
    name: str
    """base, trial-0007, student ..."""
    stage: str
    """The stage that made it."""
    path: Path
    labels: tuple[str, ...] = ()
    """Label names in logit order; empty for a base model without a head."""
    params: int = 0
    bytes: int = 0
    """Size of the weights on disk."""
    score: float | None = None
    """Validation score at its best step."""
    valid: Path | None = None
    """`.npy` of its validation logits [rows, labels] in corpus order, saved when it was trained."""

    def summary(self) -> str:
        scored = f", validation {self.score:.4f}" if self.score is not None else ""
        return f"{self.name}: {self.params / 1e6:.1f} M parameters, {self.bytes / 1e6:.0f} MB{scored}"


class Ensemble(Artifact):
    """Several models that answer as one: the weighted mean of their probabilities."""

    kind: Literal["ensemble"] = "ensemble"
    name: str = "ensemble"
    stage: str = "ensemble"
    members: tuple[Model, ...]
    weights: tuple[float, ...]
    """One per member, summing to 1."""
    score: float
    """Validation score of the combination."""

    @property
    def labels(self) -> tuple[str, ...]:
        return self.members[0].labels

    @property
    def params(self) -> int:
        return sum(m.params for m in self.members)

    @property
    def bytes(self) -> int:
        return sum(m.bytes for m in self.members)

    def summary(self) -> str:
        parts = ", ".join(f"{m.name} x {w:.2f}" for m, w in zip(self.members, self.weights, strict=True))
        return f"{parts}; validation {self.score:.4f}"


class Interval(BaseModel):
    """A value with its 95 % interval."""

    model_config = ConfigDict(frozen=True)
    value: float
    low: float
    high: float


class Curve(BaseModel):
    """One validated step of a trial."""

    model_config = ConfigDict(frozen=True)
    step: int
    epoch: float
    value: float | None
    """The sweep's metric; None when it was not a number."""
    loss: float | None


class Trial(BaseModel):
    """One trial of a sweep, in its final state."""

    model_config = ConfigDict(frozen=True)
    number: int
    settings: dict[str, Any]
    """Config path to the value tried."""
    state: Literal["completed", "stopped", "failed"]
    """completed: reached the last rung; stopped: never promoted further; failed: NaN or an error."""
    rung: int
    """Rungs reached (1 is the first); 0 when the first was not reached."""
    best: float | None
    """The metric at its best validated step."""
    best_step: int | None
    curve: tuple[Curve, ...]
    busy_s: float
    """Seconds a gang worked on it, validation included."""
    value: float | None = None
    """What the sweep ranked it by at its last rung, larger is better: the metric, and what `tune.objectives` weigh."""
    objectives: dict[str, float] = {}
    """The numbers of `tune.objectives` at its last rung."""
    error: str | None = None


class Confirmed(BaseModel):
    """One finalist, trained again to the end with other seeds or on folds."""

    model_config = ConfigDict(frozen=True)
    trial: int
    values: tuple[float, ...]
    """The sweep's metric at the best validated step of each repetition, in the same order for every finalist."""
    mean: Interval
    """Their mean with its 95 % interval (Student's t)."""
    objectives: dict[str, float] = {}
    """Mean of each objective that has a weight or a limit."""
    within: bool = True
    """Whether these means keep the limits; one that does not ranks behind all that do."""


class Confirmation(BaseModel):
    """What training the finalists again showed, best first."""

    model_config = ConfigDict(frozen=True)
    how: Literal["seeds", "folds"]
    finalists: tuple[Confirmed, ...]
    p_value: float | None
    """Of the paired difference in the sweep's value between the first and the second, two-sided; None with one finalist, or when one of
    the two is beyond a limit."""
    significant: bool
    """Whether the first is better than the second at the level asked for."""


class Spent(BaseModel):
    """What a sweep costs: as it was expected before it began, or as it came true."""

    model_config = ConfigDict(frozen=True)
    jobs: tuple[int, ...]
    """Jobs at each rung."""
    trainings: float
    """Work in whole trainings."""
    wall_s: float | None
    """None when nothing like it was ever measured."""
    checkpoint_bytes: int | None
    """Largest size of all its checkpoints at one time."""
    cost: float | None
    """Money; None when the layout has no price."""


class Sweep(Artifact):
    """The trials of a sweep, and the models of its best ones."""

    kind: Literal["sweep"] = "sweep"
    path: Path
    metric: str
    mode: Literal["max", "min"]
    trials: tuple[Trial, ...]
    finalists: tuple[Model, ...]
    """Exported models of the best trials, best first."""
    wall_s: float
    busy_s: float
    """Seconds of training, validation included, over all slots."""
    slots: int
    slot_s: float | None = None
    """Wall time of every slot, each for as long as it was there; None is that of `slots` all the time."""
    startup_s: float
    """Seconds until the first gang took its first order."""
    rungs: tuple[float, ...] = (1.0,)
    """Shares of a whole training at which trials were compared."""
    objectives: dict[str, Literal["max", "min"]] = {}
    """Names of `tune.objectives` and which direction is better."""
    front: tuple[int, ...] = ()
    """Trials that no other one beats in the metric and every objective at once (the Pareto front), best metric first."""
    importance: dict[str, float] = {}
    """Searched path to its share of what decided whether a trial was among the best, most important first; empty with too few."""
    confirmation: Confirmation | None = None
    """What training the finalists again showed; None when it was not asked for."""
    expected: Spent | None = None
    """What the plan said."""
    spent: Spent | None = None
    """What came true."""
    ended: Literal["all", "hours", "cost"] = "all"
    """all: nothing was left to do; otherwise the budget that ended it."""

    @property
    def goodput(self) -> float:
        """Useful training seconds over slots x wall."""
        whole_s = self.slots * self.wall_s if self.slot_s is None else self.slot_s
        return self.busy_s / whole_s if whole_s else 0.0

    def best(self, n: int) -> list[Model]:
        """The best `n` models, best first."""
        return list(self.finalists[:n])

    def count(self, state: str) -> int:
        return sum(t.state == state for t in self.trials)

    def summary(self) -> str:
        top = self.finalists[0]
        states = ", ".join(f"{self.count(s)} {s}" for s in ("completed", "stopped", "failed") if self.count(s))
        return f"{len(self.trials)} trials ({states}); best {top.name} with {self.metric} {top.score:.4f}; goodput {self.goodput:.2f}"


class ModelScores(BaseModel):
    """What one predictor reached."""

    model_config = ConfigDict(frozen=True)
    name: str
    stage: str
    scores: dict[str, dict[str, Interval]]
    """Suite ("domain", "general" ...) to metric to interval."""
    latency_ms: dict[str, float] = {}
    """p50 and p99 of one row at a time."""
    params: int = 0
    bytes: int = 0


class Scores(Artifact):
    """Scores of several predictors on the same rows, with their test logits kept for paired comparisons."""

    kind: Literal["scores"] = "scores"
    path: Path
    """Holds `<model name>.npy`: test logits (log-probabilities for an ensemble) [rows, labels] in corpus order."""
    models: tuple[ModelScores, ...]
    suites: dict[str, str]
    """Suite name to one sentence that says what it measures."""
    metric: str
    """The metric that ranks models on the domain."""

    def of(self, name: str) -> ModelScores | None:
        return next((m for m in self.models if m.name == name), None)

    def summary(self) -> str:
        def told(m: ModelScores) -> str:
            value = m.scores.get("domain", {}).get(self.metric)
            return f"{m.name} {value.value:.4f}" if value else m.name

        return f"{self.metric}: " + ", ".join(map(told, self.models))


class Gate(BaseModel):
    """One condition of the config, and whether it held."""

    model_config = ConfigDict(frozen=True)
    name: str
    limit: float
    value: float | None
    passed: bool


class Report(Artifact):
    """The report: `index.html` for people, `report.json` for programs."""

    kind: Literal["report"] = "report"
    path: Path
    ship: str
    because: str
    gates: tuple[Gate, ...]

    @property
    def passed(self) -> bool:
        return all(g.passed for g in self.gates)

    def summary(self) -> str:
        return f"ship {self.ship}: {self.because}"


Predictor = Model | Ensemble
