"""A Ray cluster to work on: the one the layout names, or a local one of our own.

Concurrency is computed here so that training workers, data tasks and the driver always fit: trials that hold every CPU
would starve the data tasks, and the run would wait for ever.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from heliostat.core.errors import UserError
from heliostat.core.layout import Layout

OF_DATA = ("_StatsActor", "_AutoscalingCoordinatorActor")
"""Actors without resources that Ray Data keeps as long as the connection lasts."""
DATA_CPUS = 1
"""Logical CPUs kept for data tasks beside the training workers."""
QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}


@dataclass(frozen=True)
class Connection:
    """How this process is connected."""

    local: bool
    """The cluster is on this machine alone and was started for this run."""
    ours: bool
    """This connection is to be closed by whoever asked for it; False when the process was connected before."""


def connect(layout: Layout) -> Connection:
    """Join or start the cluster. `UserError` when the layout's cannot be reached."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        return Connection(local=False, ours=False)
    env = {k: v for k, v in QUIET.items() if not k.startswith("TUNE")}
    if layout.gpus_per_worker == 0:
        env["DS_ACCELERATOR"] = "cpu"
    with _own_sigterm():
        return _joined(layout, env)


def _joined(layout: Layout, env: dict[str, str]) -> Connection:
    import ray

    address, quiet = layout.joins(), {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        room = {"num_cpus": layout.training_cpus() + DATA_CPUS, "object_store_memory": _object_store_bytes()}
        with _environment(env):  # a local node hands its own on: workers need none of their own, and those that it starts ahead will do
            ray.init(address="local", include_dashboard=False, **room, **quiet)  # not one that happens to run on this machine
        return Connection(local=True, ours=True)
    try:
        ray.init(address=address, runtime_env={"env_vars": env}, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"layout.address: no Ray cluster answers at '{address}' ({reason}). "
            "Start one with `ray start --head`, or leave address empty for a local one."
        ) from None
    return Connection(local=False, ours=True)


@contextmanager
def _environment(more: dict[str, str]) -> Iterator[None]:
    """This process's environment has `more`, for what it starts meanwhile."""
    before = {name: os.environ.get(name) for name in more}
    os.environ.update(more)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Ray puts a handler of its own in place of the process's, which would end a run before it has saved."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread() and before is not None:
            signal.signal(signal.SIGTERM, before)


def _object_store_bytes() -> int:
    """A small share of shared memory: prepared rows are memory-mapped files, not objects."""
    shared = os.statvfs("/dev/shm") if Path("/dev/shm").exists() else None
    room = shared.f_bavail * shared.f_frsize if shared else 1 << 30
    return max(100 << 20, min(1 << 30, int(room * 0.5)))


def alive_nodes() -> set[str]:
    """Ids of the nodes that are up."""
    import ray

    return {n["NodeID"] for n in ray.nodes() if n["Alive"]}


def free_on_nodes() -> list[dict[str, float]]:
    """What is free on each node that is up."""
    from ray._private.state import available_resources_per_node

    return list(available_resources_per_node().values())


def holds(free: list[dict[str, float]], worker: dict[str, float]) -> bool:
    """Whether one more worker, which takes so much, fits on one of these nodes and leaves some node the CPUs of a data task."""
    for node in free:
        if all(node.get(resource, 0.0) >= amount for resource, amount in worker.items()):
            left = [each.get("CPU", 0.0) - (worker.get("CPU", 0.0) if each is node else 0.0) for each in free]
            if max(left) >= DATA_CPUS:
                return True
    return False


def room(layout: Layout) -> int:
    """Gangs that fit the cluster as it is now, at most those the layout asks for; 0 when not even one does."""
    import ray

    fits = _fits([n["Resources"] for n in ray.nodes() if n["Alive"]], layout)
    return fits if layout.gangs == "auto" else min(fits, layout.gangs)


def _fits(nodes: list[dict[str, float]], layout: Layout) -> int:
    """Gangs that fit, so that workers never wait for rows that nothing can make."""
    return _workers(nodes, layout) // layout.fewest()


def _workers(nodes: list[dict[str, float]], layout: Layout) -> int:
    """Workers that fit and leave some node the CPUs of a data task; what has no more than these is a worker's."""
    fit = sum(layout.workers_on(n.get("CPU", 0), n.get("GPU", 0)) for n in nodes)
    return fit if sum(n.get("CPU", 0) for n in nodes) <= DATA_CPUS else min(fit, _beside_data(nodes, layout))


def _beside_data(nodes: list[dict[str, float]], layout: Layout) -> int:
    """The most workers that leave some node the CPUs of a data task, wherever Ray puts them."""
    cpus = [n.get("CPU", 0) for n in nodes]
    starve = sum(layout.workers_on(count - DATA_CPUS, None) + 1 for count in cpus if count >= DATA_CPUS)
    return max(0, starve - 1)


def beside_data(layout: Layout, gangs: int) -> int:
    """How many of so many gangs may stay when rows are to be made. One that is elastic may have taken what was left by others."""
    import ray

    if layout.is_elastic():
        return 0 if ray.available_resources().get("CPU", 0.0) < DATA_CPUS else gangs
    return min(gangs, _beside_data([n["Resources"] for n in ray.nodes() if n["Alive"]], layout) // layout.workers)


def widest(layout: Layout) -> int:
    """Gangs that fit the cluster side by side; `UserError` names the shortage when not even one does."""
    import ray

    nodes = [n["Resources"] for n in ray.nodes() if n["Alive"]]
    cpus = sum(n.get("CPU", 0) for n in nodes)
    fits = _fits(nodes, layout)
    if fits < 1:
        gpus = sum(n.get("GPU", 0) for n in nodes)
        need = f"{layout.fewest()} x {layout.cpus_per_worker:g} CPUs"
        need += f" and {layout.gpus_per_worker:g} GPUs" if layout.gpus_per_worker else ""
        raise UserError(
            f"layout: one training asks for {need}, and the cluster has {cpus:g} CPUs ({DATA_CPUS} kept for data) and {gpus:g} GPUs "
            f"on {len(nodes)} node(s). Lower layout.workers or layout.cpus_per_worker, or add nodes."
        )
    if layout.gangs != "auto" and layout.gangs > fits:
        raise UserError(f"layout.gangs: {layout.gangs} side by side asked for; the cluster holds {fits}. Allowed: 1 to {fits}, or auto.")
    return fits if layout.gangs == "auto" else layout.gangs


def workers_of_each(layout: Layout, trainings: int) -> int:
    """Workers each of so many trainings may have on the cluster as it is now."""
    import ray

    return layout.workers_of_each(_workers([n["Resources"] for n in ray.nodes() if n["Alive"]], layout), trainings)


def disconnect(connection: Connection) -> None:
    """Leave the cluster; a local one stops with it. A connection that was there before is left alone."""
    import ray

    if connection.ours and ray.is_initialized():
        ray.shutdown()


def give_back(creator: str) -> None:
    """Free what the actor of this id, which is gone, had reserved: Ray does so when the job ends, and its own cleaner asks a dashboard."""
    from ray._private.state import state
    from ray._raylet import PlacementGroupID
    from ray.core.generated.gcs_pb2 import PlacementGroupTableData
    from ray.util.placement_group import PlacementGroup, remove_placement_group

    for packed in state._connect_and_get_accessor().get_placement_group_table():
        group = PlacementGroupTableData.FromString(packed)
        if group.creator_actor_id.hex() == creator and group.state != PlacementGroupTableData.REMOVED:
            remove_placement_group(PlacementGroup(PlacementGroupID(group.placement_group_id)))


def leftovers() -> list[str]:
    """Placement groups, actors and actors' processes on this machine that still hold something; empty when every gang is closed."""
    import psutil
    import ray
    from ray._private.state import actors
    from ray.util import placement_group_table

    here, job = ray.get_runtime_context().get_node_id(), ray.get_runtime_context().get_job_id()
    found = [f"placement group {key}" for key, group in placement_group_table().items() if group["state"] != "REMOVED"]
    for actor in actors(job_id=ray.JobID.from_hex(job)).values():
        if actor["State"] != "DEAD" and actor["ActorClassName"] not in OF_DATA:
            found.append(f"actor {actor['ActorClassName']}")
        elif actor["State"] == "DEAD" and actor["Address"]["NodeID"] == here and psutil.pid_exists(actor["Pid"]):
            found.append(f"process {actor['Pid']} of {actor['ActorClassName']}")
    return found
