"""Parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from heliostat.corpus.lines import decode, excerpt
from heliostat.corpus.sources.base import Bad, Base, Row

BATCH_ROWS, BATCH_BYTES = 1024, 16 << 20
SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"fLaC\0", b"OggS\0", b"ID3\x03", b"ID3\x04")
"""How files of pictures and recordings begin; no text does."""


class Parquet(Base):
    """Parquet files, read in small batches.

    Pictures and recordings are columns of bytes, or of {bytes, path} as Hugging Face datasets write them.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".parquet", ".pq")

    def count(self) -> int | None:
        import pyarrow.parquet as pq

        return sum(pq.read_metadata(file).num_rows for file in self.files())

    def peek(self, file: Path) -> list[str]:
        import pyarrow.parquet as pq

        return list(pq.read_schema(file).names)

    def rows(self, file: Path) -> Iterator[Row | Bad]:
        import pyarrow.parquet as pq

        number = 0
        with pq.ParquetFile(file) as opened:
            for batch in opened.iter_batches(batch_size=batch_rows(opened.metadata)):
                columns = {name: _values(batch.column(name)) for name in batch.schema.names}
                for i in range(batch.num_rows):
                    number += 1
                    yield self._row(number, {name: values[i] for name, values in columns.items()})

    def _row(self, line: int, values: dict[str, Any]) -> Row | Bad:
        for name, value in values.items():
            if isinstance(value, dict) and isinstance(value.get("bytes"), bytes):
                value = values[name] = value["bytes"]
            if isinstance(value, bytes) and is_media(value):
                if len(value) > self.max_row_bytes:
                    return Bad(line, "too_long", f"{len(value):,} bytes in column '{name}'")
                continue
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


def batch_rows(metadata: Any) -> int:
    """Rows of one batch: fewer of large ones."""
    size = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    return max(1, min(BATCH_ROWS, BATCH_BYTES * max(1, metadata.num_rows) // max(1, size)))


def is_media(data: bytes) -> bool:
    """Whether bytes begin as a file of a picture or a recording does."""
    return data.startswith(SIGNATURES) or (data[:4] == b"RIFF" and data[8:12] in (b"WAVE", b"WEBP"))


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
