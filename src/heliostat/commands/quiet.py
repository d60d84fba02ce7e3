"""While a run is on, whatever libraries write to stdout or stderr goes to a log; only the display reaches the terminal.

The file descriptors themselves are turned, so that what C++ code and child processes write is caught too.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


@contextmanager
def quiet(log: Path) -> Iterator[TextIO]:
    """Send stdout and stderr to `log`; gives a stream to the stderr the person sees."""
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    streams = sys.stdout, sys.stderr
    person = os.fdopen(os.dup(saved[1]), "w", encoding="utf-8", errors="replace", buffering=1)
    chatter = log.open("a", encoding="utf-8", errors="replace", buffering=1)
    os.dup2(chatter.fileno(), 1)
    os.dup2(chatter.fileno(), 2)
    sys.stdout = sys.stderr = chatter
    handler = logging.StreamHandler(chatter)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    try:
        yield person
    finally:
        logging.getLogger().removeHandler(handler)
        chatter.flush()
        sys.stdout, sys.stderr = streams
        os.dup2(saved[0], 1)
        os.dup2(saved[1], 2)
        for fd in saved:
            os.close(fd)
        person.close()
        # `chatter` stays open: threads of libraries may still hold it and write their last words.
