"""What only a GPU can decide: the tests here are skipped on a machine without one (`python -m pytest tests/gpu` on a machine with one)."""

from __future__ import annotations

from pathlib import Path

import pytest

from heliostat.commands.tiny import write_project
from heliostat.config import read_config
from heliostat.core.layout import Layout, local_gpus
from heliostat.core.progress import Progress
from heliostat.core.workspace import Context, Workspace
from heliostat.corpus.stage import build
from heliostat.engine.driver import Engine, source_of
from heliostat.train.config import TrainConfig
from heliostat.train.stage import training
from tiny_decoder import write_decoder

TRAIN = {"epochs": 1, "batch": 12, "optimizer": {"use": "adamw", "lr": 1e-3}, "dropout": 0.0, "validate_every": 0.5}
WIDTH = 256
"""Width of the decoder: 4 bits are kept in blocks of 64."""


def pytest_collection_modifyitems(items):
    if not local_gpus():
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="this machine has no GPU"))


@pytest.fixture(scope="session")
def engine(tmp_path_factory):
    """One warm gang of one worker with a GPU."""
    with Engine(Layout(gpus_per_worker=1, cpus_per_worker=2, local_cpus=4), tmp_path_factory.mktemp("gpu")) as engine:
        yield engine


@pytest.fixture(scope="session")
def on_cpu(tmp_path_factory):
    """The same on CPUs: what a GPU's answers are compared with. It joins the cluster that `engine` has started."""
    with Engine(Layout(), tmp_path_factory.mktemp("cpu")) as engine:
        yield engine


def ground(engine, folder, config_file):
    """Config and corpus of a project."""
    config = read_config(config_file)
    return config, Workspace(folder, config.seed, engine=engine).do(build, config.corpus, task=config.task)


@pytest.fixture(scope="session")
def encoder(engine, tmp_path_factory):
    """A random BERT of two layers and sentences about a few themes."""
    folder = tmp_path_factory.mktemp("encoder")
    return ground(engine, folder, write_project(folder / "project", train=TRAIN))


def language(engine, folder, inside):
    """A random Llama of two layers, so wide inside of them, and the same sentences as plain text."""
    model = write_decoder(folder / "llama", hidden_size=WIDTH, intermediate_size=inside)
    changes = {"task": {"use": "causal_lm", "max_tokens": 32}, "model": {"path": str(model)}, "train": TRAIN}
    return ground(engine, folder, write_project(folder / "project", **changes))


@pytest.fixture(scope="session")
def decoder(engine, tmp_path_factory):
    return language(engine, tmp_path_factory.mktemp("decoder"), 2 * WIDTH)


@pytest.fixture(scope="session")
def wide_decoder(engine, tmp_path_factory):
    return language(engine, tmp_path_factory.mktemp("wide"), 16 * WIDTH)


@pytest.fixture
def fields(tmp_path):
    """Makes the fields of an order from a project, an engine and changes of the training."""

    def make(engine, of, key="train", zero=0, offload="none", **train):
        config, corpus = of
        ctx = Context(tmp_path / key, key, 7, engine.layout, engine, Progress(), "train")
        changed = TrainConfig(**{**TRAIN, **train})
        told = training(changed, ctx=ctx, source=source_of(config.model), corpus=corpus, task=config.task, key=key)
        return told | {"zero": zero, "offload": offload}

    return make
