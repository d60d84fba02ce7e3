"""Contract of adapters."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from heliostat.core.family import Member

Shapes = Mapping[str, tuple[int, ...]]
"""Name of a module that holds a matrix to the matrix's shape."""


class Base(Member):
    """Little is trained beside frozen weights: the adapter and the new head. A checkpoint holds only what was trained."""

    merges: ClassVar[bool] = True
    """Whether it can be folded into the weights; otherwise the export is an adapter folder that `peft` opens."""

    @abstractmethod
    def put_in(self, module: Any, head: list[str]) -> Any:
        """`module` with the adapter in place and everything frozen but it and the `head` (names of child modules).

        Its first values come from torch's generator. `UserError` when no module fits.
        """

    @abstractmethod
    def adds(self, shapes: Shapes) -> int:
        """Parameters it adds to a model with these matrices."""

    def problems(self, shapes: Shapes, positions: int | None, task: Any) -> list[str]:
        """Why it cannot be put into a model with these matrices (none when they are not known), each beginning with an option's name.

        `positions` is the most tokens the model can read; None when nothing limits it, or it is not known.
        """
        return []
