"""Makes curves.npz: real learning curves for `bench_search.py`. Anyone can run it; one core, about 20 minutes.

    python tests/bench/make_curves.py                # or: python tests/bench/make_curves.py FOLDER_WITH_FASHION_MNIST

1,000 settings drawn at random from `SPACE` (seed 0) each train a small multilayer perceptron on 8,100 rows of Fashion-MNIST for two
epochs, with this project's loop, optimisers, schedules and loss. After each 1/27 of the updates 5,000 other rows are scored. Nothing
is smoothed, dropped or made up; a training whose loss stops being a number has no scores from there on.

Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017, arXiv:1708.07747) is under the MIT licence, copyright Zalando SE. Debian has it:
`apt-get install dataset-fashion-mnist`. The table holds no pixel of it, only scores.

Columns of the file, one entry per setting (N = 1,000): `right` [N, 27] uint16, rows of 5,000 that were right, NONE where there is no
score; `seconds` [N] float32, processor time of all updates, scoring excluded; `lived` [N] float32, share of the updates that were made
before the loss was no number, 1 for all of them; `space`, the searched space as JSON; and one column per path of the space, the place
of the value for choices, the value for numbers, NaN where the path does not exist.
"""

from __future__ import annotations

import gzip
import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from heliostat.core import seeds
from heliostat.core.errors import Diverged
from heliostat.core.family import build
from heliostat.engine.group import Group
from heliostat.engine.streams import Batches
from heliostat.train.loop import Loop
from heliostat.tune.space import Space, parse_space

SETTINGS, POINTS, EPOCHS, SEED = 1000, 27, 2, 0
TRAIN_ROWS, VALID_ROWS, LABELS = 8_100, 5_000, 10
NONE = 65_535
"""In `right`: no score."""
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
OUT = Path(__file__).with_name("curves.npz")
SPACE: dict[str, Any] = {
    "train.optimizer": {"choice": ["adamw", "sgd"]},
    "train.optimizer.lr": {"log_uniform": [1e-4, 1.0]},
    "train.optimizer.weight_decay": {"log_uniform": [1e-6, 1e-1]},
    "train.optimizer.momentum": {"uniform": [0.0, 0.98], "when": {"train.optimizer": "sgd"}},
    "train.schedule": {"choice": ["constant", "linear", "cosine"]},
    "train.schedule.warmup": {"uniform": [0.0, 0.3]},
    "train.objective.label_smoothing": {"uniform": [0.0, 0.3]},
    "train.batch": {"choice": [32, 64, 128, 256]},
    "model.width": {"log_int": [16, 128]},
    "model.layers": {"int": [1, 3]},
    "model.dropout": {"uniform": [0.0, 0.6]},
}


class PlainEngine:
    """What the loop needs of an engine: one forward pass is one update."""

    def __init__(self, module: torch.nn.Module, optimizer: torch.optim.Optimizer):
        self.module, self.optimizer = module, optimizer

    def backward(self, loss: torch.Tensor) -> None:
        loss.backward()

    def step(self) -> None:
        self.optimizer.step()
        self.optimizer.zero_grad()


def load(folder: Path) -> SimpleNamespace:
    """Images [rows, 196], brought from 28x28 to 14x14 and standardised, and labels [rows]; the rows are the first of each file."""

    def read(name: str, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
        with gzip.open(folder / f"{name}-images-idx3-ubyte.gz") as file:
            pixels = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 14, 2, 14, 2)[:rows]
        with gzip.open(folder / f"{name}-labels-idx1-ubyte.gz") as file:
            labels = np.frombuffer(file.read(), np.uint8, offset=8)[:rows]
        return torch.from_numpy(pixels.mean((2, 4), dtype=np.float32).reshape(rows, -1)), torch.from_numpy(labels.astype(np.int64))

    (x, y), (valid_x, valid_y) = read("train", TRAIN_ROWS), read("t10k", VALID_ROWS)
    mean, std = x.mean(), x.std()
    return SimpleNamespace(x=(x - mean) / std, y=y, valid_x=(valid_x - mean) / std, valid_y=valid_y)


def network(width: int, layers: int, dropout: float, seed: int) -> torch.nn.Sequential:
    """`layers` hidden layers of `width`, each with ReLU and dropout."""
    torch.default_generator.manual_seed(seed)
    parts: list[torch.nn.Module] = []
    for layer in range(layers):
        parts += [torch.nn.Linear(width if layer else 196, width), torch.nn.ReLU(), torch.nn.Dropout(dropout)]
    return torch.nn.Sequential(*parts, torch.nn.Linear(width, LABELS))


def loop_of(settings: dict[str, Any], data: SimpleNamespace, seed: int) -> tuple[Loop, int]:
    """The loop of one training, and how many updates it makes."""
    options = {k.removeprefix("train.optimizer."): v for k, v in settings.items() if k.startswith("train.optimizer.")}
    optimizer: Any = build("train.optimizers", {"use": settings["train.optimizer"], **options})
    schedule: Any = build("train.schedules", {"use": settings["train.schedule"], "warmup": settings["train.schedule.warmup"]})
    objective: Any = build("train.objectives", {"use": "cross_entropy", "label_smoothing": settings["train.objective.label_smoothing"]})
    module = network(settings["model.width"], settings["model.layers"], settings["model.dropout"], seeds.derive(seed, "weights"))
    named = list(module.named_parameters())
    groups = [{"params": [p for n, p in named if n.endswith("weight") == decay], "decay": decay} for decay in (True, False)]
    batches = Batches(np.arange(TRAIN_ROWS), settings["train.batch"], 1, seed)
    steps = EPOCHS * -(-TRAIN_ROWS // settings["train.batch"])

    def share(step: int) -> tuple[list[dict[str, Any]], float, int]:
        rows = torch.from_numpy(batches.whole(step))
        return [{"x": data.x[rows], "labels": data.y[rows], "weight": 1.0}], float(len(rows)), len(rows)

    def lr(step: int) -> float:
        return optimizer.lr * schedule.factor(step, steps)

    engine = PlainEngine(module, optimizer.build(groups, 0))

    def total(batch: dict[str, Any]) -> Any:
        return objective.per_unit({**batch, "logits": module(batch["x"])}).sum()

    return Loop(engine, total, share, lr, Group(), seed), steps


def train(settings: dict[str, Any], data: SimpleNamespace, seed: int) -> tuple[list[int], float, float]:
    """One training: rows right at each point, processor seconds of all its updates, share of the updates it lived."""
    loop, steps = loop_of(settings, data, seed)
    right, done, seconds = [NONE] * POINTS, 0, 0.0
    for point in range(POINTS):
        start = time.process_time()
        try:
            for _ in loop.run(done, steps * (point + 1) // POINTS):
                done += 1
        except Diverged:
            seconds += time.process_time() - start
            return right, seconds * steps / max(1, done), done / steps
        seconds += time.process_time() - start
        loop.engine.module.eval()
        with torch.inference_mode():
            logits = loop.engine.module(data.valid_x)
        loop.engine.module.train()
        if bool(torch.isfinite(logits).all()):
            right[point] = int((logits.argmax(1) == data.valid_y).sum())
    return right, seconds, 1.0


def column(space: Space, path: str, drawn: list[dict[str, Any]]) -> np.ndarray:
    """The values of one path as float32; choices by their place, NaN where it does not exist."""
    choices = space.dimensions[path].choices
    return np.array([np.nan if path not in s else choices.index(s[path]) if choices else s[path] for s in drawn], np.float32)


def main() -> None:
    torch.set_num_threads(1)
    data = load(Path(sys.argv[1]) if len(sys.argv) > 1 else DEBIAN)
    space = parse_space(SPACE)
    drawn = [space.at(seeds.rng(SEED, "curves", number).random(len(space.dimensions))) for number in range(SETTINGS)]
    rows = []
    for number, settings in enumerate(drawn):
        rows.append(train(settings, data, seeds.derive(SEED, "curves", number)))
        if number % 50 == 49:
            print(f"{number + 1} of {SETTINGS}, {sum(row[1] for row in rows):.0f} s of updates", flush=True)
    right, seconds, lived = zip(*rows, strict=True)
    columns = {path: column(space, path, drawn) for path in space.dimensions}
    np.savez_compressed(
        OUT,
        right=np.array(right, np.uint16),
        seconds=np.array(seconds, np.float32),
        lived=np.array(lived, np.float32),
        space=np.array(json.dumps(SPACE)),
        **columns,
    )
    print(f"{OUT}: {OUT.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
