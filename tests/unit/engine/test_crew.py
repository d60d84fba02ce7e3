"""The Ray Train run behind a gang: what is left of Ray Train's own parts, and what takes the place of others."""

import asyncio
from types import SimpleNamespace

import pytest
import ray
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchConfig
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.execution.scaling_policy.elastic import ElasticScalingPolicy
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from heliostat.core.layout import Layout
from heliostat.engine import crew


class Workers:
    """A Ray Train worker group that notes what each rank is to do."""

    def __init__(self, world):
        self.world, self.asked = world, []

    def __len__(self):
        return self.world

    def execute_single(self, rank, function):
        assert rank == 0
        return "10.0.0.1", 29500

    def execute_single_async(self, rank, function, *given):
        self.asked.append((rank, function, given))

    def execute_async(self, function, *given):
        return [self.execute_single_async(rank, function, *given) for rank in range(self.world)]


def made(tmp_path):
    run = RunConfig(name="gang-0", storage_path=str(tmp_path))
    return crew.Crew(print, drained=False, scaling_config=ScalingConfig(num_workers=2), backend_config=crew.ProcessGroup(), run_config=run)


def test_no_process_is_started_for_data_sets_and_to_clean_up(tmp_path):
    theirs = {type(each) for each in DataParallelTrainer._create_default_callbacks(made(tmp_path))}
    ours = {type(each) for each in made(tmp_path)._create_default_callbacks()}
    assert theirs - ours == {DatasetsCallback, PlacementGroupCleanerCallback}
    assert ours - theirs == {crew.NoData}
    assert crew.NoData().before_init_train_context([object(), object()]) == {"dataset_shard_provider": [None, None]}


def test_every_worker_joins_one_process_group_at_the_first_ones_address(monkeypatch):
    monkeypatch.setattr(ray, "get", lambda references: references)
    workers = Workers(3)
    crew._OnWorkers().on_start(workers, crew.ProcessGroup("nccl"))
    assert workers.asked == [(rank, crew._join, (("10.0.0.1", 29500), rank, 3, "nccl")) for rank in range(3)]


@pytest.mark.parametrize(("world", "together"), [(1, False), (2, True)])
def test_a_group_of_several_is_taken_apart(monkeypatch, world, together):
    monkeypatch.setattr(ray, "wait", lambda references, num_returns, timeout: (references, []))
    workers = Workers(world)
    crew._OnWorkers().on_shutdown(workers, crew.ProcessGroup())
    assert workers.asked == [(rank, crew._leave, (together,)) for rank in range(world)]


def test_what_raytrain_does_for_torch_is_done_too():
    assert crew._OnWorkers.share_cuda_visible_devices == TorchConfig().backend_cls.share_cuda_visible_devices
    assert crew._OnWorkers.has_replica_groups == TorchConfig().backend_cls.has_replica_groups


def test_why_a_gang_could_not_be_held_is_told_in_one_line(monkeypatch, tmp_path):
    def refuse(self):
        raise RuntimeError("no room")

    monkeypatch.setattr(crew.Crew, "fit", refuse)
    assert crew.work("gang-3", Layout(), tmp_path, 1, SimpleNamespace()) == f"gang-3 stopped: RuntimeError: no room; see {tmp_path}"
    monkeypatch.setattr(crew.Crew, "fit", lambda self: None)
    assert crew.work("gang-3", Layout(), tmp_path, 1, SimpleNamespace()) == "the gang was closed"


def test_an_elastic_layout_gives_a_range_and_leaves_ray_trains_own_resizing_off():
    assert crew._scaling(Layout(), 1, gpu=False).num_workers == 1
    elastic = crew._scaling(Layout(address="auto", workers=4, least_workers=2), 3, gpu=False)
    assert elastic.num_workers == (2, 3)
    assert elastic.elastic_resize_monitor_interval_s == float("inf")


class Coordinator:
    """Ray's, which looks at the cluster's nodes only now and then, unless it is asked to."""

    def __init__(self, nodes):
        self.asked, self.get_reserved_resources = 0, SimpleNamespace(remote=self.tell)
        self.seen, self.nodes = {}, nodes

    def tell(self, requester, recompute=False):
        self.asked += 1
        self.seen = dict(self.nodes) if recompute else self.seen
        return self.seen


def test_a_group_is_as_wide_as_the_cluster_is_now(monkeypatch):
    """Ray counts on a node for up to a minute after it has gone, and on a new one after as long."""
    policies = []
    monkeypatch.setattr(crew.TrainController, "__init__", lambda self, scaling_policy: policies.append(scaling_policy))
    monkeypatch.setattr(crew.Controller, "run", lambda self: asyncio.sleep(0))
    monkeypatch.setattr(crew.Controller, "get_result", lambda self: None)
    wide = ScalingConfig(num_workers=(1, 4), resources_per_worker={"CPU": 1})
    crew.Crew(lambda: None, drained=True, scaling_config=wide)._initialize_and_run_controller(scaling_policy=ElasticScalingPolicy(wide))
    (policy,), nodes = policies, {"here": {"CPU": 1.0}, "gone": {"CPU": 8.0}}
    coordinator = Coordinator(nodes)
    policy._coordinator_client = SimpleNamespace(_autoscaling_coordinator=coordinator, maybe_send_resource_request=lambda *given: None)
    monkeypatch.setattr(crew.ray, "get", lambda asked, timeout: asked)
    del nodes["gone"]
    assert policy.make_decision_for_non_running_worker_group().num_workers == 1
    nodes["come"] = {"CPU": 2.0}
    assert policy.make_decision_for_non_running_worker_group().num_workers == 1, "it is asked once a second at most"
    assert coordinator.asked == 1
    policy._latest_reserved_resources_query_time = float("-inf")
    assert policy.make_decision_for_non_running_worker_group().num_workers == 3
