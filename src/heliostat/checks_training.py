"""What can be wrong with one training, wherever it stands in a config; `training` says all of it. And with the metrics of a task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from heliostat import weights
from heliostat.core.errors import UserError, unknown
from heliostat.core.family import Member, find, names
from heliostat.core.layout import Layout
from heliostat.tasks.config import ModelConfig
from heliostat.train import auxiliary, dividing
from heliostat.train.config import TrainConfig


def metrics_of(task: Any) -> list[str]:
    """Problems with the metrics that a task names."""
    places = [("task.metric", task.metric), *((f"task.also.{i}", name) for i, name in enumerate(task.also))]
    return [problem for place, name in places for problem in metric(place, name, task)]


def metric(place: str, name: str, task: Member) -> list[str]:
    """Problems with one metric, which stands at `place`."""
    if "." not in name and name not in names("metrics"):
        return [f"{place}: {unknown('metric', name, names('metrics'))}"]
    try:
        found: Any = find("metrics", name)
    except UserError as error:
        return [f"{place}: {problem}" for problem in error.problems]
    if found.judges == task.answers_are:  # type: ignore[attr-defined]
        return []
    fitting = [each for each in names("metrics") if find("metrics", each).judges == task.answers_are]  # type: ignore[attr-defined]
    return [f"{place}: '{name}' judges {found.judges}, and {task.name()} answers with {task.answers_are}. Allowed: {', '.join(fitting)}."]  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Training:
    """One training, and what it stands among."""

    train: TrainConfig
    task: Any
    model: ModelConfig
    """What it starts from; of a student, the model with the student's layers."""
    layout: Layout
    slices: Sequence[str]
    """Columns that its corpus keeps beside the rows."""
    slices_at: str = "corpus.slices"
    """Where these are set."""
    section: str = ""
    """Name of the section that holds `train`; empty for the config itself."""
    taught: bool = False
    """Whether it is a student, who has a teacher."""
    folds: bool = False
    """Whether it is repeated on folds of its rows."""


def training(one: Training) -> list[str]:
    """Everything that can be wrong with a training, each beginning with its path."""
    found = [problem for _, aspect in ASPECTS for problem in aspect(one)]
    return [f"{one.section}.{p}" if one.section and p.startswith("train.") else p for p in found]


def _divided(one: Training) -> list[str]:
    """Problems with the layout."""
    train, layout = one.train, one.layout
    found = layout.check_batch(train.batch) if train.batch_tokens is None else []
    if train.precision == "fp16" and layout.gpus_per_worker == 0:
        found.append("train.precision: fp16 needs a GPU and this layout has none. Use fp32, or bf16.")
    found += dividing.problems(train, layout)
    if train.adapter is not None and getattr(train.adapter, "base_bits", None):
        found += _four_bits(layout)
    return found


def _four_bits(layout: Layout) -> list[str]:
    from importlib.util import find_spec

    found = []
    if layout.gpus_per_worker == 0 or layout.parts_weights():
        found.append("train.adapter.base_bits: weights of 4 bits need a GPU and zero 0, 1 or 2. Leave it out, or choose another layout.")
    if find_spec("bitsandbytes") is None:
        found.append("train.adapter.base_bits: bitsandbytes is not installed: pip install 'heliostat[four_bits]'")
    return found


def _alone(one: Training) -> list[str]:
    """Problems between settings of the training itself."""
    train, found = one.train, []
    if train.regularizer is not None and train.gradient_checkpointing:
        found.append("train.gradient_checkpointing: train.regularizer differentiates in the middle of a pass. Use one of the two.")
    if train.packing and train.curriculum is not None:
        found.append("train.packing: a sequence of several rows has no place in a curriculum. Use one of the two.")
    return found


def _minimised(one: Training) -> list[str]:
    """Problems between what is minimised, what the task learns, and whether there is a teacher."""
    given, task, kinds = one.train.objective, one.task, [find("train.objectives", name) for name in names("train.objectives")]
    fitting = [kind for kind in kinds if task.answers_are in kind.takes and kind().needs_teacher == one.taught]  # type: ignore[attr-defined]
    allowed = f"Allowed: {', '.join(kind.name() for kind in fitting) or 'none that ships with Heliostat'}."
    if given.needs_teacher and not one.taught:
        return [f"train.objective: '{given.name()}' reads a teacher, and only `distil` has one. {allowed}"]
    if one.taught and not given.needs_teacher:
        return [f"train.objective: '{given.name()}' does not read a teacher. {allowed}"]
    if task.answers_are not in given.takes:
        told = f"'{given.name()}' trains on {' or '.join(given.takes)}, and {task.name()} answers with {task.answers_are}"
        return [f"train.objective: {told}. {allowed}"]
    return [placed("train.objective", given, problem) for problem in given.lacks(task)]


def _passes(one: Training) -> list[str]:
    """Problems between the task and how its rows are put together and passed through the model."""
    train, task, found = one.train, one.task, []
    if train.regularizer is not None:
        found += [placed("train.regularizer", train.regularizer, p) for p in train.regularizer.problems(task)]
    if train.packing and not task.packs:
        fitting = ", ".join(name for name in names("tasks") if find("tasks", name).packs)  # type: ignore[attr-defined]
        found.append(f"train.packing: rows of {task.name()} cannot share a sequence. Allowed with: {fitting}.")
    if train.batch_tokens is not None and task.reads != "text":
        found.append(f"train.batch_tokens: a row of {task.name()} holds no tokens. Use train.batch.")
    if train.curriculum is not None:
        found += [placed("train.curriculum", train.curriculum, p) for p in train.curriculum.problems(task)]
    return found


def _kept(one: Training) -> list[str]:
    """Problems with columns that must be kept beside the rows, and with what is learnt from them."""
    found = auxiliary.problems(one.train, one.task, one.slices)
    kept = one.train.curriculum.kept() if one.train.curriculum is not None else None
    if kept is not None and kept not in one.slices:
        told = f"Add it to {one.slices_at} ({', '.join(one.slices) or 'none'} so far)"
        found.append(f"train.curriculum.column: '{kept}' is not kept. {told}.")
    return found


def _folded(one: Training) -> list[str]:
    """Problems with being repeated on folds."""
    found = []
    if one.folds and one.train.packing:
        found.append("train.packing: folds part rows, and a sequence holds several. Use tune.confirm: {seeds: ...}.")
    if one.folds and one.train.curriculum is not None and one.train.curriculum.needs_losses:
        why = "folds train on validation rows too, and a reference model is asked about training rows only"
        found.append(f"train.curriculum: {why}. Use tune.confirm: {{seeds: ...}}.")
    return found


def _begun(one: Training) -> list[str]:
    """Problems with the model it starts from."""
    train, model, found, depth = one.train, one.model, [], one.model.depth()
    most, who = None if depth is None else min(depth, model.layers or depth), "the student" if one.taught else "the model"
    if train.freeze and isinstance(train.freeze, int) and model.shapeless():
        found.append(f"train.freeze: {model.shapeless()} Use 0, or patterns of parameters' names.")
    if most is not None and isinstance(train.freeze, int) and train.freeze > most:
        found.append(f"train.freeze: {train.freeze} layers asked for, and {who} has {most}. Allowed: 0 to {most}.")
    if train.freeze and train.adapter is not None:
        found.append("train.freeze: with train.adapter everything but the adapter and the head is frozen already. Set it to 0.")
    if train.adapter is not None:
        wrong = train.adapter.problems(weights.matrices(model), model.positions(), one.task)
        found += [placed("train.adapter", train.adapter, problem) for problem in wrong]
    return found


ASPECTS: tuple[tuple[str, Callable[[Training], list[str]]], ...] = (
    ("layout", _divided),
    ("", _alone),
    ("task", _minimised),
    ("task", _passes),
    ("task corpus", _kept),
    ("tune", _folded),
    ("model task", _begun),
)
"""Sections of the config that an aspect of a training depends on, beside the one that holds it, and what is wrong there."""


def placed(place: str, member: Member, problem: str) -> str:
    """A member's sentence, which may begin with one of its options, after its place in the config."""
    option = problem.split(":")[0].split(".")[0]
    return f"{place}.{problem}" if option in type(member).model_fields and ":" in problem else f"{place}: {problem}"
