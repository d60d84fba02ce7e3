"""What is wrong between settings, and between settings and what is on disk: found before anything starts, listed at once.

A check is a function from (config, layout) to sentences. It stands in `CHECKS` with the sections it reads, so that a
section that is malformed silences the checks that would look at it, and no others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

from heliostat import searched
from heliostat.checks_training import ASPECTS, Training, metric, metrics_of, placed, training
from heliostat.core.errors import UserError, unknown
from heliostat.core.family import Member, find, names
from heliostat.core.layout import Layout
from heliostat.evaluate.config import DOMAIN
from heliostat.pretrain.config import PREDICTS
from heliostat.report.config import COSTS
from heliostat.tasks.config import ModelConfig
from heliostat.tune.earlier import earlier, sweep_folder
from heliostat.tune.objectives.domain import Domain
from heliostat.tune.objectives.general import General
from heliostat.tune.trial import CORPUS, Sections

if TYPE_CHECKING:
    from heliostat.config import RunConfig


def problems(config: RunConfig, layout: Layout, malformed: Collection[str] = ()) -> list[str]:
    """Every problem that can be seen without looking at one of the `malformed` sections; each begins with a path."""
    return [p for reads, check in CHECKS if not set(reads.split()) & set(malformed) for p in check(config, layout)]


def _model(config: RunConfig, layout: Layout) -> list[str]:
    return config.model.problems()


def _task(config: RunConfig, layout: Layout) -> list[str]:
    return _suited(config.task, config.model)


def _suited(task: Member, model: ModelConfig) -> list[str]:
    """Why a task cannot be done with a model, as far as its files tell."""
    return [*model.lacks(task.reads), *task.problems(model)]  # type: ignore[attr-defined]


def _metrics(config: RunConfig, layout: Layout) -> list[str]:
    return metrics_of(config.task)


def _corpus(config: RunConfig, layout: Layout) -> list[str]:
    return config.corpus.problems(config.task)


def _layout(config: RunConfig, layout: Layout) -> list[str]:
    found, share = [], layout.gpus_per_worker
    if layout.offload == "optimizer" and (layout.zero == 0 or share == 0):
        found.append("layout.offload: keeping optimiser states in CPU memory needs zero 1, 2 or 3 and a GPU.")
    if layout.offload == "parameters" and (layout.zero not in ("auto", 3) or share == 0):
        found.append("layout.offload: keeping weights in CPU memory needs zero 3 (or auto) and a GPU.")
    if layout.compile and share == 0:
        found.append("layout.compile: layers are compiled for a GPU, and this layout has none. Leave it out.")
    if share > 1:
        told = f"{share:g} asked for, and a worker computes on one GPU. Use 1 and workers: {int(layout.workers * share)}"
        found.append(f"layout.gpus_per_worker: {told}.")
    elif 0 < share < 1 and layout.workers > 1:
        found.append(f"layout.gpus_per_worker: {layout.workers} workers of one training cannot share a GPU (NCCL). Use 1, or workers: 1.")
    return [*found, *layout.check_room()]


def _main(config: RunConfig, layout: Layout) -> Training:
    """The training of the config itself, or what every trial shares."""
    return Training(config.train, config.task, config.model, layout, config.corpus.slices, folds=_folds(config))


def _folds(config: RunConfig) -> bool:
    return bool(config.tune and config.tune.confirm and config.tune.confirm.folds)


def _of_main(aspect: Callable[[Training], list[str]]) -> Callable[[RunConfig, Layout], list[str]]:
    return lambda config, layout: aspect(_main(config, layout))


def _distil(config: RunConfig, layout: Layout) -> list[str]:
    if config.distil is None or config.task.answers_are != "labels":  # `_probabilities` tells
        return []
    own, model = config.distil, config.model
    student = ModelConfig(path=model.path, revision=model.revision, layers=own.layers)
    return training(Training(own.train, config.task, student, layout, config.corpus.slices, section="distil", taught=True))


def _pseudo_label(config: RunConfig, layout: Layout) -> list[str]:
    own = config.pseudo_label
    if own is None:
        return []
    found = [f"pseudo_label: {p}" if p.startswith("it ") else f"pseudo_label.{p}" for p in own.problems(config.task)]
    if config.task.answers_are == "labels":
        found += training(Training(own.train, config.task, config.model, layout, config.corpus.slices, section="pseudo_label"))
    return found


def _student(config: RunConfig, layout: Layout) -> list[str]:
    depth = config.model.depth()
    if config.distil is not None and config.model.shapeless():
        return [f"distil.layers: {config.model.shapeless()} A student takes some of them: choose another model, or take `distil` out."]
    if config.distil is None or depth is None:
        return []
    most = min(depth, config.model.layers or depth)
    if config.distil.layers <= most:
        return []
    return [f"distil.layers: {config.distil.layers} asked for, and the model has {most} encoder layers. Allowed: 1 to {most}."]


def _pretrain(config: RunConfig, layout: Layout) -> list[str]:
    """What is wrong with the pretraining by itself, or with the model it begins with."""
    own = config.pretrain
    if own is None:
        return []
    found = [p if p.startswith("model.") else f"pretrain.{p}" for p in own.task.problems(config.model)]
    found += [f"pretrain.{problem}" for problem in own.problems()]
    found += [f"pretrain.{problem}" for problem in metrics_of(own.task)]
    if own.task.answers_are == PREDICTS:
        slices, slices_at = own.corpus.slices, "pretrain.corpus.slices"
        found += training(Training(own.train, own.task, config.model, layout, slices, slices_at=slices_at, section="pretrain"))
    found += [f"pretrain.{problem}" for problem in own.corpus.problems(own.task)]
    if own.replay:
        found += [f"pretrain.replay.{problem.removeprefix('corpus.')}" for problem in own.replay.corpus().problems(own.task)]
    return found


def _pretrained(config: RunConfig, layout: Layout) -> list[str]:
    """What is wrong between the pretraining and what comes after it."""
    if config.pretrain is None:
        return []
    found = []
    if config.task.reads != "text":
        found.append(f"pretrain: it learns from text, and a row of {config.task.name()} holds {config.task.reads}. Leave `pretrain` out.")
    moved = [path for path in (config.tune.space if config.tune else ()) if path in ("model.path", "model.revision")]
    found += [f"tune.space.{path}: `pretrain` makes one model, which every trial starts from. Take one of the two out." for path in moved]
    return found


def _sweep(config: RunConfig, layout: Layout) -> list[str]:
    tune, found = config.tune, []
    if tune is None:
        return []
    if tune.finalists > tune.trials:
        found.append(f"tune.finalists: {tune.finalists} models are to be kept of {tune.trials} trials. Use at most {tune.trials}.")
    name = tune.metric or config.task.metric  # type: ignore[attr-defined]
    wrong = metric("tune.metric", name, config.task)
    found += wrong if tune.metric else []
    if tune.mode and not wrong and tune.mode != (own := find("metrics", name).mode):  # type: ignore[attr-defined]
        found.append(
            f"tune.mode: {tune.mode} was given, and {name} is better at its {own}: by it a trial's best step is chosen. Leave it out."
        )
    variants = [path for path in tune.space if path.startswith(CORPUS)]
    if tune.confirm and tune.confirm.folds and variants:
        found.append(
            f"tune.confirm.folds: {', '.join(variants)} is searched, so finalists may train on different rows, and their folds cannot be"
            f" compared. Use tune.confirm: {{seeds: {tune.confirm.folds}}}, or search no value of the corpus."
        )
    if tune.confirm and tune.confirm.folds and (together := _kept_together(config)):
        found.append(
            f"tune.confirm.folds: {together} keeps rows together, and folds part row by row: like rows would be trained on and held out."
            f" Use tune.confirm: {{seeds: {tune.confirm.folds}}}."
        )
    found += [placed("tune.scheduler", tune.scheduler, p) for p in tune.scheduler.problems(tune.trials, tune.searched())]
    stops = config.train.early_stopping is not None or any(path.startswith("train.early_stopping") for path in tune.space)
    if tune.scheduler.exploits and stops:
        why = "others go on from the state of a trial, and one that has stopped early leaves none"
        found.append(f"train.early_stopping: under {tune.scheduler.name()} {why}. Take it out, or choose another tune.scheduler.")
    found += [placed("tune.sampler", tune.sampler, p) for p in tune.sampler.problems(tune.searched(), tune.trials)]
    return found


def _kept_together(config: RunConfig) -> str | None:
    """The setting of the corpus by which rows that belong together never lie in two splits."""
    near = config.corpus.nearness(config.task)
    grouped = "corpus.near_duplicates.action: group" if near is not None and near.action == "group" else None
    return "corpus.split.group" if config.corpus.split.group else grouped


def _objectives(config: RunConfig, layout: Layout) -> list[str]:
    """What is weighed beside the metric can be measured, and is measured once."""
    found: list[str] = []
    seen: set[str] = set()
    for i, aim in enumerate(config.tune.objectives if config.tune else ()):
        where, wrong = f"tune.objectives.{i}", list(aim.problems())
        if isinstance(aim, Domain):
            wrong = [p.removeprefix(f"{where}.") for p in metric(f"{where}.metric", aim.metric, config.task)]
            if aim.metric == ((config.tune and config.tune.metric) or config.task.metric):
                wrong.append(f"metric: '{aim.metric}' ranks the trials already. Name another one, or take this objective out.")
        if isinstance(aim, General):
            wrong += aim.lacks(config.evaluate.general)
            aim = aim.resolved(config.evaluate.general)
        if not wrong and aim.label() in seen:
            wrong = [f"'{aim.label()}' is weighed twice. Take one out."]
        seen.add(aim.label())
        found += [placed(where, aim, problem) for problem in wrong]
    return found


def _warm_start(config: RunConfig, layout: Layout) -> list[str]:
    """The older sweep is there, and says something about this one."""
    tune = config.tune
    if tune is None or tune.warm_start is None:
        return []
    try:
        sweep_folder(tune.warm_start.run, Path(layout.storage))
        earlier(
            tune.warm_start,
            tune.searched(),
            metric=tune.metric or config.task.metric,
            mode=tune.mode,
            rungs=tune.scheduler.rungs(),
            objectives=tune.objectives,
        )
    except UserError as error:
        return [f"tune.warm_start: {problem}" for problem in error.problems]
    return []


def _price(config: RunConfig, layout: Layout) -> list[str]:
    if config.tune is None or config.tune.budget.cost is None or layout.cost_per_hour:
        return []
    return ["tune.budget.cost: the layout has no price. Set cost_per_hour in its layout.yaml, or limit tune.budget.hours instead."]


def _probabilities(config: RunConfig, layout: Layout) -> list[str]:
    """Stages that mix or learn from class probabilities have some to work with."""
    task = config.task
    if task.answers_are == "labels":
        return []
    return [
        f"{name}: it works on one class per row, and {task.name()} answers with {task.answers_are}. Leave `{name}` out."
        for name in ("ensemble", "distil")
        if getattr(config, name) is not None
    ]


def _ensemble(config: RunConfig, layout: Layout) -> list[str]:
    tune, ensemble = config.tune, config.ensemble
    if ensemble is None:
        return []
    if tune is None:
        return ["ensemble: it combines the trials of a sweep, and there is no `tune` in this config. Add `tune`, or take `ensemble` out."]
    if ensemble.candidates > tune.finalists:
        return [
            f"ensemble.candidates: {ensemble.candidates} asked for, and tune.finalists keeps {tune.finalists} models."
            f" Use at most {tune.finalists}, or raise tune.finalists."
        ]
    return []


def _space(config: RunConfig, layout: Layout) -> list[str]:
    if config.tune is None:
        return []
    models: dict[ModelConfig, list[str]] = {}

    def of_trial(trial: Sections) -> list[str]:
        if trial.model not in models:  # a hub id is asked for once
            models[trial.model] = trial.model.problems()
        one = Training(trial.train, trial.task, trial.model, layout, config.corpus.slices, folds=_folds(config))
        found = [*training(one), *(models[trial.model] or _suited(trial.task, trial.model))]
        filters = trial.corpus.filters if trial.corpus else []
        return [*found, *(f"corpus.filters.{i}: {p}" for i, each in enumerate(filters) for p in each.problems())]

    return searched.problems(config, of_trial)


def _evaluate(config: RunConfig, layout: Layout) -> list[str]:
    return config.evaluate.problems()


def _ground(config: RunConfig, layout: Layout) -> list[str]:
    """General ground is of the kind that the task reads."""
    task, found = config.task, []
    for name, suite in config.evaluate.general.items():
        if task.reads not in suite.reads:
            fitting = [each for each in names("evaluate.suites") if task.reads in find("evaluate.suites", each).reads]  # type: ignore[attr-defined]
            told = f"'{suite.name()}' measures {' and '.join(suite.reads)}, and a row of {task.name()} holds {task.reads}"
            found.append(f"evaluate.general.{name}: {told}. Allowed: {', '.join(fitting)}.")
    return found


def _trackers(config: RunConfig, layout: Layout) -> list[str]:
    found, seen = [], set()
    for i, tracker in enumerate(config.trackers):
        wrong = [f"'{tracker.name()}' is given twice. Take one out."] if tracker.name() in seen else tracker.problems()
        seen.add(tracker.name())
        found += [placed(f"trackers.{i}", tracker, problem) for problem in wrong]
    return found


def _gates(config: RunConfig, layout: Layout) -> list[str]:
    found = []
    suites = {name: tuple(suite.gives) for name, suite in config.evaluate.general.items()}
    suites[DOMAIN] = tuple(dict.fromkeys([config.task.metric, *config.task.also]))
    for i, gate in enumerate(config.report.gates):
        where = f"report.gates.{i}"
        if gate.suite not in suites:
            found.append(f"{where}.suite: {unknown('suite', gate.suite, suites)}")
        elif gate.metric not in (*suites[gate.suite], *COSTS):
            add = " To have it, add it to task.also." if gate.suite == DOMAIN and gate.metric in names("metrics") else ""
            found.append(f"{where}.metric: {unknown(f'{gate.suite} metric', gate.metric, [*suites[gate.suite], *COSTS])}{add}")
    return found


CHECKS: tuple[tuple[str, Callable[[RunConfig, Layout], list[str]]], ...] = (
    ("model", _model),
    ("model task", _task),
    ("task", _metrics),
    ("corpus task", _corpus),
    ("layout", _layout),
    *((f"train {reads}", _of_main(aspect)) for reads, aspect in ASPECTS),
    ("pretrain model layout", _pretrain),
    ("pretrain task tune", _pretrained),
    ("tune task", _sweep),
    ("tune evaluate", _objectives),
    ("tune task layout", _warm_start),
    ("tune layout", _price),
    ("tune train model task corpus layout", _space),
    ("ensemble distil task", _probabilities),
    ("ensemble tune", _ensemble),
    ("distil model task corpus layout", _distil),
    ("distil model", _student),
    ("pseudo_label task model corpus layout", _pseudo_label),
    ("evaluate", _evaluate),
    ("evaluate task", _ground),
    ("report evaluate task", _gates),
    ("trackers", _trackers),
)
"""Sections a check reads, and the check."""
