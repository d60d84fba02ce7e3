"""Copies of a module: equal, apart, and tied where the original is tied."""

import copy

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from heliostat.engine.copies import Original


class Tied(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(7, 4)
        self.head = torch.nn.Linear(4, 7, bias=False)
        self.head.weight = self.embed.weight
        self.norm = torch.nn.BatchNorm1d(4)
        self.scale = torch.arange(3.0)  # neither a parameter nor a buffer
        self.note = {"words": ["a"]}


class WithFunction(Tied):
    def __init__(self):
        super().__init__()
        self.function = lambda x: x


@pytest.mark.parametrize("kind", [Tied, WithFunction])
def test_a_copy_is_equal_and_apart(kind):
    module = kind().eval()
    module.norm.requires_grad_(False)
    original = Original(module)
    before = copy.deepcopy(module.state_dict())
    made = original.copy()
    assert all(torch.equal(one, other) for one, other in zip(made.state_dict().values(), before.values(), strict=True))
    assert [p.requires_grad for p in made.parameters()] == [p.requires_grad for p in module.parameters()]
    assert not made.training
    assert made.head.weight is made.embed.weight
    with torch.no_grad():
        for tensor in [*made.parameters(), *made.buffers(), made.scale]:
            tensor.zero_()
    made.note["words"].append("b")
    again = original.copy()
    assert all(torch.equal(one, other) for one, other in zip(again.state_dict().values(), before.values(), strict=True))
    assert torch.equal(again.scale, torch.arange(3.0))
    assert again.note == {"words": ["a"]}


def test_what_can_be_pickled_is_not_copied_deeply(monkeypatch):
    original = Original(Tied())
    monkeypatch.setattr(copy, "deepcopy", None)
    assert isinstance(original.copy(), Tied)


def test_a_weight_norm_cannot_be_pickled_and_is_copied_deeply():
    module = torch.nn.Sequential(torch.nn.utils.parametrizations.weight_norm(torch.nn.Conv1d(4, 4, 3)))
    made = Original(module).copy()
    values = torch.randn(1, 4, 9)
    assert torch.equal(made(values), module(values))
    with torch.no_grad():
        made[0].parametrizations.weight.original1.zero_()
    assert not torch.equal(made(values), module(values))


class Elsewhere(torch.nn.Module):
    def __init__(self, device):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.empty(3, device=device))
        self.register_buffer("mean", torch.empty(3, device=device))


def test_a_copy_is_on_the_cpu_wherever_the_original_is():
    """Tensors that only say where they are stand in for those of a GPU."""
    with FakeTensorMode(), torch.no_grad():
        module = Elsewhere("cuda")
        made = Original(module).copy()
    assert [tensor.device.type for tensor in (module.weight, module.mean)] == ["cuda", "cuda"]
    assert [tensor.device.type for tensor in (made.weight, made.mean)] == ["cpu", "cpu"]


def test_what_is_copied_deeply_is_asked_to_the_cpu():
    class Asked(WithFunction):
        def to(self, device):
            self.asked = device
            return self

    assert Original(Asked()).copy().asked == "cpu"
