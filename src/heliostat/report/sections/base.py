"""Contract of the page's sections.

A section turns the evidence into markup that stands alone: no address outside the page, everything from data escaped. It
gives "" when there is nothing to say, and is then left out of the page and of its navigation.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from heliostat.core.family import Member
from heliostat.report.evidence import Evidence


class Base(Member):
    """One part of the page."""

    title: ClassVar[str]
    """Its heading and its entry in the navigation."""
    order: ClassVar[int]
    """Sections are laid from the lowest to the highest."""

    @abstractmethod
    def render(self, evidence: Evidence) -> str:
        """The section's inside as HTML, or "" to be left out."""
