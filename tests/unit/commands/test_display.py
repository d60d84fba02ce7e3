"""The live display: what a state looks like at 80 columns, as text."""

from __future__ import annotations

import io
import random
import time
from collections import Counter

from rich.console import Console

from heliostat.commands.display import SHOWN_TRIALS, Board, Line, LiveProgress, TrialLine, clock, draw, told_settings
from heliostat.core.progress import PlainProgress


def text(lines: list[Line], trials: list[TrialLine], width: int = 80, messages: list[str] | None = None) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(draw(lines, board(trials), messages or [], 100.0, width))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def board(trials: list[TrialLine], mode: str = "max") -> Board:
    made = Board(mode)
    for line in trials:
        made.change(line.number, line.state, line.info)
    return made


def trial(number: int, state: str, value: float | None = None) -> TrialLine:
    return TrialLine(
        number, state, {"rung": 1, "settings": {"train.optimizer.lr": 1.234567e-4}, **({"value": value} if value is not None else {})}
    )


def test_stages_bar_rate_and_time_left() -> None:
    running = Line("tune", "run", "not done yet", began=10.0, done=30, total=60, unit="rungs", note="best 0.97", first=(40.0, 0.0))
    told = text([Line("corpus", "kept", "finished in 12 s", 0.0), Line("base", "done", "accuracy 0.4", 0.0, seconds=75.2), running], [])
    assert told[0].split() == "· corpus kept finished in 12 s".split()
    assert "1:15" in told[1]
    assert "1:30" in told[2]
    assert "best 0.97" in told[2]
    assert "30/60 rungs  0.5 rungs/s  1:00 left" in told[3]


def test_nothing_is_wider_than_the_terminal() -> None:
    long = Line("evaluate-base", "done", "word " * 60, 0.0, seconds=1.0)
    trials = [TrialLine(i, "running", {"settings": {f"train.a.b{j}": 0.123456 for j in range(30)}}) for i in range(20)]
    for width in (40, 80, 200):
        told = text([long, Line("tune", "run", "", 0.0, total=5, unit="rungs")], trials, width, ["message " * 40])
        assert max(map(len, told)) <= width
        assert len(told) < 16


def test_the_best_trial_is_always_shown() -> None:
    trials = [trial(0, "paused", 0.99), *(trial(i, "running") for i in range(1, 9))]
    made = board(trials)
    assert made.best is not None
    assert made.best.number == 0
    assert made.best in made.shown()
    told = text([Line("tune", "run", "", 0.0)], trials)
    assert any(line.split()[:2] == ["★", "0000"] for line in told)
    assert "3 not shown" in told[-1]
    smallest = board([trial(1, "paused", 0.2), trial(2, "paused", 0.1), trial(3, "failed", float("nan"))], "min")
    assert smallest.best is not None
    assert smallest.best.number == 2


def test_the_board_is_right_after_any_changes() -> None:
    """Against a scan of all trials: values rise and fall, states come and go."""
    dice = random.Random(3)
    made, mode = Board(), "max"
    for _ in range(3000):
        info = {"value": round(dice.random(), 2)} if dice.random() < 0.7 else {}
        made.change(dice.randrange(60), dice.choice(["running", "paused", "failed"]), info | {"mode": mode})
        if dice.random() < 0.001:
            mode = "min" if mode == "max" else "max"
    sign = 1 if made.mode == "min" else -1
    ranked = sorted((t for t in made.trials.values() if t.value is not None), key=lambda t: (sign * (t.value or 0.0), t.number))
    assert made.leaders == ranked[:SHOWN_TRIALS]
    assert +made.counts == Counter(t.state for t in made.trials.values())
    assert set(made.running) == {t.number for t in made.trials.values() if t.state == "running"}
    assert made.best in made.shown()
    assert len(made.shown()) == SHOWN_TRIALS


def test_many_trials_cost_no_more_to_draw() -> None:
    def seconds(count: int) -> float:
        made = board([trial(i, "paused" if i % 400 else "running", (i * 7919 % count) / count) for i in range(count)])
        line = Line("tune", "run", "", 0.0, total=count, unit="rungs")
        began = time.perf_counter()
        for _ in range(5):
            made.change(count // 2, "paused", {"value": 0.5})
            draw([line], made, [], 100.0, 80)
        return time.perf_counter() - began

    few = min(seconds(20) for _ in range(3))
    assert min(seconds(5000) for _ in range(3)) < 5 * few + 0.01


def test_objectives_are_told_before_the_settings() -> None:
    line = trial(4, "paused", 0.9)
    line.info["objectives"] = {"latency_ms": 9.3}
    told = text([Line("tune", "run", "", 0.0)], [line], width=100)
    assert "objectives, settings" in told[1]
    assert "latency_ms=9.3  lr=0.000123" in told[2]


def test_trials_of_an_earlier_attempt_are_on_the_board() -> None:
    show = LiveProgress(io.StringIO(), Console(file=io.StringIO(), width=80))
    show.stage("tune", "resume", "not done yet")
    show.earlier([(0, "paused", {"rung": 1, "value": 0.5}), (1, "completed", {"rung": 3, "value": 0.8})])
    assert show.board.best is not None
    assert show.board.best.number == 1
    assert show.board.counts == {"paused": 1, "completed": 1}
    show.close()
    log = io.StringIO()
    PlainProgress(log).earlier([(0, "paused", {}), (1, "completed", {}), (2, "paused", {})])
    assert log.getvalue() == "trials from before: 1 completed, 2 paused\n"


def test_words() -> None:
    assert [clock(s) for s in (3.14, 59.94, 75, 3725)] == ["3.1 s", "59.9 s", "1:15", "1:02:05"]
    assert told_settings({"train.optimizer.lr": 1.234567e-4, "train.clip": None}) == "lr=0.000123 clip=None"
    assert (
        told_settings({"train.schedule": {"use": "cosine"}, "a.b": {"use": "sgd", "momentum": 0.9}})
        == "schedule=cosine b=sgd(momentum=0.9)"
    )


def test_a_whole_run_ends_as_a_summary() -> None:
    stream = io.StringIO()
    show = LiveProgress(stream, Console(file=stream, width=80, force_terminal=True, highlight=False))
    show.stage("corpus", "kept", "finished in 2 s")
    show.stage("tune", "run", "not done yet")
    show.update("tune", 1, 4, "rungs", "best 0.9")
    show.trial(0, "running", {"settings": {"train.optimizer.lr": 0.1}})
    show.message("trial 0001 stopped")
    show.done("tune", 12.0, "4 trials")
    show.stage("report", "run", "not done yet")
    show.close()
    end = stream.getvalue()[-400:]
    for word in ("4 trials", "12.0 s", "trial 0001 stopped", "stopped"):
        assert word in end
