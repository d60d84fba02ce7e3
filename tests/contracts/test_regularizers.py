"""What every regulariser promises, found by itself in the family; and the formulas of those that ship, by hand."""

import pytest
import torch

from heliostat.core import family

ROWS, PLACES, WIDTH, LABELS = 4, 3, 5, 3


class Bag(torch.nn.Module):
    """Embeddings, dropout, a mean over the places and a linear head."""

    def __init__(self, dropout=0.0):
        super().__init__()
        torch.manual_seed(3)
        self.words, self.drop = torch.nn.Embedding(11, WIDTH), torch.nn.Dropout(dropout)
        self.hidden, self.head = torch.nn.Linear(WIDTH, WIDTH), torch.nn.Linear(WIDTH, LABELS)

    def get_input_embeddings(self):
        return self.words

    def forward(self, ids):
        return self.head(torch.tanh(self.hidden(self.drop(self.words(ids)).mean(1))))


class Forward:
    """Passes through the module, counted; `engines` are those that the engine is told of."""

    def __init__(self, module):
        self.module, self.passes, self.engines = module, 0, []

    def __call__(self, batch):
        found = self.inner(batch)
        found["logits"].register_hook(lambda grad: self.engines.append(self.passes))
        return found

    def inner(self, batch):
        self.passes += 1
        return {"logits": self.module(batch["ids"]), "labels": batch["labels"], "weight": batch["weight"]}


@pytest.fixture(params=family.names("train.regularizers"))
def regularizer(request):
    return family.build("train.regularizers", request.param)


@pytest.fixture
def batch():
    torch.manual_seed(4)
    ids = torch.randint(0, 11, (ROWS, PLACES))
    return {"ids": ids, "labels": torch.tensor([0, 1, 2, 1]), "weight": torch.tensor([1.0, 2.0, 0.0, 0.5])}


@pytest.fixture
def objective():
    return family.build("train.objectives", "cross_entropy")


def test_the_model_is_as_it_was_and_gradients_reach_all_of_it(regularizer, objective, batch):
    forward = Forward(Bag(0.1))
    before = {name: p.detach().clone() for name, p in forward.module.named_parameters()}
    loss = regularizer.total(objective, forward, batch)
    assert loss.ndim == 0
    assert torch.isfinite(loss)
    loss.backward()
    for name, p in forward.module.named_parameters():
        assert torch.equal(p, before[name])
        assert torch.isfinite(p.grad).all()
        assert (p.grad != 0).any()
    assert forward.engines[:1] == [forward.passes], "of all gradients the update's alone comes to the engine, by the last pass first"
    assert not forward.module.words._forward_hooks
    assert regularizer.passes in (None, forward.passes)


def test_frozen_embeddings_can_be_moved_too(regularizer, objective, batch):
    forward = Forward(Bag(0.1))
    forward.module.words.requires_grad_(False)
    regularizer.total(objective, forward, batch).backward()
    assert forward.module.words.weight.grad is None
    assert (forward.module.hidden.weight.grad != 0).any()


def test_a_row_that_only_fills_up_adds_nothing(regularizer, objective, batch):
    """Row 2 has weight 0: whatever it holds, the loss is the same."""
    losses = []
    for word in (1, 7):
        forward = Forward(Bag(0.0))
        torch.manual_seed(9)
        losses.append(regularizer.total(objective, forward, batch | {"ids": batch["ids"].index_fill(0, torch.tensor([2]), word)}).item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)  # float32


def test_moved_embeddings_hurt(objective, batch):
    """Every adversarial member's loss at its moved embeddings is above the clean one."""
    clean = objective.weighted(Forward(Bag())(batch)).item()
    assert family.build("train.regularizers", "fgm").total(objective, Forward(Bag()), batch).item() > 2 * clean
    assert family.build("train.regularizers", "pgd").total(objective, Forward(Bag()), batch).item() > 2 * clean
    still = {"use": "freelb", "start": 0.0, "steps": 3}
    assert family.build("train.regularizers", still).total(objective, Forward(Bag()), batch).item() > clean


def test_the_fast_gradient_method_by_hand(objective, batch):
    module = Bag()
    words = module.words(batch["ids"]).detach().requires_grad_()

    def loss(embedded):
        logits = module.head(torch.tanh(module.hidden(embedded.mean(1))))
        return objective.weighted({"logits": logits, "labels": batch["labels"], "weight": batch["weight"]})

    (slope,) = torch.autograd.grad(loss(words), words)
    step = torch.zeros_like(slope)
    for row in range(ROWS):
        norm = slope[row].norm()
        step[row] = 0.7 * slope[row] / norm if norm > 0 else 0.0
    expected = loss(words) + 0.5 * loss(words + step)
    found = family.build("train.regularizers", {"use": "fgm", "epsilon": 0.7, "share": 0.5}).total(objective, Forward(module), batch)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)  # float32


def test_one_step_of_projected_descent_within_the_ball_is_the_fast_gradient_method(objective, batch):
    fast = family.build("train.regularizers", {"use": "fgm", "epsilon": 0.4}).total(objective, Forward(Bag()), batch)
    slow = family.build("train.regularizers", {"use": "pgd", "steps": 1, "step_length": 0.9, "epsilon": 0.4})
    assert slow.total(objective, Forward(Bag()), batch).item() == pytest.approx(fast.item(), rel=1e-6)


def test_without_dropout_two_passes_agree(objective, batch):
    found = family.build("train.regularizers", {"use": "r_drop", "alpha": 5.0}).total(objective, Forward(Bag(0.0)), batch)
    assert found.item() == pytest.approx(objective.weighted(Forward(Bag())(batch)).item(), rel=1e-6)


def test_agreement_by_hand(objective, batch):
    module = Bag(0.5)
    torch.manual_seed(6)
    one, other = module(batch["ids"]), module(batch["ids"])
    p, q = one.softmax(-1), other.softmax(-1)
    apart = 0.5 * ((p * (p / q).log()).sum(-1) + (q * (q / p).log()).sum(-1))
    weighted = [objective.weighted({**batch, "logits": z}) for z in (one, other)]
    expected = sum(weighted) / 2 + 3.0 * (apart * batch["weight"]).sum()
    torch.manual_seed(6)
    found = family.build("train.regularizers", {"use": "r_drop", "alpha": 3.0}).total(objective, Forward(module), batch)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)  # float32
