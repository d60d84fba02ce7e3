"""Sample runs, made once: the page only reads them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

PLACE = Path(__file__).with_name("sample.py")


@pytest.fixture(scope="session")
def sample() -> ModuleType:
    spec = importlib.util.spec_from_file_location("report_sample", PLACE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def full(sample, tmp_path_factory):
    return sample.full(tmp_path_factory.mktemp("full"))


@pytest.fixture(scope="session")
def minimal(sample, tmp_path_factory):
    return sample.minimal(tmp_path_factory.mktemp("minimal"))
