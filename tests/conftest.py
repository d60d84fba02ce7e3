"""Fixtures shared by all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from heliostat.commands.tiny import write_project


@pytest.fixture
def tiny_config(tmp_path: Path) -> Path:
    """A whole project, made from nothing: random two-layer BERT, 150 rows, one training. The path of its config."""
    return write_project(tmp_path / "tiny-project")
