"""The base of what stages exchange, and how it comes back from a manifest. The vocabulary itself is `heliostat.artifacts`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class Artifact(BaseModel):
    """What a stage gives. `kind` names the class in a manifest; `fingerprint` is that of the stage that made it."""

    model_config = ConfigDict(frozen=True)
    kind: str
    fingerprint: str

    def summary(self) -> str:
        """One short sentence for the terminal."""
        return ""


class Pending(Artifact):
    """Stands for an artifact that a plan has not made; any part of it is pending too."""

    kind: Literal["pending"] = "pending"

    def best(self, n: int) -> list[Pending]:
        """The best `n` of a sweep that has not run."""
        return [Pending(fingerprint=f"{self.fingerprint}/best-{i}") for i in range(n)]


def open_artifact(value: dict[str, Any]) -> Artifact:
    """An artifact from the plain JSON of a manifest; its `kind` says which class it is."""
    kinds = {kind.model_fields["kind"].default: kind for kind in Artifact.__subclasses__()}
    return kinds[value["kind"]].model_validate(value)
