"""What pseudo-labelling added to the training rows."""

from __future__ import annotations

from typing import Any, ClassVar

from heliostat.core.manifest import read_json
from heliostat.report.evidence import Evidence
from heliostat.report.markup import Column, lead, plain, table
from heliostat.report.sections.base import Base
from heliostat.report.wording import percent, plural


class PseudoLabels(Base):
    """How many texts were labelled by a model, and how."""

    title: ClassVar[str] = "Pseudo-labels"
    order: ClassVar[int] = 34

    def render(self, evidence: Evidence) -> str:
        found = read_json(evidence.folder.parent / "pseudo_label" / "labels.json")
        if "pseudo_label" not in evidence.stages or not isinstance(found, dict):
            return ""
        columns = [Column("label", numeric=False), Column("texts"), Column("share")]
        total = sum(found["labels"].values())
        rows = [[plain(name), plain(f"{count:,}", count), plain(percent(count / total))] for name, count in found["labels"].items()]
        return lead(_said(found, total)) + table(columns, rows, caption="Labels that were given")


def _said(found: dict[str, Any], total: int) -> str:
    known = f", {found['known']:,} of which are training rows already" if found["known"] else ""
    return (
        f"Of {plural(found['texts'], 'text')} without a label{known}, {total:,} got one from {found['teacher']} with a confidence of"
        f" {found['min_confidence']:g} or more, and were trained on beside {plural(found['rows'], 'row')} with labels of their own. Whether"
        " that helped is the difference between their model and the others."
    )
