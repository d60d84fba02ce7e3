"""`report.json`: the machine's view of the result. Its shape is stable."""

from __future__ import annotations

import math
from typing import Any

from heliostat.artifacts import ModelScores
from heliostat.report.evidence import Evidence


def record(evidence: Evidence) -> dict[str, Any]:
    """The whole result as plain JSON values; a number that is not finite is null."""
    verdict, sweep, corpus = evidence.verdict, evidence.sweep, evidence.corpus
    return {
        "run": evidence.run_name,
        "verdict": {
            "ship": verdict.ship,
            "because": verdict.because,
            "gates": [{"name": g.name, "limit": number(g.limit), "value": number(g.value), "passed": g.passed} for g in verdict.gates],
        },
        "models": [model(m) for m in evidence.models],
        "sweep": None
        if sweep is None
        else {
            "trials": len(sweep.trials),
            "completed": sweep.count("completed"),
            "stopped": sweep.count("stopped"),
            "failed": sweep.count("failed"),
            "wall_s": number(sweep.wall_s),
            "busy_s": number(sweep.busy_s),
            "goodput": number(sweep.goodput),
        },
        "corpus": {"rows": dict(corpus.rows), "dropped": dict(corpus.dropped)},
        "seconds": {name: number(s) for name, s in evidence.seconds.items()},
    }


def model(scored: ModelScores) -> dict[str, Any]:
    """One model's scores and costs."""
    return {
        "name": scored.name,
        "stage": scored.stage,
        "scores": {
            suite: {metric: {"value": number(i.value), "low": number(i.low), "high": number(i.high)} for metric, i in metrics.items()}
            for suite, metrics in scored.scores.items()
        },
        "latency_ms": {key: number(value) for key, value in scored.latency_ms.items()},
        "params": scored.params,
        "bytes": scored.bytes,
    }


def number(value: float | None) -> float | None:
    """`value`, or None when JSON has no way to write it."""
    return None if value is None or not math.isfinite(value) else value
