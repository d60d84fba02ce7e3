"""A training is divided as little as fits."""

from types import SimpleNamespace

import pytest
import torch

from heliostat.core.layout import Layout
from heliostat.core.provenance import memory_bytes
from heliostat.engine.group import Group
from heliostat.train import dividing
from heliostat.train.config import TrainConfig
from heliostat.train.dividing import Footprint, own_bytes, problems, stages, worker_bytes
from heliostat.train.orders import Training

HELD = Footprint(params=1000, trained=1000, state_bytes=8, workers=4)  # 16,000 bytes whole; 10,000, 7,000 and 4,000 divided


@pytest.mark.parametrize(
    ("filled", "stage"), [(16_000, 0), (15_999, 1), (10_000, 1), (9_999, 2), (7_000, 2), (6_999, 3), (4_000, 3), (10, 3)]
)
def test_the_first_stage_that_fits_is_taken(filled, stage):
    assert HELD.cheapest(filled / dividing.FILLED + 1e-6, (0, 1, 2, 3)) == stage


def test_one_worker_has_nothing_to_divide():
    assert Footprint(10**9, 10**9, 8, workers=1).cheapest(1, (0, 1, 2, 3)) == 0


def test_states_in_cpu_memory_are_not_held():
    assert [Footprint(1000, 1000, 8, 4, "optimizer").at(stage) for stage in range(4)] == [8_000, 8_000, 5_000, 2_000]
    assert Footprint(1000, 1000, 8, 4, "parameters").at(3) == 1_000


@pytest.mark.parametrize(
    ("train", "offload", "possible"),
    [
        ({}, "none", (0, 1, 2, 3)),
        ({"ema": 0.9}, "none", (0, 1, 2)),
        ({"regularizer": "r_drop"}, "none", (0, 1, 2)),
        ({"adapter": {"use": "lora", "base_bits": 4}}, "none", (0, 1, 2)),
        ({}, "optimizer", (1, 2, 3)),
        ({"ema": 0.9}, "optimizer", (1, 2)),
        ({}, "parameters", (3,)),
        ({"optimizer": "adafactor"}, "none", (0,)),
    ],
)
def test_what_needs_whole_weights_is_never_at_stage_3(train, offload, possible):
    assert stages(TrainConfig(**train), offload, 1) == possible


def test_several_workers_in_16_bits_divide_their_states():
    assert stages(TrainConfig(precision="bf16"), "none", 2) == (1, 2, 3)
    assert stages(TrainConfig(precision="bf16", optimizer="adafactor"), "none", 2) == (0,)
    assert stages(TrainConfig(precision="bf16"), "none", 1) == stages(TrainConfig(), "none", 2) == (0, 1, 2, 3)


def test_an_optimiser_that_looks_at_whole_matrices_is_refused_where_they_are_parted():
    train = TrainConfig(optimizer="adafactor")
    (told,) = problems(train, Layout(workers=2, zero=2))
    assert told.startswith("train.optimizer: adafactor needs whole parameters, and ZeRO 1 to 3 part them.")
    assert problems(train, Layout(workers=2, zero=2, offload="optimizer", gpus_per_worker=1)) == [told]
    assert problems(train, Layout(workers=2)) == problems(train, Layout(workers=2, zero=0)) == []


@pytest.mark.parametrize("train", [{"ema": 0.9}, {"regularizer": "r_drop"}, {"optimizer": "adafactor"}])
def test_what_needs_whole_weights_is_refused_where_they_are_parted_or_in_cpu_memory(train):
    own = TrainConfig(**train)
    for layout in ({"zero": 3}, {"offload": "parameters"}):
        (told,) = problems(own, Layout(gpus_per_worker=1, **layout))
        assert "part" in told
    assert problems(own, Layout(gpus_per_worker=1)) == []


def test_a_worker_has_its_share_of_the_machine():
    assert worker_bytes(Layout(workers=2), side_by_side=3) == memory_bytes() / 6
    assert worker_bytes(Layout(memory_gb=2.0)) == 2 * 2**30
    assert worker_bytes(Layout(address="auto")) is None
    assert own_bytes(2.0, "cpu", 1) == 2 * 2**30
    assert own_bytes(None, "cpu", 10**6) == memory_bytes()


class Others(Group):
    """The other workers have this much memory."""

    def gather(self, value):
        return [value, 6_000.0]


def test_every_worker_takes_the_stage_of_the_one_with_the_least_memory():
    module = torch.nn.Linear(99, 10)  # 1,000 parameters
    order = SimpleNamespace(zero="auto", memory_gb=1.0, threads=1, offload="none", train=TrainConfig())
    assert Training.stage(order, module, Others(0, 4)) == 3
    assert Training.stage(SimpleNamespace(zero=1), module, Others(0, 4)) == 1
    for p in module.parameters():
        p.requires_grad_(False)
    assert Training.stage(order, module, Others(0, 4)) == 3, "4,000 bytes of weights are more than 60 % of 6,000"
