"""A run on tagged words as the report finds it on disk; `python tests/unit/report/sample_tags.py FOLDER` writes its page there."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from heliostat.artifacts import Corpus, Interval, ModelScores, Scores
from heliostat.core.tags import outputs
from heliostat.report.evidence import Evidence
from heliostat.tasks.token_classification import TokenClassification

LABELS = tuple(outputs(("B-LOC", "B-ORG", "B-PER", "B-<b>x</b>")))
SENTENCES = (
    ("Anna Weber moved from Bonn to the <script>alert('x')</script> Institute .".split(), [5, 6, 0, 0, 1, 0, 0, 3, 4, 0]),
    (list("江泽民主席在北京会见了联合国秘书长。"), [5, 6, 6, 0, 0, 0, 1, 2, 0, 0, 0, 3, 4, 4, 0, 0, 0, 0]),
    ("Nothing happens here & now".split(), [0, 0, 0, 0, 0]),
    ("Rome".split(), [1]),
)
ROWS = {"train": 400, "valid": 80, "test": 60}


def tagged(root: Path, full: Evidence, **changes: Any) -> Evidence:
    """`full`, with tagged words in place of classes: a base without a score, a trained model and a smaller one."""
    rng = np.random.Generator(np.random.PCG64(5))
    truth = _write(root / "corpus")
    names = ("trained", "small")
    (root / "evaluate").mkdir(parents=True)
    for share, name in ((0.06, "trained"), (0.15, "small")):
        said = np.where(rng.random(truth.shape) < share, rng.integers(0, len(LABELS), truth.shape), np.maximum(truth, 0))
        np.save(root / "evaluate" / f"{name}.npy", (9 * np.eye(len(LABELS))[said]).astype(np.float32))
    scores = {"domain": {m: Interval(value=0.8, low=0.75, high=0.85) for m in ("span_f1", "span_recall", "tag_accuracy")}}
    scored = tuple(ModelScores(name=name, stage="train", scores=scores, latency_ms={"p50": 4.0, "p99": 6.0}) for name in names)
    base = full.base.model_copy(update={"models": (ModelScores(name="base", stage="base", scores={}),), "metric": "span_f1"})
    corpus = Corpus(fingerprint="c" * 16, path=root / "corpus", labels=LABELS, rows=ROWS, dropped={"broken_span": 3}, read=543)
    predictors = [full.predictors[0].model_copy(update={"name": name, "labels": LABELS}) for name in names]
    own: dict[str, Any] = {
        "folder": root / "report",
        "config": full.config.model_copy(update={"title": "Names in the news", "gates": []}),
        "base": base,
        "scores": Scores(fingerprint="s" * 16, path=root / "evaluate", models=scored, suites={}, metric="span_f1"),
        "sweep": None,
        "council": None,
        "predictors": predictors,
        "corpus": corpus,
        "task": TokenClassification(),
    }
    return dataclasses.replace(full, **(own | changes))


def _write(path: Path) -> np.ndarray:
    """The splits on disk; targets of the test rows."""
    for split, count in ROWS.items():
        chosen = [SENTENCES[i % len(SENTENCES)] for i in range(count)]
        tokens, tags = [words for words, _ in chosen], [[LABELS[t] for t in tags] for _, tags in chosen]
        (path / split).mkdir(parents=True)
        text = [" ".join(words) for words in tokens]
        pq.write_table(pa.table({"text": text, "label": [""] * count, "tokens": tokens, "tags": tags}), path / split / "part-00000.parquet")
    task = TokenClassification()
    return task.stacked(task.targets({"tokens": tokens, "tags": tags}, LABELS))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    import sample

    from heliostat.report.stage import write

    place = Path(sys.argv[1])
    evidence = tagged(place, sample.full(place / "full"))
    write(evidence.config, ctx=sample.context(evidence), **sample.inputs(evidence))
