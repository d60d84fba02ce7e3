"""What can be wrong with one training by itself, wherever it stands in a config: with its layout, its model, what it minimises."""

from __future__ import annotations

from typing import Any

from heliostat import weights
from heliostat.core.errors import UserError, unknown
from heliostat.core.family import Member, find, names
from heliostat.core.layout import Layout
from heliostat.tasks.config import ModelConfig
from heliostat.train import dividing
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


def training(train: TrainConfig, layout: Layout) -> list[str]:
    """Problems of one training by itself, or of a trial."""
    found = layout.check_batch(train.batch) if train.batch_tokens is None else []
    if train.precision == "fp16" and layout.gpus_per_worker == 0:
        found.append("train.precision: fp16 needs a GPU and this layout has none. Use fp32, or bf16.")
    found += dividing.problems(train, layout)
    if train.regularizer is not None and train.gradient_checkpointing:
        found.append("train.gradient_checkpointing: train.regularizer differentiates in the middle of a pass. Use one of the two.")
    if train.adapter is not None and getattr(train.adapter, "base_bits", None):
        found += _four_bits(layout)
    return found


def _four_bits(layout: Layout) -> list[str]:
    from importlib.util import find_spec

    found = []
    if layout.gpus_per_worker == 0 or layout.zero == 3:
        found.append("train.adapter.base_bits: weights of 4 bits need a GPU and zero 0, 1 or 2. Leave it out, or choose another layout.")
    if find_spec("bitsandbytes") is None:
        found.append("train.adapter.base_bits: bitsandbytes is not installed: pip install bitsandbytes")
    return found


def packing(train: TrainConfig, task: Any) -> list[str]:
    """Problems of a training that puts several rows into one sequence."""
    fitting = ", ".join(name for name in names("tasks") if find("tasks", name).packs)  # type: ignore[attr-defined]
    found = [] if task.packs else [f"train.packing: rows of {task.name()} cannot share a sequence. Allowed with: {fitting}."]
    if train.curriculum is not None:
        found.append("train.packing: a sequence of several rows has no place in a curriculum. Use one of the two.")
    return found


def objective(train: TrainConfig, task: Any, *, taught: bool = False) -> list[str]:
    """Problems between what is minimised, what the task learns, and whether there is a teacher."""
    given, kinds = train.objective, [find("train.objectives", name) for name in names("train.objectives")]
    fitting = [kind for kind in kinds if task.answers_are in kind.takes and kind().needs_teacher == taught]  # type: ignore[attr-defined]
    allowed = f"Allowed: {', '.join(kind.name() for kind in fitting) or 'none that ships with Heliostat'}."
    if given.needs_teacher and not taught:
        return [f"train.objective: '{given.name()}' reads a teacher, and only `distil` has one. {allowed}"]
    if taught and not given.needs_teacher:
        return [f"train.objective: '{given.name()}' does not read a teacher. {allowed}"]
    if task.answers_are not in given.takes:
        told = f"'{given.name()}' trains on {' or '.join(given.takes)}, and {task.name()} answers with {task.answers_are}"
        return [f"train.objective: {told}. {allowed}"]
    return []


def fitting(train: TrainConfig, model: ModelConfig, task: Any) -> list[str]:
    """Problems between one training and the model it starts from."""
    found, depth = [], model.depth()
    most = None if depth is None else min(depth, model.layers or depth)
    if train.freeze and isinstance(train.freeze, int) and model.shapeless():
        found.append(f"train.freeze: {model.shapeless()} Use 0, or patterns of parameters' names.")
    if most is not None and isinstance(train.freeze, int) and train.freeze > most:
        found.append(f"train.freeze: {train.freeze} layers asked for, and the model has {most}. Allowed: 0 to {most}.")
    if isinstance(train.freeze, list) and train.adapter is not None:
        found.append("train.freeze: with train.adapter everything but the adapter and the head is frozen already. Leave it out.")
    if train.adapter is not None:
        found += [placed("train.adapter", train.adapter, problem) for problem in train.adapter.problems(weights.matrices(model), task)]
    return found


def placed(place: str, member: Member, problem: str) -> str:
    """A member's sentence, which may begin with one of its options, after its place in the config."""
    option = problem.split(":")[0].split(".")[0]
    return f"{place}.{problem}" if option in type(member).model_fields and ":" in problem else f"{place}: {problem}"
