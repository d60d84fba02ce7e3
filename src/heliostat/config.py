"""RunConfig: one field per stage, the task, the model, the seed. A stage that is not named is not run.

A config never names a machine (that is the layout, `cluster/<place>/layout.yaml`). Everything that can be known to be
wrong before anything starts is found when it is read (`checks.py`), and listed at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator, model_validator

from heliostat import checks, searched
from heliostat.core.errors import UserError
from heliostat.core.family import In, build
from heliostat.core.layout import Layout
from heliostat.core.manifest import read_json
from heliostat.core.settings import Settings, explain, read_tree, unidentified
from heliostat.corpus.config import CorpusConfig
from heliostat.distil.config import DistilConfig
from heliostat.ensemble.config import EnsembleConfig
from heliostat.evaluate.config import EvaluateConfig
from heliostat.pretrain.config import PretrainConfig
from heliostat.pseudo_label.config import PseudoLabelConfig
from heliostat.report.config import ReportConfig
from heliostat.tasks.config import ModelConfig
from heliostat.train.config import TrainConfig
from heliostat.tune.config import TuneConfig
from heliostat.tune.earlier import RECORDS, STAGE, sweep_folder
from heliostat.tune.trial import Sections, corpus_mark, corpus_settings, sections

ALWAYS = "tensorboard"
"""The tracker of every run."""
STAND_INS: dict[str, Any] = {"name": "run", "model": {"path": "."}, "corpus": {"sources": [{"use": "csv", "paths": ["."]}]}}
"""For sections that every config has."""


class RunConfig(Settings):
    """One run, from data to report."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Names the run directory."""
    seed: int = Field(7, ge=0)
    """Every random choice comes from it."""
    task: In["tasks"] = "text_classification"
    """Member of tasks: what a row means."""
    model: ModelConfig
    """The pretrained model to start from."""
    corpus: CorpusConfig
    """The team's data."""
    pretrain: PretrainConfig | None = None
    """Continued pretraining on plain text, before anything is trained for the task; None is off."""
    train: TrainConfig = TrainConfig()
    """One training; with `tune`, what every trial shares."""
    tune: TuneConfig | None = None
    """A sweep over `train`; None trains once."""
    ensemble: EnsembleConfig | None = None
    """Combine the best trials; needs `tune`."""
    pseudo_label: PseudoLabelConfig | None = None
    """One more model, which also learns from text that the best predictor so far has labelled; None is off."""
    distil: DistilConfig | None = None
    """Teach a smaller student."""
    evaluate: EvaluateConfig = EvaluateConfig()
    """Scores of every model."""
    report: ReportConfig = ReportConfig()
    """The page, the verdict, the gates."""
    trackers: list[In["trackers"]] = unidentified([])
    """Members of trackers: where curves and results are shown beside TensorBoard, which has those of every run. Name it for its options."""

    @field_validator("trackers")
    @classmethod
    def _with_tensorboard(cls, given: list[Any]) -> list[Any]:
        """TensorBoard comes last where it is not named, so that the others keep the places they were given."""
        return given if any(tracker.name() == ALWAYS for tracker in given) else [*given, build("trackers", ALWAYS)]

    @model_validator(mode="before")
    @classmethod
    def _with_the_objective_of_its_task(cls, tree: Any) -> Any:
        """A training that names no objective gets the one its task is made for; what is malformed is told by its own section."""
        train = tree.get("train", {}) if isinstance(tree, dict) else None
        if not isinstance(train, dict) or "objective" in train:
            return tree
        try:
            task: Any = build("tasks", tree.get("task", cls.model_fields["task"].default))
        except UserError:
            return tree
        return {**tree, "train": {**train, "objective": task.objective}}

    def sections(self) -> Sections:
        """The parts of this config in which a sweep may search."""
        return Sections(self.train, self.model, self.task, self.corpus)

    def with_settings(self, settings: dict[str, Any]) -> RunConfig:
        """This config with the values of one trial."""
        tried = sections(self.sections(), settings)
        return self.model_copy(update={"train": tried.train, "model": tried.model, "task": tried.task, "corpus": tried.corpus})

    def corpora(self) -> dict[str, CorpusConfig]:
        """The corpora that searched values below `corpus.` make, by short name: `corpus_mark` of a trial's settings names its own."""
        if self.tune is None:
            return {}
        found: dict[str, CorpusConfig] = {}
        for settings in corpus_settings(self.tune.searched(), searched.MOST_CORPORA):
            corpus = sections(self.sections(), settings).corpus
            assert corpus is not None
            found[str(corpus_mark(settings))] = corpus
        return found

    def tree(self) -> dict[str, Any]:
        """Plain values that parse back into this config."""
        return self.model_dump(mode="json")


def read_config(path: Path, assignments: Sequence[str] = (), layout: Layout | None = None, *, other: Sequence[str] = ()) -> RunConfig:
    """Read, validate and cross-check a config; every problem at once as a `UserError`.

    `other` are problems found before, of the layout for example: with any of them `layout` is not looked at.
    """
    problems = list(other)
    try:
        tree = read_tree(path, assignments)
        config, malformed, found = parse_parts(tree)
        config = config if other else placed(config, layout or Layout())
        malformed |= {"layout"} if other else set()
        found += checks.problems(config, layout or Layout(), malformed)
        problems += [f"{path}: {problem}" for problem in found]
    except UserError as error:
        problems += error.problems
    if problems:
        raise UserError(problems)
    return config


def placed(config: RunConfig, layout: Layout) -> RunConfig:
    """The config with the older run of a warm start as a folder, when it is one or names one in the storage."""
    if config.tune is None or config.tune.warm_start is None:
        return config
    try:
        folder = sweep_folder(config.tune.warm_start.run, Path(layout.storage))
    except UserError:  # a check tells
        return config
    warm = config.tune.warm_start.model_copy(update={"run": str(folder.parent.resolve())})
    return config.model_copy(update={"tune": config.tune.model_copy(update={"warm_start": warm})})


def as_begun(config: RunConfig, root: Path) -> RunConfig:
    """The config with what the sweep in the run's folder took from an older one, which may have gone on since."""
    if config.tune is None or config.tune.warm_start is None:
        return config
    record: dict[str, Any] = next((found for name in RECORDS if (found := read_json(root / STAGE / name))), {})
    before = record.get("identity", {}).get("config", {}).get("warm_start") or {}
    warm = config.tune.warm_start.as_begun(before)
    return config.model_copy(update={"tune": config.tune.model_copy(update={"warm_start": warm})})


def parse_parts(tree: dict[str, Any]) -> tuple[RunConfig, set[str], list[str]]:
    """(config, malformed sections, their problems); stand-ins and defaults take the place of what is malformed."""
    try:
        return RunConfig.model_validate(tree), set(), []
    except ValidationError as error:
        malformed = {str(item["loc"][0]) for item in error.errors() if item["loc"]}
        good = {name: value for name, value in tree.items() if str(name) not in malformed}
        return RunConfig.model_validate({**STAND_INS, **good}), malformed, explain(error, RunConfig)
