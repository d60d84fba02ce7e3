"""What the training thread of a worker and its heartbeat tell each other."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

OPENING_S = 7200.0
"""Seconds that a model may take to be opened, which may have to be downloaded, before that counts as no progress."""


class Pulse:
    """Marks of progress one way, the wish that it leaves the other. Each field is written by one thread only."""

    def __init__(self) -> None:
        self.number = -1
        """The order at hand."""
        self.working = False
        self.marks = 0
        """Grows with everything that gets done: a forward pass, a collective, an update."""
        self.step = 0
        """Updates the training at hand has made."""
        self.leaving = False
        """The training is to stop after the update at hand and save."""
        self.opening: tuple[str, float] | None = None
        """A model that is being opened, and since when."""

    def begin(self, number: int) -> None:
        """An order begins."""
        self.number, self.step = number, 0
        self.working = True
        self.mark()

    def end(self) -> None:
        """The order is over."""
        self.working = False

    @contextmanager
    def opens(self, model: str) -> Iterator[None]:
        """A model is opened meanwhile: it takes its time and does not tell how far it is."""
        self.opening = (model, time.monotonic())
        try:
            yield
        finally:
            self.opening = None
            self.mark()

    def mark(self, step: int | None = None) -> None:
        """Something got done; `step` when it is an update."""
        self.marks += 1
        if step is not None:
            self.step = step
