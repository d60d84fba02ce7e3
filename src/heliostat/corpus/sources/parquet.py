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
            if isinstance(value, bytes):
                if len(value) > self.max_row_bytes:
                    return Bad(line, "too_long", excerpt(value[:1000].decode(self.encodings[0], "replace")))
                text, bad = decode(value, self.encodings)
                if bad:
                    return Bad(line, bad, excerpt(text))
                values[name] = text
        return Row(line, values)


def _values(column: Any) -> list[Any]:
    """Python values; text stays bytes, because a file may claim UTF-8 and hold something else."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    if pa.types.is_string(kind):
        column = column.cast(pa.binary())
    elif pa.types.is_large_string(kind):
        column = column.cast(pa.large_binary())
    return column.to_pylist()
