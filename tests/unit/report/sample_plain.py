"""Runs on several labels per text and on numbers as the report finds them; `python tests/unit/report/sample_plain.py FOLDER` writes
their pages there."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from heliostat.artifacts import Corpus, Interval, ModelScores, Scores
from heliostat.corpus.profile import profile
from heliostat.report.evidence import Evidence
from heliostat.tasks.multilabel_classification import MultilabelClassification
from heliostat.tasks.text_regression import TextRegression

NAMES = ("cooking", "<script>alert('x')</script>", "体育", "garden", "never")
ROWS = {"train": 300, "valid": 60, "test": 90}
MODELS = (("base", 1.2), ("trained", 0.5), ("small", 0.8))
"""Name of a model, and how noisy its answers are."""


def several(root: Path, full: Evidence, **changes: Any) -> Evidence:
    """`full`, with any number of labels per row: a base, a trained model and a smaller one."""
    rng = np.random.Generator(np.random.PCG64(6))
    task = MultilabelClassification()
    has = {split: rng.random((rows, len(NAMES))) < [0.6, 0.3, 0.1, 0.05, 0.0] for split, rows in ROWS.items()}
    labels = {split: [[NAMES[c] for c in np.flatnonzero(row_C)] for row_C in has_NC] for split, has_NC in has.items()}
    columns = {split: {"labels": pa.array(each, pa.list_(pa.string()))} for split, each in labels.items()}
    answers = {name: 3 * (2 * has["test"] - 1) + 4 * noise * rng.normal(size=has["test"].shape) for name, noise in MODELS}
    metrics = ("f1_multilabel_micro", "f1_multilabel_macro", "map")
    return _run(root, full, task, NAMES, columns, answers, metrics, **changes)


def numbers(root: Path, full: Evidence, **changes: Any) -> Evidence:
    """`full`, with a number per pair of texts."""
    rng = np.random.Generator(np.random.PCG64(7))
    task = TextRegression(pair=True)
    targets = {split: rng.normal(-1200.0, 300.0, rows) for split, rows in ROWS.items()}
    pairs = {split: [f"the second text & {i}" for i in range(rows)] for split, rows in ROWS.items()}
    columns = {split: {"text_pair": pairs[split], "target": targets[split]} for split in ROWS}
    answers = {name: (targets["test"] + 200 * noise * rng.normal(size=ROWS["test"]))[:, None] for name, noise in MODELS}
    return _run(root, full, task, (), columns, answers, ("rmse", "mae", "spearman"), **changes)


def _run(root: Path, full: Evidence, task: Any, labels: tuple[str, ...], columns: Any, answers: Any, metrics: Any, **more: Any) -> Evidence:
    tables = {}
    for split, rows in ROWS.items():
        text = [f"文本 {i} with <b>markup</b>" for i in range(rows)]
        tables[split] = pa.table({"text": text, "label": [""] * rows, **columns[split], "source": ["x"] * rows})
        (root / "corpus" / split).mkdir(parents=True)
        pq.write_table(tables[split], root / "corpus" / split / "part-00000.parquet")
    told = profile(tables, 460, {"missing_target": 10}, None, [], by=task.stratified_by)
    (root / "corpus" / "profile.json").write_text(json.dumps(told), encoding="utf-8")
    (root / "evaluate").mkdir(parents=True)
    for name, said in answers.items():
        np.save(root / "evaluate" / f"{name}.npy", said.astype(np.float32))
    scores = {"domain": {metric: Interval(value=0.8, low=0.75, high=0.85) for metric in metrics}}
    base, *scored = (ModelScores(name=name, stage="train", scores=scores, latency_ms={"p50": 4.0}) for name in answers)
    corpus = Corpus(fingerprint="c" * 16, path=root / "corpus", labels=labels, rows=ROWS, dropped={"missing_target": 10}, read=460)
    predictors = [full.predictors[0].model_copy(update={"name": model.name, "labels": labels}) for model in scored]
    judged = {"path": root / "evaluate", "suites": {}, "metric": metrics[0]}
    own: dict[str, Any] = {
        "folder": root / "report",
        "config": full.config.model_copy(update={"title": None, "gates": []}),
        "base": Scores(fingerprint="b" * 16, models=(base,), **judged),
        "scores": Scores(fingerprint="s" * 16, models=tuple(scored), **judged),
        "sweep": None,
        "council": None,
        "predictors": predictors,
        "corpus": corpus,
        "task": task,
    }
    return dataclasses.replace(full, **(own | more))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    import sample

    from heliostat.report.stage import write

    place = Path(sys.argv[1])
    whole = sample.full(place / "full")
    for kind in (several, numbers):
        evidence = kind(place / kind.__name__, whole)
        write(evidence.config, ctx=sample.context(evidence), **sample.inputs(evidence))
