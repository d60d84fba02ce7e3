"""The one metric channel, seen from the driver: what the gangs post comes to the listeners, off everyone's path.

Emptying a mailbox is asked for and awaited apart: an answer that is late is taken the next time and not lost, and a gang
whose mailbox is gone holds up nobody else's events.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

EVERY_S = 0.5
"""How often mailboxes are emptied."""
ANSWER_S, LAST_S = 1.0, 10.0
"""Seconds their answers are awaited at a time, and of a gang that leaves."""

Listener = Callable[[dict[str, Any]], None]


class Channel:
    """Empties the mailboxes of gangs. `gangs()` gives those there are now, `tell` takes each event, in the order a gang posted them."""

    def __init__(self, gangs: Callable[[], Iterable[Any]], tell: Listener):
        self._gangs, self._tell = gangs, tell
        self._asked: dict[str, Any] = {}
        """Gang to the answer that is awaited from its mailbox."""
        self._taking = threading.Lock()
        self._closing = threading.Event()
        self._watcher: threading.Thread | None = None

    def open(self) -> None:
        """Begin to watch; safe to call twice."""
        if self._watcher is None:
            self._watcher = threading.Thread(target=self._watch, name="watch", daemon=True)
            self._watcher.start()

    def close(self) -> None:
        """Stop watching; `leave` goes on to work."""
        self._closing.set()
        if self._watcher is not None:
            self._watcher.join()

    def _watch(self) -> None:
        while not self._closing.wait(EVERY_S):
            self.take(*self._gangs())

    def leave(self, gang: Any) -> None:
        """Hand on the last that a gang has posted."""
        for _ in range(2):  # the first answer may be to a question of before its last words
            self.take(gang, wait_s=LAST_S)

    def take(self, *gangs: Any, wait_s: float = ANSWER_S) -> None:
        """Hand on what these gangs have posted, as far as their mailboxes answer."""
        import ray

        with self._taking:
            for gang in gangs:
                if gang.name not in self._asked and gang.mailbox is not None:
                    self._asked[gang.name] = gang.mailbox.drain.remote()
            names = {answer: name for name, answer in self._asked.items()}
            if not names:
                return
            try:
                ready, _ = ray.wait(list(names), num_returns=len(names), timeout=wait_s)
            except ray.exceptions.RayError:  # the cluster is gone, and with it what was not taken
                self._asked.clear()
                return
            for answer in ready:
                del self._asked[names[answer]]
                try:
                    events = ray.get(answer)
                except ray.exceptions.RayError:  # the mailbox went with its node
                    continue
                for event in events:
                    self._tell(event)
