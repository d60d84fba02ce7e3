"""One worker of a small training that is saved and opened again, as `test_world_size.py` starts it.

    python divided.py RANK WORLD MEETING LEGS.json

Each leg trains from the start or from a checkpoint, at one ZeRO stage, and writes what it saw to `<to>/losses.json`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch

from heliostat.core.family import find
from heliostat.engine import checkpoints, divided, states, zero
from heliostat.engine.group import Group
from heliostat.train.loop import Loop

ROWS, WORDS, WIDTH, LABELS = 8, 11, 7, 3
SAVED_AT, AFTER = 3, 3


class Small(torch.nn.Module):
    """Odd sizes, so that partitions end inside parameters; a frozen layer; parameters of one element."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.words = torch.nn.Embedding(WORDS, WIDTH)
        self.frozen = torch.nn.Linear(WIDTH, WIDTH)
        self.frozen.requires_grad_(False)
        self.norm = torch.nn.LayerNorm(WIDTH)
        self.gate = torch.nn.Linear(WIDTH, 1)
        self.head = torch.nn.Linear(WIDTH, LABELS)
        self.scale = torch.nn.Parameter(torch.tensor([1.5]))

    def forward(self, ids: Any) -> Any:
        hidden = self.norm(torch.tanh(self.frozen(self.words(ids).mean(1))))
        return self.head(hidden * torch.sigmoid(self.gate(hidden)) * self.scale)


def batch(step: int, group: Group) -> tuple[list[dict[str, Any]], float, int]:
    """This worker's rows of a global batch that is the same however many workers share it."""
    rng = torch.Generator().manual_seed(100 + step)
    ids, labels = torch.randint(0, WORDS, (ROWS, 5), generator=rng), torch.randint(0, LABELS, (ROWS,), generator=rng)
    mine = slice(group.rank, None, group.world)
    return [{"ids": ids[mine], "labels": labels[mine], "weight": torch.ones(len(ids[mine]))}], float(ROWS), ROWS


def run(leg: dict[str, Any], group: Group) -> None:
    """Open, save again at once, train, save on the way."""
    to, source = Path(leg["to"]), leg.get("from") and Path(leg["from"])
    module = Small()
    if source:
        states.load_weights(module, source)
    settings = find("train.optimizers", leg.get("optimizer", "adamw"))(lr=0.02, weight_decay=0.1)
    plan = zero.ZeroPlan(leg["stage"], "none", leg.get("precision", "fp32"), 0.5, ROWS // group.world, 1, group.world)
    engine = zero.start(module, settings.build(zero.parameter_groups(module), plan.stage), plan)

    def keep(name: str, step: int) -> None:
        checkpoints.begin([(to / name, step)], group)
        checkpoints.write(to / name, step, checkpoints.Content(states=states.collect(engine, group)), {"best": None}, group)
        group.barrier()

    first = 0
    if source:
        states.restore(engine, source)
        first = checkpoints.facts(source)["step"]
        keep("opened", first)

    def total(rows: dict[str, Any]) -> Any:
        losses = torch.nn.functional.cross_entropy(engine(rows["ids"]).float(), rows["labels"], reduction="none")
        return (losses * rows["weight"]).sum()

    loop = Loop(engine, total, lambda step: batch(step, group), lambda step: 0.02 / (1 + step), group, 0)
    losses = {}
    for done in loop.run(first, SAVED_AT + AFTER):
        losses[done.step] = done.loss
        if done.step == SAVED_AT:
            keep("saved", SAVED_AT)
    keep("ended", SAVED_AT + AFTER)
    if group.rank == 0:
        (to / "losses.json").write_text(json.dumps(losses))
    engine.destroy()


def main() -> None:
    rank, world, meeting, legs = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], json.loads(Path(sys.argv[4]).read_text())
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_RANK": str(rank), "DS_ACCELERATOR": "cpu"}
    torch.set_num_threads(1)
    divided.BUCKET = 20  # several pieces of a parameter on each worker
    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=world)
    for leg in legs:
        run(leg, Group(rank, world))
    torch.distributed.barrier()
    sys.stdout.flush()
    os._exit(0)  # torch aborts now and then while it takes its groups apart at the end of a process; all that is looked at is on disk


if __name__ == "__main__":
    main()
