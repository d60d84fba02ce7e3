"""What is sure to fail later in a small corpus, said before anything starts: one class, no rows, a class too small to split.

Small data is read, filtered and freed of exact duplicates here and now, which takes a moment; that what is left can only
become less makes the answer sure. Larger data is left to the corpus stage, which says the same.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from heliostat.corpus.config import CorpusConfig

SMALL_BYTES, SMALL_FILES = 1 << 20, 1000
SHOWN_CLASSES = 10
LEAST_ROWS = 3
"""One each for train, valid and test."""


def problems(config: CorpusConfig, task: Any) -> list[str]:
    """Why a run on these sources would stop in the corpus stage; empty when it may go on, or when they are not small."""
    files = [file for source in config.sources for file in source.files()]
    if len(files) > SMALL_FILES or sum(source.size() for source in config.sources) > SMALL_BYTES:
        return []
    labels, reasons, read, malformed = _left(config, task)
    if malformed > config.max_bad_share * read:
        return []  # the stage says so, and writes down every bad row to look at
    dropped = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common()) or "none"
    told = f"of {read:,} rows read, after cleaning"
    if not labels:
        return [f"corpus: {told} none is left. Dropped: {dropped}."] if read else ["corpus: the files hold no row. Give files with rows."]
    if len(labels) == 1 and task.names_from == "label":
        return [f"corpus: {told} all have the class '{next(iter(labels))}'; at least two classes are needed. Dropped: {dropped}."]
    few = [
        f"corpus: {told} {subject(label)} {count}; at least {LEAST_ROWS} are needed, one each for train, valid and test. {advice(label)}"
        for label, count in sorted(labels.items())
        if count < LEAST_ROWS
    ]
    return few if len(few) <= SHOWN_CLASSES else [*few[:SHOWN_CLASSES], f"corpus: {len(few) - SHOWN_CLASSES} more classes are too small."]


def subject(label: str) -> str:
    """What is too small: one class, or everything where rows have no class."""
    return f"class '{label}' has" if label else "what is left has"


def advice(label: str) -> str:
    """What to do about it."""
    return "Add rows of this class, or take it out of the data." if label else "Add rows."


def _left(config: CorpusConfig, task: Any) -> tuple[Counter[str], Counter[str], int, int]:
    """(rows of each class that are left, reasons of those that are not, rows read, malformed rows)."""
    from heliostat.corpus.duplicates import exact
    from heliostat.corpus.reading import DAMAGED, MALFORMED, ReadPiece, pieces

    rows = [
        row for piece in pieces(config) for row in ReadPiece(config.model_copy(update={"near_duplicates": None}), task)(piece).to_pylist()
    ]
    good = [row for row in rows if row["reason"] is None]
    doubles = exact([row["key"] for row in good], [row["answer"] for row in good])
    labels = Counter(row["label"] for row, reason in zip(good, doubles, strict=True) if reason is None)
    reasons = Counter([row["reason"] for row in rows if row["reason"]] + [reason for reason in doubles if reason])
    malformed = sum(row["fault"] == MALFORMED for row in rows)
    return labels, reasons, len(rows), len(rows) if DAMAGED in reasons else malformed
