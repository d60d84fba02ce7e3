"""What the models learnt from and were measured on."""

from __future__ import annotations

from typing import ClassVar

from heliostat.report.charts import Bar, bars
from heliostat.report.evidence import Evidence
from heliostat.report.markup import Column, figure, figures, lead, plain, table
from heliostat.report.sections.base import Base
from heliostat.report.wording import percent, plural, words

MAX_CLASSES = 30
LENGTHS = {"characters": "Characters of a text, by quantile", "bytes": "Bytes of a file, by quantile"}
SHADES = {"train": "var(--soft)", "valid": "var(--faint)", "test": "var(--ink)"}


class Corpus(Base):
    """Rows by split and class, what was dropped and why, and how long the rows are."""

    title: ClassVar[str] = "Corpus"
    order: ClassVar[int] = 70

    def render(self, evidence: Evidence) -> str:
        corpus = evidence.corpus
        kept, gone = sum(corpus.rows.values()), sum(corpus.dropped.values())
        told = f"{plural(corpus.read, 'row')} read, {kept:,} kept, {gone:,} dropped"
        told += f" ({percent(gone / corpus.read)})." if corpus.read else "."
        charts = [_splits(evidence), _dropped(evidence), _classes(evidence)]
        return lead(told) + figures([c for c in charts if c]) + _lengths(evidence)


def _splits(evidence: Evidence) -> str:
    shown = {name: n for name, n in evidence.corpus.rows.items() if n}
    rows = [Bar(name, ((float(n), SHADES.get(name, "var(--base)"), plural(n, "row")),), f"{n:,}") for name, n in shown.items()]
    return figure(bars(rows, title="Rows of each split"), "Rows of each split") if rows else ""


def _dropped(evidence: Evidence) -> str:
    dropped = sorted(((n, reason) for reason, n in evidence.corpus.dropped.items() if n), reverse=True)
    rows = [Bar(words(reason), ((float(n), "var(--base)", f"{plural(n, 'row')}: {words(reason)}"),), f"{n:,}") for n, reason in dropped]
    return figure(bars(rows, title="Rows dropped, by reason"), "Rows dropped, by reason") if rows else ""


def _classes(evidence: Evidence) -> str:
    if not evidence.balance:
        return ""
    totals = {label: sum(c.get(label, 0) for c in evidence.balance.values()) for label in evidence.corpus.labels}
    shown = sorted(totals, key=lambda label: -totals[label])[:MAX_CLASSES]
    everything = sum(evidence.corpus.rows.get(split, 0) for split in evidence.balance) or 1  # a row may have several
    rows = []
    for label in shown:
        counts = [(s, c[label]) for s, c in evidence.balance.items() if c.get(label)]
        parts = tuple((float(n), SHADES[s], f"{label}, {s}: {n:,}") for s, n in counts)
        rows.append(Bar(label, parts, f"{totals[label]:,} · {percent(totals[label] / everything)}"))
    cut = f" The largest {MAX_CLASSES} of {len(totals)} are shown." if len(totals) > MAX_CLASSES else ""
    return figure(bars(rows, title="Rows of each class"), f"Rows of each class: {', '.join(evidence.balance)} from left to right.{cut}")


def _lengths(evidence: Evidence) -> str:
    """Quantiles of the lengths of each split, from the corpus profile."""
    return "".join(_quantiles(evidence, name, caption) for name, caption in LENGTHS.items())


def _quantiles(evidence: Evidence, name: str, caption: str) -> str:
    found = {split: facts[name] for split, facts in evidence.profile.items() if facts.get(name)}
    if not found:
        return ""
    keys = sorted({k for lengths in found.values() for k in lengths}, key=float)
    columns = [Column("split", numeric=False), *(Column(quantile(k)) for k in keys)]
    rows = [[plain(split), *(plain(f"{q[k]:,.0f}", q[k]) if k in q else plain("") for k in keys)] for split, q in found.items()]
    return table(columns, rows, caption=caption)


def quantile(key: str) -> str:
    """`0.05` as people call it."""
    return {"0": "shortest", "0.5": "median", "1": "longest"}.get(key, f"{100 * float(key):g} %")
