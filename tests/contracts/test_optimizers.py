"""What every optimiser promises, found by itself in the family."""

import pytest
import torch

from heliostat.core import family

NAMES = family.names("train.optimizers")


def built(name, groups, **options):
    return family.build("train.optimizers", {"use": name, **options}).build(groups, zero=0)


@pytest.mark.parametrize("name", NAMES)
def test_it_goes_down_a_quadratic(name):
    place = torch.tensor([3.0, -2.0], requires_grad=True)
    optimizer = built(name, [{"params": [place], "decay": False}], lr=0.05)
    losses = []
    for _ in range(200):
        loss = (place * torch.tensor([1.0, 0.1]) * place).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.05 * losses[0]


@pytest.mark.parametrize("name", NAMES)
def test_only_groups_that_decay_are_decayed(name):
    """With a gradient of zero, decay is all that moves a weight."""
    matrix, bias = torch.ones(2, 2, requires_grad=True), torch.ones(2, requires_grad=True)
    groups = [{"params": [matrix], "decay": True}, {"params": [bias], "decay": False}]
    optimizer = built(name, groups, lr=0.1, weight_decay=0.5)
    matrix.grad, bias.grad = torch.zeros(2, 2), torch.zeros(2)
    optimizer.step()
    assert torch.equal(bias.detach(), torch.ones(2))
    # one step of decay is lr * weight_decay = 0.05 of the weight, in float32
    assert matrix.detach().flatten().tolist() == pytest.approx([0.95] * 4, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_loop_can_set_its_rate(name):
    place = torch.ones(1, requires_grad=True)
    optimizer = built(name, [{"params": [place], "decay": False}], lr=0.05)
    assert [group["lr"] for group in optimizer.param_groups] == [0.05]
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    place.grad = torch.ones(1)
    optimizer.step()
    assert place.item() == 1.0


@pytest.mark.parametrize("name", NAMES)
def test_its_state_goes_on_in_another_optimiser(name):
    """Bit for bit: what a checkpoint relies on."""

    def steps(place, optimizer, numbers):
        for number in numbers:
            place.grad = torch.sin(torch.arange(4.0) + number)
            optimizer.step()

    whole, first = torch.ones(4, requires_grad=True), torch.ones(4, requires_grad=True)
    steps(whole, built(name, [{"params": [whole]}], lr=0.1), range(6))
    optimizer = built(name, [{"params": [first]}], lr=0.1)
    steps(first, optimizer, range(3))
    second = first.detach().clone().requires_grad_()
    again = built(name, [{"params": [second]}], lr=0.1)
    again.load_state_dict(optimizer.state_dict())
    steps(second, again, range(3, 6))
    assert torch.equal(second, whole)


@pytest.mark.parametrize("name", NAMES)
def test_groups_are_left_as_they_were(name):
    groups = [{"params": [torch.ones(1, requires_grad=True)], "decay": True}]
    built(name, groups)
    assert groups[0].keys() == {"params", "decay"}
