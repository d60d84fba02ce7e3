"""What the training thread of a worker and its heartbeat tell each other."""

from __future__ import annotations


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

    def begin(self, number: int) -> None:
        """An order begins."""
        self.number, self.step = number, 0
        self.working = True
        self.mark()

    def end(self) -> None:
        """The order is over."""
        self.working = False

    def mark(self, step: int | None = None) -> None:
        """Something got done; `step` when it is an update."""
        self.marks += 1
        if step is not None:
            self.step = step
