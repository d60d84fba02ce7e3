"""A sweep's ledger, event by event, into trials."""

from __future__ import annotations

from typing import Any

from heliostat.tune.standing import Standings

POINT = {"step": 4, "epoch": 0.5, "value": 0.8, "loss": 0.4}


def job(trial: int, rung: int, **settings: Any) -> dict[str, Any]:
    return {"event": "job", "trial": trial, "rung": rung, **({"settings": settings} if settings else {})}


def result(trial: int, rung: int, value: float | None, **facts: Any) -> dict[str, Any]:
    best = None if value is None else {"value": -value, "step": 4}
    curve = [] if value is None else [POINT]
    return {
        "event": "result",
        "trial": trial,
        "rung": rung,
        "value": value,
        "best": best,
        "curve": curve,
        "busy_s": 2.0,
        "error": None,
        **facts,
    }


def test_a_trial_runs_pauses_and_completes() -> None:
    standings = Standings(mode="min", rungs=2)
    seen = []
    for event in (job(0, 0, lr=0.1), result(0, 0, -0.5, objectives={"bytes": 3.0}), job(0, 1), result(0, 1, -0.4, busy_s=5.0)):
        standings.take(event)
        seen.append(standings.trials[0].state)
    trial = standings.trials[0]
    assert seen == ["running", "paused", "running", "completed"]
    assert (trial.rung, trial.best, trial.best_step, trial.value, trial.busy_s) == (2, 0.4, 4, -0.4, 5.0)
    assert trial.settings == {"lr": 0.1}
    assert trial.curve[0].epoch == 0.5
    assert (standings.jobs, standings.results) == ({0: 1, 1: 1}, {0: 1, 1: 1})


def test_a_failure_keeps_what_was_reached_and_why() -> None:
    events = [job(3, 0, lr=0.1), result(3, 0, 0.7), job(3, 1), result(3, 1, None, error="loss is NaN", reason="diverged", busy_s=1.0)]
    trial = Standings(mode="max", rungs=3, events=events).trials[3]
    assert (trial.state, trial.rung, trial.value, trial.busy_s) == ("failed", 1, 0.7, 3.0)
    assert (trial.error, trial.reason) == ("loss is NaN", "diverged")


def test_settings_may_change_on_the_way_and_other_events_are_passed_over() -> None:
    events = [job(0, 0, lr=0.1), {"event": "confirm", "trial": 0, "rep": 0, "value": 0.9}, result(0, 0, 0.7), job(0, 1, lr=0.2)]
    standings = Standings(mode="max", rungs=3, events=events)
    assert standings.trials[0].settings == {"lr": 0.2}
    assert standings.trials[0].state == "running"
    assert len(standings.trials) == 1


def test_what_did_not_change_stays_the_same_object() -> None:
    standings = Standings(mode="max", rungs=2, events=[job(0, 0, lr=0.1), job(1, 0, lr=0.2)])
    first, second = standings.trials[0], standings.trials[1]
    standings.take(result(1, 0, 0.5))
    assert standings.trials[0] is first
    assert standings.trials[1] is not second
