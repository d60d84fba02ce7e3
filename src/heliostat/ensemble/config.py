"""Settings of the ensemble."""

from __future__ import annotations

from pydantic import Field

from heliostat.core.family import In
from heliostat.core.settings import Settings

VERSION = 1


class EnsembleConfig(Settings):
    """Which of the best trials answer together, and with what weights; decided on validation predictions."""

    candidates: int = Field(4, ge=1)
    """Best trials to choose from."""
    combiner: In["ensemble.combiners"] = "greedy"
    """Member of ensemble/combiners."""
