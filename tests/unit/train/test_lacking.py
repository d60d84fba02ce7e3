"""Rows with nothing to train on are told and listed when they are few, and refused when they are many."""

import json
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from heliostat.commands.tiny import write_model
from heliostat.core.errors import UserError
from heliostat.core.progress import Progress
from heliostat.engine import streams
from heliostat.tasks.causal_lm import CausalLm
from heliostat.train.lacking import tell_lacking


class Cut(CausalLm):
    """Rows of the text "bare" have nothing to train on, those of "long" become two pieces, of which the second has nothing."""

    def tokenise(self, columns, processor, labels):
        pieces = [(text, piece) for text in columns["text"] for piece in range(2 if text.startswith("long") else 1)]
        units = [0.0 if text.startswith("bare") or piece else 1.0 for text, piece in pieces]
        return {"input_ids": [[1, 2]] * len(pieces), "piece": [piece for _, piece in pieces], "units": units}

    def targets(self, columns, labels):
        return [0.0] * len(columns["text"])


@pytest.fixture
def told(tmp_path, monkeypatch):
    """`told(*files of texts)` gives the messages of a training that begins on such rows."""
    write_model(tmp_path / "model")
    made = []

    def tell(*texts, **columns):
        said, show, files, task = [], Progress(), [], Cut()
        monkeypatch.setattr(show, "message", said.append)
        made.append(texts)
        for number, each in enumerate(texts):
            files.append(tmp_path / f"{len(made)}-{number}.parquet")
            rows = {"id": [f"{number}.{i}" for i in range(len(each))], "text": each, "weight": [1.0] * len(each)}
            pq.write_table(pa.table(rows | {name: [value] * len(each) for name, value in columns.items()}), files[-1])
        work = streams.Tokenise(str(tmp_path / "model"), task, ())
        rows = streams.prepare(tmp_path / "rows", files, work, identity=len(made), map_pieces=lambda pieces, work: map(work, pieces))
        for _ in range(2):  # as with every trial, and as a run that was interrupted comes again
            tell_lacking(rows, files, task, SimpleNamespace(name="train", folder=tmp_path / "train", show=show))
        return said

    return tell


def test_a_few_are_counted_left_out_and_told_and_listed_once_each(told, tmp_path):
    long = "bare " + "word\n" * 100
    said = told(["text"] * 30 + ["long", "bare  a"], ["bare b"] + ["text"] * 40, ["text"], ["text"] * 5 + [long], source="web")
    (listed,) = (tmp_path / "train").iterdir()
    assert said == [f"train: 3 of 80 training rows hold nothing to train on and are left out: {listed.name}"]
    rows = [json.loads(line) for line in listed.read_text().splitlines()]
    assert [(row["id"], row["excerpt"]) for row in rows] == [("0.31", "bare a"), ("1.0", "bare b"), ("3.5", rows[2]["excerpt"])]
    assert rows[0] == {"id": "0.31", "source": "web", "reason": "nothing_to_train_on", "excerpt": "bare a"}
    assert len(rows[2]["excerpt"]) == 200
    assert listed.name.startswith("quarantine-")


def test_rows_that_are_all_trained_on_are_not_spoken_of(told, tmp_path):
    assert told(["text"] * 9) == told(["text", "long"]) == []
    assert not (tmp_path / "train").exists()


@pytest.mark.parametrize(("rows", "bare"), [(100, 6), (3, 3)])
def test_many_are_refused_with_what_to_do_and_where_they_are(told, tmp_path, rows, bare):
    with pytest.raises(UserError, match=rf"{bare} of {rows} training rows.*at most 5% may.*raise task\.max_tokens.*is in '.*quarantine-"):
        told(["bare"] * bare + ["text"] * (rows - bare))
    (listed,) = (tmp_path / "train").iterdir()
    assert [json.loads(line)["id"] for line in listed.read_text().splitlines()] == [f"0.{i}" for i in range(bare)]
