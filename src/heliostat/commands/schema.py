"""`heliostat schema`: the JSON schema (draft 2020-12) of a config; editors check and complete YAML with it."""

from __future__ import annotations

import json
from typing import Any

import click

from heliostat.config import RunConfig

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def print_schema() -> None:
    """Print it."""
    click.echo(json.dumps(schema(), indent=1, ensure_ascii=False))


def schema() -> dict[str, Any]:
    """The schema of `RunConfig` with the members of every family.

    A config that `extends` another may leave out anything, a member's `use` too: there only the names of the stages are checked.
    """
    whole = RunConfig.model_json_schema()
    definitions = whole.pop("$defs", {})
    stages = sorted([*whole["properties"], "extends"])
    extends = {"type": "string", "description": "Another config, relative to this file, that this one is laid over."}
    return {
        "$schema": DRAFT,
        "title": "Heliostat config",
        "type": "object",
        "properties": {"extends": extends},
        "if": {"required": ["extends"]},
        "then": {"propertyNames": {"enum": stages}},
        "else": whole,
        "$defs": definitions,
    }
