"""What is asked for is given, in that order, and nothing else is read."""

import numpy as np
import pyarrow as pa
import pytest

from heliostat.core import seeds
from heliostat.engine.gather import Chunks, Lists

LISTS = [[1, 2, 3], [], [4], [5, 6], [7, 8, 9, 10], [11], [12, 13]]


def table(kind=None, listed=pa.list_):
    """Seven rows in chunks of 3, 0, 2 and 2, the last one a slice of a longer one."""
    kind, ids = kind or pa.int64(), [f"r{i}" for i in range(7)]
    longer = pa.array([[99], *LISTS[5:], [98]], listed(kind)).slice(1, 2)
    chunks = [pa.array(LISTS[:3], listed(kind)), pa.array([], listed(kind)), pa.array(LISTS[3:5], listed(kind)), longer]
    return pa.table({"id": pa.chunked_array([ids[:4], ids[4:]]), "input_ids": pa.chunked_array(chunks)})


@pytest.mark.parametrize("rows", [[], [0], [6, 0, 3], [2, 2, 5, 2], [4, 3, 2, 1, 0]])
def test_rows_come_in_the_order_asked_for(rows):
    found = Chunks(table()).take(np.array(rows, dtype=np.int64))
    assert found.to_pydict() == {"id": [f"r{i}" for i in rows], "input_ids": [LISTS[i] for i in rows]}
    assert found.schema == table().schema


@pytest.mark.parametrize("kind", [pa.int32(), pa.int64(), pa.float32()])
@pytest.mark.parametrize("listed", [pa.list_, pa.large_list])
def test_parts_of_lists(kind, listed):
    lists = Lists(table(kind, listed).column("input_ids"))
    assert lists.lengths().tolist() == [len(x) for x in LISTS]
    row, start, stop = np.array([4, 0, 6, 4, 1, 0]), np.array([1, 0, 1, 0, 0, 2]), np.array([3, 3, 2, 4, 0, 3])
    found = lists.parts(row, start, stop)
    assert found.tolist() == [x for r, a, b in zip(row, start, stop, strict=True) for x in LISTS[r][a:b]]
    assert found.dtype == kind.to_pandas_dtype()


def test_few_rows_of_a_large_table_copy_little(tmp_path):
    """`Table.take` of the same rows copies the whole column first."""
    rng = seeds.rng(1, "test", "gather")
    file = tmp_path / "rows.arrow"
    schema = pa.schema({"input_ids": pa.list_(pa.int64())})
    with pa.ipc.new_file(str(file), schema) as writer:
        for _ in range(20):
            writer.write_table(pa.table({"input_ids": pa.array(rng.integers(0, 9, (1000, 64)).tolist(), schema.field(0).type)}))
    mapped = pa.ipc.open_file(pa.memory_map(str(file))).read_all()
    rows = rng.integers(0, 20_000, 16)
    chunks, before = Chunks(mapped), pa.total_allocated_bytes()
    found = chunks.take(rows)
    assert pa.total_allocated_bytes() - before < 16 * 64 * 8 * 4  # the rows and what puts them in order; the column has 10 MB
    assert found.to_pydict() == mapped.take(pa.array(rows)).to_pydict()


def test_a_table_of_one_chunk_or_none():
    one = pa.table({"a": [5, 6, 7]})
    assert Chunks(one).take(np.array([2, 0, 2])).to_pydict() == {"a": [7, 5, 7]}
    assert Chunks(one.slice(0, 0)).take(np.array([], dtype=np.int64)).num_rows == 0
