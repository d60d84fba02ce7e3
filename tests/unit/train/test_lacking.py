"""Rows with nothing to train on are told when they are few, and refused when they are many."""

from types import SimpleNamespace

import pytest

from heliostat.core.errors import UserError
from heliostat.core.manifest import write_json
from heliostat.core.progress import Progress
from heliostat.tasks.causal_lm import CausalLm
from heliostat.train.lacking import tell_lacking


@pytest.fixture
def told(tmp_path, monkeypatch):
    """`told(rows, trainable)` gives the messages of a training that begins on such rows."""

    def tell(rows, trainable):
        said = []
        show = Progress()
        monkeypatch.setattr(show, "message", said.append)
        write_json(tmp_path / "manifest.json", {"rows": rows, "trainable": trainable})
        tell_lacking(tmp_path, CausalLm(), SimpleNamespace(name="train", show=show))
        return said

    return tell


def test_a_few_are_counted_and_left_out(told):
    assert told(100, 95) == ["train: 5 of 100 training rows hold nothing to train on and are left out"]
    assert told(100, 100) == []


@pytest.mark.parametrize(("rows", "trainable"), [(100, 94), (3, 0), (1000, 500)])
def test_many_are_refused_with_what_to_do(told, rows, trainable):
    with pytest.raises(UserError, match=rf"{rows - trainable} of {rows:,} training rows.*at most 5% may.*raise task\.max_tokens"):
        told(rows, trainable)
