"""Further tasks that are learnt beside the main one: what is asked for, and the targets that come with the rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import Field

from heliostat.core.errors import UserError, nearest
from heliostat.core.settings import Settings
from heliostat.tasks.base import IGNORED

MOST_CLASSES = 1000


class Auxiliary(Settings):
    """A class or a number to be told from the same encoder, by a head of its own that the export leaves out."""

    column: str = Field(min_length=1)
    """A column of `corpus.slices`; a row without a value teaches the other tasks only."""
    kind: Literal["class", "number"] = "class"
    """Cross-entropy, or the squared error in units of the standard deviation."""
    weight: float = Field(1.0, gt=0, le=1000)
    """Of its loss beside the main task's, which is 1; learned weights begin there."""


def problems(train: Any, task: Any, slices: Sequence[str]) -> list[str]:
    """Why a training (a TrainConfig) cannot have its auxiliary tasks beside `task`, with these slices of its corpus."""
    if not train.auxiliary:
        lonely = train.task_weights == "learned"
        return ["train.task_weights: there is nothing to weigh. Name further targets in train.auxiliary."] if lonely else []
    found, columns = [], [each.column for each in train.auxiliary]
    for i, column in enumerate(columns):
        if column not in slices:
            hint = f" Did you mean '{close}'?" if (close := nearest(column, slices)) else ""
            found.append(f"train.auxiliary.{i}.column: '{column}' is not kept.{hint} Add it to corpus.slices.")
        if column in columns[:i]:
            found.append(f"train.auxiliary.{i}.column: '{column}' is named twice. Leave one out.")
    if task.reads != "text" or task.answers_are not in ("labels", "names", "numbers"):
        fitting = "text_classification, multilabel_classification, text_regression"
        found.append(f"train.auxiliary: {task.name()} does not answer once for a whole text. Allowed with: {fitting}.")
    if train.regularizer is not None:
        found.append("train.auxiliary: train.regularizer makes further passes, which heads do not see. Use one of the two.")
    return found


@dataclass(frozen=True)
class Targets:
    """The targets of one auxiliary task."""

    values_N: np.ndarray
    """Class indices (IGNORED where there is none), or numbers in standard deviations from their mean (NaN where there is none)."""
    outputs: int
    """Of its head."""


def targets_of(rows: Any, wanted: Sequence[Auxiliary]) -> dict[str, Targets]:
    """Column to targets, from the training rows. Raises `UserError` when a column cannot be learnt."""
    found, problems = {}, []
    for i, each in enumerate(wanted):
        values = rows.column(each.column)
        made = _classes(values) if each.kind == "class" else _numbers(values)
        if isinstance(made, str):
            problems.append(f"train.auxiliary.{i}: the column '{each.column}' {made}")
        else:
            found[each.column] = made
    if problems:
        raise UserError(problems)
    return found


def _classes(values: np.ndarray) -> Targets | str:
    names = sorted({value for value in values if value})
    if not 2 <= len(names) <= MOST_CLASSES:
        hint = "Set kind: number, or take another column." if len(names) > 1 else "Take another column."
        return f"holds {len(names)} classes in the training rows. Allowed: 2 to {MOST_CLASSES:,}. {hint}"
    index = {name: i for i, name in enumerate(names)}
    return Targets(np.array([index.get(value, IGNORED) for value in values], dtype=np.int64), len(names))


def _numbers(values: np.ndarray) -> Targets | str:
    found_N = np.full(len(values), math.nan)
    for i, value in enumerate(values):
        if value:
            try:
                found_N[i] = float(value)
            except ValueError:
                return f"must hold numbers, and a row has '{value}'. Set kind: class, or take another column."
    known_N = found_N[np.isfinite(found_N)]
    if len(known_N) == 0 or known_N.std() == 0:
        return "holds no two different numbers in the training rows. Take another column."
    found_N[~np.isfinite(found_N)] = math.nan
    return Targets(((found_N - known_N.mean()) / known_N.std()).astype(np.float32), 1)
