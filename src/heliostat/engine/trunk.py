"""What frozen layers give for a row, computed once: by the workers of a node together, for every epoch, trial and validation.

The layers that an input passes first, that are not trained and that drop nothing, give the same for a row at every pass. Their last
output is kept beside the prepared rows, one file for each node, and put in their place; the layers above are trained as ever.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from heliostat.core.manifest import fingerprint
from heliostat.engine import models
from heliostat.engine.group import Group
from heliostat.engine.predict import ROWS, batch_of, on
from heliostat.engine.streams import FROZEN, Prepared

CLOSE = 1e-4
"""Largest difference, beside the largest output, between what is kept of a row and what the layers give for it in a training batch."""
PROBED = 8
"""Rows that are compared before what is kept is trusted."""


def resting(module: Any) -> list[Any]:
    """The encoder layers, counted from the input, below the first parameter that is trained; empty when there are none."""
    try:
        parent, name, stack = models.encoder_layers(module)
    except models.UserError:
        return []
    below = models.before(module, parent, name)
    if any(_is_trained(part) for part in below):
        return []
    trained = next((i for i, layer in enumerate(stack) if _is_trained(layer)), len(stack))
    return list(stack[:trained])


def _is_trained(part: Any) -> bool:
    return any(p.requires_grad for p in part.parameters())


def still(module: Any) -> None:
    """Take the dropout out of what an input passes before the first trained parameter, in place."""
    layers = resting(module)
    if layers:
        parent, name, _ = models.encoder_layers(module)
        for part in [*models.before(module, parent, name), *layers]:
            models.set_dropout(part, 0.0)


class Trunk:
    """The resting layers of a module: they pass their input on while their output is `given`."""

    def __init__(self, module: Any, layers: list[Any], mark: str):
        self.module, self.mark = module, mark
        self.of: dict[int, Outputs] = {}
        """What is kept, by the identity of the rows."""
        self._output: Any = None
        self._listening = False
        """Whether a pass ends at the last layer, for nothing but its output is wanted."""
        for layer in layers:
            layer.forward = self._instead(layer, last=layer is layers[-1])

    def _instead(self, layer: Any, last: bool) -> Any:
        """The forward of `layer`: its own, unless its output is given."""
        own = layer.forward

        def forward(hidden_BTD: Any, *args: Any, **kwargs: Any) -> Any:
            if self._output is not None:
                return self._output(hidden_BTD) if last else hidden_BTD
            out = own(hidden_BTD, *args, **kwargs)
            if last and self._listening:
                raise _Heard(out)
            return out

        return forward

    @contextmanager
    def given(self, rows: Any, places: np.ndarray) -> Iterator[None]:
        """Passes of the rows at `places` take what is kept of them."""
        kept = self.of.get(id(rows))
        if kept is None:
            yield
            return
        self._output = lambda hidden_BTD: kept.take(places, hidden_BTD)
        try:
            yield
        finally:
            self._output = None

    def outputs(self, task: Any, batch: dict[str, Any], *, gradients: bool = False) -> Any:
        """What the layers give for a batch [B, T, D], computed; None when it is not one tensor of that shape."""
        import torch

        self._listening, heard = True, None
        try:
            with torch.set_grad_enabled(gradients):
                task.logits(self.module, batch)
        except _Heard as told:
            heard = told.output
        finally:
            self._listening = False
        return heard if isinstance(heard, torch.Tensor) and heard.ndim == 3 else None

    def keep(self, rows: Prepared, task: Any, prepared: Any, group: Group, room: float) -> int:
        """Keep the outputs for `rows` and use them from now on; the bytes that takes, 0 where it is more than `room` or not exact."""

        def batch(places: np.ndarray) -> dict[str, Any]:
            return on(batch_of(rows, places, task, prepared, (0, "frozen")), group.device)

        probe_N = np.unique(np.linspace(0, len(rows) - 1, PROBED).astype(int))
        self.module.train()
        heard = self.outputs(task, batch(probe_N), gradients=True)
        if heard is None or heard.requires_grad:  # something before the layers is trained, wherever the module says it stands
            return 0
        if "input_ids" in rows.columns and heard.shape[1] != rows.lengths_N[probe_N].max():
            return 0
        lengths_N = rows.lengths_N if "input_ids" in rows.columns else np.full(len(rows), heard.shape[1])
        kept = Outputs(rows.folder / f"{FROZEN}{self.mark}", lengths_N, heard)
        if kept.bytes > room:
            return 0
        self.module.eval()
        try:
            for block in kept.missing():
                kept.write(block, self.outputs(task, batch(kept.blocks[block])))
                group.pulse.mark()
        except OSError:  # no room on the disk: the layers can always be asked again
            return 0
        finally:
            self.module.train()
        if not kept.agrees(probe_N, heard):
            return 0
        self.of[id(rows)] = kept
        return kept.bytes


class _Heard(Exception):
    """No error: it ends a pass where enough is known."""

    def __init__(self, output: Any):
        super().__init__("the output of the frozen layers")
        self.output = output


class Outputs:
    """One file of outputs, the rows in blocks of like length; `done` has a byte for each block. Safe to fill from many processes.

    What a block holds depends on the rows alone, so it does not matter who wrote it, or whether two did.
    """

    def __init__(self, folder: Path, lengths_N: np.ndarray, like_BTD: Any):
        self.width, self.dtype = like_BTD.shape[-1], like_BTD.dtype
        self._raw = f"int{8 * like_BTD.element_size()}"
        """Whole numbers as wide, for what numpy and the file hold: numpy knows no bfloat16."""
        order_N = np.argsort(-lengths_N, kind="stable")
        self.blocks = [order_N[i : i + ROWS] for i in range(0, len(order_N), ROWS)]
        self.lengths_N = lengths_N
        self.starts_N = np.zeros(len(lengths_N), np.int64)
        self.starts_N[order_N] = np.cumsum(lengths_N[order_N]) - lengths_N[order_N]
        self.tokens = int(lengths_N.sum())
        self.bytes = self.tokens * self.width * np.dtype(self._raw).itemsize
        self.folder = folder
        self._view: Any = None

    def missing(self) -> Iterator[int]:
        """Blocks that nobody has written yet, in random order so that several workers seldom do the same, until there are none."""
        self.folder.mkdir(parents=True, exist_ok=True)
        done = self.folder / "done"
        while True:
            written = done.read_bytes() if done.exists() else b""
            left = [i for i in range(len(self.blocks)) if written[i : i + 1] != b"\1"]
            if not left:
                return
            yield random.SystemRandom().choice(left)

    def write(self, block: int, outputs_BTD: Any) -> None:
        """Keep a block; `OSError` when the disk is full."""
        import torch

        values = outputs_BTD.cpu().contiguous().view(getattr(torch, self._raw)).numpy()
        rows = [values[i, : self.lengths_N[place]] for i, place in enumerate(self.blocks[block])]
        data = np.concatenate(rows).tobytes()
        first = int(self.starts_N[self.blocks[block][0]]) * self.width * values.itemsize
        _put(self.folder / "outputs", data, first)
        _put(self.folder / "done", b"\1", block)

    def take(self, places: np.ndarray, like_BTD: Any) -> Any:
        """[B, T, D] like `like_BTD`: the outputs of the rows at `places`, zeros behind a shorter one."""
        import torch

        if self._view is None:
            self._view = np.memmap(self.folder / "outputs", self._raw, "r", shape=(self.tokens, self.width))
        out = np.zeros((len(places), like_BTD.shape[1], self.width), self._raw)
        for i, place in enumerate(places):
            start, length = self.starts_N[place], self.lengths_N[place]
            out[i, :length] = self._view[start : start + length]
        return torch.from_numpy(out).view(self.dtype).to(like_BTD.device)

    def agrees(self, places: np.ndarray, heard_BTD: Any) -> bool:
        """Whether what is kept of the rows is what was heard for them in a batch of another make-up."""
        kept_BTD = self.take(places, heard_BTD)
        scale = float(heard_BTD.abs().max())
        lengths = self.lengths_N[places]
        gaps = [(kept_BTD[i, :n].float() - heard_BTD[i, :n].float()).abs().max() for i, n in enumerate(lengths)]
        limit = CLOSE if self.dtype.itemsize >= 4 else 2e-2
        return all(float(gap) <= limit * (1 + scale) for gap in gaps)


def _put(file: Path, data: bytes, offset: int) -> None:
    handle = os.open(file, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        while data:
            put = os.pwrite(handle, data, offset)
            data, offset = data[put:], offset + put
    finally:
        os.close(handle)


def mark(module: Any, layers: list[Any], precision: str) -> str:
    """Names what `layers` and the parts before them are, on this node since it started: other nodes' files may not be seen at once."""
    import torch

    parent, name, _ = models.encoder_layers(module)
    digest = hashlib.sha256()
    for part in [*models.before(module, parent, name), *layers]:
        for key, value in part.state_dict().items():
            digest.update(f"{key}{tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    boot = Path("/proc/sys/kernel/random/boot_id")
    node = boot.read_text().strip() if boot.exists() else os.uname().nodename
    return fingerprint({"weights": digest.hexdigest(), "config": repr(module.config), "precision": precision, "node": node})
