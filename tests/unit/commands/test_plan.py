"""What a plan says of a sweep: rungs, time, disk, money, and what holds it back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from heliostat.artifacts import Spent
from heliostat.commands import plan
from heliostat.commands.estimates import Rows
from heliostat.commands.history import Earlier
from heliostat.config import read_config
from heliostat.core.artifact import Pending
from heliostat.core.layout import Layout

ROWS = Rows(200, {"train": 160, "valid": 20, "test": 20}, True)
SWEEP = "tune={trials: 27, finalists: 3, scheduler: {use: asha, eta: 3, first: 0.1111111}, confirm: {seeds: 3}}"


def measured(seconds: float, epochs: float) -> Earlier:
    """An earlier run whose only trial took so many seconds for so many epochs."""
    trials = [{"curve": [{"step": 3, "epoch": epochs}], "busy_s": seconds}, {"curve": [], "busy_s": 9.0}]
    tune = {"output": {"trials": trials}}
    return Earlier({"tune": tune, "corpus": {"output": {"rows": {"train": 160}}, "seconds": 3.0}})


def costs(config: Path, *assignments: str, layout: Layout | None = None, before: Earlier | None = None) -> plan.Costs:
    layout = layout or Layout(local_cpus=2)
    return plan.Costs(read_config(config, assignments, layout), layout, ROWS, before)


def test_a_sweep_is_told_with_its_rungs_time_disk_and_money(tiny_config: Path) -> None:
    layout = Layout(local_cpus=2, cost_per_hour=36.0)
    found = costs(tiny_config, SWEEP, layout=layout, before=measured(10.0, 1.0))
    (told,) = found.told_sweep()
    assert told.startswith("sweep    27 trials: 27 to 1/9, ")
    assert "9 more to confirm the finalists" in told
    assert "side by side" in told
    assert "of checkpoints at most" in told
    assert found.sweep
    assert found.sweep.wall_s
    assert f"cost {found.sweep.wall_s / 100:.2f}" in told
    assert found.seconds("tune") == found.sweep.wall_s
    assert found.sweep.trainings * 40 / 2 <= found.sweep.wall_s <= found.sweep.trainings * 40, "40 s for 4 epochs, on two slots"
    assert "1/9" in told
    assert found.work("tune").startswith("27 trials of 80 steps; ")


def test_a_rate_is_that_of_the_rows_a_trial_went_through_whatever_its_batches_were() -> None:
    assert measured(10.0, 1.0).row_seconds() == 10 / 160
    assert measured(10.0, 2.0).row_seconds() == 10 / 320


def test_places_that_would_stay_empty_are_named(tiny_config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    wide = Layout(address="auto", gangs=16)
    *_, told = costs(tiny_config, SWEEP, layout=wide).told_sweep()
    assert "decision_lag 3 lets 4 trainings run side by side, and this layout holds 16" in told
    assert "decision_lag to 15" in told
    for lag in ("15", "null"):
        assert len(costs(tiny_config, SWEEP, f"tune.scheduler.decision_lag={lag}", layout=wide).told_sweep()) == 1
    unknown = costs(tiny_config, SWEEP, layout=Layout(address="auto"), before=measured(10.0, 1.0))
    assert unknown.slots() is None
    assert unknown.seconds("tune") is None
    assert "as many trainings side by side as the cluster holds" in unknown.width()


def test_steps_and_corpora_of_a_sweep_that_searches_them(tiny_config: Path) -> None:
    space = "tune.space={train.batch: {choice: [8, 16]}, corpus.filters.1.min_characters: {choice: [2, 9]}}"
    found = costs(tiny_config, space, before=measured(10.0, 1.0))
    assert "trials of 40 to 80 steps" in found.work("tune")
    assert found.work("corpus-0123abcd") == "200 rows read"
    assert found.seconds("corpus-0123abcd") == 3.0


def test_what_was_expected_is_kept_with_the_run(tiny_config: Path, tmp_path: Path) -> None:
    layout = Layout(local_cpus=2)

    def of(*assignments: str) -> dict[str, Any]:
        return plan.expected(read_config(tiny_config, assignments, layout), layout, tmp_path / "runs" / "tiny", Pending(fingerprint="f"))

    assert Spent.model_validate(of(SWEEP)["tune"]).jobs[0] == 27
    assert of() == {}


def test_the_stage_that_is_chosen_is_explained(tiny_config: Path) -> None:
    def told(**layout: Any) -> str:
        return costs(tiny_config, layout=Layout(workers=2, local_cpus=2, **layout)).memory()

    assert "ZeRO 0, the first that fits 60% of the " in told()
    assert told(memory_gb=4.5e-4).startswith("memory   264 kB per worker")
    assert "ZeRO 1, the first that fits 60% of the 483 kB of a worker, over 2 workers; ZeRO 0: " in told(memory_gb=4.5e-4)
    assert "which holds the least and does not fit" in told(memory_gb=1e-5)
    assert "which only the cluster knows" in costs(tiny_config, layout=Layout(workers=2, address="auto")).memory()


def test_what_frozen_layers_take_is_told(tiny_config: Path) -> None:
    def told(*assignments: str, **layout: Any) -> list[str]:
        return costs(tiny_config, *assignments, layout=Layout(local_cpus=2, **layout)).frozen()

    (line,) = told("train.freeze=1")
    assert line.startswith("frozen   1 layer, computed once for each row: at most ")
    assert line.endswith(" on each node while the run lasts")
    assert "beyond 1e-09 GiB (layout.frozen_gb) they are computed at every pass" in told("train.freeze=1", frozen_gb=1e-9)[0]
    assert told() == told("train.freeze=1", frozen_gb=0) == told("train.freeze=1", "train.regularizer=fgm") == []


def test_memory_is_told_for_each_zero_stage_and_the_largest_model(tiny_config: Path) -> None:
    assert "ZeRO" not in costs(tiny_config).memory()
    two = costs(tiny_config, layout=Layout(workers=2, zero=2, local_cpus=2)).memory()
    assert all(f"ZeRO {zero}: " in two for zero in range(4))
    one, both = (costs(tiny_config, "model.layers=1", *more).memory() for more in ([], ["tune.space={model.layers: {choice: [1, 2]}}"]))
    assert one != both == costs(tiny_config).memory()
