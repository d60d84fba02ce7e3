"""A training saved by some workers goes on with another number of them, at another ZeRO stage, as if nothing had happened."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from heliostat.engine import checkpoints, states

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("divided.py")
SAVED_AT = 3
STAGES = (0, 1, 2, 3)
KINDS = {
    "adamw": {},
    "sgd": {"optimizer": "sgd"},
    "bf16": {"precision": "bf16"},
}


def perform(world: int, legs: list[dict], folder: Path, name: str) -> None:
    """Let `world` processes run the legs one after another."""
    plan, meeting = folder / f"{name}.json", folder / f"{name}.meeting"
    plan.write_text(json.dumps(legs))
    env = os.environ | {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"}
    workers = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(rank), str(world), str(meeting), str(plan)],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(world)
    ]
    try:
        said = [worker.communicate(timeout=300)[0] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert [worker.returncode for worker in workers] == [0] * world, "\n".join(text[-3000:] for text in said)


def leg(folder: Path, world: int, stage: int, kind: str, source: str | None = None) -> dict:
    name = f"{kind}-w{world}z{stage}" + (f"-from-{source}" if source else "")
    origin = {"from": str(checkpoints.at(folder / f"{kind}-{source}" / "saved", SAVED_AT))} if source else {}
    return {"to": str(folder / name), "stage": stage, **KINDS[kind], **origin}


MOVES = [
    *[("adamw", f"w2z{saved}", 1, 0) for saved in STAGES],
    ("adamw", "w2z2", 1, 2),
    ("adamw", "w2z3", 1, 1),
    ("adamw", "w2z0", 1, 3),
    ("sgd", "w2z2", 1, 0),
    ("bf16", "w2z2", 1, 0),
    ("bf16", "w2z1", 2, 2),
    ("adamw", "w2z2", 2, 3),
    ("adamw", "w2z3", 2, 0),
    *[("adamw", "w1z0", 2, stage) for stage in STAGES],
    ("adamw", "w1z3", 2, 2),
    ("sgd", "w1z0", 2, 3),
    ("bf16", "w1z0", 2, 3),
    ("bf16", "w1z0", 2, 1),
    ("bf16", "w1z2", 1, 0),
]
SAME = [
    *[("adamw", f"w2z{stage}", 2, stage) for stage in STAGES],
    ("adamw", "w1z0", 1, 0),
    ("sgd", "w2z2", 2, 2),
    ("bf16", "w2z2", 2, 2),
    ("bf16", "w1z0", 1, 0),
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """Everything that is saved and opened: three groups of workers, one after another."""
    folder = tmp_path_factory.mktemp("divided")
    saved = sorted({(kind, source) for kind, source, _, _ in MOVES + SAME})
    starts = {world: [leg(folder, world, int(s[3]), kind) for kind, s in saved if s[1] == str(world)] for world in (1, 2)}
    opens = {world: [leg(folder, world, stage, kind, source) for kind, source, w, stage in MOVES + SAME if w == world] for world in (1, 2)}
    perform(2, starts[2], folder, "two")
    perform(1, starts[1] + opens[1], folder, "one")
    perform(2, opens[2], folder, "two again")
    return folder


def everything(checkpoint: Path) -> dict[str, torch.Tensor | dict]:
    """The whole state in a checkpoint, by name."""
    assert checkpoints.is_valid(checkpoint)
    with states.opened(checkpoint) as saved:
        found: dict = {}
        for name, shape in saved.shapes.items():
            for slot in ["weights", *(f"optimizer.{key}" for key in saved.keys("slots", name))]:
                found[f"{slot}/{name}"] = saved.read(slot, states.Piece.whole(name, shape))
            found[f"counters/{name}"] = saved.counters(name)
    return found


def assert_same(one: dict, other: dict) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]) if torch.is_tensor(value) else value == other[name], name


@pytest.mark.parametrize(("kind", "source", "world", "stage"), MOVES, ids=str)
def test_a_training_goes_on_whoever_opens_it(trained, kind, source, world, stage):
    before, after = trained / f"{kind}-{source}", trained / f"{kind}-w{world}z{stage}-from-{source}"
    saved = everything(checkpoints.at(before / "saved", SAVED_AT))
    moment = "optimizer.momentum_buffer" if kind == "sgd" else "optimizer.exp_avg_sq"
    assert {name.split("/")[0] for name in saved} >= {"weights", "counters", moment}
    assert not any("frozen" in name for name in saved)
    weights = saved["weights/words.weight"]
    assert not torch.equal(weights, weights.bfloat16().float()), "weights in full precision"
    assert_same(saved, everything(checkpoints.at(after / "opened", SAVED_AT)))
    expected, seen = (json.loads((place / "losses.json").read_text()) for place in (before, after))
    # float32: sums in another order; bf16: gradients of half as many rows are rounded to 8 bits before they are added
    tolerance = 1e-5 if kind != "bf16" else 1e-2
    assert list(seen) == ["4", "5", "6"]
    assert seen == pytest.approx({step: expected[step] for step in seen}, rel=tolerance)


@pytest.mark.parametrize(("kind", "source", "world", "stage"), SAME, ids=str)
def test_the_same_workers_go_on_bit_for_bit(trained, kind, source, world, stage):
    before, after = trained / f"{kind}-{source}", trained / f"{kind}-w{world}z{stage}-from-{source}"
    assert_same(everything(checkpoints.at(before / "ended", 6)), everything(checkpoints.at(after / "ended", 6)))


def test_16_bits_give_the_same_training_with_and_without_zero(trained):
    """DeepSpeed's wrapper for ZeRO 0 begins with an update of its own, which must not count."""
    one, other = (json.loads((trained / f"bf16-w1z{stage}/losses.json").read_text()) for stage in (0, 2))
    assert one == other


def test_what_scales_the_loss_is_carried_over_whole():
    """fp16 needs a GPU, so its scalers are looked at, not run: what changes while they run is what is saved."""
    from deepspeed.runtime.fp16 import loss_scaler

    options = {"init_scale": 1024, "scale_window": 2, "min_scale": 1, "delayed_shift": 2, "consecutive_hysteresis": False}
    zero = loss_scaler.CreateLossScaler(torch.half, 1.0, True, options)
    unfused = loss_scaler.LossScaleConfig(torch.half, True, 1.0, options, profile=loss_scaler.LossScaleProfile.UNFUSED)
    before = dict(vars(zero))
    for overflow in (False, False, False, False):
        zero.update_scale(overflow)
    zero.cur_hysteresis, zero.last_overflow_iter = 1, 2  # an overflow logs through the process group
    changed = {key for key, value in vars(zero).items() if value != before[key]}
    assert changed == set(states.SCALE)
    assert set(states.SCALE) - set(vars(unfused)) == {"cur_hysteresis"}
