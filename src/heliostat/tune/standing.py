"""Where every trial of a sweep stands, at any moment: the ledger's events, one by one, into trials.

The same events give the same trials, whether the sweep runs, was interrupted or is over. Cost per event does not grow
with the number of trials.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Literal

from heliostat.artifacts import Curve, Trial


class Standing(Trial):
    """One trial of a sweep that may still go on."""

    state: Literal["running", "paused", "completed", "stopped", "failed"]  # type: ignore[assignment]
    """running: a job was handed out; paused: it waits to be promoted; the others as in `Trial`."""
    reason: str | None = None
    """The word for its failure, such as diverged."""


class Standings:
    """Trials by number, in the order they began; `mode` is the metric's, `rungs` how many there are."""

    def __init__(self, *, mode: str, rungs: int, events: Iterable[dict[str, Any]] = ()):
        self.mode, self.rungs = mode, rungs
        self.trials: dict[int, Standing] = {}
        self.jobs: Counter[int] = Counter()
        """Jobs handed out at each rung (0-based)."""
        self.results: Counter[int] = Counter()
        """Jobs that have a result, at each rung."""
        for event in events:
            self.take(event)

    def take(self, event: dict[str, Any]) -> None:
        """One more event of the ledger; events of other kinds are passed over."""
        if event["event"] == "job":
            self.jobs[event["rung"]] += 1
            self._begins(event)
        elif event["event"] == "result":
            self.results[event["rung"]] += 1
            self._ends(event)

    def _begins(self, event: dict[str, Any]) -> None:
        number, before = event["trial"], self.trials.get(event["trial"])
        if before is None:
            nothing: dict[str, Any] = {"rung": 0, "best": None, "best_step": None, "curve": (), "busy_s": 0.0}
            before = Standing(number=number, settings=event.get("settings") or {}, state="running", **nothing)
        settings = event.get("settings") or before.settings
        self.trials[number] = before.model_copy(update={"state": "running", "settings": settings})

    def _ends(self, event: dict[str, Any]) -> None:
        before = self.trials[event["trial"]]
        if event["value"] is None:
            facts = {"state": "failed", "error": event.get("error"), "reason": event.get("reason")}
            self.trials[event["trial"]] = before.model_copy(update=facts | {"busy_s": before.busy_s + event["busy_s"]})
            return
        best = event["best"] or {}
        self.trials[event["trial"]] = before.model_copy(
            update={
                "state": "completed" if event["rung"] + 1 >= self.rungs else "paused",
                "rung": event["rung"] + 1,
                "value": event["value"],
                "best": best.get("value"),
                "best_step": best.get("step"),
                "curve": tuple(Curve(**point) for point in event["curve"]),
                "busy_s": event["busy_s"],
                "objectives": event.get("objectives") or {},
            }
        )
