"""Which model is shipped: every branch of the rule, and the sentence that says why."""

from __future__ import annotations

import numpy as np
import pytest

from heliostat.artifacts import Interval, ModelScores
from heliostat.core.errors import RunFailed
from heliostat.report.config import GateConfig, ReportConfig
from heliostat.report.significance import mcnemar
from heliostat.report.verdict import Metric, check, general_changes, judge


def model(name, accuracy, size=100, ms=None, **general):
    scores = {} if accuracy is None else {"domain": {"accuracy": at(accuracy)}}
    scores |= {suite: {"accuracy": at(value)} for suite, value in general.items()}
    return ModelScores(name=name, stage="x", scores=scores, bytes=size, latency_ms={} if ms is None else {"p50": ms, "p99": 2 * ms})


def at(value):
    return Interval(value=value, low=value - 0.01, high=value + 0.01)


def decide(*models, base=None, mode="max", right=None, **config):
    return judge(list(models), base=base, metric=Metric("accuracy", mode), config=ReportConfig(**config), right=right or {})


def test_smallest_model_near_the_best_is_shipped():
    verdict = decide(model("big", 0.97, 300), model("small", 0.95, 50), model("tiny", 0.90, 10))
    assert (verdict.ship, verdict.best) == ("small", "big")
    assert "0.950" in verdict.because
    assert "97.9 % of the best (big, 0.970)" in verdict.because
    assert "at 17 % of its size" in verdict.because


def test_exactly_the_allowed_loss_is_near():
    assert decide(model("big", 1.0, 300), model("small", 0.75, 50), max_domain_loss=0.25).ship == "small"


def test_no_loss_allowed_ships_the_best():
    assert decide(model("big", 0.97, 300), model("small", 0.96, 50), max_domain_loss=0).ship == "big"


def test_latency_decides_between_equal_sizes():
    assert decide(model("slow", 0.97, 50, 9.0), model("fast", 0.96, 50, 3.0)).ship == "fast"


def test_a_smaller_model_that_fails_a_gate_is_passed_over():
    gate = GateConfig(metric="accuracy", min=0.96)
    assert decide(model("big", 0.97, 300), model("small", 0.95, 50), gates=[gate]).ship == "big"


def test_a_lower_score_is_shipped_when_only_it_passes():
    verdict = decide(model("big", 0.97, 300), model("tiny", 0.80, 10), gates=[GateConfig(metric="bytes", max=100)])
    assert verdict.ship == "tiny"
    assert verdict.passed
    assert "fail a gate" in verdict.because


def test_when_none_passes_the_best_is_named_with_what_failed():
    gates = [GateConfig(metric="accuracy", min=0.99), GateConfig(metric="bytes", max=1e6)]
    verdict = decide(model("small", 0.95, 50), model("big", 0.97, 300), gates=gates)
    assert verdict.ship == "big"
    assert not verdict.passed
    assert [g.passed for g in verdict.gates] == [False, True]
    assert "domain accuracy min 0.99 (it is 0.97)" in verdict.because


def test_lower_is_better():
    verdict = decide(model("a", 0.50, 300), model("b", 0.51, 50), model("c", 0.60, 10), mode="min")
    assert (verdict.ship, verdict.best) == ("b", "a")


def test_nan_never_wins():
    assert decide(model("nan", float("nan"), 1), model("good", 0.5, 50)).ship == "good"


def test_without_any_domain_score_the_run_fails():
    with pytest.raises(RunFailed, match="accuracy"):
        decide(model("a", None))


@pytest.mark.parametrize(
    ("gate", "value", "passed"),
    [
        (GateConfig(metric="accuracy", min=0.9), 0.95, True),
        (GateConfig(metric="accuracy", max=0.9), 0.95, False),
        (GateConfig(suite="tnews", metric="accuracy", max_drop=0.02), 0.01, True),
        (GateConfig(suite="tnews", metric="accuracy", max_drop=0.005), 0.01, False),
        (GateConfig(metric="accuracy", max_drop=0.0), -0.05, True),
        (GateConfig(metric="bytes", max_drop=10), -40.0, True),  # less is better: the base has 90, this one 50
        (GateConfig(metric="latency_ms_p50", max=5), 4.0, True),
        (GateConfig(metric="latency_ms_p99", max=5), 8.0, False),
        (GateConfig(metric="bytes", max=100), 50.0, True),
        (GateConfig(metric="params", min=1), 0.0, False),
        (GateConfig(metric="missing", min=0.1), None, False),
        (GateConfig(suite="nowhere", metric="accuracy", max_drop=0.5), None, False),
    ],
)
def test_gates(gate, value, passed):
    found = check(gate, model("m", 0.95, 50, 4.0, tnews=0.60), model("base", 0.90, 90, tnews=0.61))
    assert found.value == (None if value is None else pytest.approx(value))
    assert found.passed is passed


def test_a_drop_without_a_base_is_not_measured():
    found = check(GateConfig(metric="accuracy", max_drop=0.5), model("m", 0.95), None)
    assert (found.value, found.passed) == (None, False)


def test_sentence_names_the_worst_general_change_and_the_latency():
    base = model("base", 0.90, 90, 9.0, tnews=0.60, sts=0.80)
    verdict = decide(model("m", 0.95, 50, 4.0, tnews=0.59, sts=0.81), base=base)
    assert "a row takes 4 ms" in verdict.because
    assert "+0.050 on the domain and \u22120.010 on general ground (tnews, the lowest of 2 suites)" in verdict.because


def test_general_changes_leave_out_what_the_base_lacks():
    changes = general_changes(model("m", 0.95, tnews=0.5, new=0.4), model("base", 0.9, tnews=0.6), "accuracy")
    assert [(c.suite, round(c.gain, 6)) for c in changes] == [("tnews", -0.1)]


def test_a_small_difference_is_called_not_significant():
    first, second = np.ones(300, bool), np.ones(300, bool)
    second[:2] = False
    models = model("big", 0.97, 300), model("small", 0.965, 50)
    assert "not significant, p = 0.50" in decide(*models, right={"big": first, "small": second}).because
    second[:20] = False
    assert "the difference is significant, p < 0.001" in decide(*models, right={"big": first, "small": second}).because


def test_mcnemar_counts_only_rows_on_which_the_two_differ():
    first = np.array([1, 1, 1, 1, 0, 0, 1], bool)
    second = np.array([1, 0, 0, 0, 0, 1, 1], bool)
    paired = mcnemar(first, second)
    assert (paired.only_first, paired.only_second) == (3, 1)
    assert paired.p == pytest.approx(0.625)  # 2 * (1 + 4) / 2**4
