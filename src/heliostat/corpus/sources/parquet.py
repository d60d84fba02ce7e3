"""Parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from heliostat.corpus.lines import decode, excerpt
from heliostat.corpus.sources.base import Bad, Base, Row

BATCH_ROWS = 1024


class Parquet(Base):
    """Parquet files, read in small batches."""

    suffixes: ClassVar[tuple[str, ...]] = (".parquet", ".pq")

    def peek(self, file: Path) -> list[str]:
        import pyarrow.parquet as pq

        return list(pq.read_schema(file).names)

    def rows(self, file: Path) -> Iterator[Row | Bad]:
        import pyarrow.parquet as pq

        number = 0
        with pq.ParquetFile(file) as opened:
            for batch in opened.iter_batches(batch_size=BATCH_ROWS):
                columns = {name: _values(batch.column(name)) for name in batch.schema.names}
                for i in range(batch.num_rows):
                    number += 1
                    yield self._row(number, {name: values[i] for name, values in columns.items()})

    def _row(self, line: int, values: dict[str, Any]) -> Row | Bad:
        for name, value in values.items():
            parts = [part for part in (value if isinstance(value, list) else [value]) if isinstance(part, bytes)]
            if sum(map(len, parts)) > self.max_row_bytes:
                return Bad(line, "too_long", excerpt(b" ".join(parts)[:1000].decode(self.encodings[0], "replace")))
            texts = [decode(part, self.encodings) for part in parts]
            for text, bad in texts:
                if bad:
                    return Bad(line, bad, excerpt(text))
            decoded = (text for text, _ in texts)
            if isinstance(value, list):
                values[name] = [next(decoded) if isinstance(part, bytes) else part for part in value]
            elif isinstance(value, bytes):
                values[name] = next(decoded)
        return Row(line, values)


def _values(column: Any) -> list[Any]:
    """Python values; text stays bytes, because a file may claim UTF-8 and hold something else."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    if _is_text(kind):
        column = column.cast(pa.large_binary())
    elif _is_list(kind) and _is_text(kind.value_type):
        column = column.cast(pa.large_list(pa.large_binary()))
    return column.to_pylist()


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
