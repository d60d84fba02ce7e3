"""How a gang comes back: Ray Train starts its workers again, and the mailbox says whether it may.

Ray Train's own counts of failures are off: it cannot know which order a worker died on, nor whether it was told to leave.
"""

from __future__ import annotations

from typing import Any

import ray
from ray.train import UserCallback

from heliostat.core.errors import RunFailed
from heliostat.engine import failures

ANSWER_S = 60.0


class Restarts(UserCallback):
    """Runs in Ray Train's controller; an exception that leaves it ends the gang."""

    def __init__(self, mailbox: Any):
        self.mailbox = mailbox

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Tell the mailbox that the group fell, before another one is started."""
        why = ray.get(self.mailbox.fell.remote(failures.fallen(worker_exceptions)), timeout=ANSWER_S)
        if why is not None:
            raise RunFailed(why)
