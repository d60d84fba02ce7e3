"""Torch alone behind the methods of a DeepSpeed engine: accumulated, clipped and stepped as written by hand."""

import copy

import pytest
import torch

from heliostat.engine.plain import PlainEngine
from heliostat.engine.zero import ZeroPlan


def parts(seed=0):
    torch.manual_seed(seed)
    module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    return module, torch.optim.AdamW(module.parameters(), lr=0.1), torch.randn(6, 4)


@pytest.mark.parametrize("clip", [None, 0.01])
@pytest.mark.parametrize("accumulation", [1, 2, 3])
def test_an_update_is_the_mean_over_its_passes_clipped(accumulation, clip):
    module, optimizer, features = parts()
    reference = copy.deepcopy(module)
    expected = torch.optim.AdamW(reference.parameters(), lr=0.1)
    engine = PlainEngine(module, optimizer, accumulation=accumulation, clip=clip)
    for _ in range(3):
        for part in features.chunk(accumulation):
            engine.backward(engine(part).square().mean())
            engine.step()
        sum(reference(part).square().mean() / accumulation for part in features.chunk(accumulation)).backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(reference.parameters(), clip)
        expected.step()
        expected.zero_grad()
    for one, other in zip(module.parameters(), reference.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-7)  # sums in another order


def test_nothing_moves_before_the_last_pass():
    module, optimizer, features = parts()
    before = copy.deepcopy(module.state_dict())
    engine = PlainEngine(module, optimizer, accumulation=2, clip=None)
    engine.backward(engine(features).sum())
    engine.step()
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())


def test_modes_are_the_modules_own():
    module, optimizer, _ = parts()
    engine = PlainEngine(module, optimizer, accumulation=1, clip=None)
    engine.eval()
    assert not module.training
    assert not engine.training
    engine.train()
    assert module.training


@pytest.mark.parametrize(
    ("changes", "plain"),
    [({}, True), ({"world": 2}, False), ({"stage": 2}, False), ({"precision": "bf16"}, False)],
)
def test_deepspeed_is_left_out_only_where_it_has_nothing_to_do(changes, plain):
    plan = {"stage": 0, "offload": "none", "precision": "fp32", "clip": 1.0, "micro_rows": 4, "accumulation": 1, "world": 1}
    assert ZeroPlan(**plan | changes).is_plain() is plain
