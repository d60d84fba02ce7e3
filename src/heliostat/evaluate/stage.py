"""Every predictor on the domain and on general ground, with intervals, latency and size.

A finished predictor is noted in `models/<name>.json`, after its test logits were saved in `<name>.npy`, so an
interrupted evaluation goes on with the next one. Shapes: N rows, C labels, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from heliostat.artifacts import Corpus, ModelScores, Predictor, Scores
from heliostat.core.errors import RunFailed, UserError, unknown
from heliostat.core.family import build, names
from heliostat.core.manifest import read_json, write_json
from heliostat.core.values import column_of_bytes
from heliostat.evaluate import baseline
from heliostat.evaluate.config import DOMAIN, EvaluateConfig
from heliostat.metrics._intervals import bootstrap
from heliostat.tasks.config import ModelConfig

BASE = "base"


def score(config: EvaluateConfig, *, ctx: Any, predictors: list[Predictor | ModelConfig], corpus: Corpus, task: Any) -> Scores:
    """Scores of `predictors` (a ModelConfig is the base model, without a head) on the same rows; writes `scores.json`."""
    test = read_rows(corpus, "test", task)
    models: list[ModelScores] = []
    for done, predictor in enumerate(predictors):
        name = BASE if isinstance(predictor, ModelConfig) else predictor.name
        assert name not in [m.name for m in models], f"two predictors are called {name}"
        ctx.show.update(ctx.name, done, len(predictors), "models", name)
        note = ctx.folder / "models" / f"{name}.json"
        noted = read_json(note)
        scored = ModelScores.model_validate(noted) if noted else _score_one(name, predictor, _Ground(config, ctx, corpus, task, test))
        write_json(note, scored.model_dump(mode="json"))
        models.append(scored)
    ctx.show.update(ctx.name, len(predictors), len(predictors), "models")
    has_base = any(m.name == BASE for m in models)
    scores = Scores(
        fingerprint=ctx.fingerprint,
        path=ctx.folder,
        models=tuple(models),
        suites={DOMAIN: _domain_sentence(test, task, has_base), **{name: suite.describe() for name, suite in config.general.items()}},
        metric=task.metric,
    )
    write_json(ctx.folder / "scores.json", scores.model_dump(mode="json", exclude={"path"}))
    return scores


@dataclass(frozen=True)
class Rows:
    """The rows of one split, in corpus order."""

    inputs: dict[str, list[Any]]
    """Columns of the raw input."""
    targets: np.ndarray
    """What metrics compare answers with, [rows, ...]."""
    files: tuple[Path, ...] = ()
    """Where they are."""
    beside: str | None = None
    """A column of bytes, which is left in the files."""

    def __len__(self) -> int:
        return len(self.targets)

    def first(self, count: int) -> dict[str, list[Any]]:
        """The inputs of the first `count` rows."""
        found = {name: values[:count] for name, values in self.inputs.items()}
        return found if self.beside is None else {**found, self.beside: _first(self.files, self.beside, count)}


@dataclass(frozen=True)
class _Ground:
    """What every predictor is scored on."""

    config: EvaluateConfig
    ctx: Any
    corpus: Corpus
    task: Any
    test: Rows


def read_rows(corpus: Corpus, split: str, task: Any, most: int | None = None) -> Rows:
    """Inputs and targets of one split; at most `most` rows, evenly spaced."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = corpus.split(split)
    if not files:
        raise RunFailed(f"evaluate: '{corpus.path / split}' holds no parquet file. Make the corpus again: add --replace.")
    beside = column_of_bytes(task.columns())
    table = pa.concat_tables([pq.read_table(file, columns=[name for name in task.columns() if name != beside]) for file in files])
    if most is not None:
        table = table.take(baseline.spaced(table.num_rows, most))
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    if task.names_from == "label":
        strange = next((label for label in columns["label"] if label not in corpus.labels), None)
        if strange is not None:
            raise RunFailed(f"evaluate: {split} split of '{corpus.path}': {unknown('label', str(strange), corpus.labels)}")
    *inputs, target = task.columns()
    held = {name: columns[name] for name in inputs or [target] if name != beside}
    return Rows(held, task.stacked(task.targets(columns, corpus.labels)), tuple(files), beside)


def _first(files: Sequence[Path], column: str, count: int) -> list[Any]:
    """The first `count` values of one column."""
    import pyarrow.parquet as pq

    found: list[Any] = []
    for file in files:
        with pq.ParquetFile(file) as opened:
            for batch in opened.iter_batches(batch_size=16, columns=[column]):
                found += batch.column(0).to_pylist()
                if len(found) >= count:
                    return found[:count]
    return found


def test_metrics(task: Any) -> dict[str, Any]:
    """The task's metrics by name, the ranking one first, none twice."""
    wanted = list(dict.fromkeys([task.metric, *task.also]))
    wrong = [unknown("metrics member", name, names("metrics")) for name in wanted if "." not in name and name not in names("metrics")]
    if wrong:
        raise UserError(wrong)
    return {name: build("metrics", name) for name in wanted}


def _score_one(name: str, predictor: Predictor | ModelConfig, on: _Ground) -> ModelScores:
    """Everything about one predictor; its test answers are saved before anything else is measured."""
    config, engine, seed = on.config, on.ctx.engine, on.ctx.seed
    is_base = isinstance(predictor, ModelConfig)
    scores = {}
    if not is_base or on.task.base != "none":
        answers = np.asarray(_test_answers(predictor, on), dtype=np.float32)
        assert len(answers) == len(on.test), f"{name}: {len(answers)} test answers, expected {len(on.test)}"
        np.save(on.ctx.folder / f"{name}.npy", answers)
        scores[DOMAIN] = bootstrap(test_metrics(on.task), answers, on.test.targets, seed=seed, resamples=config.resamples)
    for suite_name, suite in config.general.items():
        on.ctx.show.message(f"{on.ctx.name}: {name} on {suite_name}")
        scores[suite_name] = suite.score(predictor, engine=engine, task=on.task, seed=seed, resamples=config.resamples)
    inputs = on.test.first(config.latency_rows)
    latency_ms = engine.latency(predictor, inputs, task=on.task)
    if isinstance(predictor, ModelConfig):
        stage, params, size = BASE, engine.params(predictor, inputs, task=on.task), engine.weights_bytes(predictor)
    else:
        stage, params, size = predictor.stage, predictor.params, predictor.bytes
    return ModelScores(name=name, stage=stage, scores=scores, latency_ms=latency_ms, params=params, bytes=size)


def _test_answers(predictor: Predictor | ModelConfig, on: _Ground) -> np.ndarray:
    """Answers about the test rows [N, ...] in corpus order."""
    engine, corpus, task = on.ctx.engine, on.corpus, on.task
    if not isinstance(predictor, ModelConfig) or task.base == "itself":
        return engine.predict(predictor, corpus.split("test"), task=task, show=on.ctx.name)
    train, valid = (read_rows(corpus, split, task, on.config.base_rows) for split in ("train", "valid"))
    train_ND, valid_ND, test_ND = (
        engine.embed_files(predictor, corpus.split(split), baseline.spaced(corpus.rows[split], most), task=task, labels=corpus.labels)
        for split, most in (("train", on.config.base_rows), ("valid", on.config.base_rows), ("test", corpus.rows["test"]))
    )
    known = (train_ND, train.targets), (valid_ND, valid.targets)
    return baseline.answers(task.answers_are, *known, test_ND, labels=len(corpus.labels))


def _domain_sentence(test: Rows, task: Any, has_base: bool) -> str:
    sentence = f"{len(test):,} rows of the test split, which took part in no training and no choice"
    told = {"itself": "base: the pretrained model as it is", "none": "the base model has no head for this task"}
    return f"{sentence}; {told.get(task.base) or baseline.SENTENCES[task.answers_are]}." if has_base else f"{sentence}."
