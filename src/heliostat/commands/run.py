"""`heliostat run`: one config on one layout, from data to report, in one folder that tells its whole story."""

from __future__ import annotations

import signal
import sys
import traceback
from pathlib import Path
from typing import Any, TextIO

from heliostat.commands.plan import expected, survey
from heliostat.commands.quiet import quiet
from heliostat.commands.request import Request
from heliostat.config import RunConfig
from heliostat.core.errors import GateFailed, HeliostatError, RunFailed
from heliostat.core.layout import Layout
from heliostat.core.manifest import read_json, write_json
from heliostat.core.progress import PlainProgress, Progress
from heliostat.core.provenance import describe
from heliostat.core.workspace import Decision, Workspace, changed_error
from heliostat.tracking import Tracking

DRIVER_LOG = "driver.log"


def run(request: Request) -> None:
    """Run or go on with the request; prints the run's folder. Raises `GateFailed` when the report's gates were not met."""
    config, layout, root = request.resolve()
    report = _finished(config, layout, root, request.replace)
    print(root, flush=True)
    if not report.passed:
        failed = "; ".join(f"{g.name}: {_number(g.value)}, the limit is {_number(g.limit)}" for g in report.gates if not g.passed)
        raise GateFailed(f"a gate was not met: {failed}. The report: {root / 'report' / 'index.html'}")


def finished(request: Request) -> Any:
    """The `Report` of the request, run now; progress is drawn on stderr."""
    config, layout, root = request.resolve()
    return _finished(config, layout, root, request.replace)


def _finished(config: RunConfig, layout: Layout, root: Path, replace: bool) -> Any:
    decisions, corpus = survey(config, layout, root)
    if not replace:
        refuse_changes(root, decisions)
    before = read_json(root / "run.json") or {}
    again = any(decision.name == "tune" and decision.state == "changed" for decision in decisions)
    expectation = expected(config, layout, root, corpus) if again or "expected" not in before else before["expected"]
    story = {"config": config.tree(), "layout": layout.dump(), "provenance": describe(), "expected": expectation}
    with Stoppable():
        return _watched(config, layout, root, replace, story)


def refuse_changes(root: Path, decisions: list[Decision]) -> None:
    """Refuse before anything starts when a stage on disk was made with other settings."""
    for decision in decisions:
        if decision.state == "changed":
            raise changed_error(root, decision)


def _watched(config: RunConfig, layout: Layout, root: Path, replace: bool, story: dict[str, Any]) -> Any:
    log = root / "logs" / DRIVER_LOG
    workspace = Workspace(root, config.seed, layout, replace=replace)
    with workspace, quiet(log) as person:
        show = progress_for(person)
        try:
            write_json(root / "run.json", story)
            return _told(config, workspace, root, show)
        except HeliostatError as error:
            traceback.print_exc()
            if isinstance(error, RunFailed):
                raise RunFailed(f"{error}\n  The log: {log}") from error
            raise
        except Exception as error:
            traceback.print_exc()
            first = (str(error).strip().splitlines() or [""])[0]
            raise RunFailed(f"{type(error).__name__}: {first}\n  The whole story is in {log}") from error
        finally:
            show.close()


def _told(config: RunConfig, workspace: Workspace, root: Path, show: Progress) -> Any:
    from heliostat import pipeline
    from heliostat.engine.driver import Engine

    workspace.show = show
    side_by_side = config.tune.side_by_side() if config.tune else 1
    with Tracking(config.trackers, root, config.tree(), show) as tracking:
        with Engine(workspace.layout, root, show=show, side_by_side=side_by_side) as engine:
            engine.listeners.append(tracking.heard)
            workspace.engine = engine
            report = pipeline.story(config, workspace.do)
        tracking.finish(report)
        return report


def progress_for(stream: TextIO) -> Progress:
    """A live display on a terminal, plain lines elsewhere."""
    if not stream.isatty():
        return PlainProgress(stream)
    from heliostat.commands.display import LiveProgress

    return LiveProgress(stream)


class Stoppable:
    """The first Ctrl-C or SIGTERM ends the run cleanly; the second one ends the process at once."""

    def __enter__(self) -> None:
        self.before = {s: signal.signal(s, self._stop) for s in (signal.SIGINT, signal.SIGTERM)}

    asked: int | None = None

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        if self.asked == signal.SIGTERM and kind is SystemExit:  # Ray turns what is raised while it waits into an exit of its own
            sys.exit(128 + self.asked)

    def _stop(self, number: int, frame: Any) -> None:
        self.asked = number
        signal.signal(number, signal.SIG_DFL)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(128 + number)


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.6g}"
