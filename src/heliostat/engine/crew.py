"""The Ray Train run of a gang, with Ray Train's controller in the process of the gang's mailbox.

`TorchTrainer.fit()` would start one process after the other: a controller, which imports torch as well, one that frees what a controller
that died had reserved (a gang's driver does: `Gang.close`), one that hands out data sets, of which a gang has none, one where workers meet
that report to it. Every gang of a run would wait for them.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train._internal.utils import get_address_and_port
from ray.train.backend import Backend, BackendConfig
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.callbacks.preemption_callback import PreemptionCallback
from ray.train.v2._internal.constants import WORKER_GROUP_START_TIMEOUT_S_ENV_VAR
from ray.train.v2._internal.execution.callback import WorkerGroupCallback
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.scaling_policy.elastic import ElasticScalingPolicy
from ray.train.v2._internal.execution.worker_group import state, worker_group
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from heliostat.core.layout import Layout
from heliostat.engine import failures, worker
from heliostat.engine.pulse import OPENING_S
from heliostat.engine.restarts import Restarts

FOR_EVER = -1
LOOK_EVERY_S = 0.5
"""How often Ray Train looks whether the workers are well, or have left."""
ROOM_S = 5.0
"""How long a group that may be narrower waits for room: what the cluster had when its width was chosen may be gone."""
ANSWER_S = 5.0
"""How long it is waited for what Ray has reserved; then it is asked again."""
GOODBYE_S = 30.0
"""What workers that leave have to take their process group apart."""


def work(name: str, layout: Layout, log_folder: Path, most: int, mailbox: Any) -> str:
    """Keep the workers of a gang at its mailbox until they are told to leave; why they are gone."""
    if layout.is_elastic():
        os.environ.setdefault(WORKER_GROUP_START_TIMEOUT_S_ENV_VAR, str(ROOM_S))
    gpu = layout.gpus_per_worker > 0
    told = {"mailbox": mailbox, "name": name, "log_folder": str(log_folder), "gpu": gpu, "hang_s": layout.hang_s}
    try:
        Crew(
            worker.main,
            drained=layout.joins() is not None,
            train_loop_config=told,
            scaling_config=_scaling(layout, most, gpu),
            backend_config=ProcessGroup("nccl" if gpu else "gloo"),
            run_config=RunConfig(
                name=name,
                storage_path=str(log_folder / "ray-train"),
                failure_config=FailureConfig(max_failures=FOR_EVER),
                callbacks=[Restarts(mailbox)],
            ),
        ).fit()
    except Exception as error:  # noqa: BLE001  whatever it is, whoever waits on the mailbox must be told
        return f"{name} stopped: {failures.one_line(error)}; see {log_folder}"
    return "the gang was closed"


def _scaling(layout: Layout, most: int, gpu: bool) -> ScalingConfig:
    least = layout.fewest()
    return ScalingConfig(
        num_workers=(least, most) if least < most else most,
        use_gpu=gpu,
        resources_per_worker={"CPU": layout.cpus_per_worker, **({"GPU": layout.gpus_per_worker} if gpu else {})},
        elastic_resize_monitor_interval_s=math.inf,  # it would end a group in the middle of an order; ours grows between two
    )


class Crew(DataParallelTrainer):
    """A run whose controller works in this process. `drained`: somebody may tell a node to go, and its workers are to hear of it."""

    def __init__(self, work: Any, *, drained: bool, **of_trainer: Any):
        super().__init__(work, **of_trainer)
        self.drained = drained

    def _initialize_and_run_controller(self, *, scaling_policy: Any, **rest: Any) -> Any:
        if isinstance(scaling_policy, ElasticScalingPolicy):
            scaling_policy = Room(self.scaling_config)
        controller = Controller(scaling_policy=scaling_policy, **rest)
        if not self.drained:
            controller.watch_no_node()
        NoMeeting.instead()
        asyncio.run(controller.run())
        return controller.get_result()

    def _create_default_callbacks(self) -> list[Any]:
        kept = [
            each for each in super()._create_default_callbacks() if not isinstance(each, DatasetsCallback | PlacementGroupCleanerCallback)
        ]
        return [*kept, NoData()]


class Controller(TrainController):
    """Ray Train's controller, which looks more often whether its workers have left."""

    def __init__(self, **of_controller: Any):
        super().__init__(**of_controller)
        self._health_check_interval_s = LOOK_EVERY_S

    def watch_no_node(self) -> None:
        """Start no process that watches for nodes that are drained."""
        callbacks = self._worker_group_callbacks_to_propagate  # type: ignore[has-type]
        self._worker_group_callbacks_to_propagate = [each for each in callbacks if not isinstance(each, PreemptionCallback)]


class Room(ElasticScalingPolicy):
    """Ray Train's width of a group, by the nodes of now: it would count on those of up to a minute ago, gone ones and no new ones."""

    def _get_reserved_resources(self) -> dict[str, Any] | None:
        now = time.monotonic()
        if now - self._latest_reserved_resources_query_time >= self.GET_RESERVED_RESOURCES_INTERVAL_S:  # type: ignore[has-type]
            asked = self._autoscaling_coordinator.get_reserved_resources.remote(self._requester_id, recompute=True)
            try:
                self._latest_reserved_resources = ray.get(asked, timeout=ANSWER_S)
            except ray.exceptions.RayError:
                self._latest_reserved_resources = None
            self._latest_reserved_resources_query_time = time.monotonic()
        return self._latest_reserved_resources


class NoMeeting:
    """In place of the actor where workers meet that report to Ray Train: ours report to their mailbox."""

    @classmethod
    def instead(cls) -> None:
        """From now on, in this process."""
        worker_group.SynchronizationActor = cls
        state._shutdown_sync_actor = cls.shut_down

    @classmethod
    def options(cls, **of_actor: Any) -> type[NoMeeting]:
        return cls

    @classmethod
    def remote(cls, **given: Any) -> NoMeeting:
        return cls()

    @staticmethod
    def shut_down(of_group: Any) -> None:
        """There is no process to end."""


class NoData(WorkerGroupCallback):
    """Workers read their rows from files."""

    def before_init_train_context(self, workers: list[Any]) -> dict[str, list[None]]:
        return {"dataset_shard_provider": [None] * len(workers)}


@dataclass
class ProcessGroup(BackendConfig):
    """Torch's process group, as Ray's `TorchConfig` makes it, where only the workers import torch."""

    backend: str = "gloo"

    @property
    def backend_cls(self) -> type[Backend]:
        return _OnWorkers


class _OnWorkers(Backend):
    share_cuda_visible_devices = True

    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        address = worker_group.execute_single(0, get_address_and_port)
        ranks = range(len(worker_group))
        ray.get([worker_group.execute_single_async(rank, _join, address, rank, len(ranks), backend_config.backend) for rank in ranks])

    def on_shutdown(self, worker_group: Any, backend_config: Any) -> None:
        leaving = worker_group.execute_async(_leave, len(worker_group) > 1)
        ray.wait(leaving, num_returns=len(leaving), timeout=GOODBYE_S)


def _join(address: tuple[str, int], rank: int, world: int, backend: str) -> None:
    from ray.train.torch.config import _set_torch_distributed_env_vars, _setup_torch_process_group

    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = address[0], str(address[1])
    _set_torch_distributed_env_vars()
    _setup_torch_process_group(backend, rank, world, "env://", timeout_s=int(OPENING_S))  # a node may wait for another's download


def _leave(together: bool) -> None:
    from ray.train.torch.config import _shutdown_torch

    _shutdown_torch(destroy_process_group=together)
