"""Which values of a config a sweep may search: read from the settings' own fields, so a new option is searchable at once.

Searched is what decides a training: `train`, `model`, `task` and how the corpus is cleaned. Not searched is what trials are
measured by (the metric, the split, the labels), because trials that are measured differently cannot be ranked.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from heliostat.core.errors import nearest
from heliostat.core.family import Member, family_in, members
from heliostat.core.settings import Settings
from heliostat.tune.trial import family_of

if TYPE_CHECKING:
    from heliostat.config import RunConfig

ROOTS = ("train", "model", "task", "corpus")
MEASURES = "trials must be measured by the same numbers, or they cannot be ranked"
ROWS = "trials must be measured on the same rows, or they cannot be ranked"
REFUSED = {
    "task.use": "it says what a row means",
    "task.scheme": "it says what tags mean",
    "task.names": "it says what tags mean",
    "task.metric": MEASURES,
    "task.also": MEASURES,
    "corpus.split": ROWS,
    "corpus.sources": "of a source, only encodings and max_row_bytes can be searched: everything else may change the labels",
    "corpus.columns": "it may change the labels",
    "corpus.slices": "it changes nothing that a model learns",
    "corpus.max_bad_share": "it changes nothing that a model learns",
    "corpus.rows_per_shard": "it changes nothing that a model learns",
}
"""Paths below the roots that cannot be searched, with all that is below them, and why."""
ALLOWED_OF_SOURCES = ("encodings", "max_row_bytes")


def why_not(path: str, config: RunConfig, allowed: list[str]) -> str | None:
    """Why the value at `path` cannot be searched, with the nearest one that can; None when it can be."""
    if path in allowed:
        return None
    close = nearest(path, allowed)
    hint = f" Did you mean '{close}'?" if close else ""
    root = path.partition(".")[0]
    if root not in ROOTS:
        why = f"'{root}' does not decide a training: " if root in type(config).model_fields else ""
        return f"{why}only values below {', '.join(ROOTS[:-1])} and {ROOTS[-1]} can be searched.{hint}"
    if path == root:
        return f"a whole section cannot be searched. Name a value in it, for example {_first_below(root, allowed)}."
    refused = next((r for r in REFUSED if path == r or path.startswith(r + ".")), None)
    if refused:
        return f"it cannot be searched: {REFUSED[refused]}.{hint}"
    above = path.rpartition(".")[0]
    while above not in allowed and "." in above:
        above = above.rpartition(".")[0]
    there = sorted({p.removeprefix(above + ".").split(".")[0] for p in allowed if p.startswith(above + ".")})
    if not there:
        return f"'{above}' has no settings below it.{hint}"
    return f"'{above}' has no '{path.removeprefix(above + '.').split('.')[0]}'.{hint} Allowed: {', '.join(there)}."


def searchable(config: RunConfig) -> list[str]:
    """Every path that can be searched in `config`: the options of the members it names (of all members where the member itself is
    searched), and the places of the lists it gives."""
    searched = set(config.tune.space) if config.tune else set()
    found: dict[str, None] = {}
    for name in ROOTS:
        section = getattr(config, name)
        found.update(dict.fromkeys(_fields(type(section), section, name, searched)))
    return [path for path in found if not _is_refused(path)]


def _is_refused(path: str) -> bool:
    refused = any(path == r or path.startswith(r + ".") for r in REFUSED)
    words = path.split(".")
    return refused and not (path.startswith("corpus.sources.") and len(words) >= 4 and words[3] in ALLOWED_OF_SOURCES)


def _fields(kind: type[Any], value: Any, at: str, searched: set[str]) -> Iterator[str]:
    """Paths of the fields of `kind`, and of what is below them; `value` is an instance of it, or None."""
    for name, field in kind.model_fields.items():
        path, here = f"{at}.{name}", getattr(value, name, None)
        yield path
        if isinstance(here, list):
            for i, each in enumerate(here):
                yield f"{path}.{i}"
                yield from _below(type(each), each, f"{path}.{i}", searched | ({f"{path}.{i}"} if path in searched else set()))
        else:
            yield from _below(type(here) if isinstance(here, Settings) else _settings_in(field.annotation), here, path, searched)
            family = family_in(field.annotation) if here is None and path in searched else None
            for each in members(family).values() if family else ():
                yield from _fields(each, None, path, searched)


def _below(kind: type[Any] | None, value: Any, at: str, searched: set[str]) -> Iterator[str]:
    """Paths below one place that holds settings or a member; nothing below a plain value."""
    if isinstance(value, Member):
        yield f"{at}.use"
        others = members(family_of(value)).values() if {at, f"{at}.use"} & searched else ()
        for each in dict.fromkeys([type(value), *others]):
            yield from _fields(each, value if each is type(value) else None, at, searched)
    elif kind is not None and issubclass(kind, Settings):
        yield from _fields(kind, value, at, searched)


def _settings_in(annotation: Any) -> type[Settings] | None:
    """The settings class inside `LoraConfig | None` and the like."""
    for part in (annotation, *typing.get_args(annotation)):
        if isinstance(part, type) and issubclass(part, Settings):
            return part
    return None


def _first_below(root: str, allowed: list[str]) -> str:
    usual = {"train": "train.optimizer.lr", "task": "task.max_tokens"}
    return usual.get(root) or next(path for path in allowed if path.startswith(root + "."))
