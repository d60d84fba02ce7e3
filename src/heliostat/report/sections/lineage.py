"""Where the result came from, so that it can be made again."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from heliostat.report.charts import Bar, bars
from heliostat.report.evidence import Evidence
from heliostat.report.markup import Cell, Column, figure, figures, lead, plain, table
from heliostat.report.sections.base import Base
from heliostat.report.wording import esc, plural, seconds


class Lineage(Base):
    """Stages with fingerprints and times, seed, versions, layout and the whole config."""

    title: ClassVar[str] = "Lineage"
    order: ClassVar[int] = 90

    def render(self, evidence: Evidence) -> str:
        total = sum(evidence.seconds.values())
        told = f"{plural(len(evidence.stages), 'stage')} in {seconds(total)}. " if evidence.stages else ""
        told += "Equal fingerprints mean equal data, model, settings and seed."
        return lead(told) + _times(evidence) + _table(evidence) + _facts(evidence) + _config(evidence)


def _times(evidence: Evidence) -> str:
    rows = [Bar(name, ((s, "var(--soft)", f"{name}: {seconds(s)}"),), seconds(s)) for name, s in evidence.seconds.items()]
    return figures([figure(bars(rows, title="Seconds of each stage"), "Time of each stage")]) if rows else ""


def _table(evidence: Evidence) -> str:
    if not evidence.stages:
        return ""
    rows = []
    for name, manifest in evidence.stages.items():
        mark = str(manifest.get("fingerprint", ""))
        identity = manifest.get("identity") or {}
        spent = evidence.seconds.get(name)
        rows.append(
            [
                plain(name),
                Cell(f"<code>{esc(mark)}</code>", mark),
                plain(str(identity.get("version", ""))),
                plain(str(identity.get("seed", ""))),
                plain(seconds(spent) if spent is not None else "", spent),
            ]
        )
    columns = [Column("stage", numeric=False), Column("fingerprint", numeric=False), Column("version"), Column("seed"), Column("time")]
    return table(columns, rows, caption="Stages, in the order they finished")


def _facts(evidence: Evidence) -> str:
    facts = {**_flat("layout", evidence.run.get("layout")), **_flat("", evidence.run.get("provenance"))}
    if not facts:
        return ""
    items = "".join(f"<div><dt>{esc(k)}</dt><dd>{esc(v)}</dd></div>" for k, v in facts.items())
    return f'<details><summary>Versions, machine and layout</summary><dl class="facts">{items}</dl></details>'


def _flat(path: str, value: Any) -> dict[str, str]:
    """Dotted names to values, as text; what is None is left out."""
    if value is None:
        return {}
    if isinstance(value, dict):
        out: dict[str, str] = {}
        for key, inner in value.items():
            out |= _flat(f"{path}.{key}" if path else str(key), inner)
        return out
    return {path: " ".join(map(str, value)) if isinstance(value, list) else str(value)}


def _config(evidence: Evidence) -> str:
    config = evidence.run.get("config")
    if not config:
        return ""
    shown = esc(json.dumps(config, indent=2, ensure_ascii=False))
    return f'<details><summary>The whole config, resolved</summary><pre tabindex="0">{shown}</pre></details>'
