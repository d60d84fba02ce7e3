"""What earlier runs took: manifests of other runs in the same storage give the rates a plan reckons with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heliostat.core.manifest import read_json


@dataclass(frozen=True)
class Earlier:
    """One finished run, as far as rates need it."""

    manifests: dict[str, dict[str, Any]]

    def seconds(self, stage: str) -> float | None:
        """Seconds of a stage."""
        found = self.manifests.get(stage)
        return float(found["seconds"]) if found else None

    @property
    def rows(self) -> dict[str, int]:
        """Rows of each split."""
        return self.manifests["corpus"]["output"]["rows"]

    def row_seconds(self) -> float | None:
        """Seconds of one training row in one epoch, validation included: from the sweep when there is one."""
        tune, train = self.manifests.get("tune"), self.manifests.get("train")
        if tune:
            trials = [t for t in tune["output"]["trials"] if t["curve"]]
            trained = self.rows["train"] * sum(t["curve"][-1]["epoch"] for t in trials)  # whatever an update is made of
            return sum(t["busy_s"] for t in trials) / trained if trained else None
        if train:
            trained = self.rows["train"] * train["identity"]["config"]["epochs"]
            return train["seconds"] / trained if trained else None
        return None


def earlier(storage: Path, like: dict[str, Any]) -> Earlier | None:
    """The newest run in `storage` with the same model, task and packing as `like` (a `train` or `tune` identity's inputs)."""
    newest: tuple[float, Earlier] | None = None
    for run in storage.glob("*/run.json"):
        manifests = {m.parent.name: read_json(m) for m in run.parent.glob("*/manifest.json")}
        whole = {name: m for name, m in manifests.items() if isinstance(m, dict) and "output" in m}
        trained = whole.get("tune") or whole.get("train")
        if trained is None or "corpus" not in whole:
            continue
        inputs = trained["identity"]["inputs"]
        packing = (inputs.get("train") or trained["identity"]["config"]).get("packing", False)
        if (inputs.get("model"), inputs.get("task"), packing) != (like["model"], like["task"], like["packing"]):
            continue
        if newest is None or trained["finished_unix"] > newest[0]:
            newest = trained["finished_unix"], Earlier(whole)
    return newest[1] if newest else None
