"""What fits a cluster, without one: nodes are dictionaries."""

import os
import signal

import pytest
import ray

from heliostat.core.errors import UserError
from heliostat.core.layout import Layout
from heliostat.engine import cluster


@pytest.fixture
def nodes(monkeypatch):
    """`nodes(4, 2)` is a cluster of nodes with so many CPUs."""

    def make(*cpus, gpus=0):
        listed = [{"Alive": True, "NodeID": str(i), "Resources": {"CPU": float(count), "GPU": float(gpus)}} for i, count in enumerate(cpus)]
        monkeypatch.setattr(ray, "nodes", lambda: [*listed, {"Alive": False, "NodeID": "dead", "Resources": {"CPU": 64.0}}])

    return make


def test_a_cpu_is_left_for_data_tasks(nodes):
    nodes(4, 2)
    assert cluster.widest(Layout()) == 5
    assert cluster.widest(Layout(workers=2)) == 2


@pytest.mark.parametrize(
    ("free", "fits"),
    [([2], True), ([1], False), ([1, 1], True), ([0.5, 0.5, 1], False), ([3, 0], True), ([], False), ([0, 1], False)],
)
def test_one_more_worker_fits_on_one_node_and_leaves_a_cpu_on_some(free, fits):
    assert cluster.holds([{"CPU": float(cpus)} if cpus else {} for cpus in free], {"CPU": 1.0, "GPU": 0.0}) is fits


def test_room_for_one_more_worker_is_a_gpu_too():
    cpus, gpu = {"CPU": 8.0}, {"CPU": 1.0, "GPU": 1.0}
    assert not cluster.holds([cpus], {"CPU": 1.0, "GPU": 1.0})
    assert not cluster.holds([gpu], {"CPU": 1.0, "GPU": 1.0})
    assert cluster.holds([cpus, gpu], {"CPU": 1.0, "GPU": 1.0})


def test_wherever_workers_stand_one_node_can_run_a_data_task(nodes):
    nodes(2, 2, 2)
    assert cluster.widest(Layout(cpus_per_worker=1.5)) == 2  # three would leave half a CPU on each
    nodes(4, 4)
    assert cluster.widest(Layout(cpus_per_worker=2)) == 3
    nodes(1, 1, 1)
    assert cluster.widest(Layout(cpus_per_worker=0.25)) == 2
    nodes(1)
    assert cluster.widest(Layout(cpus_per_worker=0.25)) == 4


def test_a_training_that_may_be_narrower_fits_more_often(nodes):
    nodes(3)
    elastic = Layout(workers=4, least_workers=2)
    assert (cluster.widest(elastic), cluster.room(elastic)) == (1, 1)
    assert cluster.workers_of_each(elastic, 1) == 2
    assert cluster.room(Layout(workers=4)) == 0
    nodes(3, 6)
    assert cluster.widest(elastic) == 4
    assert [cluster.workers_of_each(elastic, trainings) for trainings in (1, 2, 3, 4)] == [4, 4, 2, 2]


def test_a_cluster_that_holds_not_even_the_fewest_is_refused(nodes):
    nodes(2)
    with pytest.raises(UserError, match="one training asks for 3 x 1 CPUs"):
        cluster.widest(Layout(workers=4, least_workers=3))


def test_gangs_that_hold_every_cpu_do_not_stay_when_rows_are_made(nodes, monkeypatch):
    nodes(3)
    assert cluster.beside_data(Layout(), 2) == 2
    nodes(2)
    assert cluster.beside_data(Layout(), 2) == 1  # a node has gone that held none of them
    nodes(1)
    assert cluster.beside_data(Layout(), 1) == 0  # rows are made first, then it trains
    elastic = Layout(workers=4, least_workers=2)
    monkeypatch.setattr(ray, "available_resources", lambda: {"memory": 1e9})
    assert cluster.beside_data(elastic, 2) == 0
    monkeypatch.setattr(ray, "available_resources", lambda: {"CPU": 1.0})
    assert cluster.beside_data(elastic, 2) == 2


def test_a_local_run_starts_its_own_cluster_beside_any_that_runs_on_the_machine(monkeypatch):
    asked = []
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **given: asked.append(given["address"]))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert cluster.connect(Layout()) == cluster.Connection(local=True, ours=True)
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert cluster.connect(Layout()) == cluster.Connection(local=False, ours=True)
    assert asked == ["local", "head:6379"]


def test_joining_a_cluster_leaves_the_handler_of_sigterm_alone(monkeypatch):
    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        monkeypatch.setattr(ray, "is_initialized", lambda: False)
        monkeypatch.setattr(ray, "init", lambda **given: signal.signal(signal.SIGTERM, signal.SIG_IGN))
        cluster.connect(Layout(address="10.0.0.1:6379"))
        os.kill(os.getpid(), signal.SIGTERM)
        assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)
