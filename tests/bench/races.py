"""Orders that race a gang's own training against what one writes by hand, in one worker process, turn by turn."""

from __future__ import annotations

import os
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from heliostat.train.orders import Train


class Race(Train):
    """Blocks of `steps` updates, ours and a bare torch loop's (DDP with several workers) in turns, on the same batches from the same start.

    The bare loop's batches are made before its clock starts: it pays for nothing but forward, backward, clipping and the update.
    """

    pairs: int
    steps: int

    def perform(self, worker: Any) -> dict[str, Any]:
        from heliostat.train.session import Session

        session = Session(self, worker)
        bare = Bare(self, session, worker.group)
        ours, theirs, losses = [], [], []
        for pair in range(self.pairs + 1):
            until = (pair + 1) * self.steps
            worker.group.barrier()
            began = time.perf_counter()
            mine = [done.loss for done in session.updates(self.model_copy(update={"until": until}))]
            ours.append(time.perf_counter() - began)
            batches = [session._share(step)[0][0] for step in range(pair * self.steps, until)]
            worker.group.barrier()
            began = time.perf_counter()
            other = [bare.update(batch, pair * self.steps + i) for i, batch in enumerate(batches)]
            theirs.append(time.perf_counter() - began)
            losses += [(one, worker.group.mean(loss).item()) for one, loss in zip(mine, other, strict=True)]
        session.close()
        return {"ours": ours[1:], "theirs": theirs[1:], "losses": losses}  # the first block warms up


class Bare:
    """The loop by hand: fused AdamW, clipping, the same schedule."""

    def __init__(self, order: Train, session: Any, group: Any):
        import torch

        from heliostat.core.errors import RunFailed
        from heliostat.engine import vocabulary, zero
        from heliostat.train.starting import trainable

        self.order, self.session = order, session
        self.module = trainable(order, session.worker).to(group.device)
        vocabulary.restore(self.module)
        self.optimizer = order.train.optimizer.build(zero.parameter_groups(self.module), 0)
        self.model = torch.nn.parallel.DistributedDataParallel(self.module) if group.world > 1 else self.module
        if order.train.clip is None:
            raise RunFailed("the race is run with clipping")

    def update(self, batch: dict[str, Any], step: int) -> Any:
        import torch

        from heliostat.engine.plain import norm

        train, task = self.order.train, self.order.task
        for group in self.optimizer.param_groups:
            group["lr"] = train.optimizer.lr * train.schedule.factor(step, self.order.total)
        loss = torch.nn.functional.cross_entropy(task.logits(self.model, batch), batch["labels"])
        loss.backward()
        found = norm([p.grad for p in self.module.parameters()])  # torch's own is as fast; it rounds, and the losses would part
        torch.nn.utils.clip_grads_with_norm_(self.module.parameters(), train.clip, found, foreach=True)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.detach()


class AgainstTrainer(Train):
    """The same updates by ours and by `transformers.Trainer`, in turns."""

    pairs: int
    steps: int
    scratch: str

    def perform(self, worker: Any) -> dict[str, Any]:
        from heliostat.train.session import Session

        session = Session(self, worker)
        ours, theirs, losses = [], [], []
        for pair in range(self.pairs + 1):
            first, until = pair * self.steps, (pair + 1) * self.steps
            began = time.perf_counter()
            mine = [done.loss for done in session.updates(self.model_copy(update={"until": until}))]
            ours.append(time.perf_counter() - began)
            batches = [session._share(step)[0][0] for step in range(first, until)]
            if pair == 0:
                module, optimizer = self._parts(worker)
            seconds, loss = self._trainer(module, optimizer, batches)
            theirs.append(seconds)
            losses.append((sum(mine) / len(mine), loss))
        session.close()
        return {"ours": ours[1:], "theirs": theirs[1:], "losses": losses}

    def _parts(self, worker: Any) -> tuple[Any, Any]:
        from heliostat.engine import vocabulary, zero
        from heliostat.train.starting import trainable

        module = trainable(self, worker)
        vocabulary.restore(module)
        return module, self.train.optimizer.build(zero.parameter_groups(module), 0)

    def _trainer(self, module: Any, optimizer: Any, batches: list[dict[str, Any]]) -> tuple[float, float]:
        """(seconds, mean loss) of one epoch over premade batches."""
        import torch
        from transformers import TrainingArguments

        rows = [{name: batch[name] for name in ("input_ids", "attention_mask", "labels")} for batch in batches]
        settings = TrainingArguments(
            output_dir=self.scratch,
            per_device_train_batch_size=1,
            num_train_epochs=1,
            max_grad_norm=self.train.clip or 0.0,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            use_cpu=True,
            dataloader_num_workers=0,
        )
        constant = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
        sampler = {"data_collator": lambda given: given[0], "train_dataset": rows}
        trainer = _in_order()(model=module, args=settings, optimizers=(optimizer, constant), **sampler)
        done = trainer.train()
        return done.metrics["train_runtime"], done.training_loss


def _in_order() -> Any:
    """A Trainer that takes its batches as they lie."""
    import torch
    from transformers import Trainer

    class Ordered(Trainer):
        def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Any:
            return torch.utils.data.SequentialSampler(self.train_dataset)

    return Ordered


class Saves(Train):
    """Checkpoints of the whole state: how long the next update waits for one and how long it takes to be on disk, and how long
    a copy of the state and a bare write and fsync of as many bytes take, in turns; both replace what they wrote before."""

    pairs: int
    steps: int

    def perform(self, worker: Any) -> dict[str, Any]:
        from heliostat.engine import checkpoints, states
        from heliostat.train.session import Session

        session, found = Session(self, worker), []
        for pair in range(self.pairs + 1):
            until = (pair + 1) * self.steps
            for _ in session.updates(self.model_copy(update={"until": until})):
                pass
            os.sync()
            began = time.perf_counter()
            session._save(self.model_copy(update={"behind": True}))
            stall = time.perf_counter() - began
            session.behind.wait()
            total = time.perf_counter() - began
            tensors, _ = states.collect(session.engine, worker.group)
            began = time.perf_counter()
            copied = [tensor.clone() for tensor in tensors.values()]
            memcpy = time.perf_counter() - began
            os.sync()
            began = time.perf_counter()
            _write(copied, self.folder / "bare.bin")
            found.append({"stall": stall, "total": total, "memcpy": memcpy, "bare": time.perf_counter() - began})
            del copied
        place = checkpoints.at(self.folder / "latest", until)
        assert checkpoints.is_valid(place)
        size = sum(path.stat().st_size for path in place.iterdir())
        session.close()
        return {"times": found[1:], "bytes": size}  # the first one warms up


def _write(tensors: list[Any], path: Path) -> None:
    """What any program must do: write the bytes to a new file, wait for the disk, and let it take the place of the one before."""
    new = path.with_suffix(".new")
    with new.open("wb", buffering=0) as file:
        for tensor in tensors:
            file.write(memoryview(tensor.numpy()))
        os.fsync(file.fileno())
    new.replace(path)


class Kept(Train):
    """Blocks of `steps` updates and a validation, with frozen layers computed once and at every pass, in turns."""

    pairs: int
    steps: int

    def perform(self, worker: Any) -> dict[str, Any]:
        from heliostat.train.session import Session

        began = time.perf_counter()
        once = Session(self.model_copy(update={"key": "once"}), worker)
        ahead = time.perf_counter() - began
        anew = Session(self.model_copy(update={"key": "anew", "frozen_gb": 0.0}), worker)
        assert once.trunk is not None
        assert len(once.trunk.of) == 2
        assert anew.trunk is None
        sides: dict[str, list[float]] = {"once": [], "anew": []}
        losses = []
        for pair in range(self.pairs + 1):
            until, block = (pair + 1) * self.steps, []
            for name, session in (("once", once), ("anew", anew)):
                began = time.perf_counter()
                done = list(session.updates(session.order.model_copy(update={"until": until})))
                session._validate(done[-1])
                sides[name].append(time.perf_counter() - began)
                block.append([each.loss for each in done])
            losses += list(zip(*block, strict=True))
        once.close()
        anew.close()
        return {name: seconds[1:] for name, seconds in sides.items()} | {"losses": losses, "ahead": ahead}


class Told(Train):
    """Blocks of `steps` updates, telling every step and telling nothing, in turns."""

    pairs: int
    steps: int

    def perform(self, worker: Any) -> dict[str, Any]:
        from heliostat.train import session as module
        from heliostat.train.session import Session

        session, every = Session(self, worker), module.EVENTS_EVERY_S
        telling, silent = [], []
        for pair in range(2 * self.pairs + 2):
            seconds, module.EVENTS_EVERY_S = (telling, 0.0) if pair % 2 else (silent, 1e9)
            began = time.perf_counter()
            for _ in session.updates(self.model_copy(update={"until": (pair + 1) * self.steps})):
                nullcontext()
            seconds.append(time.perf_counter() - began)
        module.EVENTS_EVERY_S = every
        session.close()
        return {"telling": telling[1:], "silent": silent[1:]}


class WordsAlone(Train):
    """Blocks of `steps` updates of masked_lm, with the vocabulary's logits at the words to tell alone and at every place, in turns."""

    pairs: int
    steps: int

    def perform(self, worker: Any) -> dict[str, Any]:
        from heliostat.tasks import masked_lm
        from heliostat.train.session import Session

        alone, everywhere = masked_lm._told_alone, lambda module, batch: nullcontext([])
        sides: dict[str, tuple[Any, Any, list[float]]] = {
            name: (Session(self.model_copy(update={"key": name}), worker), way, [])
            for name, way in (("alone", alone), ("everywhere", everywhere))
        }
        losses = []
        for pair in range(self.pairs + 1):
            until, block = (pair + 1) * self.steps, []
            for session, way, seconds in sides.values():
                masked_lm._told_alone = way
                began = time.perf_counter()
                block.append([done.loss for done in session.updates(session.order.model_copy(update={"until": until}))])
                seconds.append(time.perf_counter() - began)
            losses += list(zip(*block, strict=True))
        masked_lm._told_alone = alone
        for session, _, _ in sides.values():
            session.close()
        return {name: seconds[1:] for name, (_, _, seconds) in sides.items()} | {"losses": losses}
