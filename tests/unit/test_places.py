"""What is in `cluster/`: every layout loads, every manifest parses and names files that exist, every script is one."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from heliostat.core.layout import read_layout

ROOT = Path(__file__).parents[2]
PLACES = sorted(p.parent for p in (ROOT / "cluster").glob("*/layout.yaml"))


@pytest.mark.parametrize("place", PLACES, ids=lambda p: p.name)
def test_every_layout_loads_and_is_told_in_the_readme(place: Path) -> None:
    assert read_layout(str(place)).workers >= 1
    assert f"`{place.name}`" in (ROOT / "cluster" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("script", sorted((ROOT / "cluster").rglob("*.sbatch")), ids=lambda p: p.name)
def test_scripts_are_bash(script: Path) -> None:
    done = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_ray_job_runs_what_is_there_on_versions_that_are_tested() -> None:
    job: Any = yaml.safe_load((ROOT / "cluster" / "kuberay" / "rayjob.yaml").read_text(encoding="utf-8"))
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    words = job["spec"]["entrypoint"].split()
    assert all((ROOT / word).exists() for word in words if "/" in word)
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    pinned = next(line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("ray=="))
    assert pinned.split("==")[1].split()[0] == cluster["rayVersion"]


def test_one_gpu_of_a_training_is_shared_by_one_worker_only(tiny_config: Path) -> None:
    from heliostat.checks import problems
    from heliostat.config import read_config
    from heliostat.core.layout import Layout

    run = read_config(tiny_config)
    shared = Layout(address="auto", workers=2, gpus_per_worker=0.5)
    assert any("layout.gpus_per_worker: 2 workers" in p for p in problems(run, shared))
    assert problems(run, Layout(address="auto", gpus_per_worker=0.5)) == []


@pytest.mark.parametrize(
    ("layout", "needed"),
    [
        ({"offload": "optimizer", "zero": 0, "gpus_per_worker": 1}, "zero 1, 2 or 3 and a GPU"),
        ({"offload": "optimizer"}, "zero 1, 2 or 3 and a GPU"),
        ({"offload": "parameters", "zero": 2, "gpus_per_worker": 1}, "zero 3 (or auto) and a GPU"),
        ({"offload": "parameters", "zero": 3}, "zero 3 (or auto) and a GPU"),
    ],
)
def test_what_cpu_memory_is_to_hold_needs_a_gpu_and_a_stage(tiny_config: Path, layout: dict[str, Any], needed: str) -> None:
    from heliostat.checks import problems
    from heliostat.config import read_config
    from heliostat.core.layout import Layout

    run = read_config(tiny_config)
    (told,) = problems(run, Layout(address="auto", **layout))
    assert told.startswith("layout.offload: ")
    assert needed in told
    assert problems(run, Layout(address="auto", **{**layout, "zero": "auto", "gpus_per_worker": 1})) == []


def test_layers_are_compiled_for_a_gpu_alone(tiny_config: Path) -> None:
    from heliostat.checks import problems
    from heliostat.config import read_config
    from heliostat.core.layout import Layout

    run = read_config(tiny_config)
    assert problems(run, Layout(compile=True)) == ["layout.compile: layers are compiled for a GPU, and this layout has none. Leave it out."]
    assert problems(run, Layout(address="auto", compile=True, gpus_per_worker=1)) == []


@pytest.mark.parametrize(("workers", "share", "instead"), [(1, 1.5, 1), (1, 2, 2), (2, 2, 4), (2, 1.5, 3)])
def test_a_worker_has_one_gpu(tiny_config: Path, workers: int, share: float, instead: int) -> None:
    from heliostat.checks import problems
    from heliostat.config import read_config
    from heliostat.core.layout import Layout

    (told,) = problems(read_config(tiny_config), Layout(address="auto", workers=workers, gpus_per_worker=share))
    assert told == f"layout.gpus_per_worker: {share:g} asked for, and a worker computes on one GPU. Use 1 and workers: {instead}."
    assert problems(read_config(tiny_config), Layout(address="auto", workers=workers, gpus_per_worker=1)) == []
