"""What a trial is made of: the sections of a config with the trial's values in their places.

A pure function of the config and the settings, so that a check, a plan and a gang see the same training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from heliostat.core.errors import UserError
from heliostat.core.family import ROOT, Member, build, find
from heliostat.core.manifest import fingerprint
from heliostat.core.settings import assign, parse
from heliostat.corpus.config import CorpusConfig
from heliostat.tasks.config import ModelConfig
from heliostat.train.config import TrainConfig
from heliostat.tune.space import Dimension, Space, matches

CORPUS = "corpus."
USE = ".use"


@dataclass(frozen=True)
class Sections:
    """The parts of a config in which a sweep may search."""

    train: TrainConfig
    model: ModelConfig
    task: Any
    """Member of tasks."""
    corpus: CorpusConfig | None = None
    """None where the corpora are made already: `corpus_mark` says which one a trial reads."""


def sections(base: Sections, settings: Mapping[str, Any]) -> Sections:
    """`base` with `settings` laid over it; a section that no path names stays the same object. `UserError` with paths in full."""
    paths: dict[str, dict[str, Any]] = {}
    for path, value in settings.items():
        paths.setdefault(path.partition(".")[0], {})[path] = value
    changed, problems = {}, []
    for name, own in paths.items():
        section = getattr(base, name)
        if section is None:
            continue
        try:
            changed[name] = _laid(name, section, own)
        except UserError as error:
            problems += [f"{name}.{p.removeprefix(f'{name}.')}" for p in error.problems]
    if problems:
        raise UserError(problems)
    return replace(base, **changed)


def corpus_mark(settings: Mapping[str, Any]) -> str | None:
    """Short name of the corpus a trial reads; None is the config's own. A function of the searched values below `corpus.` alone."""
    own = {path: value for path, value in settings.items() if path.startswith(CORPUS)}
    return fingerprint(own)[:8] if own else None


def _laid(name: str, section: Any, settings: Mapping[str, Any]) -> Any:
    """One section with its values in place, validated."""
    tree: dict[str, Any] = {name: {"use": section.name(), **section.dump()} if isinstance(section, Member) else section.dump()}
    for path, value in settings.items():
        if path.endswith(USE):
            tree = assign(tree, path.removesuffix(USE), _switched(tree, section, path.removesuffix(USE), value))
        else:
            tree = assign(tree, path, value)
    if isinstance(section, Member):
        return build(family_of(section), tree[name])
    try:
        return parse(type(section), tree[name], where=name)
    except UserError as error:
        raise UserError([problem.removeprefix(f"{name}: ") for problem in error.problems]) from None


def _switched(tree: dict[str, Any], section: Any, path: str, name: Any) -> dict[str, Any]:
    """The member at `path` replaced by the one called `name`, which keeps the options that both know."""
    there: Any = tree
    member: Any = section
    for depth, word in enumerate(path.split(".")):
        there = there[int(word)] if isinstance(there, list) else there[word]
        if depth:
            member = member[int(word)] if isinstance(member, list) else getattr(member, word)
    options = there if isinstance(there, dict) else {}
    try:
        known = find(family_of(member), str(name)).model_fields
    except UserError as error:
        raise UserError([f"{path}{USE}: {problem}" for problem in error.problems]) from None
    return {"use": name, **{k: v for k, v in options.items() if k in known}}


def family_of(member: Member) -> str:
    """The family a member belongs to: the folder of the `Base` it comes from."""
    base = next(c.__module__ for c in type(member).__mro__ if c.__module__.startswith(ROOT + ".") and c.__module__.endswith(".base"))
    return base.removeprefix(ROOT + ".").removesuffix(".base")


def corpus_settings(space: Space, most: int) -> list[dict[str, Any]]:
    """The searched values below `corpus.` in every combination that a trial may have; at most `most` + 1 of them.

    What is tied by `when` to a value outside the corpus is there in some combinations and not in others. Raises `UserError` for
    a dimension whose values cannot be listed.
    """
    own = {path: dimension for path, dimension in space.dimensions.items() if path.startswith(CORPUS)}
    found: list[dict[str, Any]] = [{}]
    for path, dimension in own.items():
        values = dimension.values()
        if values is None:
            raise UserError(f"{path}: every value is a corpus of its own, so they must be few. Use choice, int, or uniform with a step.")
        found = [more for one in found for more in _extended(one, path, dimension, values)][: most + 1]
    return [one for one in found if one]


def _extended(one: dict[str, Any], path: str, dimension: Dimension, values: list[Any]) -> list[dict[str, Any]]:
    inside = [(parent, wanted) for parent, wanted in dimension.when if parent.startswith(CORPUS)]
    if not all(parent in one and any(matches(one[parent], value) for value in wanted) for parent, wanted in inside):
        return [one]
    absent = [one] if len(inside) < len(dimension.when) else []
    return [*absent, *({**one, path: value} for value in values)]
