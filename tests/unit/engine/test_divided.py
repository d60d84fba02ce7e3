"""Workers that divide a training by torch's collectives make the updates of one worker that does it all."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
import torch.multiprocessing

from heliostat.engine import divided, states
from heliostat.engine.divided import DividedEngine, Part, laid_out
from heliostat.engine.group import Group
from heliostat.engine.plain import PlainEngine
from heliostat.engine.zero import parameter_groups

WORLD, UPDATES = 3, 3
CASES = list(itertools.product((0, 1, 2), (1, 2), (None, 0.05)))
"""ZeRO stage, passes of an update, clipping."""


class Odd(torch.nn.Module):
    """Sizes that no bucket and no number of workers divides, a parameter that is used in odd passes alone, a tied one, a frozen one."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.words = torch.nn.Embedding(13, 7)
        self.still = torch.nn.Linear(7, 7).requires_grad_(False)
        self.mix = torch.nn.Linear(7, 7)
        self.seldom = torch.nn.Linear(7, 5)
        self.scale = torch.nn.Parameter(torch.tensor(1.5))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        hidden = torch.tanh(self.mix(self.still(self.words(ids)).mean(1)))
        more = self.seldom(hidden).mean(1, keepdim=True) * hidden if ids[0, 0] % 2 else 0.0
        return self.scale * (hidden + more) @ self.words.weight.T


def optimizer(module: torch.nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameter_groups(module), lr=0.05, weight_decay=0.1, fused=True)


def passes(update: int, count: int) -> list[torch.Tensor]:
    """What the workers read in one update: `count` batches for each, those of the first pass first."""
    return list(torch.randint(0, 13, (count * WORLD, 4, 6), generator=torch.Generator().manual_seed(update)))


def loss(engine: PlainEngine, ids: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(engine(ids), ids[:, 0])


def work(rank: int, folder: Path) -> None:
    """One worker: all cases, what it ends with and what it held on the way."""
    divided.BUCKET = 50
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=WORLD)
    told = {}
    for stage, count, clip in CASES:
        module = Odd()
        if rank:
            torch.nn.init.zeros_(module.mix.weight)  # the first worker's weights count
        trained = [p for p in module.parameters() if p.requires_grad]
        engine = DividedEngine(module, optimizer(module), stage=stage, accumulation=count, clip=clip)
        held = []
        for update in range(UPDATES):
            for ids in passes(update, count)[rank::WORLD]:
                engine.backward(loss(engine, ids))
                held.append(sum(p.grad is not None for p in trained))
                engine.step()
        told[stage, count, clip] = {
            "weights": {name: p.detach().clone() for name, p in module.named_parameters()},
            "held": held,
            "states": states.collect(engine, Group(rank, WORLD), copy=True),
            "elements": sum(bucket.shard.numel() for bucket in engine.buckets),
        }
        engine.destroy()
    torch.save(told, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    folder = tmp_path_factory.mktemp("divided")
    torch.multiprocessing.spawn(work, (folder,), nprocs=WORLD)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(WORLD)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_workers_have_the_weights_of_one_that_does_it_all(told, case):
    stage, count, clip = case
    module = Odd()
    engine = PlainEngine(module, optimizer(module), accumulation=count * WORLD, clip=clip)
    for update in range(UPDATES):
        for ids in passes(update, count):
            engine.backward(loss(engine, ids) + 0.0 * sum(p.sum() for p in module.seldom.parameters()))  # all have a gradient
            engine.step()
    expected = dict(module.named_parameters())
    for each in told:
        found = each[case]["weights"]
        assert all(torch.equal(found[name], told[0][case]["weights"][name]) for name in expected)
        for name, p in expected.items():
            assert torch.allclose(found[name], p, atol=2e-6), (name, stage)  # float32 sums in another order, three steps of Adam


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients_are_let_go_of_as_the_stage_says(told, case):
    stage, count, _ = case
    last = [i % count == count - 1 for i in range(UPDATES * count)]
    for each in told:
        kept = [held > 0 for held in each[case]["held"]]
        assert kept == [stage == 0 or (stage == 1 and not end) for end in last]


@pytest.mark.parametrize("stage", [1, 2])
def test_a_worker_keeps_a_share_of_the_states_and_together_they_have_all(told, stage):
    case = (stage, 2, None)
    sizes = {name: p.numel() for name, p in Odd().named_parameters() if p.requires_grad}
    assert all(each[case]["elements"] <= sum(sizes.values()) / WORLD + 10 for each in told)
    for slot in ("weights", "optimizer.exp_avg", "optimizer.exp_avg_sq"):
        for name, size in sizes.items():
            found = [v.numel() for each in told for key, v in each[case]["states"][0].items() if key.startswith(f"{slot}/{name}/")]
            assert sum(found) == size, (slot, name)


def test_buckets_hold_every_element_once_in_the_parameters_own_memory():
    module = Odd()
    trained = [p for p in module.parameters() if p.requires_grad]
    before = [p.detach().clone() for p in trained]
    buckets = [laid_out(trained, rank, WORLD) for rank in range(WORLD)][-1]
    assert all(torch.equal(p, was) for p, was in zip(trained, before, strict=True))
    assert sum(part.stop - part.start for bucket in buckets for part in bucket.parts) == sum(p.numel() for p in trained)
    with torch.no_grad():
        for bucket in buckets:
            bucket.values_WS.fill_(2.0)
    assert all((p == 2.0).all() for p in trained)


def test_a_part_is_cut_where_a_shard_ends():
    part = Part(None, 10, 20, 4)
    assert part.inside(0, 8) == Part(None, 10, 14, 4)
    assert part.inside(8, 12) == Part(None, 14, 18, 0)
    assert part.inside(14, 20) is None
