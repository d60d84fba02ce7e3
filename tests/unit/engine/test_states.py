"""State by parameter name: whoever wrote it, whoever reads it, each element comes back once, and the next update is the same."""

from __future__ import annotations

import copy
import json
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from tests.saving import save

from heliostat.core.errors import RunFailed
from heliostat.engine import checkpoints, states
from heliostat.engine.group import Group
from heliostat.engine.plain import MixedEngine
from heliostat.engine.states import Piece


class Named(torch.nn.Module):
    """Parameters of odd sizes, a frozen one among them, and one that lies in memory in another order than its elements."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.a = torch.nn.Linear(3, 5)
        self.a.bias = torch.nn.Parameter(torch.randn(1))
        self.b = torch.nn.Module()
        self.b.weight = torch.nn.Parameter(torch.randn(2, 3, 2))
        self.c = torch.nn.Parameter(torch.randn(7))
        self.frozen = torch.nn.Parameter(torch.randn(4), requires_grad=False)
        self.picture = torch.nn.Parameter(torch.randn(2, 3, 2, 2).contiguous(memory_format=torch.channels_last))


def trained(module):
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def update(engine, number):
    rng = torch.Generator().manual_seed(number)
    for p in trained(engine.module).values():
        p.grad = torch.randn(p.shape, generator=rng)
    engine.optimizer.step()


def begun(build, steps=3):
    """An engine of torch alone, some updates on its way."""
    module = Named()
    engine = SimpleNamespace(module=module, optimizer=build(trained(module).values()))
    for number in range(steps):
        update(engine, number)
    return engine


def saved(folder, engines, world):
    """The checkpoint that `world` workers with these engines write, one after another instead of side by side."""
    written = [states.collect(engine, Group(rank, world)) for rank, engine in enumerate(engines)]

    class First(Group):
        def barrier(self):
            """Nobody to wait for."""

        def gather(self, mine):
            files = next(folder.glob(".step*.tmp"))
            for rank in range(1, world):
                tensors, notes = written[rank]
                path = files / f"states-{rank:05d}.safetensors"
                save_file(tensors, path, {"notes": json.dumps(notes)})
            return [[checkpoints._told(path) for path in files.iterdir()]]

    return save(folder, 3, states=written[0], facts={}, group=First(0, world))


OPTIMIZERS = {
    "adamw": lambda ps: torch.optim.AdamW(ps, lr=0.1, weight_decay=0.1, fused=True),
    "adamw foreach": lambda ps: torch.optim.AdamW(ps, lr=0.1),
    "amsgrad": lambda ps: torch.optim.AdamW(ps, lr=0.1, amsgrad=True),
    "sgd": lambda ps: torch.optim.SGD(ps, lr=0.1, momentum=0.9),
    "sgd without state": lambda ps: torch.optim.SGD(ps, lr=0.1),
    "nadam": lambda ps: torch.optim.NAdam(ps, lr=0.1),
    "asgd": lambda ps: torch.optim.ASGD(ps, lr=0.1),
    "adagrad": lambda ps: torch.optim.Adagrad(ps, lr=0.1),
    "adafactor": lambda ps: torch.optim.Adafactor(ps, lr=0.1),
}


@pytest.mark.parametrize("world", [1, 3])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_any_torch_optimiser_goes_on_bit_for_bit(tmp_path, optimizer, world):
    """With three workers that all hold everything, each writes a third."""
    build = OPTIMIZERS[optimizer]
    engine = begun(build)
    place = saved(tmp_path, [engine] * world, world)
    again = begun(build, steps=0)
    with torch.no_grad():
        for p in trained(again.module).values():
            p.zero_()
    states.load_weights(again.module, place)
    states.restore(again, place)
    for number in (7, 8):
        update(engine, number)
        update(again, number)
    for name, p in trained(engine.module).items():
        assert torch.equal(p, trained(again.module)[name]), name
        one, other = engine.optimizer.state[p], again.optimizer.state[trained(again.module)[name]]
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one if torch.is_tensor(one[key]))


def test_every_worker_writes_its_share_of_what_all_hold(tmp_path):
    engine = begun(OPTIMIZERS["adamw"])
    place = saved(tmp_path, [engine] * 3, 3)
    sizes = [path.stat().st_size for path in states.checkpoints.state_files(place)]
    elements = sum(p.numel() for p in trained(engine.module).values())
    assert len(sizes) == 3
    written = [sum(t.numel() for t in states.collect(engine, Group(rank, 3))[0].values()) for rank in range(3)]
    assert sum(written) == 3 * elements  # weights and two moments, each once
    assert max(written) <= elements + 3 * len(trained(engine.module))


def test_nothing_is_copied_to_be_written():
    engine = begun(OPTIMIZERS["adamw"])
    tensors, _ = states.collect(engine, Group())
    assert tensors["weights/c/0"].data_ptr() == engine.module.c.data_ptr()


# Engines that are divided as DeepSpeed divides them; tests/faults/test_world_size.py has the real ones.


def divided(stage, world):
    """One engine per rank, with AdamW's state made up: an element of `exp_avg` is 1000 x parameter + its index, all after 4 updates."""
    return [_divided(stage, rank, world) for rank in range(world)]


def _divided(stage, rank, world):
    module = Named()
    named = trained(module)
    value = {name: 1000.0 * i + torch.arange(p.numel()) for i, (name, p) in enumerate(named.items())}
    flats, groups = [], []
    for names in (list(named)[::2], list(named)[1::2]):
        groups.append([named[name] for name in names])
        build = _end_to_end if stage < 3 else _each_cut
        flats.append(build([(named[name], value[name]) for name in names], rank, world))
    inner = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(2))], lr=0.1)
    holders = [torch.nn.Parameter(flat.clone()) for flat in flats]
    for holder, flat in zip(holders, flats, strict=True):
        inner.state[holder] = {"step": torch.tensor(4.0), "exp_avg": flat, "exp_avg_sq": flat / 8}
    if stage < 3:
        outer = SimpleNamespace(optimizer=inner, single_partition_of_fp32_groups=holders, bit16_groups=groups)
    else:
        outer = SimpleNamespace(optimizer=inner, fp32_partitioned_groups_flat=holders, fp16_groups=groups)
    return SimpleNamespace(module=module, optimizer=outer)


def _end_to_end(pairs, rank, world):
    """ZeRO 1 and 2."""
    flat = torch.cat([v for _, v in pairs])
    flat = torch.cat([flat, torch.zeros(-len(flat) % (2 * world))])
    size = len(flat) // world
    offset = 0
    for p, v in pairs:
        low, high = max(offset, rank * size), min(offset + len(v), (rank + 1) * size)
        address = SimpleNamespace(start=low - offset, numel=high - low), SimpleNamespace(start=low - rank * size, numel=high - low)
        p._hp_mapping = SimpleNamespace(lp_fragment_address=address[0], hp_fragment_address=address[1]) if low < high else None
        offset += len(v)
    return flat[rank * size : (rank + 1) * size].clone()


def _each_cut(pairs, rank, world):
    """ZeRO 3."""
    parts = []
    for p, v in pairs:
        size = -(-len(v) // world)
        p.ds_numel, p.ds_shape, p.ds_process_group, p.partition_numel = len(v), p.shape, rank, lambda size=size: size
        parts.append(torch.cat([v, torch.zeros(size * world - len(v))])[rank * size : (rank + 1) * size])
    return torch.cat(parts)


@pytest.fixture
def ranks(monkeypatch):
    """A process group is its rank here."""
    monkeypatch.setattr(torch.distributed, "get_rank", lambda group: group)


@pytest.mark.parametrize("reading", [(1, 2), (2, 3), (3, 1), (4, 2), (5, 3), (12, 2)], ids=str)
@pytest.mark.parametrize("writing", [(1, 1), (2, 2), (3, 3), (5, 3), (12, 1)], ids=str)
def test_each_element_comes_back_in_its_place_however_it_was_divided(tmp_path, ranks, writing, reading):
    """(workers, ZeRO stage); with 12 workers some hold nothing at all."""
    place = saved(tmp_path, divided(writing[1], writing[0]), writing[0])
    for rank, engine in enumerate(divided(reading[1], reading[0])):
        expected = copy.deepcopy([(h, engine.optimizer.optimizer.state[h]) for h in _holders(engine)])
        for holder in _holders(engine):
            holder.data.zero_()
            engine.optimizer.optimizer.state[holder] = {"stale": torch.ones(1)}
        states.restore(engine, place)
        for block, (weights, state) in zip(states._held(engine).blocks, expected, strict=True):
            if not block.pieces:
                continue
            found = engine.optimizer.optimizer.state[block.tensor]
            assert found.keys() == state.keys(), rank
            assert torch.equal(block.tensor, weights)
            assert all(torch.equal(found[key], state[key]) for key in state)


def _holders(engine):
    outer = engine.optimizer
    return outer.single_partition_of_fp32_groups if hasattr(outer, "bit16_groups") else outer.fp32_partitioned_groups_flat


def test_a_worker_reads_what_covers_its_own_pieces_and_no_more(tmp_path, ranks, monkeypatch):
    place = saved(tmp_path, divided(3, 3), 3)
    read = []
    whole = states.Saved.read
    monkeypatch.setattr(states.Saved, "read", lambda self, slot, piece: read.append(piece.numel) or whole(self, slot, piece))
    elements = sum(p.numel() for p in trained(Named()).values())
    for engine in divided(2, 4):
        states.restore(engine, place)
    assert sum(read) == 3 * elements


def test_torch_alone_opens_what_was_divided(tmp_path, ranks):
    place = saved(tmp_path, divided(2, 3), 3)
    engine = begun(OPTIMIZERS["adamw"], steps=0)
    states.load_weights(engine.module, place)
    states.restore(engine, place)
    for i, p in enumerate(trained(engine.module).values()):
        state = engine.optimizer.state[p]
        assert torch.equal(p.detach().reshape(-1), 1000.0 * i + torch.arange(p.numel()))
        assert torch.equal(state["exp_avg"], p)
        assert state["step"] == 4.0


def test_the_model_must_be_the_same(tmp_path):
    place = saved(tmp_path, [begun(OPTIMIZERS["sgd"])], 1)
    other = Named()
    other.frozen.requires_grad_(True)
    with pytest.raises(RunFailed, match=r"another model: 1 trained parameters differ, such as frozen"):
        states.load_weights(other, place)
    other = Named()
    other.c = torch.nn.Parameter(torch.zeros(8))
    with pytest.raises(RunFailed, match=r"such as c\. "):
        states.load_weights(other, place)


def test_what_cannot_be_divided_is_refused(tmp_path):
    place = saved(tmp_path, [begun(OPTIMIZERS["adafactor"])], 1)
    with pytest.raises(RunFailed, match=r"keeps 'row_var' about the whole of a.weight.*zero 0"):
        states.restore(divided(2, 2)[0], place)
    engine = begun(OPTIMIZERS["adamw"])
    engine.optimizer.state[engine.module.c]["step"] = torch.tensor(1.0)
    late = saved(tmp_path / "late", [engine], 1)
    with pytest.raises(RunFailed, match="share a partition"):
        states.restore(divided(1, 1)[0], late)


def test_parameters_without_a_gradient_have_no_state_and_share_a_partition_all_the_same(tmp_path):
    module = Named()
    engine = SimpleNamespace(module=module, optimizer=OPTIMIZERS["adamw"](trained(module).values()))
    for name, p in trained(module).items():
        p.grad = None if name == "c" else torch.ones_like(p)
    engine.optimizer.step()
    place = saved(tmp_path, [engine], 1)
    again = SimpleNamespace(module=Named(), optimizer=None)
    again.optimizer = OPTIMIZERS["adamw"](trained(again.module).values())
    states.restore(again, place)
    assert again.module.c not in again.optimizer.state
    flat = divided(2, 1)[0]
    states.restore(flat, place)
    for block in states._held(flat).blocks:
        state = flat.optimizer.optimizer.state[block.tensor]
        assert state["step"] == 1.0
        for piece in block.pieces:
            moment = state["exp_avg"][piece.offset : piece.offset + piece.numel]
            assert bool((moment == 0).all()) == (piece.name == "c")


SCALER = {"cur_scale": 512.0, "cur_iter": 9, "last_overflow_iter": 4, "cur_hysteresis": 1}


@pytest.mark.parametrize("place", ["loss_scaler", "loss_scale_config"])
def test_the_loss_scale_goes_on_in_whatever_scales_the_loss(tmp_path, place):
    def engine(where, **fields):
        parts = divided(2, 1)[0]
        setattr(parts.optimizer, where, SimpleNamespace(**fields))
        return parts

    path = saved(tmp_path, [engine("loss_scaler", **SCALER, min_scale=1)], 1)
    fields = {key: 0 for key in SCALER if place == "loss_scaler" or key != "cur_hysteresis"}
    again = engine(place, **fields, min_scale=2)
    states.restore(again, path)
    assert vars(getattr(again.optimizer, place)) == {**{key: SCALER[key] for key in fields}, "min_scale": 2}


def test_shares_cover_a_piece_once():
    for numel in (0, 1, 5, 12):
        for world in (1, 2, 5, 7):
            parts = [Piece("p", (numel,), 0, numel).share(rank, world) for rank in range(world)]
            assert [i for part in parts for i in range(part.start, part.start + part.numel)] == list(range(numel))
            assert all(part.offset == part.start for part in parts)


def test_a_training_in_bf16_goes_on_from_its_copies_in_fp32(tmp_path):
    def begin():
        module = Named()
        return MixedEngine(module, OPTIMIZERS["adamw"](trained(module).values()), accumulation=1, clip=None)

    def move(engine, number):
        rng = torch.Generator().manual_seed(number)
        engine.backward(sum((p * torch.randn(p.shape, generator=rng)).float().sum() for p in trained(engine.module).values()))
        engine.step()

    engine = begin()
    for number in range(3):
        move(engine, number)
    place = saved(tmp_path, [engine], 1)
    module = Named()
    states.load_weights(module, place)
    again = MixedEngine(module, OPTIMIZERS["adamw"](trained(module).values()), accumulation=1, clip=None)
    states.restore(again, place)
    for one in (engine, again):
        move(one, 7)
    for (p, copy_), (q, other) in zip(engine.copies, again.copies, strict=True):
        assert torch.equal(copy_, other)
        assert torch.equal(p, q)
        assert p.dtype == torch.bfloat16
        assert not torch.equal(copy_, p.float()), "the copies know more than 16 bits"
