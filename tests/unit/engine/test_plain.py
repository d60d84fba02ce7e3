"""Torch alone behind the methods of a DeepSpeed engine: accumulated, clipped and stepped as written by hand."""

import copy

import pytest
import torch

from heliostat.engine.plain import MixedEngine, PlainEngine, norm
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


def test_the_norm_of_a_large_gradient_is_exact_however_it_is_cut():
    gradient = torch.zeros(3_000_000)
    gradient[::500] = torch.randn(6_000, generator=torch.Generator().manual_seed(2))
    exact = gradient.double().norm().item()
    assert norm([gradient]).item() == pytest.approx(exact, rel=3e-7)  # float32
    assert norm(gradient.split(1_000_001)).item() == pytest.approx(exact, rel=3e-7)


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


@pytest.mark.parametrize(("changes", "torchs"), [
    ({}, True), ({"stage": 2}, True), ({"world": 2}, True), ({"world": 2, "stage": 2}, True), ({"device": "cuda"}, True),
    ({"stage": 3}, False), ({"precision": "bf16"}, True), ({"precision": "bf16", "world": 2}, False), ({"precision": "fp16"}, False),
    ({"stage": 1, "offload": "optimizer"}, False), ({"world": 2, "device": "cuda"}, False),
])  # fmt: skip
def test_deepspeed_is_left_out_only_where_torch_alone_is_faster(changes, torchs):
    plan = {"stage": 0, "offload": "none", "precision": "fp32", "clip": 1.0, "micro_rows": 4, "accumulation": 1, "world": 1}
    assert ZeroPlan(**plan | changes).is_torchs() is torchs


@pytest.mark.parametrize("accumulation", [1, 3])
def test_in_bf16_gradients_are_added_up_and_updates_made_in_fp32(accumulation):
    module, _, features = parts()
    narrow, expected = copy.deepcopy(module).to(torch.bfloat16), copy.deepcopy(module)
    reference = torch.optim.AdamW(expected.parameters(), lr=1e-3)
    engine = MixedEngine(module, torch.optim.AdamW(module.parameters(), lr=1e-3), accumulation=accumulation, clip=0.5)
    for _ in range(3):
        for part in features.to(torch.bfloat16).chunk(accumulation):
            engine.backward(engine(part).float().square().mean())
            engine.step()
            (narrow(part).float().square().mean() / accumulation).backward()
            for p, q in zip(expected.parameters(), narrow.parameters(), strict=True):
                p.grad = q.grad.float() if p.grad is None else p.grad + q.grad.float()
                q.grad = None
        torch.nn.utils.clip_grad_norm_(expected.parameters(), 0.5)
        reference.step()
        reference.zero_grad()
        for p, q in zip(expected.parameters(), narrow.parameters(), strict=True):
            q.data.copy_(p.data)
    for (p, made), other in zip(engine.copies, expected.parameters(), strict=True):
        assert torch.allclose(made, other, atol=1e-7), "updates far below what 16 bits can tell are kept"
        assert torch.equal(p, other.to(torch.bfloat16))


def test_in_bf16_what_is_not_trained_has_16_bits_too_and_other_numbers_stay():
    module, _, _ = parts()
    module[0].requires_grad_(False)
    module.register_parameter("packed", torch.nn.Parameter(torch.arange(3, dtype=torch.uint8), requires_grad=False))
    engine = MixedEngine(module, torch.optim.SGD(module[2].parameters(), lr=0.1), accumulation=1, clip=None)
    assert {name: p.dtype for name, p in module.named_parameters()} == {
        **dict.fromkeys(("0.weight", "0.bias", "2.weight", "2.bias"), torch.bfloat16),
        "packed": torch.uint8,
    }
    assert [p for p, _ in engine.copies] == list(module[2].parameters())
