"""The heartbeat of a worker: a thread that tells the mailbox what got done, and hears from it when to leave.

What counts is progress, not life: a worker that waits for ever inside a collective has a healthy heartbeat thread and no
marks of progress. Its stacks are written by faulthandler's own thread, which needs neither the GIL nor the main thread,
so a worker that hangs inside C code is caught as well.
"""

from __future__ import annotations

import faulthandler
import threading
import time
from typing import Any

import ray

from heliostat.engine import notice
from heliostat.engine.pulse import OPENING_S, Pulse

BEAT_S = 1.0
LONG_S = 30.0
"""Seconds after which a model that is still being opened is told."""
ANSWER_S = 30.0
"""Seconds the mailbox is waited for."""
STDERR = 2


class Heartbeat:
    """One worker's; it runs as long as the worker takes orders."""

    def __init__(self, mailbox: Any, pulse: Pulse, rank: int, life: int, hang_s: float | None):
        self.mailbox, self.pulse, self.rank, self.life, self.hang_s = mailbox, pulse, rank, life, hang_s
        self._ended = threading.Event()
        self._armed_at: int | None = None
        self._waits = 0
        """Beats that count as progress, for a model was being opened."""
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> Heartbeat:
        """Begin to beat."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Beat no more."""
        self._ended.set()
        faulthandler.cancel_dump_traceback_later()

    def _run(self) -> None:
        while not self._ended.wait(BEAT_S):
            self.beat()

    def beat(self) -> None:
        """One beat."""
        pulse, opening = self.pulse, self.pulse.opening
        taken = 0.0 if opening is None else time.monotonic() - opening[1]
        self._waits += 0 < taken < OPENING_S
        self._guard()
        if notice.given():
            pulse.leaving = True
        try:
            if opening and taken > LONG_S:
                self.mailbox.opening.remote(opening[0], taken)
            told = self.mailbox.beat.remote(self.rank, self.life, self.marks, pulse.number, pulse.step)
            pulse.leaving = ray.get(told, timeout=ANSWER_S) or pulse.leaving
        except ray.exceptions.RayActorError:  # nobody wants this gang any more
            pulse.leaving = True
            self._ended.set()
        except ray.exceptions.RayError:
            return  # the cluster is slow; what got done is told with the next beat

    @property
    def marks(self) -> int:
        """Grows with everything that gets done, and while a model may be being downloaded."""
        return self.pulse.marks + self._waits

    def _guard(self) -> None:
        """All stacks are written to the log once nothing was done for `hang_s`; each mark of progress starts the wait anew."""
        if self.hang_s is None:
            return
        if not self.pulse.working:
            if self._armed_at is not None:
                faulthandler.cancel_dump_traceback_later()
            self._armed_at = None
        elif self._armed_at != self.marks:
            self._armed_at = self.marks
            faulthandler.dump_traceback_later(self.hang_s, file=STDERR)
