"""What is done about an order that failed: pure decisions over the replies of its tries. The mailbox acts on them.

| what happened | what is done |
|---|---|
| the request cannot work, the training diverged | told at once, never tried again |
| an exception | tried again; the same one from the same place: given up |
| out of memory, or lost twice without getting farther | tried again with half the rows per forward pass, down to one |
| no progress | tried again in a new group; the second time: given up |
| its workers died | tried again, a bounded number of times |
| a worker was told to leave | goes on elsewhere, and is not charged |
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from heliostat.core.errors import Diverged, UserError
from heliostat.core.manifest import fingerprint
from heliostat.engine.orders import Reply, Stopped

MAX_TRIES = 3
"""Tries of an order that are charged, before it is given up."""
NO_MEMORY = re.compile(r"out of memory|can.?t allocate memory|cannot allocate memory|STATUS_ALLOC_FAILED", re.IGNORECASE)
NO_PEER = re.compile(r"closed by peer|connection (was )?(closed|reset|refused)|broken pipe|gloo|nccl", re.IGNORECASE)
KILLED_FOR_MEMORY = "running low on memory"
"""What Ray's memory monitor says of a worker that it killed."""
ON_A_GPU = re.compile(r"\b(CUDA|HIP) error: ")
"""How torch begins the line of its message that says what went wrong on a GPU; lines of advice follow it."""
SMALLEST = (
    "it does not fit, with one row per forward pass. Let it see fewer tokens (task.max_tokens), set train.gradient_checkpointing, train"
    " adapters (train.adapter), or divide its states among more workers (layout.zero, layout.workers)."
)

DIED = f"its workers died {MAX_TRIES} times while working on it (out of memory?); see the logs of the gang"


@dataclass(frozen=True)
class Again:
    """The order is given again."""

    said: str
    """What is told about it."""
    smaller: bool = False
    """With half the rows per forward pass, which changes nothing of its result."""


@dataclass(frozen=True)
class GiveUp:
    """The order has failed."""

    reply: Reply


class Left(Exception):
    """A worker left its group on purpose; `reason` is that of a `Reply`."""

    def __init__(self, reason: str, said: str):
        super().__init__(reason, said)
        self.reason = reason

    def __str__(self) -> str:
        return str(self.args[1])


def decide(tries: Sequence[Reply], *, divisible: bool) -> Again | GiveUp:
    """What follows on the last of `tries`, all of one order in one size; `divisible` says whether it can be made smaller."""
    last, before = tries[-1], tries[:-1]
    at = f" at step {last.step}" if last.step else ""
    if last.reason == "preempted":
        return Again(f"a worker was told to leave{at}; the order goes on in a new group")
    if last.reason == "memory":
        return _in_less(last, f"out of memory{at}", divisible)
    seen = {(t.reason, t.mark) for t in before}
    if last.reason in ("exception", "hang") and (last.reason, last.mark) not in seen and _charged(tries) < MAX_TRIES:
        return Again(f"{last.error}{at}; {'its workers are started again' if last.reason == 'hang' else 'tried again'}")
    if last.reason == "lost":
        stuck = any(t.reason == "lost" and t.step >= last.step for t in before)
        if stuck and divisible:
            return _in_less(last, f"workers died twice and got no farther than step {last.step} (out of memory?)", divisible)
        if _charged(tries) < MAX_TRIES:
            return Again(f"workers died{at} ({last.error}); they are started again")
        return GiveUp(last.model_copy(update={"error": DIED}))
    return GiveUp(last)


def _charged(tries: Sequence[Reply]) -> int:
    return sum(t.reason != "preempted" for t in tries)


def _in_less(last: Reply, what: str, divisible: bool) -> Again | GiveUp:
    if divisible:
        return Again(f"{what}; tried again with half the rows per forward pass, which gives the same updates", smaller=True)
    return GiveUp(last.model_copy(update={"reason": "memory", "error": f"{last.error}: {SMALLEST}"}))


def failed(error: Exception, *, alone: bool, seconds: float = 0.0, step: int = 0) -> Reply:
    """The reply of a try that ended in `error`; `alone` when the gang has no other worker whose loss could be the cause."""
    found: dict[str, Any] = {"error": str(error), "seconds": seconds, "step": step}
    if isinstance(error, Stopped):
        return Reply(**found, reason="preempted")
    if isinstance(error, Diverged):
        return Reply(**found, reason="diverged")
    if isinstance(error, UserError):
        return Reply(**found, reason="request")
    found["error"] = one_line(error)
    if _is_memory(error):
        return Reply(**found, reason="memory")
    if not alone and _is_broken_peer(error):
        return Reply(**found, reason="lost")
    return Reply(**found, reason="exception", mark=mark_of(error))


def fallen(errors: Mapping[int, Exception]) -> Reply:
    """What it means that a group fell; `errors` is what Ray Train says of its workers, by rank."""
    causes = {rank: getattr(error, "health_check_failure", error) for rank, error in sorted(errors.items())}
    died = {rank: cause for rank, cause in causes.items() if cause is not errors[rank]}
    rank, cause = next(iter((died or causes).items()))
    if any(getattr(c, "preempted", False) for c in died.values()):
        return Reply(reason="preempted", error="its node was taken away")
    if any(type(c).__name__ == "OutOfMemoryError" or KILLED_FOR_MEMORY in str(c) for c in died.values()):
        return Reply(reason="memory", error="killed because its node was running low on memory")
    if not died and all(isinstance(c, Left) and c.reason == "preempted" for c in causes.values()):
        return Reply(reason="preempted", error=str(cause))
    return Reply(reason="lost", error=f"rank {rank}: {_how_died(cause) if died else one_line(cause)}")


def mark_of(error: BaseException) -> str:
    """Stands for the type of an exception and every line of code it passed: the same failure has the same mark."""
    lines = [(frame.filename, frame.lineno, frame.name) for frame in traceback.extract_tb(error.__traceback__)]
    return fingerprint([type(error).__qualname__, [list(line) for line in lines]])


def one_line(error: BaseException) -> str:
    """An exception as `Type: message`, without its traceback: of a long message the line that tells the cause, usually the last."""
    text = [line for line in str(error).strip().splitlines() if "For further information visit" not in line]  # pydantic ends with a link
    cause = next((line for line in text if ON_A_GPU.search(line)), text[-1] if text else "")
    return f"{type(error).__name__}: {cause.strip()}"


def _is_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__):
        return True
    return isinstance(error, RuntimeError | OSError) and NO_MEMORY.search(str(error)) is not None


def _is_broken_peer(error: BaseException) -> bool:
    """Whether a collective failed because another worker is gone: what that worker says, or how it died, is the cause."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return "DistError" in kinds or (isinstance(error, RuntimeError) and NO_PEER.search(str(error)) is not None)


def _how_died(cause: BaseException) -> str:
    """The sentence of Ray's account of a dead actor that says how."""
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    told = [line for line in lines if not re.match(r"(class_name|actor_id|pid|name|namespace|ip):", line)]
    return f"{type(cause).__name__}: {(told[1:] or told or [''])[0][:200]}"
