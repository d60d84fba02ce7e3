"""Pseudo-labelling: the surest answers of the best predictor become training rows, and one more model is trained."""

from __future__ import annotations

from typing import Any

import numpy as np

from heliostat.artifacts import Corpus, Model
from heliostat.core.errors import UserError
from heliostat.core.manifest import write_json
from heliostat.core.workspace import Context
from heliostat.pseudo_label.config import VERSION, PseudoLabelConfig
from heliostat.train import stage as train
from heliostat.train.extending import extended

__all__ = ["VERSION", "learn"]

PSEUDO = "pseudo"
"""What the column `domain` says of a row that was labelled by a model."""
FACTS = "labels.json"


def learn(config: PseudoLabelConfig, *, ctx: Context, teacher: Any, model: Any, corpus: Corpus, unlabelled: Corpus, task: Any) -> Model:
    """`model` trained on `corpus` and the texts of `unlabelled` whose label `teacher` is sure of.

    `labels.json` says how many texts got which label. `UserError` when there is none to add.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = [file for split in unlabelled.rows for file in unlabelled.split(split)]
    logits_NC = ctx.engine.predict(teacher, files, task=task, show=ctx.name)
    labels_N, sure_N = labelled(logits_NC)
    texts = pa.concat_tables([pq.read_table(file) for file in files])
    known = set(pa.concat_tables([pq.read_table(file, columns=["text"]) for file in corpus.split("train")]).column("text").to_pylist())
    new_N = np.array([text not in known for text in texts.column("text").to_pylist()])
    keep_N = new_N & (sure_N >= config.min_confidence)
    if not keep_N.any():
        most = f"the surest answer has {sure_N[new_N].max():.3f}" if new_N.any() else "all of them are training rows already"
        raise UserError(
            f"pseudo_label: none of {len(texts):,} texts gets a label with a confidence of {config.min_confidence:g}; {most}."
            " Lower pseudo_label.min_confidence, or give other text."
        )
    rows = extended(ctx.folder / "rows", corpus, _rows(texts, keep_N, labels_N, corpus.labels, config.weight))
    counts = {label: int((labels_N[keep_N] == i).sum()) for i, label in enumerate(corpus.labels)}
    told = {"texts": len(texts), "known": int((~new_N).sum()), "teacher": teacher.name, "min_confidence": config.min_confidence}
    write_json(ctx.folder / FACTS, {**told, "rows": corpus.rows["train"], "labels": counts})
    ctx.show.message(f"{ctx.name}: {keep_N.sum():,} of {len(texts):,} texts labelled by {teacher.name}")
    learnt = train.fit(config.train, ctx=ctx, model=model, corpus=rows, task=task)
    return learnt.model_copy(update={"name": "pseudo-labelled"})


def labelled(logits_NC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(the most probable label [rows], its probability [rows]) by logits, or log-probabilities, [rows, labels]."""
    shifted_NC = logits_NC.astype(np.float64) - logits_NC.max(-1, keepdims=True)
    return logits_NC.argmax(-1), 1.0 / np.exp(shifted_NC).sum(-1)


def _rows(texts: Any, keep_N: np.ndarray, labels_N: np.ndarray, names: tuple[str, ...], weight: float) -> Any:
    """The kept texts as training rows."""
    import pyarrow as pa

    kept = texts.take(np.flatnonzero(keep_N))
    given = {
        "label": pa.array([names[i] for i in labels_N[keep_N]]),
        "domain": pa.array([PSEUDO] * kept.num_rows),
        "weight": pa.array(np.full(kept.num_rows, weight, np.float32)),
    }
    for name, column in given.items():
        kept = kept.set_column(kept.column_names.index(name), name, column)
    return kept
