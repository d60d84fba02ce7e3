"""Orders that race a gang's language model training on a GPU against `transformers.Trainer` and a loop by hand, turn by turn."""

from __future__ import annotations

import time
from typing import Any, Literal

from heliostat.train.orders import Train


class OnGpu(Train):
    """Blocks of `steps` updates by ours and by another, in turns, on the same batches from the same weights; compiled both or neither.

    A loop by hand and the Trainer keep fp32 weights and compute under autocast, as the Trainer's `bf16` does; their batches are made
    before their clock starts. Every clock starts when the first update of its block is done, for the Trainer begins each block anew.
    """

    pairs: int
    steps: int
    other: Literal["by_hand", "trainer"] | None
    scratch: str

    def perform(self, worker: Any) -> dict[str, Any]:
        import torch

        from heliostat.train.session import Session

        worker.drop()
        _give_back()
        session = Session(self, worker)
        ours, theirs, losses = [], [], []
        for pair in range(self.pairs + 1):
            first, until = pair * self.steps, (pair + 1) * self.steps
            seconds, mine = self._ours(session, until)
            ours.append(seconds)
            if pair == 0:
                peak = torch.cuda.max_memory_allocated()
                module, optimizer = self._parts(worker) if self.other else (None, None)
            if self.other is None:
                losses.append((mine, mine))
                continue
            passes = [session._share(step)[0] for step in range(first, until)]
            assert {len(each) for each in passes} == {1}, "ours did not fit at once"
            batches = [batch for (batch,) in passes]
            seconds, loss = (self._by_hand if self.other == "by_hand" else self._trainer)(module, optimizer, batches)
            theirs.append(seconds)
            losses.append((mine, loss))
        session.close()
        del session, module, optimizer
        _give_back()
        return {"ours": ours[1:], "theirs": theirs[1:], "losses": losses, "peak_bytes": peak}  # the first block warms up

    def _ours(self, session: Any, until: int) -> tuple[float, float]:
        clock, losses = Clock(), []
        for done in session.updates(self.model_copy(update={"until": until})):
            clock.tick()
            losses.append(done.loss)
        return clock.seconds(), sum(losses) / len(losses)

    def _parts(self, worker: Any) -> tuple[Any, Any]:
        from heliostat.engine import models, zero
        from heliostat.train.starting import trainable

        module = trainable(self, worker).to(worker.group.device)
        if self.compiled:
            models.compile_layers(module)
        return module, self.train.optimizer.build(zero.parameter_groups(module), 0)

    def _by_hand(self, module: Any, optimizer: Any, batches: list[dict[str, Any]]) -> tuple[float, float]:
        import torch

        clock, losses = Clock(), []
        for batch in batches:
            ids = batch["input_ids"]
            with torch.autocast("cuda", torch.bfloat16):
                loss = module(input_ids=ids, attention_mask=batch["attention_mask"], labels=ids, use_cache=False).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), self.train.clip or 1.0, foreach=True)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            losses.append(loss.detach())
            clock.tick()
        return clock.seconds(), float(torch.stack(losses).mean())

    def _trainer(self, module: Any, optimizer: Any, batches: list[dict[str, Any]]) -> tuple[float, float]:
        import torch
        from transformers import Trainer, TrainerCallback, TrainingArguments

        clock = Clock()

        class Ticks(TrainerCallback):
            def on_step_end(self, *args: Any, **kwargs: Any) -> None:
                clock.tick()

        rows = [{"input_ids": b["input_ids"], "attention_mask": b["attention_mask"], "labels": b["input_ids"]} for b in batches]
        settings = TrainingArguments(
            output_dir=self.scratch,
            bf16=True,
            per_device_train_batch_size=1,
            num_train_epochs=1,
            max_grad_norm=self.train.clip or 1.0,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            dataloader_num_workers=0,
            dataloader_pin_memory=False,
        )
        constant = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
        sampler: dict[str, Any] = {"data_collator": lambda given: given[0], "train_dataset": rows, "callbacks": [Ticks()]}
        module.config.use_cache = False
        done = Trainer(model=module, args=settings, optimizers=(optimizer, constant), **sampler).train()
        return clock.seconds(), done.training_loss


def _give_back() -> None:
    """The device's memory that nothing refers to any more; the largest so far is counted anew."""
    import gc

    import torch

    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()


class Clock:
    """Seconds from the first tick to the last, the device's work included."""

    def __init__(self) -> None:
        self._began: float | None = None

    def tick(self) -> None:
        """An update is queued."""
        if self._began is None:
            self._began = self._now()

    def seconds(self) -> float:
        """Until now."""
        assert self._began is not None
        return self._now() - self._began

    @staticmethod
    def _now() -> float:
        import torch

        torch.cuda.synchronize()
        return time.perf_counter()
