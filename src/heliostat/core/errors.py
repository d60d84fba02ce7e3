"""Errors a person reads, and the exit codes they end in.

An error says what was given, what is allowed, the nearest valid thing and the next step. `UserError` collects
every problem of a request, so that all are shown at once.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

EXIT_OK, EXIT_WRONG_REQUEST, EXIT_GATE, EXIT_FAILED, EXIT_INTERRUPTED = 0, 2, 3, 4, 130


class HeliostatError(Exception):
    """Base of every error Heliostat raises on purpose; `exit_code` is the process's exit status."""

    exit_code = EXIT_FAILED


class UserError(HeliostatError, ValueError):
    """The request was wrong: nothing was started (exit 2)."""

    exit_code = EXIT_WRONG_REQUEST

    def __init__(self, problems: str | Sequence[str]):
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class OptionError(UserError):
    """Options of one part are wrong: every problem begins with the path below the part, so that its own place can go before it."""


class GateFailed(HeliostatError):
    """The run finished, and a gate of the config was not met (exit 3)."""

    exit_code = EXIT_GATE


class RunFailed(HeliostatError):
    """The run could not finish (exit 4)."""


class Diverged(HeliostatError):
    """A training's numbers are not numbers any more; the message says which, where, and what to change."""

    def __init__(self, what: str, step: int | None = None, lr: float = 0.0, rows: Sequence[str] = ()):
        advice = "Lower train.optimizer.lr, raise train.schedule.warmup, or set train.clip."
        batch = f", on the batch that begins with rows {', '.join(rows)}" if rows else ""
        super().__init__(what if step is None else f"{what} at step {step} with learning rate {lr:.3g}{batch}. {advice}")


def nearest(given: str, allowed: Iterable[str]) -> str | None:
    """The allowed word closest to `given`, or None when nothing is close."""
    matches = difflib.get_close_matches(given, list(allowed), n=1, cutoff=0.5)
    return matches[0] if matches else None


def unknown(what: str, given: str, allowed: Iterable[str]) -> str:
    """One sentence: `what` does not know `given`; the nearest valid name and all the valid ones."""
    allowed = sorted(allowed)
    close = nearest(given, allowed)
    hint = f" Did you mean '{close}'?" if close else ""
    return f"{what} '{given}' is not known.{hint} Allowed: {', '.join(allowed) or '(none)'}."
