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

    def holds(self, settings: Mapping[str, Any]) -> bool:
        """Whether it holds; it does where one of its paths does not exist. `UserError` when the values cannot be compared."""
        if any(path not in settings for _, path in self.names):
            return True
        values = {name: _named(settings[path]) for name, path in self.names}
        try:
            return bool(_value(self.tree, values))
        except (TypeError, ZeroDivisionError, OverflowError) as error:
            given = ", ".join(f"{path} = {settings[path]!r}" for _, path in self.names)
            raise UserError(f"constraint '{self.text}' cannot be worked out for {given}: {error}.") from None


def parse_constraint(text: str, paths: Sequence[str]) -> Constraint:
    """A constraint over searched `paths`; `UserError` names what is not allowed in it."""
    names: dict[str, str] = {}

    def replace(match: re.Match[str]) -> str:
        path = match.group()
        if path in WORDS:
            return path
        if path not in paths:
            raise UserError(f"constraint '{text}': {unknown('searched path', path, paths)}")
        return names.setdefault(path, f"_{len(names)}")

    parts = re.split(r"('[^']*'|\"[^\"]*\")", text)  # what stands in quotes is no path
    plain = "".join(part if i % 2 else PATH.sub(replace, part) for i, part in enumerate(parts))
    try:
        tree = ast.parse(plain.strip(), mode="eval").body
    except SyntaxError as error:
        raise UserError(f"constraint '{text}' cannot be read: {error.msg}. Write, for example, train.batch * train.epochs <= 64.") from None
    if not names:
        raise UserError(f"constraint '{text}' names no searched path. Searched: {', '.join(paths)}.")
    _refuse_others(tree, text)
    return Constraint(text, tree, tuple((name, path) for path, name in names.items()))


def _named(value: Any) -> Any:
    """A family member is compared by its name."""
    return value["use"] if isinstance(value, dict) and "use" in value else value


def _refuse_others(tree: ast.expr, text: str) -> None:
    operators = (*BINARY, *COMPARE, *UNARY, ast.And, ast.Or)
    allowed = (ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.Compare, ast.Constant, ast.Name, ast.Load, *operators)
    for node in ast.walk(tree):
        if not isinstance(node, allowed):
            raise UserError(
                f"constraint '{text}': '{ast.unparse(node) if isinstance(node, ast.expr) else type(node).__name__}' is not allowed. "
                "Allowed: searched paths, numbers, texts, + - * / // % **, comparisons, and, or, not."
            )


def _value(node: ast.expr, values: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant():
            return node.value
        case ast.Name():
            return values[node.id]
        case ast.UnaryOp():
            return UNARY[type(node.op)](_value(node.operand, values))
        case ast.BinOp():
            return BINARY[type(node.op)](_value(node.left, values), _value(node.right, values))
        case ast.BoolOp():
            every = isinstance(node.op, ast.And)
            return all(_value(v, values) for v in node.values) if every else any(_value(v, values) for v in node.values)
        case ast.Compare():
            sides = [_value(side, values) for side in (node.left, *node.comparators)]
            return all(COMPARE[type(op)](a, b) for op, a, b in zip(node.ops, sides, sides[1:], strict=False))
    raise AssertionError(f"{type(node).__name__} was let through")
