"""How hard a reference model finds each training row: what a curriculum by loss is made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from heliostat.artifacts import Corpus, Model
from heliostat.core.errors import UserError
from heliostat.core.manifest import fingerprint
from heliostat.core.provenance import content_fingerprint


def written_losses(folder: Path, beside: Path, *, engine: Any, corpus: Corpus, task: Any) -> Path:
    """The loss of every training row [rows] under the exported model in `folder`, in corpus order: a file in the folder `beside`,
    written once for each model, corpus and task."""
    model = _model(folder, corpus, task)
    out = beside / f"reference-losses-{fingerprint([model.fingerprint, corpus.fingerprint, task.identity()])}.npy"
    if out.exists():
        return out
    answers = np.asarray(engine.predict(model, corpus.split("train"), task=task, show="train"), dtype=np.float64)
    if task.answers_are == "likelihood":
        losses_N = answers[:, 0] / np.maximum(answers[:, 1], 1)
    else:
        targets_N = _targets(corpus, task)
        shifted_NC = answers - answers.max(-1, keepdims=True)
        losses_N = np.log(np.exp(shifted_NC).sum(-1)) - shifted_NC[np.arange(len(targets_N)), targets_N]
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_suffix(".partial.npy")
    np.save(partial, losses_N)
    partial.replace(out)
    return out


def _model(folder: Path, corpus: Corpus, task: Any) -> Model:
    """The reference model, which must answer with the labels of the corpus."""
    try:
        facts = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UserError(f"train.curriculum.model: '{folder}' is not a model folder. Give one that an earlier run exported.") from None
    labels = tuple(facts.get("id2label", {}).values()) if task.answers_are == "labels" else ()
    if task.answers_are == "labels" and labels != corpus.labels:
        raise UserError(
            f"train.curriculum.model: '{folder}' answers with {', '.join(labels) or 'nothing'}, and the corpus has the classes"
            f" {', '.join(corpus.labels)}. Give a model of the same task."
        )
    mark = content_fingerprint([folder / "config.json", *sorted(folder.glob("*.safetensors"))])
    return Model(fingerprint=mark, name="reference", stage="train", path=folder, labels=labels)


def _targets(corpus: Corpus, task: Any) -> np.ndarray:
    import pyarrow.parquet as pq

    wanted = list(task.columns())
    tables = [pq.read_table(file, columns=wanted) for file in corpus.split("train")]
    columns = {name: [value for table in tables for value in table.column(name).to_pylist()] for name in wanted}
    return task.stacked(task.targets(columns, corpus.labels))
