"""A layout: how a batch is dealt, what fits this machine, and what is said when it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from heliostat.core import layout as module
from heliostat.core.errors import UserError
from heliostat.core.layout import Layout, passes, read_layout


def test_a_batch_is_dealt_to_workers_and_passes() -> None:
    layout = Layout(workers=2, micro_batch=3)
    assert (layout.micro_rows(12), layout.accumulation(12)) == (3, 2)
    assert (Layout(workers=2).micro_rows(12), Layout(workers=2).accumulation(12)) == (6, 1)


@pytest.mark.parametrize(("batch", "world", "rows", "expected"), [(24, 4, 3, 2), (24, 4, 6, 1), (24, 5, 5, 1), (24, 5, 4, 2), (7, 2, 1, 4)])
def test_passes_of_a_worker_hold_its_share_of_a_batch(batch: int, world: int, rows: int, expected: int) -> None:
    assert passes(batch, world, rows) == expected
    assert world * rows * expected >= batch


def test_a_training_may_have_fewer_workers(tmp_path: Path) -> None:
    fixed, elastic = Layout(workers=4), Layout(workers=4, least_workers=2)
    assert (fixed.fewest(), fixed.is_elastic()) == (4, False)
    assert (elastic.fewest(), elastic.is_elastic()) == (2, True)
    assert not Layout(workers=4, least_workers=4).is_elastic()
    (tmp_path / "layout.yaml").write_text("workers: 2\nleast_workers: 3\n")
    with pytest.raises(UserError, match="least_workers: it must be at most workers, which is 2"):
        read_layout(str(tmp_path))


@pytest.mark.parametrize(("fits", "trainings", "each"), [(16, 1, 4), (3, 1, 3), (1, 1, 2), (8, 3, 2), (9, 3, 3), (100, 3, 4), (8, 0, 4)])
def test_trainings_side_by_side_share_the_workers_that_fit(fits: int, trainings: int, each: int) -> None:
    assert Layout(workers=4, least_workers=2).workers_of_each(fits, trainings) == each
    assert Layout(workers=4).workers_of_each(fits, trainings) == 4


def test_a_layout_is_read_from_a_folder(tmp_path: Path) -> None:
    (tmp_path / "layout.yaml").write_text("workers: 3\n")
    assert read_layout(str(tmp_path)).workers == 3
    assert read_layout(str(tmp_path), ["zero=2"]).zero == 2
    with pytest.raises(UserError, match="holds no layout"):
        read_layout(str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="zero"):
        read_layout(str(tmp_path), ["zero=5"])
    for gangs in ("0", "many", "true"):
        with pytest.raises(UserError, match="gangs: it must be a whole number from 1, or auto"):
            read_layout(str(tmp_path), [f"gangs={gangs}"])


def test_a_place_that_is_not_there_offers_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cluster" / "laptop").mkdir(parents=True)
    (tmp_path / "cluster" / "laptop" / "layout.yaml").write_text("workers: 1")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="Did you mean 'cluster/laptop'"):
        read_layout("cluster/labtop")


@pytest.fixture
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda pid: set(range(4)))
    monkeypatch.setattr(module, "local_gpus", lambda: 0)


@pytest.mark.usefixtures("four_cores")
@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"workers": 5}, ["layout.workers", "5 workers x 1 CPU", "this machine has 4", "layout.address"]),
        ({"workers": 2, "cpus_per_worker": 3}, ["layout.workers", "2 workers x 3 CPU"]),
        ({"cpus_per_worker": 5}, ["layout.cpus_per_worker", "1 worker x 5 CPU"]),
        ({"workers": 2, "local_cpus": 1}, ["layout.workers", "layout.local_cpus allows 1"]),
        ({"workers": 8, "least_workers": 5}, ["layout.least_workers", "5 workers x 1 CPU", "this machine has 4"]),
        ({"workers": 2, "gangs": 3}, ["layout.gangs: 3", "Allowed: 1 to 2, or auto"]),
        ({"gpus_per_worker": 1}, ["layout.gpus_per_worker", "this machine has 0"]),
    ],
)
def test_what_this_machine_cannot_hold_is_refused(fields: dict[str, int], words: list[str]) -> None:
    (told,) = Layout(**fields).check_room()
    assert all(word in told for word in words), told


@pytest.mark.usefixtures("four_cores")
@pytest.mark.parametrize(
    "fields",
    [
        {"workers": 4},
        {"workers": 8, "cpus_per_worker": 0.5},
        {"workers": 2, "gangs": 2},
        {"workers": 8, "least_workers": 2, "gangs": 2},
        {"workers": 8, "local_cpus": 8},
        {"workers": 64, "gpus_per_worker": 8, "address": "auto"},
    ],
)
def test_what_fits_or_is_not_here_is_not_refused(fields: dict[str, int]) -> None:
    assert Layout(**fields).check_room() == []


def test_gpus_that_cannot_be_counted_are_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(module, "local_gpus", lambda: None)
    assert Layout(gpus_per_worker=1).check_room() == []


def test_a_ray_job_joins_its_own_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert Layout().joins() == "10.0.0.1:6379"
    assert Layout(address="auto").joins() == "auto"
    assert Layout(workers=4000).check_room() == []
    monkeypatch.setenv("RAY_ADDRESS", "")
    assert Layout().joins() is None


@pytest.mark.parametrize(("share", "gpus", "fits"), [(0.7, 8, 8), (0.3, 8, 24), (0.2, 1, 5), (0.1, 1, 10), (2, 8, 4), (1, 3, 3)])
def test_a_part_of_a_gpu_is_a_part_of_one_and_the_same(share, gpus, fits):
    assert Layout(gpus_per_worker=share).workers_on(100, gpus) == fits


def test_tenths_of_a_cpu_are_counted_as_written():
    assert Layout(cpus_per_worker=0.1).workers_on(1, None) == 10
