"""What a good engineer writes by hand today: Ray Tune function trainables around a bare torch loop, on the very same batches."""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path
from typing import Any


def train(config: dict[str, Any], report: Any, stop_at: float = 1.0) -> float:
    """One training of `config`, the `fields` of an order of ours; `report(rung, value, model, optimizer)` after each share in
    `config["rungs"]`. The seconds of training and validation."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    from heliostat.engine import models, zero
    from heliostat.engine.group import Group
    from heliostat.engine.predict import batch_of, forward
    from heliostat.engine.streams import Batches, opened, processor
    from heliostat.metrics.accuracy import Accuracy

    torch.set_num_threads(1)
    fields, train = config["fields"], config["fields"]["train"]
    source, labels, task = fields["model"], fields["labels"], fields["task"]
    torch.manual_seed(fields["seed"])
    settings = AutoConfig.from_pretrained(source.folder, num_labels=len(labels))
    model = AutoModelForSequenceClassification.from_pretrained(source.folder, config=settings, dtype=torch.float32)
    if train.freeze:
        models.freeze(model, train.freeze)
    optimizer = train.optimizer.build(zero.parameter_groups(model), 0)
    rows, valid, prepared = opened(fields["train_rows"]), opened(fields["valid_rows"]), processor(task, source.folder)
    batches = Batches(rows.trainable(), train.batch, 1, fields["seed"])
    ends = [max(1, round(share * fields["total"])) for share in config["rungs"]]
    model.train()
    busy, began = 0.0, time.monotonic()
    for step in range(fields["total"]):
        for group in optimizer.param_groups:
            group["lr"] = train.optimizer.lr * train.schedule.factor(step, fields["total"])
        batch = batch_of(rows, batches.whole(step), task, prepared, (0,))
        loss = torch.nn.functional.cross_entropy(task.logits(model, batch), batch["labels"])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), train.clip, foreach=True)
        optimizer.step()
        optimizer.zero_grad()
        if step + 1 in ends:
            value = float(Accuracy().value(forward(model, valid, task, prepared, Group()), valid.targets(task)))
            busy += time.monotonic() - began
            report(ends.index(step + 1) + 1, value, model, optimizer, busy)
            began = time.monotonic()
    return busy


def trainable(config: dict[str, Any]) -> None:
    """A Tune function trainable: reports and saves a checkpoint at every rung, so that a scheduler may stop it there."""
    import torch
    from ray import tune

    def report(rung: int, value: float, model: Any, optimizer: Any, busy: float) -> None:
        with tempfile.TemporaryDirectory() as folder:
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, Path(folder) / "state.pt")
            tune.report({"rung": rung, "value": value, "busy_s": busy}, checkpoint=tune.Checkpoint.from_directory(folder))

    train(config, report)


def sweep(fields: list[dict[str, Any]], rungs: tuple[float, ...], folder: Path, *, slots: int, eta: int | None) -> dict[str, float]:
    """The same trials through Ray Tune: {"wall_s", "busy_s", "best", "trials"}; ASHA as Tune has it, or none when `eta` is None."""
    from ray import tune
    from ray.tune.schedulers import AsyncHyperBandScheduler

    scheduler = None
    if eta:
        ranked = {"time_attr": "rung", "metric": "value", "mode": "max"}
        scheduler = AsyncHyperBandScheduler(**ranked, max_t=len(rungs), grace_period=1, reduction_factor=eta)
    began = time.monotonic()
    results = tune.Tuner(
        tune.with_resources(trainable, {"CPU": 1}),
        param_space={"fields": tune.grid_search(fields), "rungs": rungs},
        tune_config=tune.TuneConfig(scheduler=scheduler, max_concurrent_trials=slots, reuse_actors=True),
        run_config=tune.RunConfig(name="plain", storage_path=str(folder), verbose=0),
    ).fit()
    wall_s = time.monotonic() - began
    assert not results.errors, results.errors
    done = [r.metrics for r in results]
    return {"wall_s": wall_s, "busy_s": sum(m["busy_s"] for m in done), "best": max(m["value"] for m in done), "trials": float(len(done))}


def nested(fields: dict[str, Any], folder: Path) -> tuple[float, float]:
    """One trial as a `TorchTrainer.fit()` of its own: (wall, useful) seconds."""
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    def loop(config: dict[str, Any]) -> None:
        import json

        def note(rung: int, value: float, model: Any, optimizer: Any, busy: float) -> None:
            Path(config["out"]).write_text(json.dumps(busy))

        train(config, note)

    out = folder / "busy.json"
    began = time.monotonic()
    TorchTrainer(
        loop,
        train_loop_config={"fields": fields, "rungs": (1.0,), "out": str(out)},
        scaling_config=ScalingConfig(num_workers=1, resources_per_worker={"CPU": 1}),
        run_config=RunConfig(name="nested", storage_path=str(folder / "ray")),
    ).fit()
    return time.monotonic() - began, float(out.read_text())


def trainers(count: int, folder: Path) -> float:
    """Seconds until so many `TorchTrainer.fit()`s of one worker each, one thread for each, have come to their training functions."""
    import ray
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer
    from ray.util.queue import Queue

    def loop(config: dict[str, Any]) -> None:
        config["up"].put(None)
        config["go"].get()

    up, go = Queue(actor_options={"num_cpus": 0}), Queue(actor_options={"num_cpus": 0})
    scaling = ScalingConfig(num_workers=1, resources_per_worker={"CPU": 1})
    began = time.monotonic()
    fits = []
    for number in range(count):
        run = RunConfig(name=f"plain-{number}", storage_path=str(folder / "ray"))
        trainer = TorchTrainer(loop, train_loop_config={"up": up, "go": go}, scaling_config=scaling, run_config=run)
        fits.append(threading.Thread(target=trainer.fit))
        fits[-1].start()
    for _ in fits:
        up.get()
    seconds = time.monotonic() - began
    for _ in fits:
        go.put(None)
    for fit in fits:
        fit.join()
    for queue in (up, go):
        ray.kill(queue.actor)
    return seconds
