"""Every row that was left out, and why; and when there are too many to go on."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from heliostat.core.errors import UserError
from heliostat.core.manifest import sync
from heliostat.corpus.lines import excerpt
from heliostat.corpus.reading import DAMAGED

SHOWN_FILES = 5


class Quarantine:
    """`quarantine.jsonl`, one JSON line per dropped row; it is in place, whole, when the `with` block ends without an error."""

    def __init__(self, path: Path):
        self.path = path
        self.reasons: Counter[str] = Counter()
        self.damaged: list[str] = []
        self._temporary = path.with_name(f".{path.name}.tmp")

    def __enter__(self) -> Quarantine:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._temporary.open("w", encoding="utf-8")
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        if kind is None:
            self._temporary.rename(self.path)
            sync(self.path.parent)

    def add_bad(self, table: Any) -> None:
        """Rows of a table that carry their `reason` and `excerpt`."""
        for row in table.select(["source", "file", "line", "reason", "excerpt"]).to_pylist():
            self._add(row)
            if row["reason"] == DAMAGED:
                self.damaged.append(f"'{row['file']}' ({row['excerpt']})")

    def add_dropped(self, table: Any, reasons: Sequence[str | None]) -> None:
        """The rows of `table` that have a reason."""
        import pyarrow as pa

        dropped = [i for i, reason in enumerate(reasons) if reason is not None]
        chosen = table.select(["source", "file", "line", "text"]).take(pa.array(dropped, pa.int64()))
        for i, row in zip(dropped, chosen.to_pylist(), strict=True):
            text = row.pop("text")
            self._add({**row, "reason": reasons[i], "excerpt": excerpt(text)})

    def _add(self, row: dict[str, Any]) -> None:
        self.reasons[row["reason"]] += 1
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")


def refuse(quarantine: Quarantine, read: int, malformed: int, max_share: float) -> None:
    """Raise `UserError` when a file could not be read to its end, or more than `max_share` of the rows are malformed."""
    if quarantine.damaged:
        listed = "; ".join(quarantine.damaged[:SHOWN_FILES])
        more = f" and {len(quarantine.damaged) - SHOWN_FILES} more" if len(quarantine.damaged) > SHOWN_FILES else ""
        raise UserError(
            f"corpus.sources: {len(quarantine.damaged)} files cannot be read to their end: {listed}{more}."
            " Restore them, or take them out of `paths`."
        )
    if malformed > max_share * read:
        counts = ", ".join(f"{count:,} {reason}" for reason, count in quarantine.reasons.most_common())
        wrong = quarantine.reasons["wrong_encoding"]
        hint = " For wrong_encoding, set the source's `encodings`, for example [utf-8, gb18030]." if wrong else ""
        raise UserError(
            f"corpus.max_bad_share: {malformed:,} of {read:,} rows ({malformed / read:.1%}) are malformed, and {max_share:.1%} is allowed."
            f" Dropped so far: {counts}. Look at '{quarantine.path}', mend the data, or raise corpus.max_bad_share.{hint}"
        )
