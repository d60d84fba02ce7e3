"""Frozen, typed settings; sparse YAML in, complete settings out.

One way to set a value: a YAML file (with an optional `extends`), then `--set path=value`. Unknown keys and wrong
values are all listed at once, each with its path and the nearest valid name. `identity()` is what a fingerprint is
made of: fields marked with `unidentified` (paths, concurrency, what is kept) are left out.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from heliostat.core.errors import OptionError, UserError, nearest

LONGEST = 160
"""Characters of a wrong value that are shown."""


class Settings(BaseModel):
    """Base of every config: frozen, no unknown key, a docstring under each field is its description."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True, allow_inf_nan=False)

    def identity(self) -> dict[str, Any]:
        """The fields that decide the result, as plain JSON values."""
        fields = type(self).model_fields
        return {name: identify(getattr(self, name)) for name, field in fields.items() if not _is_unidentified(field)}

    def dump(self) -> dict[str, Any]:
        """Every field, resolved, as plain JSON values."""
        return self.model_dump(mode="json")


def unidentified(default: Any = ..., **kwargs: Any) -> Any:
    """A field that decides how, where or how much is kept, never what comes out."""
    return Field(default, json_schema_extra={"identity": False}, **kwargs)


def _is_unidentified(field: Any) -> bool:
    extra = field.json_schema_extra
    return isinstance(extra, dict) and extra.get("identity") is False


def identify(value: Any) -> Any:
    """`value` as plain JSON for a fingerprint; a thing with a `fingerprint` is that fingerprint."""
    if isinstance(value, Settings):
        return value.identity()
    if hasattr(value, "fingerprint"):
        return value.fingerprint
    if isinstance(value, dict):
        return {str(k): identify(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [identify(v) for v in value]
    if isinstance(value, Path):
        return str(value)
    return value


class _Yaml(yaml.SafeLoader):
    """Safe YAML that refuses a key written twice: the first one would be lost without a word. `1e-3` is a number, as in YAML 1.2."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(problem=f"'{key.value}' is given twice", problem_mark=key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


_Yaml.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789"))


def read_yaml(path: Path, extended_by: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The mapping in `path`, laid over the one its `extends` names (relative to the file)."""
    from_ = f" (extended by '{extended_by[-1]}')" if extended_by else ""
    if path.resolve() in [p.resolve() for p in extended_by]:
        raise UserError(f"'{path}' extends itself: {' -> '.join(str(p) for p in [*extended_by, path])}. Take one `extends` out.")
    try:
        loaded = yaml.load(path.read_text(encoding="utf-8-sig"), Loader=_Yaml)
    except FileNotFoundError:
        raise UserError(f"Config '{path}' does not exist{from_}.{_near_file(path)}") from None
    except OSError as error:
        raise UserError(f"Config '{path}' cannot be read{from_}: {error.strerror}. Give a YAML file.") from None
    except UnicodeDecodeError as error:
        raise UserError(f"Config '{path}' is not UTF-8 text: {error.reason} at byte {error.start}. Save it as UTF-8.") from None
    except yaml.YAMLError as error:
        raise UserError(f"Config '{path}' is not valid YAML: {yaml_problem(error)}") from None
    if not isinstance(loaded, dict):
        given = "it is empty" if loaded is None else f"it holds a {'list' if isinstance(loaded, list) else 'single value'}"
        raise UserError(f"Config '{path}' must be a mapping, such as `name: first`; {given}.")
    parent = loaded.pop("extends", None)
    if parent is None:
        return loaded
    if not isinstance(parent, str) or not parent:
        raise UserError(f"{path}: extends: it must be the path of a config, relative to this one; {parent!r} was given.")
    return merge(read_yaml(path.parent / parent, (*extended_by, path)), loaded)


def yaml_problem(error: yaml.YAMLError) -> str:
    """What is wrong and where, in one line."""
    mark = getattr(error, "problem_mark", None)
    where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
    return f"{getattr(error, 'problem', None) or str(error).splitlines()[0]}{where}."


def _near_file(path: Path) -> str:
    stems = {p.stem: p for p in sorted(path.parent.glob("*.yaml"))} if path.parent.is_dir() else {}
    close = nearest(path.stem, stems)
    return f" Did you mean '{stems[close]}'?" if close else ""


def merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` laid over `below`; mappings merge, everything else replaces (so does a mapping with another `use`)."""
    out = dict(below)
    for key, value in above.items():
        old = out.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and value.get("use", old.get("use")) == old.get("use", value.get("use")):
            out[key] = merge(old, value)
        else:
            out[key] = value
    return out


def assign(tree: dict[str, Any], path: str, value: Any, above: str = "") -> dict[str, Any]:
    """A copy of `tree` with the value at the dotted `path` set; a number steps into a list. `above` is where `tree` itself stands."""
    head, _, rest = path.partition(".")
    out, here = dict(tree), above + head
    if not rest:
        out[head] = value
        return out
    below = out.get(head)
    index, _, deeper = rest.partition(".")
    if isinstance(below, list):
        if not index.isdigit() or int(index) >= len(below):
            places = f"0 to {len(below) - 1}" if below else "it is empty"
            raise UserError(f"{above}{path}: '{here}' is a list of {len(below)}; '{index}' is not one of its places ({places}).")
        items, place = list(below), int(index)
        if deeper and not isinstance(items[place], dict | str):
            raise UserError(f"{above}{path}: '{here}.{index}' holds {items[place]!r}, which has no settings below it.")
        one = {"use": items[place]} if isinstance(items[place], str) else items[place]
        items[place] = assign(one, deeper, value, f"{here}.{index}.") if deeper else value
        out[head] = items
    elif below is None and index.isdigit():
        raise UserError(f"{above}{path}: the config gives no list '{here}', so it has no place {index}. Give the whole list: {here}=[...].")
    elif isinstance(below, dict) or below is None:
        out[head] = assign(below or {}, rest, value, f"{here}.")
    elif isinstance(below, str):  # the short form of a member, `optimizer: adamw`
        out[head] = assign({"use": below}, rest, value, f"{here}.")
    else:
        raise UserError(f"{above}{path}: '{here}' holds {below!r}, which has no settings below it.")
    return out


def parse_assignment(text: str) -> tuple[str, Any]:
    """`train.lr=3e-5` as (path, value); the value is read as YAML."""
    path, equals, raw = text.partition("=")
    if not equals or not all(part.strip() for part in path.split(".")):
        raise UserError(f"--set '{text}' must have the form path=value, for example --set train.epochs=2.")
    try:
        value = yaml.load(raw, Loader=_Yaml)
    except yaml.YAMLError as error:
        raise UserError(f"--set '{text}': the value is not valid YAML: {yaml_problem(error)}") from None
    return path.strip(), value


def load(kind: type[Self], path: Path, assignments: Sequence[str] = ()) -> Self:  # type: ignore[misc]
    """Read `path`, apply the assignments, validate as `kind`; every problem raised at once as a `UserError`."""
    return parse(kind, read_tree(path, assignments), where=str(path))


def read_tree(path: Path, assignments: Sequence[str] = ()) -> dict[str, Any]:
    """The plain values of a config file with the assignments applied, not yet validated; every assignment that is none at once."""
    problems: list[str] = []
    tree: dict[str, Any] = {}
    try:
        tree = read_yaml(path)
    except UserError as error:
        problems += error.problems
    for text in assignments:
        try:
            assignment = parse_assignment(text)
            tree = tree if problems else assign(tree, *assignment)
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(problems)
    return tree


def parse(kind: Any, tree: Any, where: str = "config") -> Any:
    """Validate `tree` as `kind`, or raise a `UserError` that lists every problem with its path."""
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        raise UserError([f"{where}: {line}" for line in explain(error, kind)]) from None


WORDS = {
    "int": "it must be a whole number",
    "float": "it must be a number",
    "bool": "it must be true or false",
    "string": "it must be text",
    "list": "it must be a list, [...]",
    "dict": "it must be a mapping, {name: value}",
    "model": "it must be a mapping, {name: value}",
}
"""First word of a pydantic error type to plain words."""


def explain(error: ValidationError, kind: Any) -> list[str]:
    """One plain sentence per problem of a pydantic error."""
    lines: list[str] = []
    for item in error.errors():
        nested = item.get("ctx", {}).get("error")
        path = ".".join(str(part) for part in item["loc"] if not str(part).startswith("function-"))
        if isinstance(nested, UserError):
            joint = "." if isinstance(nested, OptionError) else ": "
            lines += [f"{path}{joint}{problem}" if path else problem for problem in nested.problems]
        elif item["type"] == "extra_forbidden":
            lines.append(_unknown_key(path, item["loc"], kind))
        elif item["type"] == "missing":
            lines.append(f"{path}: this setting is required and was not given.")
        else:
            lines.append(f"{path}: {_plain(item)}" if path else _plain(item))
    return lines


def _plain(item: Any) -> str:
    """What is wrong with one value, in words a person who never saw pydantic reads."""
    first, given = item["type"].split("_")[0], item["input"]
    if first in WORDS and not item["type"].endswith("mismatch") and "too" not in item["type"]:
        message = WORDS[first]
    else:
        message = item["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
        for theirs, ours in (
            ("Input should", "it must"),
            ("String should", "it must"),
            ("List should", "it must"),
            (" after validation", ""),
        ):
            message = message.replace(theirs, ours)
    told = "nothing" if given is None else repr(given)
    told = told if len(told) <= LONGEST else f"{told[:LONGEST]}..."
    close = nearest(given, re.findall(r"'([^']+)'", message)) if item["type"] == "literal_error" and isinstance(given, str) else None
    return f"{message}; {told} was given." + (f" Did you mean '{close}'?" if close else "")


def _unknown_key(path: str, loc: tuple[Any, ...], kind: Any) -> str:
    owner: Any = kind
    for part in loc[:-1]:
        fields = getattr(owner, "model_fields", {})
        if part in fields:
            owner = next((a for a in _classes(fields[part].annotation) if hasattr(a, "model_fields")), None)
    names = sorted(getattr(owner, "model_fields", {}))
    close = nearest(str(loc[-1]), names)
    hint = f" Did you mean '{close}'?" if close else ""
    return f"{path}: this key is not known.{hint}" + (f" Allowed: {', '.join(names)}." if names else "")


def _classes(annotation: Any) -> list[Any]:
    found = [annotation]
    for part in typing.get_args(annotation):
        found += _classes(part)
    return found
