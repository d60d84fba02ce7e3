"""Conditions between searched values, such as `train.batch * train.epochs <= 64`.

An expression of numbers, texts, comparisons, `and`, `or`, `not` and arithmetic over searched paths; nothing else can be
written in it. A family member is compared by its name. Where a path does not exist beside the settings, the constraint says
nothing and holds.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from heliostat.core.errors import UserError, unknown

BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
COMPARE: dict[type, Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
UNARY: dict[type, Callable[[Any], Any]] = {ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Not: operator.not_}
PATH = re.compile(r"(?<![\w.])[A-Za-z_]\w*(?:\.\w+)*")  # the e of 1e-5 begins no path
WORDS = ("and", "or", "not", "True", "False", "None")


@dataclass(frozen=True)
class Constraint:
    """One condition; `names` maps the identifiers of `tree` to searched paths."""

    text: str
    tree: ast.expr
    names: tuple[tuple[str, str], ...]
    number: int = 0
    """Its place in `tune.constraints`."""

    def holds(self, settings: Mapping[str, Any]) -> bool:
        """Whether it holds; it does where one of its paths does not exist. `UserError` when the values cannot be compared."""
        if any(path not in settings for _, path in self.names):
            return True
        values = {name: _named(settings[path]) for name, path in self.names}
        try:
            return bool(_value(self.tree, values))
        except (_Unlike, ZeroDivisionError, OverflowError) as error:
            given = ", ".join(f"{path} = {settings[path]!r}" for _, path in self.names)
            why = str(error) if isinstance(error, _Unlike) else f"{error.args[-1]}. Rule such values out with `or`, or narrow tune.space."
            raise UserError(f"tune.constraints.{self.number}: '{self.text}' cannot be worked out for {given}: {why}") from None


class _Unlike(Exception):
    """Values of kinds that do not go together; says which, and what to do."""


def parse_constraint(text: str, paths: Sequence[str], number: int = 0) -> Constraint:
    """`tune.constraints.<number>` over searched `paths`; `UserError` names what is not allowed in it, its place below `tune` first."""
    at = f"constraints.{number}: '{text}'"
    names: dict[str, str] = {}

    def replace(match: re.Match[str]) -> str:
        path = match.group()
        if path in WORDS:
            return path
        if path not in paths:
            raise UserError(f"{at}: {unknown('searched path', path, paths)}")
        return names.setdefault(path, f"_{len(names)}")

    parts = re.split(r"('[^']*'|\"[^\"]*\")", text)  # what stands in quotes is no path
    plain = "".join(part if i % 2 else PATH.sub(replace, part) for i, part in enumerate(parts))
    try:
        tree = ast.parse(plain.strip(), mode="eval").body
    except SyntaxError as error:
        raise UserError(f"{at} cannot be read: {error.msg}. Write, for example, train.batch * train.epochs <= 64.") from None
    if not names:
        raise UserError(f"{at} names no searched path. Searched: {', '.join(paths)}.")
    _refuse_others(tree, at)
    return Constraint(text, tree, tuple((name, path) for path, name in names.items()), number)


def _named(value: Any) -> Any:
    """A family member is compared by its name."""
    return value["use"] if isinstance(value, dict) and "use" in value else value


def _refuse_others(tree: ast.expr, at: str) -> None:
    operators = (*BINARY, *COMPARE, *UNARY, ast.And, ast.Or)
    allowed = (ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.Compare, ast.Constant, ast.Name, ast.Load, *operators)
    for node in ast.walk(tree):
        if not isinstance(node, allowed):
            raise UserError(
                f"{at}: '{ast.unparse(node) if isinstance(node, ast.expr) else type(node).__name__}' is not allowed. "
                "Allowed: searched paths, numbers, texts, + - * / // % **, comparisons, and, or, not."
            )


def _value(node: ast.expr, values: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant():
            return node.value
        case ast.Name():
            return values[node.id]
        case ast.UnaryOp():
            return _worked(UNARY[type(node.op)], _value(node.operand, values))
        case ast.BinOp():
            return _worked(BINARY[type(node.op)], _value(node.left, values), _value(node.right, values))
        case ast.BoolOp():
            every = isinstance(node.op, ast.And)
            return all(_value(v, values) for v in node.values) if every else any(_value(v, values) for v in node.values)
        case ast.Compare():
            sides = [_value(side, values) for side in (node.left, *node.comparators)]
            return all(_worked(COMPARE[type(op)], a, b) for op, a, b in zip(node.ops, sides, sides[1:], strict=False))
    raise AssertionError(f"{type(node).__name__} was let through")


def _worked(operation: Callable[..., Any], *values: Any) -> Any:
    """The operation's answer; `_Unlike` when these values have none."""
    try:
        return operation(*values)
    except (TypeError, ValueError):  # the latter from a text before a %
        told = " and ".join(f"{value!r} is {_kind(value)}" for value in values)
        rule = "numbers go with numbers, and texts are compared with texts"
        off = " Where a value may be None, say it first: `path == None or path < 2`." if None in values else " Compare values of one kind."
        raise _Unlike(f"{told}; {rule}.{off}") from None


def _kind(value: Any) -> str:
    if value is None:
        return "no value"
    kinds = ((bool, "a truth value"), (int | float, "a number"), (str, "a text"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "a list or an object")
