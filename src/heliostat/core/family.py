"""A family is a folder, a member is a file, the file's name is its name.

`{use: asha, eta: 3}` in YAML imports `<family>.asha`, finds the one subclass of the family's `Base` and validates the
rest as its fields. A member from outside is `{use: their_package.module}`. There is no registry: to add a member is to
add a file. Each family folder holds `base.py` with the class `Base(Member)` that states its contract.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar, get_args

from pydantic import BeforeValidator, PlainSerializer, ValidationError

from heliostat.core.errors import OptionError, UserError, unknown
from heliostat.core.settings import Settings, explain

ROOT = "heliostat"
NOT_MEMBERS = ("base", "config")
FAMILIES = (
    "tasks",
    "metrics",
    "corpus.sources",
    "corpus.filters",
    "train.objectives",
    "train.regularizers",
    "train.adapters",
    "train.optimizers",
    "train.schedules",
    "train.curricula",
    "tune.samplers",
    "tune.schedulers",
    "tune.objectives",
    "ensemble.combiners",
    "evaluate.suites",
    "report.sections",
    "trackers",
)


class Member(Settings):
    """Base of every family's `Base`: its fields are its options, its one method does the work."""

    def identity(self) -> dict[str, Any]:
        return {"use": self.name(), **super().identity()}

    @classmethod
    def name(cls) -> str:
        """The name in YAML: the file's name, or the whole module path of a member from outside."""
        module = cls.__module__
        return module.rsplit(".", 1)[-1] if module.startswith(ROOT + ".") else module


def base_of(family: str) -> type[Member]:
    """The `Base` class of `family` (for example "tune.samplers")."""
    return importlib.import_module(f"{ROOT}.{family}.base").Base


def names(family: str) -> list[str]:
    """The names of the members that ship with Heliostat."""
    package = importlib.import_module(f"{ROOT}.{family}")
    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if m.name not in NOT_MEMBERS and not m.name.startswith("_"))


def find(family: str, name: str) -> type[Member]:
    """The member class called `name`; `UserError` with the nearest name when there is none."""
    module_name = name if "." in name else f"{ROOT}.{family}.{name}"
    if "." not in name and name not in names(family):
        raise UserError(unknown(f"{family} member", name, names(family)))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise UserError(f"{family} member '{name}' cannot be imported: {error}. Is its package installed?") from None
    base = base_of(family)
    found = [c for _, c in inspect.getmembers(module, inspect.isclass) if issubclass(c, base) and c.__module__ == module_name]
    if len(found) != 1:
        raise UserError(f"Module '{module_name}' must hold exactly one subclass of {family}'s Base; it holds {len(found)}.")
    return found[0]


def members(family: str) -> dict[str, type[Member]]:
    """Every shipped member of `family` by name."""
    return {name: find(family, name) for name in names(family)}


def build(family: str, spec: Any) -> Member:
    """A member from `"name"`, `{"use": "name", option: value}` or a member itself."""
    if isinstance(spec, base_of(family)):
        return spec
    if isinstance(spec, str):
        spec = {"use": spec}
    if not isinstance(spec, dict) or not isinstance(spec.get("use"), str):
        known = ", ".join(names(family))
        raise UserError(f"a {family} member is written as a name or as {{use: name, option: value}}; {spec!r} was given. Names: {known}.")
    kind = find(family, spec["use"])
    try:
        return kind.model_validate({k: v for k, v in spec.items() if k != "use"})
    except ValidationError as error:
        raise OptionError(explain(error, kind)) from None


def dump(member: Member) -> dict[str, Any]:
    """The member as `{"use": name, **options}`."""
    return {"use": member.name(), **member.dump()}


def schema(family: str) -> dict[str, Any]:
    """JSON schema of one place where a member of `family` is expected (for editors)."""
    options = []
    for name, kind in members(family).items():
        own = kind.model_json_schema()
        own.pop("$defs", None)
        own["properties"] = {"use": {"const": name, "description": first_line(kind)}, **own.get("properties", {})}
        own["required"] = ["use", *own.get("required", [])]
        options.append(own)
    return {"anyOf": [{"enum": names(family)}, {"type": "string", "pattern": r"\."}, *options]}


def first_line(kind: type) -> str:
    """The first line of a member's docstring: what `heliostat list` shows."""
    return (inspect.getdoc(kind) or "").split("\n", 1)[0]


if TYPE_CHECKING:
    Name = TypeVar("Name")

    class In(Any, Generic[Name]):  # type: ignore[misc]
        """To a type checker a member may have any attribute."""


class _In:
    """`In["tune.samplers"]`: the annotation of a config field that holds one member of a family."""

    def __getitem__(self, family: str) -> Any:
        return Annotated[
            Any,
            BeforeValidator(lambda spec: build(family, spec)),
            PlainSerializer(dump, return_type=dict),
            _LazySchema(family),
        ]


class _LazySchema:
    """Asks for the family's JSON schema only when a schema is printed, so that configs stay light to import."""

    def __init__(self, family: str):
        self.family = family

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Any) -> dict[str, Any]:
        return schema(self.family)


if not TYPE_CHECKING:
    In = _In()


def family_in(annotation: Any) -> str | None:
    """The family of a field that holds one member or nothing; None for any other field."""
    for part in get_args(annotation):
        if isinstance(part, _LazySchema):
            return part.family
        if found := family_in(part):
            return found
    return None


__all__ = ["FAMILIES", "In", "Member", "base_of", "build", "dump", "family_in", "find", "first_line", "members", "names", "schema"]
