"""RunConfig: one field per stage, the task, the model, the seed. A stage that is not named is not run.

A config never names a machine (that is the layout, `cluster/<place>/layout.yaml`). Everything that can be known to be
wrong before anything starts is found here, and listed at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from heliostat.core.errors import UserError, nearest, unknown
from heliostat.core.family import In, build, names
from heliostat.core.layout import Layout
from heliostat.core.settings import Settings, assign, parse, read_tree
from heliostat.corpus.config import CorpusConfig
from heliostat.distil.config import DistilConfig
from heliostat.ensemble.config import EnsembleConfig
from heliostat.evaluate.config import EvaluateConfig
from heliostat.report.config import ReportConfig
from heliostat.tasks.config import ModelConfig
from heliostat.train.config import TrainConfig
from heliostat.tune.config import TuneConfig


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
    train: TrainConfig = TrainConfig()
    """One training; with `tune`, what every trial shares."""
    tune: TuneConfig | None = None
    """A sweep over `train`; None trains once."""
    ensemble: EnsembleConfig | None = None
    """Combine the best trials; needs `tune`."""
    distil: DistilConfig | None = None
    """Teach a smaller student."""
    evaluate: EvaluateConfig = EvaluateConfig()
    """Scores of every model."""
    report: ReportConfig = ReportConfig()
    """The page, the verdict, the gates."""

    def with_settings(self, settings: dict[str, Any]) -> RunConfig:
        """This config with the values of one trial."""
        tree = self.tree()
        for path, value in settings.items():
            tree = assign(tree, path, value)
        return parse(RunConfig, tree, where="trial")

    def tree(self) -> dict[str, Any]:
        """Plain values that parse back into this config."""
        return self.model_dump(mode="json")


def read_config(path: Path, assignments: Sequence[str] = (), layout: Layout | None = None) -> RunConfig:
    """Read, validate and cross-check a config; every problem at once as a `UserError`."""
    tree = read_tree(path, assignments)
    try:
        config = parse(RunConfig, tree, where=str(path))
    except UserError as error:
        raise UserError([*error.problems, *(f"{path}: {problem}" for problem in check_parts(tree))]) from None
    problems = check(config, layout or Layout())
    if problems:
        raise UserError([f"{path}: {problem}" for problem in problems])
    return config


def check_parts(tree: dict[str, Any]) -> list[str]:
    """What can be said of the model and the data of a config that is wrong elsewhere."""
    problems: list[str] = []
    try:
        problems += ModelConfig.model_validate(tree.get("model")).problems()
        corpus, task = CorpusConfig.model_validate(tree.get("corpus")), build("tasks", tree.get("task", "text_classification"))
        problems += corpus.problems(task)
    except ValueError:
        return problems  # the part itself is malformed, and its problems are on the list already
    return problems


def check(config: RunConfig, layout: Layout) -> list[str]:
    """Problems between settings, and between settings and what is on disk."""
    problems = config.model.problems() + config.corpus.problems(config.task) + config.evaluate.problems()
    problems += layout.check_batch(config.train.batch)
    if config.distil:
        problems += [p.replace("train.batch", "distil.train.batch") for p in layout.check_batch(config.distil.train.batch)]
        if not config.distil.train.objective.needs_teacher:
            given = config.distil.train.objective.name()
            problems.append(f"distil.train.objective: '{given}' does not read a teacher. Allowed: distillation.")
    for where, train in _trainings(config):
        if train.precision == "fp16" and layout.gpus_per_worker == 0:
            problems.append(f"{where}.precision: fp16 needs a GPU and this layout has none. Use fp32, or bf16.")
    if layout.offload != "none" and (layout.zero == 0 or layout.gpus_per_worker == 0):
        problems.append("layout.offload: keeping optimiser states in CPU memory needs zero 1, 2 or 3 and a GPU.")
    known = names("metrics")
    for place, metric in [("task.metric", config.task.metric), *((f"task.also.{i}", name) for i, name in enumerate(config.task.also))]:
        if metric not in known:
            problems.append(f"{place}: {unknown('metric', metric, known)}")
    problems += _check_tune(config)
    return problems


def _trainings(config: RunConfig) -> list[tuple[str, TrainConfig]]:
    return [("train", config.train)] + ([("distil.train", config.distil.train)] if config.distil else [])


def _check_tune(config: RunConfig) -> list[str]:
    problems: list[str] = []
    tune, ensemble = config.tune, config.ensemble
    if ensemble and not tune:
        problems.append("ensemble: it combines the trials of a sweep, and there is no `tune` in this config.")
    if not tune:
        return problems
    if tune.finalists > tune.trials:
        problems.append(f"tune.finalists: {tune.finalists} models are to be kept of {tune.trials} trials. Use at most {tune.trials}.")
    if ensemble and ensemble.candidates > tune.finalists:
        problems.append(f"ensemble.candidates: {ensemble.candidates} asked for, and tune.finalists keeps {tune.finalists}.")
    if tune.metric and tune.metric not in names("metrics"):
        close = nearest(tune.metric, names("metrics"))
        problems.append(f"tune.metric: '{tune.metric}' is not a metric." + (f" Did you mean '{close}'?" if close else ""))
    for path, dimension in tune.dimensions().items():
        if not path.startswith("train."):
            problems.append(f"tune.space.{path}: only values under `train.` can be searched.")
            continue
        for u in (0.0, 0.999999):
            try:
                config.with_settings({path: dimension.at(u)})
            except UserError as error:
                problems += [f"tune.space.{p.removeprefix('trial: ')}" for p in error.problems]
                break
    return problems
