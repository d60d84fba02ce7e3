"""Frozen, typed settings; sparse YAML in, complete settings out.

One way to set a value: a YAML file (with an optional `extends`), then `--set path=value`. Unknown keys and wrong
values are all listed at once, each with its path and the nearest valid name. `identity()` is what a fingerprint is
made of: fields marked with `unidentified` (paths, concurrency, what is kept) are left out.
"""

from __future__ import annotations

import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from heliostat.core.errors import UserError, nearest


class Settings(BaseModel):
    """Base of every config: frozen, no unknown key, a docstring under each field is its description."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True)

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


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in `path`, laid over the one its `extends` names (relative to the file)."""
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        others = sorted(p.name for p in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        close = nearest(path.name, others)
        raise UserError(f"Config '{path}' does not exist." + (f" Did you mean '{path.parent / close}'?" if close else "")) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"Config '{path}' is not valid YAML: {error}") from None
    if not isinstance(loaded, dict):
        raise UserError(f"Config '{path}' must be a mapping of stage names to settings; it holds {type(loaded).__name__}.")
    parent = loaded.pop("extends", None)
    return merge(read_yaml(path.parent / parent), loaded) if parent else loaded


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


def assign(tree: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of `tree` with the value at the dotted `path` set; a number steps into a list."""
    head, _, rest = path.partition(".")
    out = dict(tree)
    if not rest:
        out[head] = value
        return out
    below = out.get(head)
    if isinstance(below, list):
        index, _, deeper = rest.partition(".")
        if not index.isdigit() or int(index) >= len(below):
            raise UserError(f"'{path}': '{head}' is a list of {len(below)}; '{index}' is not one of its places (0 to {len(below) - 1}).")
        items = list(below)
        items[int(index)] = assign(items[int(index)], deeper, value) if deeper else value
        out[head] = items
    elif isinstance(below, dict) or below is None:
        out[head] = assign(below or {}, rest, value)
    elif isinstance(below, str):  # the short form of a member, `optimizer: adamw`
        out[head] = assign({"use": below}, rest, value)
    else:
        raise UserError(f"'{path}': '{head}' holds {below!r}, which has no settings below it.")
    return out


def parse_assignment(text: str) -> tuple[str, Any]:
    """`train.lr=3e-5` as (path, value); the value is read as YAML, and 3e-5 is a number."""
    path, equals, raw = text.partition("=")
    if not equals or not path.strip():
        raise UserError(f"--set '{text}' must have the form path=value, for example --set train.epochs=2.")
    try:
        value = yaml.safe_load(raw)
    except yaml.YAMLError as error:
        raise UserError(f"--set '{text}': the value is not valid YAML: {error}") from None
    return path.strip(), _number(value)


def _number(value: Any) -> Any:
    """YAML 1.1 reads 3e-5 as a string; people mean a number."""
    if isinstance(value, str):
        try:
            return float(value) if any(c.isdigit() for c in value) else value
        except ValueError:
            return value
    return value


def load(kind: type[Self], path: Path, assignments: Sequence[str] = ()) -> Self:  # type: ignore[misc]
    """Read `path`, apply the assignments, validate as `kind`; every problem raised at once as a `UserError`."""
    return parse(kind, read_tree(path, assignments), where=str(path))


def read_tree(path: Path, assignments: Sequence[str] = ()) -> dict[str, Any]:
    """The plain values of a config file with the assignments applied, not yet validated."""
    tree = read_yaml(path)
    for text in assignments:
        tree = assign(tree, *parse_assignment(text))
    return tree


def parse(kind: Any, tree: Any, where: str = "config") -> Any:
    """Validate `tree` as `kind`, or raise a `UserError` that lists every problem with its path."""
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        raise UserError([f"{where}: {line}" for line in explain(error, kind)]) from None


def explain(error: ValidationError, kind: Any) -> list[str]:
    """One plain sentence per problem of a pydantic error."""
    lines: list[str] = []
    for item in error.errors():
        nested = item.get("ctx", {}).get("error")
        path = ".".join(str(part) for part in item["loc"] if not str(part).startswith("function-"))
        if isinstance(nested, UserError):
            lines += [f"{path}: {problem}" if path else problem for problem in nested.problems]
        elif item["type"] == "extra_forbidden":
            lines.append(_unknown_key(path, item["loc"], kind))
        elif item["type"] == "missing":
            lines.append(f"{path}: this setting is required and was not given.")
        else:
            lines.append(f"{path}: {item['msg']}; {item['input']!r} was given.")
    return lines


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
