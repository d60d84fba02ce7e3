"""The loop: one global batch is one update, however it is cut; a bad update is never made."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from heliostat.core import seeds
from heliostat.core.errors import Diverged
from heliostat.engine.group import Group
from heliostat.engine.rates import LR_SCALE
from heliostat.engine.streams import Batches
from heliostat.train.loop import Loop

ROWS, BATCH, WIDTH, LABELS, SEED = 21, 16, 5, 3, 11


def data():
    rng = seeds.rng(SEED, "test", "loop")
    return torch.from_numpy(rng.normal(size=(ROWS, WIDTH))), torch.from_numpy(rng.integers(0, LABELS, ROWS)), rng.uniform(0.1, 3.0, ROWS)


def linear():
    module = torch.nn.Linear(WIDTH, LABELS).double()
    rng = seeds.rng(SEED, "test", "weights")
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.from_numpy(rng.normal(size=tuple(parameter.shape))))
    return module


def cross_entropy(logits, batch):
    return torch.nn.functional.cross_entropy(logits, batch["labels"], reduction="none")


def loop_over(engine, group, *, accumulation=1, lr=lambda step: 0.5, per_row=cross_entropy, seed=SEED):
    """A loop over the data above; the forward passes are those of `Batches`."""
    features, labels, weights_N = data()
    batches = Batches(np.arange(ROWS), BATCH, accumulation, SEED, group.rank, group.world)

    def share(step):
        def inputs(micro):
            weight = torch.from_numpy(weights_N[micro.rows] * (not micro.filler))
            return {"x": features[micro.rows], "labels": labels[micro.rows], "weight": weight}

        whole = batches.whole(step)
        return [inputs(micro) for micro in batches.share(step)], float(weights_N[whole].sum()), len(whole)

    def total(batch):
        return (per_row(engine(batch["x"]), batch) * batch["weight"]).sum()

    return Loop(engine, total, share, lr, group, seed)


def by_hand(steps):
    """(weights, losses) of plain gradient descent on the weighted mean over each global batch."""
    features, labels, weights_N = data()
    module, batches, losses = linear(), Batches(np.arange(ROWS), BATCH, 1, SEED), []
    for step in range(steps):
        rows = batches.whole(step)
        weight = torch.from_numpy(weights_N[rows])
        loss = (cross_entropy(module(features[rows]), {"labels": labels[rows]}) * weight).sum() / weight.sum()
        gradients = torch.autograd.grad(loss, list(module.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(module.parameters(), gradients, strict=True):
                parameter -= 0.5 * gradient
        losses.append(loss.item())
    return flat(module), losses


def flat(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()]).numpy().copy()


@pytest.mark.parametrize(("world", "accumulation"), [(1, 1), (1, 2), (1, 4), (1, 16), (2, 1), (2, 4), (4, 2)])
def test_a_global_batch_is_the_same_update_however_it_is_cut(world, accumulation, in_parallel, plain_engine):
    """Six steps are three epochs whose last batch has 5 rows, so that with 16 parts some forward passes only fill up."""

    def work(group):
        module = linear()
        engine = plain_engine(module, torch.optim.SGD(module.parameters(), lr=9.0), accumulation, group)
        return [done.loss for done in loop_over(engine, group, accumulation=accumulation).run(0, 6)], flat(module)

    weights, losses = by_hand(6)
    for given in in_parallel(world, work):
        # float64 throughout, except that the reported loss is added up in float32; only the order of additions differs
        assert given[1] == pytest.approx(weights, abs=1e-12)
        assert given[0] == pytest.approx(losses, rel=1e-6)


def test_each_update_is_told_with_its_number_rate_and_rows(plain_engine):
    module = linear()
    engine = plain_engine(module, torch.optim.SGD(module.parameters(), lr=1.0))
    told = list(loop_over(engine, Group(), lr=lambda step: 0.1 / (step + 1)).run(2, 5))
    assert [(done.step, done.rows) for done in told] == [(3, 16), (4, 5), (5, 16)]
    assert [done.lr for done in told] == [0.1 / 3, 0.1 / 4, 0.1 / 5]


def test_the_rate_of_the_step_moves_every_parameter_group(plain_engine):
    module = linear()
    groups = [{"params": [module.weight], "lr": 7.0}, {"params": [module.bias], "lr": 8.0}]
    engine = plain_engine(module, torch.optim.SGD(groups, lr=1.0))
    loop = loop_over(engine, Group(), lr=lambda step: (0.0, 0.5)[step], per_row=lambda logits, batch: logits.sum(-1))
    before = module.bias.detach().clone()
    steps = loop.run(0, 2)
    next(steps)
    assert torch.equal(module.bias, before)  # rate 0
    next(steps)
    # the loss is the sum of the logits, so every bias has gradient 1; float64
    assert module.bias.detach().numpy() == pytest.approx((before - 0.5).numpy(), abs=1e-12)
    assert [group["lr"] for group in engine.optimizer.param_groups] == [0.5, 0.5]


def test_a_group_has_its_share_of_the_rate_of_the_step(plain_engine):
    def moved(**share):
        module = linear()
        engine = plain_engine(module, torch.optim.SGD([{"params": [module.weight], **share}, {"params": [module.bias]}], lr=1.0))
        before = [p.detach().clone() for p in module.parameters()]
        (done,) = loop_over(engine, Group(), lr=lambda step: 0.5).run(0, 1)
        assert done.lr == 0.5
        return [(p.detach() - old).numpy() for p, old in zip(module.parameters(), before, strict=True)]

    weight, bias = moved(**{LR_SCALE: 0.25})
    whole_weight, whole_bias = moved()
    assert weight == pytest.approx(0.25 * whole_weight, abs=1e-12)  # float64
    assert (bias == whole_bias).all()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("place", [0, 1])
def test_a_bad_loss_is_refused_before_the_update(bad, place, plain_engine):
    """The bad number may be in any forward pass of the update."""
    module, seen = linear(), []
    engine = plain_engine(module, torch.optim.SGD(module.parameters(), lr=1.0), accumulation=2)

    def per_row(logits, batch):
        seen.append(len(batch["labels"]))
        return cross_entropy(logits, batch) * (bad if len(seen) == 7 + place else 1.0)

    steps = loop_over(engine, Group(), accumulation=2, lr=lambda step: 0.25, per_row=per_row).run(0, 9)
    for _ in range(3):
        next(steps)
    before = flat(module)
    with pytest.raises(Diverged, match=r"at step 4 with learning rate 0\.25"):
        next(steps)
    assert (flat(module) == before).all()
    assert engine.updates == 3


def test_a_bad_loss_on_one_worker_stops_all_of_them_before_the_update(in_parallel, plain_engine):
    def work(group):
        module = linear()
        engine = plain_engine(module, torch.optim.SGD(module.parameters(), lr=1.0), 1, group)
        bad = lambda logits, batch: cross_entropy(logits, batch) * (math.nan if group.rank == 1 else 1.0)  # noqa: E731
        with pytest.raises(Diverged):
            list(loop_over(engine, group, per_row=bad).run(0, 1))
        return flat(module)

    for weights in in_parallel(2, work):
        assert (weights == flat(linear())).all()


def test_a_bad_loss_names_the_rows_of_its_batch(plain_engine):
    module = linear()
    engine = plain_engine(module, torch.optim.SGD(module.parameters(), lr=1.0))
    bad = lambda logits, batch: cross_entropy(logits, batch) * math.nan  # noqa: E731
    loop = replace(loop_over(engine, Group(), per_row=bad), names=lambda step: [f"row-{step}-a", f"row-{step}-b"])
    with pytest.raises(Diverged, match=r"learning rate 0\.5, on the batch that begins with rows row-1-a, row-1-b\. Lower"):
        list(loop.run(1, 2))


def test_all_workers_stop_at_the_step_at_which_one_is_told_to_leave(in_parallel, plain_engine):
    def work(group):
        module = linear()
        engine = plain_engine(module, torch.optim.SGD(module.parameters(), lr=1.0), 1, group)
        loop = replace(loop_over(engine, group), leaving=lambda: group.rank == 1 and engine.updates == 2)
        return [(done.step, done.leaving) for done in loop.run(0, 4)]

    for told in in_parallel(3, work):
        assert told == [(1, False), (2, False), (3, True), (4, False)]


def with_dropout(plain_engine, spans, *, seed=SEED, group=None):
    """Weights after the steps of `spans`, each run by a loop of its own with other random draws in between."""
    module = torch.nn.Sequential(torch.nn.Dropout(0.5), linear())
    engine = plain_engine(module, torch.optim.SGD(module.parameters(), lr=1.0, momentum=0.9))
    for start, until in spans:
        for _ in loop_over(engine, group or Group(), seed=seed).run(start, until):
            torch.rand(int(torch.randint(1, 50, ())))
        torch.manual_seed(987 + until)
    return flat(module)


def test_dropout_depends_on_the_step_and_not_on_what_ran_before(plain_engine):
    whole = with_dropout(plain_engine, [(0, 10)])
    assert (with_dropout(plain_engine, [(0, 5), (5, 10)]) == whole).all()
    assert (with_dropout(plain_engine, [(0, 1), (1, 9), (9, 10)]) == whole).all()


def test_dropout_differs_between_seeds_steps_and_ranks():
    masks = {}
    for seed, rank, step in [(1, 0, 0), (2, 0, 0), (1, 1, 0), (1, 0, 1)]:
        module = torch.nn.Dropout(0.5)

        def logits(batch, module=module, key=(seed, rank, step)):
            masks[key] = tuple(module(torch.ones(64)).tolist())
            return torch.zeros((), requires_grad=True)

        class Idle:
            optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
            backward = step = staticmethod(lambda *loss: None)

        share = lambda step: ([{"weight": torch.ones(1)}], 1.0, 1)  # noqa: E731
        list(Loop(Idle(), logits, share, lambda step: 1.0, Group(rank=rank), seed).run(step, step + 1))
    assert len(set(masks.values())) == 4
    assert np.isin(list(masks.values()), [0.0, 2.0]).all()
