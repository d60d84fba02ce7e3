"""Every predictor on the domain and on general ground, with intervals, latency and size.

A finished predictor is noted in `models/<name>.json`, after its test logits were saved in `<name>.npy`, so an
interrupted evaluation goes on with the next one. Shapes: N rows, C labels, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from heliostat.artifacts import Corpus, ModelScores, Predictor, Scores
from heliostat.core.errors import RunFailed, UserError, unknown
from heliostat.core.family import build, names
from heliostat.core.manifest import read_json, write_json
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
        suites={DOMAIN: _domain_sentence(test, has_base), **{name: suite.describe() for name, suite in config.general.items()}},
        metric=task.metric,
    )
    write_json(ctx.folder / "scores.json", scores.model_dump(mode="json", exclude={"path"}))
    return scores


@dataclass(frozen=True)
class Rows:
    """The rows of one split, in corpus order."""

    texts: list[str]
    targets_N: np.ndarray


@dataclass(frozen=True)
class _Ground:
    """What every predictor is scored on."""

    config: EvaluateConfig
    ctx: Any
    corpus: Corpus
    task: Any
    test: Rows


def read_rows(corpus: Corpus, split: str, task: Any, most: int | None = None) -> Rows:
    """Inputs and label indices of one split; at most `most` rows, evenly spaced."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    *inputs, target = task.columns()
    files = corpus.split(split)
    if not files:
        raise RunFailed(f"evaluate: '{corpus.path / split}' holds no parquet file. Make the corpus again: add --replace.")
    table = pa.concat_tables([pq.read_table(file, columns=[inputs[0], target]) for file in files])
    if most is not None:
        table = table.take(baseline.spaced(table.num_rows, most))
    index = {label: i for i, label in enumerate(corpus.labels)}
    given = table.column(target).to_pylist()
    strange = next((label for label in given if label not in index), None)
    if strange is not None:
        raise RunFailed(f"evaluate: {split} split of '{corpus.path}': {unknown('label', str(strange), corpus.labels)}")
    return Rows(table.column(inputs[0]).to_pylist(), np.array([index[label] for label in given], dtype=np.int64))


def test_metrics(task: Any) -> dict[str, Any]:
    """The task's metrics by name, the ranking one first, none twice."""
    wanted = list(dict.fromkeys([task.metric, *task.also]))
    wrong = [unknown("metrics member", name, names("metrics")) for name in wanted if "." not in name and name not in names("metrics")]
    if wrong:
        raise UserError(wrong)
    return {name: build("metrics", name) for name in wanted}


def _score_one(name: str, predictor: Predictor | ModelConfig, on: _Ground) -> ModelScores:
    """Everything about one predictor; its test logits are saved before anything else is measured."""
    config, engine, seed = on.config, on.ctx.engine, on.ctx.seed
    logits_NC = np.asarray(_test_logits(predictor, on), dtype=np.float32)
    wanted = (len(on.test.targets_N), len(on.corpus.labels))
    assert logits_NC.shape == wanted, f"{name}: test logits {logits_NC.shape}, expected {wanted}"
    np.save(on.ctx.folder / f"{name}.npy", logits_NC)
    scores = {DOMAIN: bootstrap(test_metrics(on.task), logits_NC, on.test.targets_N, seed=seed, resamples=config.resamples)}
    for suite_name, suite in config.general.items():
        on.ctx.show.message(f"{on.ctx.name}: {name} on {suite_name}")
        scores[suite_name] = suite.score(predictor, engine=engine, task=on.task, seed=seed, resamples=config.resamples)
    if isinstance(predictor, ModelConfig):
        stage, (params, size) = BASE, engine.size(predictor)
    else:
        stage, params, size = predictor.stage, predictor.params, predictor.bytes
    return ModelScores(
        name=name,
        stage=stage,
        scores=scores,
        latency_ms=engine.latency(predictor, on.test.texts[: config.latency_rows], task=on.task),
        params=params,
        bytes=size,
    )


def _test_logits(predictor: Predictor | ModelConfig, on: _Ground) -> np.ndarray:
    """Test logits [N, C] in corpus order."""
    engine, corpus, task = on.ctx.engine, on.corpus, on.task
    if not isinstance(predictor, ModelConfig):
        return engine.predict(predictor, corpus.split("test"), task=task, show=on.ctx.name)
    train = read_rows(corpus, "train", task, on.config.base_rows)
    valid = read_rows(corpus, "valid", task, on.config.base_rows)
    train_ND, valid_ND, test_ND = (np.asarray(engine.embed(predictor, rows.texts, task=task)) for rows in (train, valid, on.test))
    return baseline.log_probabilities((train_ND, train.targets_N), (valid_ND, valid.targets_N), test_ND, labels=len(corpus.labels))


def _domain_sentence(test: Rows, has_base: bool) -> str:
    sentence = f"{len(test.texts):,} rows of the test split, which took part in no training and no choice"
    return f"{sentence}; {baseline.SENTENCE}." if has_base else f"{sentence}."
