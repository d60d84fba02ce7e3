"""What continued pretraining did to the model, on the field's texts and on general ones."""

from __future__ import annotations

from typing import Any, ClassVar

from heliostat.core.manifest import read_json
from heliostat.report.direction import mode_of
from heliostat.report.evidence import Evidence
from heliostat.report.markup import Column, lead, plain, table
from heliostat.report.sections.base import Base
from heliostat.report.wording import change, percent, plural, score, words


class Pretraining(Base):
    """How well texts are predicted before and after continued pretraining."""

    title: ClassVar[str] = "Pretraining"
    order: ClassVar[int] = 30

    def render(self, evidence: Evidence) -> str:
        found = read_json(evidence.folder.parent / "pretrain" / "scores.json")
        if "pretrain" not in evidence.stages or not isinstance(found, dict):
            return ""
        metric = found["metric"]
        columns = [Column("texts", numeric=False), Column("before"), Column("after"), Column("change")]
        rows = [
            [plain(f"{name}"), *(plain(score(v[when]), v[when]) for when in ("before", "after")), plain(change(v["after"] - v["before"]))]
            for name, v in found["grounds"].items()
        ]
        caption = f"{words(metric).capitalize()} of validation texts; {'lower' if mode_of(metric) == 'min' else 'higher'} is better"
        return lead(_said(found)) + table(columns, rows, caption=caption)


def _said(found: dict[str, Any]) -> str:
    general = found["general_rows"]
    among = f", {general:,} of them ({percent(general / found['rows'])}) general text" if general else ""
    told = f"Before it was trained for its task, the model went on learning from {plural(found['rows'], 'text')}{among}."
    if "general" in found["grounds"]:
        return f"{told} What it lost in general is the difference on general texts."
    return f"{told} Without general text among them, what it lost in general was not measured here."
