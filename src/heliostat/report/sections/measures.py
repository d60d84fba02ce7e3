"""What each number means."""

from __future__ import annotations

from typing import ClassVar

from heliostat.core.family import find, first_line, names
from heliostat.report.evidence import Evidence
from heliostat.report.sections.base import Base
from heliostat.report.wording import esc, words


class Measures(Base):
    """The suites and the metrics in a sentence each."""

    title: ClassVar[str] = "What is measured"
    order: ClassVar[int] = 80

    def render(self, evidence: Evidence) -> str:
        known = names("metrics")
        used = dict.fromkeys(k for m in evidence.models for suite in m.scores.values() for k in suite)
        said = [(suite, sentence) for suite, sentence in {**evidence.scores.suites, **evidence.base.suites}.items()]
        said += [(words(metric), first_line(find("metrics", metric))) for metric in used if metric in known]
        said.append(("95 % interval", "Where the value lies for 95 of 100 test sets drawn again from these rows."))
        said.append(("latency", "Time to answer one row, sent alone; p50 is the middle, p99 the slow end."))
        return f'<dl class="terms">{"".join(f"<div><dt>{esc(name)}</dt><dd>{esc(told)}</dd></div>" for name, told in said)}</dl>'
