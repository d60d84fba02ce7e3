"""A run as the report finds it on disk: small, complete, in two languages, with everything that tends to break a page.

`python tests/unit/report/sample.py FOLDER` writes the full, the minimal and the wide page there, to look at.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from heliostat.artifacts import (
    Confirmation,
    Confirmed,
    Corpus,
    Curve,
    Ensemble,
    Interval,
    Model,
    ModelScores,
    Scores,
    Spent,
    Sweep,
    Trial,
)
from heliostat.core.layout import Layout
from heliostat.core.progress import Progress
from heliostat.core.workspace import Context
from heliostat.report.config import GateConfig, ReportConfig
from heliostat.report.evidence import Evidence
from heliostat.tasks.text_classification import TextClassification

LABELS = ("business", "entertainment", "politics", "sport", "tech")
ATTACK = "<script>alert('x')</script>"
ROWS = {"train": 1480, "valid": 317, "test": 310}
TEXTS = (
    "Shares in the airline rose after it said fuel costs would fall next year, although analysts warned that demand on its Asian "
    "routes remains weak and that the new terminal will not open before the spring. The board meets on Thursday to discuss it.",
    "央行周三宣布下调存款准备金率0.5个百分点,释放长期资金约一万亿元,以支持实体经济发展。多位分析师认为,此举将缓解中小企业的融资压力,但对房地产市场的影响仍有待观察。",
    f'The minister told {ATTACK} & the press that the bill "won\'t" pass before the summer recess.',
    "Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogoch" * 4 + " is where the final was played.",
    "国家队在昨晚的比赛中以三比一击败对手,主教练赛后表示对年轻球员的表现非常满意。",
    "The new handset will stream films over the air, the maker said, and studios have signed up for a trial in six cities.",
)
MODELS = (  # name, stage, errors of 310, general accuracy, ms, parameters, bytes
    ("base", "pretrained", 22, 0.612, 9.1, 22_700_000, 90_900_000),
    ("trial-0006", "tune", 11, 0.588, 9.3, 22_713_000, 90_950_000),
    ("ensemble", "ensemble", 8, 0.597, 28.4, 68_139_000, 272_850_000),
    ("student", "distil", 10, 0.604, 4.2, 11_900_000, 47_600_000),
)


def texts(count: int) -> list[str]:
    """Rows in English and Chinese, markup and very long words among them."""
    return [f"{TEXTS[i % len(TEXTS)]} ({i})" for i in range(count)]


def full(root: Path, **changes: Any) -> Evidence:
    """Everything a run can have: sweep with a failed trial, ensemble, student, gates, run.json, manifests."""
    rng = np.random.Generator(np.random.PCG64(3))
    corpus, truth = _corpus(root / "corpus", rng)
    base = _scores(root / "evaluate-base", MODELS[:1], truth, rng)
    scores = _scores(root / "evaluate", MODELS[1:], truth, rng)
    finalists = tuple(_model(f"trial-{n:04d}", "tune", 0.968 - n / 1e3) for n in (6, 2, 5))
    council = Ensemble(fingerprint="e" * 16, members=finalists, weights=(0.5, 0.3, 0.2), score=0.975)
    gates = [
        GateConfig(metric="accuracy", min=0.95),
        GateConfig(suite="tnews", metric="accuracy", max_drop=0.02),
        GateConfig(metric="bytes", max=50e6),
    ]
    _manifests(root)
    values: dict[str, Any] = {
        "folder": root / "report",
        "config": ReportConfig(title="News desk, 新闻分类", gates=gates),
        "run_name": "bbc-news",
        "base": base,
        "scores": scores,
        "sweep": sweep(root, finalists),
        "council": council,
        "predictors": [finalists[0], council, _model("student", "distil", 0.966)],
        "corpus": corpus,
        "task": TextClassification(),
    }
    return Evidence(**(values | changes))


def minimal(root: Path) -> Evidence:
    """One training and nothing else: no sweep, ensemble, gate, general suite, logits, latency, manifest or run.json."""
    domain = {"domain": {"accuracy": Interval(value=0.9, low=0.85, high=0.95)}}
    corpus = Corpus(fingerprint="c" * 16, path=root / "corpus", labels=(), rows={"test": 0}, dropped={}, read=0)
    base = Scores(fingerprint="b" * 16, path=root, models=(), suites={}, metric="accuracy")
    scores = base.model_copy(update={"models": (ModelScores(name="model", stage="train", scores=domain),)})
    return Evidence(
        folder=root / "report",
        config=ReportConfig(),
        run_name="minimal",
        base=base,
        scores=scores,
        sweep=None,
        council=None,
        predictors=[Model(fingerprint="m" * 16, name="model", stage="train", path=root / "model")],
        corpus=corpus,
        task=TextClassification(),
    )


def context(evidence: Evidence) -> Context:
    """What the stage is given besides the evidence."""
    return Context(evidence.folder, "r" * 16, 7, Layout(), None, Progress(), "report")


def inputs(evidence: Evidence) -> dict[str, Any]:
    """The stage's inputs, as `do` passes them."""
    names = ("run_name", "base", "scores", "sweep", "council", "predictors", "corpus", "task")
    return {name: getattr(evidence, name) for name in names}


def _corpus(path: Path, rng: np.random.Generator) -> tuple[Corpus, np.ndarray]:
    truth, splits = np.zeros(0, int), {}
    for split, count in ROWS.items():
        truth = rng.choice(len(LABELS), size=count, p=[0.23, 0.17, 0.19, 0.23, 0.18])
        labels = [LABELS[i] for i in truth]
        splits[split] = {"classes": {name: labels.count(name) for name in LABELS}, "characters": {"0": 203.0, "0.5": 1965.0, "1": 25_483.0}}
        table = pa.table({"text": texts(count), "label": labels})
        (path / split).mkdir(parents=True)
        pq.write_table(table, path / split / "part-00000.parquet")
    (path / "profile.json").write_text(json.dumps({"splits": splits}), encoding="utf-8")
    dropped = {"exact_duplicate": 98, "near_duplicate": 16, "too_short": 3, "mostly_repetition": 1}
    return Corpus(fingerprint="c" * 16, path=path, labels=LABELS, rows=ROWS, dropped=dropped, read=2225), truth


def _logits(truth: np.ndarray, errors: int, rng: np.random.Generator) -> np.ndarray:
    """Logits [rows, labels] wrong on `errors` rows; the first hard rows are the same for every model."""
    answer = truth.copy()
    wrong = np.concatenate([np.arange(0, 6), 6 + rng.choice(len(truth) - 6, size=errors - 6, replace=False)])
    answer[wrong] = (truth[wrong] + rng.integers(1, len(LABELS), errors)) % len(LABELS)
    logits = rng.normal(0, 0.5, (len(truth), len(LABELS)))
    logits[np.arange(len(truth)), answer] += rng.uniform(2.5, 7, len(truth))
    return logits


def _scores(path: Path, rows: tuple[Any, ...], truth: np.ndarray, rng: np.random.Generator) -> Scores:
    path.mkdir(parents=True)
    models = []
    for name, stage, errors, general, ms, params, size in rows:
        np.save(path / f"{name}.npy", _logits(truth, errors, rng))
        accuracy = 1 - errors / len(truth)
        domain = {
            "accuracy": _around(accuracy, 0.016),
            "f1_macro": _around(accuracy - 0.004, 0.018),
            "log_loss": _around(0.05 + errors / 120, 0.03),
            "calibration_error": _around(0.01 + errors / 900, 0.008),
        }
        suites = {"domain": domain, "tnews": {"accuracy": _around(general, 0.021)}, "sts": {"spearman": _around(general + 0.2, 0.015)}}
        models.append(
            ModelScores(name=name, stage=stage, scores=suites, latency_ms={"p50": ms, "p99": ms * 1.9}, params=params, bytes=size)
        )
    said = {
        "domain": "The test split of the team's own corpus.",
        "tnews": "Chinese headlines in 15 classes, answered by nearest class centre: what the encoder still knows.",
        "sts": "Rank correlation between cosine similarity and people's judgement of sentence pairs.",
    }
    return Scores(fingerprint="s" * 16, path=path, models=tuple(models), suites=said, metric="accuracy")


def _around(value: float, half: float) -> Interval:
    return Interval(value=value, low=max(0.0, value - half * 1.1), high=min(1.0, value + half * 0.9))


def _model(name: str, stage: str, score: float) -> Model:
    labels = tuple(reversed(LABELS)) if name == "other-order" else LABELS
    found = next((m for m in MODELS if m[0] == name), MODELS[1])
    return Model(
        fingerprint="m" * 16,
        name=name,
        stage=stage,
        path=Path("/models") / name,
        labels=labels,
        params=found[5],
        bytes=found[6],
        score=score,
    )


def sweep(root: Path, finalists: tuple[Model, ...]) -> Sweep:
    """Eight trials: three to the end, four stopped, one failed with NaN."""
    tops = (0.931, 0.952, 0.966, None, 0.944, 0.965, 0.971, 0.902)
    last = (0.5, 1.0, 3.0, 0.5, 1.0, 3.0, 3.0, 0.5)
    trials = []
    for i, (top, epochs) in enumerate(zip(tops, last, strict=True)):
        steps = int(epochs * 2)
        curve = tuple(_step(k, top, steps) for k in range(1, steps + 1))
        state = "failed" if top is None else "completed" if epochs == 3.0 else "stopped"
        settings = {
            "train.optimizer.lr": 1e-5 * 1.6**i,
            "train.optimizer.weight_decay": 0.01 * i,
            "train.schedule": "cosine" if i % 2 else "linear",
        }
        error = f"validation loss is NaN at step 20; {ATTACK}" if top is None else None
        trials.append(
            Trial(
                number=i,
                settings=settings,
                state=state,
                rung={0.5: 1, 1.0: 2, 3.0: 3}[epochs] if top else 0,
                best=top,
                best_step=steps * 23 if top else None,
                curve=curve,
                busy_s=14.2 * steps,
                value=top,
                objectives={} if top is None else {"latency_ms": 9.0 + 3 * top - 0.4 * i},
                error=error,
            )
        )
    return Sweep(
        fingerprint="t" * 16,
        path=root / "tune",
        metric="accuracy",
        mode="max",
        trials=tuple(trials),
        finalists=finalists,
        wall_s=213.0,
        busy_s=355.0,
        slots=2,
        startup_s=11.0,
        rungs=(1 / 6, 1 / 3, 1.0),
        objectives={"latency_ms": "min"},
        front=(6, 7),
        importance={"train.optimizer.lr": 0.7, "train.schedule": 0.3, "train.optimizer.weight_decay": 0.0},
        confirmation=confirmation({6: (0.966, 0.969, 0.963), 2: (0.965, 0.967, 0.964)}, p_value=0.4),
        expected=Spent(jobs=(8, 4, 2), trainings=4.1, wall_s=190.0, checkpoint_bytes=1_100_000_000, cost=None),
        spent=Spent(jobs=(8, 5, 3), trainings=4.2, wall_s=213.0, checkpoint_bytes=1_250_000_000, cost=0.12),
    )


def confirmation(values: dict[int, tuple[float, ...]], *, p_value: float | None) -> Confirmation:
    """Finalists trained again, in the order they are given."""
    finalists = tuple(
        Confirmed(trial=number, values=found, mean=_around(sum(found) / len(found), 0.004)) for number, found in values.items()
    )
    return Confirmation(how="seeds", finalists=finalists, p_value=p_value, significant=p_value is not None and p_value < 0.05)


def many(root: Path, trials: int = 60) -> Evidence:
    """The full run with a wide sweep: conditional and categorical settings, two objectives, failures of two causes."""
    evidence = full(root)
    finalists = tuple(m for m in evidence.predictors if isinstance(m, Model))[:1]
    return dataclasses.replace(evidence, sweep=wide(root, trials, finalists))


def wide(root: Path, count: int, finalists: tuple[Model, ...] = ()) -> Sweep:
    """A sweep of `count` trials over four rungs, as a successive halving leaves it."""
    rng = np.random.Generator(np.random.PCG64(11))
    rungs, settings = (1 / 27, 1 / 9, 1 / 3, 1.0), [_settings(rng) for _ in range(count)]
    final = [_quality(s) + rng.normal(0, 0.004) for s in settings]
    order = sorted(range(count), key=lambda i: -final[i])
    trials = [_wide_trial(i, settings[i], final[i], order.index(i), count, rng) for i in range(count)]
    able = [t for t in trials if t.state != "failed"]
    front = [t.number for t in able if not any(_beats(o, t) for o in able)]
    first, second = sorted(able, key=lambda t: -(t.value or 0))[:2]
    again = {second.number: (0.951, 0.953, 0.952, 0.954, 0.950), first.number: (0.947, 0.945, 0.950, 0.948, 0.946)}
    shares = {
        "train.optimizer.lr": 0.52,
        "train.optimizer": 0.21,
        "train.batch": 0.12,
        "train.optimizer.momentum": 0.08,
        "train.schedule": 0.05,
        "model.dropout": 0.02,
        "train.freeze": 0.0,
    }
    jobs = tuple(sum(t.rung > r or r == 0 for t in trials) for r in range(4))
    return Sweep(
        fingerprint="t" * 16,
        path=root / "tune",
        metric="accuracy",
        mode="max",
        trials=tuple(trials),
        finalists=finalists,
        wall_s=1984.0,
        busy_s=7020.0,
        slots=4,
        startup_s=11.0,
        rungs=rungs,
        objectives={"latency_ms": "min", "bytes": "min"},
        front=tuple(sorted(front, key=lambda n: -(trials[n].best or 0))),
        importance=shares,
        confirmation=confirmation(again, p_value=0.012),
        expected=Spent(jobs=(count, count // 3, count // 9, count // 27), trainings=11.2, wall_s=2700.0, checkpoint_bytes=None, cost=1.8),
        spent=Spent(jobs=jobs, trainings=10.9, wall_s=1984.0, checkpoint_bytes=8_400_000_000, cost=1.32),
        ended="hours",
    )


def _settings(rng: np.random.Generator) -> dict[str, Any]:
    optimizer = str(rng.choice(["adamw", "sgd", "adafactor"]))
    settings: dict[str, Any] = {
        "train.optimizer": {"use": optimizer},
        "train.optimizer.lr": float(f"{10 ** rng.uniform(-5.5, -2.5):.4g}"),
        "train.batch": int(rng.choice([8, 16, 32, 64])),
        "train.schedule": str(rng.choice(["cosine", "linear", "constant"])),
        "model.dropout": round(float(rng.uniform(0, 0.4)), 3),
        "train.freeze": bool(rng.integers(2)),
    }
    return settings | ({"train.optimizer.momentum": round(float(rng.uniform(0, 0.99)), 3)} if optimizer == "sgd" else {})


def _quality(settings: dict[str, Any]) -> float:
    off = np.log10(settings["train.optimizer.lr"]) + 4.2
    loss = 0.035 * off * off + {"adamw": 0.0, "sgd": 0.05, "adafactor": 0.012}[settings["train.optimizer"]["use"]]
    return float(0.957 - loss - 0.0004 * settings["train.batch"] - 0.02 * abs(settings["model.dropout"] - 0.1))


def _wide_trial(number: int, settings: dict[str, Any], final: float, rank: int, count: int, rng: np.random.Generator) -> Trial:
    rung = 1 + sum(rank < count // 3**k for k in (1, 2, 3))
    failed = settings["train.optimizer.lr"] > 1.6e-3 or number % 23 == 22
    steps = 27 * 2 // 3 ** (4 - rung) or 1
    curve = tuple(
        Curve(step=k * 20, epoch=k / 18, value=round(final - 0.35 * float(np.exp(-k / 8)) + rng.normal(0, 0.003), 4), loss=0.3)
        for k in range(1, steps + 1)
    )
    best = max(curve, key=lambda c: c.value or 0.0)
    cause = "the numbers diverged: loss is NaN at step 20" if settings["train.optimizer.lr"] > 1.6e-3 else "CUDA out of memory"
    return Trial(
        number=number,
        settings=settings,
        state="failed" if failed else "completed" if rung == 4 else "stopped",
        rung=0 if failed else rung,
        best=None if failed else best.value,
        best_step=None if failed else best.step,
        curve=() if failed else curve,
        busy_s=round(3.1 * steps, 1),
        value=None if failed else best.value,
        objectives={}
        if failed
        else {
            "latency_ms": round(4 + 9 * max(0.0, (best.value or 0) - 0.6) ** 2 + rng.gamma(2, 2), 3),
            "bytes": round(5e7 * 2 ** rng.uniform(0, 4)),
        },
        error=cause if failed else None,
    )


def _beats(one: Trial, other: Trial) -> bool:
    a = (one.best or 0.0, *(-v for v in one.objectives.values()))
    b = (other.best or 0.0, *(-v for v in other.objectives.values()))
    return a != b and all(x >= y for x, y in zip(a, b, strict=True))


def _step(k: int, top: float | None, steps: int) -> Curve:
    value = None if top is None else top - 0.18 * 0.4**k + 0.18 * 0.4**steps
    return Curve(step=23 * k, epoch=k / 2, value=value, loss=None if value is None else 1.2 - value)


def _manifests(root: Path) -> None:
    spent = {"corpus": 4.2, "evaluate-base": 21.0, "tune": 213.4, "ensemble": 1.1, "distil": 74.8, "evaluate": 38.5}
    for i, (name, seconds) in enumerate(spent.items()):
        (root / name).mkdir(exist_ok=True)
        manifest = {
            "stage": name,
            "fingerprint": f"{i:016x}",
            "identity": {"seed": 7, "version": 1},
            "seconds": seconds,
            "finished_unix": 1000.0 + i,
        }
        (root / name / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    run = {
        "config": {"name": "bbc-news", "seed": 7, "corpus": {"sources": [{"use": "csv", "paths": ["data/新闻.csv"]}]}, "note": ATTACK},
        "layout": {"workers": 1, "zero": 2, "address": None},
        "provenance": {"python": "3.11.9", "packages": {"ray": "2.60.0"}, "command": ["heliostat", "run", "configs/bbc.yaml"]},
    }
    (root / "run.json").write_text(json.dumps(run, ensure_ascii=False), encoding="utf-8")


def main(folder: Path) -> None:
    """Write the three pages under `folder`."""
    from heliostat.report.stage import write

    for make in (full, minimal, many):
        root = folder / make.__name__
        evidence = make(root)
        write(evidence.config, ctx=context(evidence), **inputs(evidence))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
