"""A look at a team's data: which format, which column is the text, which the label, how long the texts are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from heliostat.core.errors import UserError, nearest
from heliostat.core.family import build
from heliostat.core.values import name_of
from heliostat.corpus.sources.base import Row

SAMPLE_ROWS = 2000
SUFFIXES = {
    "csv": (".csv", ".tsv"),
    "jsonl": (".jsonl", ".json", ".ndjson"),
    "parquet": (".parquet", ".pq"),
    "conll": (".conll", ".bio", ".iob", ".iob2", ".bmes", ".bioes"),
}
ENCODINGS = (["utf-8"], ["utf-8", "gb18030"], ["utf-8", "latin-1"])
MANY_CLASSES = 200
LABEL_WORDS = ("label", "class", "category", "target", "topic", "intent", "team", "sentiment", "y", "标签", "类别", "分类")
TEXT_WORDS = ("text", "content", "body", "message", "sentence", "review", "document", "文本", "内容", "正文")


@dataclass(frozen=True)
class Sample:
    """The first rows of the data, and how they were read."""

    source: Any
    """Member of corpus/sources."""
    rows: list[dict[str, Any]]
    bad: int

    def columns(self) -> list[str]:
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def values(self, column: str) -> list[str]:
        """Its values as text, without the empty ones."""
        return [str(row[column]) for row in self.rows if row.get(column) not in (None, "")]


def look(data: Path) -> Sample:
    """The first rows of `data`, spread over its files; `UserError` when it holds nothing that can be read."""
    kind, paths = recognise(data)
    best: Sample | None = None
    for encodings in ENCODINGS:
        options = {} if kind == "parquet" else {"encodings": encodings}
        source: Any = build("corpus.sources", {"use": kind, "paths": paths, **options})
        problems = source.problems()
        if problems:
            raise UserError(problems)
        found = _read(source)
        if best is None or found.bad < best.bad:
            best = found
        if not best.bad:
            break
    assert best is not None
    if not best.rows:
        raise UserError(f"'{data}': no row could be read as {kind} ({best.bad} broken rows). Is it really {kind}?")
    return best


def recognise(data: Path) -> tuple[str, list[str]]:
    """(member of corpus/sources, its paths) for a file, a folder of files, or a folder of class folders."""
    if data.is_file():
        for kind, ends in SUFFIXES.items():
            if data.name.removesuffix(".gz").endswith(ends):
                return kind, [str(data)]
        known = ", ".join(end for each in SUFFIXES.values() for end in each) + " (also with .gz)"
        raise UserError(f"'{data}': a file ending in '{data.suffix}' is not known. Allowed: {known}, or a folder of class folders.")
    if not data.is_dir():
        beside = sorted(p.name for p in data.parent.iterdir()) if data.parent.is_dir() else []
        close = nearest(data.name, beside)
        raise UserError(f"'{data}' does not exist." + (f" Did you mean '{data.parent / close}'?" if close else " Give a file or a folder."))
    for kind, ends in SUFFIXES.items():
        if any(p.name.removesuffix(".gz").endswith(ends) for p in data.iterdir() if p.is_file()):
            return kind, [str(data)]
    classes = [d for d in data.iterdir() if d.is_dir() and any(d.glob("*.txt"))]
    if len(classes) >= 2:
        return "class_folders", [str(data)]
    there = ", ".join(sorted(p.name for p in data.iterdir())[:8]) or "nothing"
    raise UserError(
        f"'{data}' holds {there}. It needs csv, jsonl, parquet or conll files, or at least two class folders with .txt files "
        f"(folders like that here: {', '.join(d.name for d in classes) or 'none'})."
    )


def _read(source: Any) -> Sample:
    files = source.files()
    each = max(1, SAMPLE_ROWS // len(files))
    step = max(1, len(files) * each // SAMPLE_ROWS)
    rows, bad = [], 0
    for file in files[::step]:
        for row in islice(source.rows(file), each if len(files) > 1 else SAMPLE_ROWS):
            if isinstance(row, Row):
                rows.append(row.values)
            else:
                bad += 1
    return Sample(source, rows, bad)


def guess_text(sample: Sample, given: str | None, label: str | None) -> str:
    """The column that is classified: the one a person named, or the one with the longest texts."""
    columns = sample.columns()
    if given is not None:
        return _existing("--text", given, columns)
    lengths = {name: _mean_length(sample.values(name)) for name in columns if name != label}
    named = [name for name in lengths if name.lower() in TEXT_WORDS and lengths[name] > 8]
    best = named[0] if named else max(lengths, key=lambda name: lengths[name], default=None)
    if best is None or lengths[best] < 2:
        raise UserError(f"no column looks like text; the columns are {', '.join(columns)}. Name it with --text COLUMN.")
    return best


def guess_label(sample: Sample, given: str | None, text: str) -> str:
    """The column of the class: the one a person named, or the one with few different values."""
    columns = [name for name in sample.columns() if name != text]
    if given is not None:
        return _existing("--label", given, columns)
    few: dict[str, int] = {}
    for name in columns:
        values = sample.values(name)
        classes = len(set(values))
        if 2 <= classes <= min(MANY_CLASSES, max(2, len(values) // 2)) and _mean_length(values) < 60:
            few[name] = classes
    named = [name for name in few if name.lower() in LABEL_WORDS]
    if len(named) == 1 or len(few) == 1:
        return (named or list(few))[0]
    single = [name for name in columns if name.lower() in LABEL_WORDS and len(set(sample.values(name))) == 1]
    if not few and single:
        return single[0]
    if not few:
        told = ", ".join(f"{name} ({len(set(sample.values(name)))} different values)" for name in columns) or "none besides the text"
        raise UserError(f"no column looks like a class: it would have between 2 and {MANY_CLASSES} different values. Columns: {told}.")
    if named:
        return named[0]
    told = ", ".join(f"{name} ({count} values)" for name, count in few.items())
    raise UserError(f"several columns may be the class: {told}. Choose one with --label COLUMN.")


def class_counts(sample: Sample, label: str) -> Counter[str]:
    """Rows of each class in the sample; `UserError` for a single class."""
    counts = Counter(name for row in sample.rows if (name := name_of(row.get(label))) is not None)
    if len(counts) < 2:
        raise UserError(f"column '{label}' has a single class in the first rows: {next(iter(counts), 'none')}. Two are needed to learn.")
    return counts


def is_mostly_chinese(texts: Sequence[str]) -> bool:
    """Whether more than a third of the letters are Chinese characters."""
    letters = [c for text in texts[:200] for c in text[:500] if c.isalpha()]
    return bool(letters) and sum("\u4e00" <= c <= "\u9fff" for c in letters) > len(letters) / 3


def _mean_length(values: list[str]) -> float:
    return sum(map(len, values)) / len(values) if values else 0.0


def _existing(option: str, given: str, columns: list[str]) -> str:
    if given in columns:
        return given
    close = nearest(given, columns)
    hint = f" Did you mean '{close}'?" if close else ""
    raise UserError(f"{option} '{given}': there is no such column.{hint} Columns: {', '.join(columns)}.")
