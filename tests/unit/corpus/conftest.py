"""A stage without Ray: pieces are mapped in this process."""

import json

import pyarrow.parquet as pq
import pytest

from heliostat.core.layout import Layout
from heliostat.core.progress import Progress
from heliostat.core.workspace import Context
from heliostat.corpus.config import CorpusConfig
from heliostat.corpus.stage import build
from heliostat.tasks.text_classification import TextClassification


class InProcess:
    """Maps pieces here and now."""

    def map_pieces(self, pieces, function):
        return map(function, pieces)


class Updates(Progress):
    def __init__(self):
        self.seen = []

    def update(self, name, done, total, unit, note=""):
        self.seen.append((name, done, total, unit))


@pytest.fixture
def context(tmp_path):
    def make(seed=7, folder="out"):
        return Context(tmp_path / folder, "mark", seed, Layout(), InProcess(), Updates(), "corpus")

    return make


@pytest.fixture
def run(context):
    """Builds a corpus from settings; returns it."""

    def go(seed=7, folder="out", held_out=None, **settings):
        return build(CorpusConfig(**settings), ctx=context(seed, folder), task=TextClassification(), held_out=held_out)

    return go


@pytest.fixture
def quarantined(tmp_path):
    def go(folder="out"):
        return [json.loads(line) for line in (tmp_path / folder / "quarantine.jsonl").read_text(encoding="utf-8").splitlines()]

    return go


@pytest.fixture
def rows_of():
    """Rows of a corpus, or of one of its splits."""

    def go(corpus, *splits):
        return [row for name in splits or corpus.rows for file in corpus.split(name) for row in pq.read_table(file).to_pylist()]

    return go


@pytest.fixture
def texts():
    """`count` texts that share few words."""

    def go(count, start=0):
        return [" ".join(f"w{(i * 7919 + k * 104729) % 99991}" for k in range(12)) for i in range(start, start + count)]

    return go


@pytest.fixture
def write_jsonl(tmp_path):
    def go(rows, name="rows.jsonl"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return str(path)

    return go
