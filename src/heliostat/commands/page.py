"""Where commands print what was asked for: stdout, as wide as the terminal, and wide enough for a pipe."""

from __future__ import annotations

import sys

from rich.console import Console

PIPE_WIDTH = 160


def page() -> Console:
    """A console on today's stdout; without colours and 160 columns wide when it is not a terminal."""
    return Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH, soft_wrap=False)
