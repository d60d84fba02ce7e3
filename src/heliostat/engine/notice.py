"""Notice that a worker has to leave: SIGTERM to its process, or a node that Ray drains (a spot node about to be taken away).

A signal is the process's, so what is remembered here is too. Ray's own handler would end the process in the middle of a step.
"""

from __future__ import annotations

import signal
import threading
from typing import Any

_given = threading.Event()


def heed() -> None:
    """From now on SIGTERM is a notice; called in the main thread of the process."""
    signal.signal(signal.SIGTERM, _hear)


def given() -> bool:
    """Whether this worker has to leave."""
    return _given.is_set() or _draining()


def forget() -> None:
    """Nothing was said."""
    _given.clear()


def _hear(number: int, frame: Any) -> None:
    _given.set()


def _draining() -> bool:
    """Whether Ray Train has marked this worker's group: it watches for nodes that Ray drains.

    The public `ray.train.get_preemption_info` says the same, and waits for every worker of the group each time.
    """
    from ray.train.v2._internal.execution.context import get_train_context

    try:
        return get_train_context().preemption_context.preemption_info is not None
    except RuntimeError:  # this process is no worker of a gang
        return False
