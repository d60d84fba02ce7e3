"""Trainings on a GPU: every precision, ZeRO stage and offloading, 4 bits, too little memory, kills and CUDA's own errors."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading

import numpy as np
import pytest
from ray import cloudpickle

from heliostat.core.errors import RunFailed
from heliostat.core.manifest import read_json
from heliostat.engine.orders import Order
from heliostat.train.orders import Export, Train

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # Ray's workers cannot import it
pytestmark = pytest.mark.slow

CLOSE = {"fp32": 1e-3, "fp16": 1e-2, "bf16": 5e-2}
"""How far a loss may be from that of a CPU in fp32, relatively: the bits a precision has, over some updates."""
WHOLE = [("fp32", 0, "none"), ("bf16", 0, "none"), ("fp16", 0, "none")]
DIVIDED = [(precision, stage, "none") for precision in ("fp32", "bf16", "fp16") for stage in (1, 2, 3)]
OFFLOADED = [("bf16", 1, "optimizer"), ("fp16", 2, "optimizer"), ("fp32", 3, "optimizer"), ("bf16", 3, "parameters")]
UNTIL = 10
LEFT = 300 << 20
"""100 MB are weights, gradients and states of the wide decoder, and 400 MB what 96 rows of 32 tokens leave for its backward pass."""


def losses(folder):
    return [point["loss"] for point in read_json(folder / "result.json")["curve"]]


def export(told, out):
    """Write the best step, as a run does; what is written is verified there."""
    return Export(**{name: value for name, value in told.items() if name not in ("until", "resumable")}, out=out)


@pytest.fixture(scope="module")
def reference(on_cpu, encoder, tmp_path_factory):
    """Losses of the training on CPUs."""
    from heliostat.core.progress import Progress
    from heliostat.core.workspace import Context
    from heliostat.engine.driver import source_of
    from heliostat.train.stage import training

    config, corpus = encoder
    ctx = Context(tmp_path_factory.mktemp("reference"), "reference", 7, on_cpu.layout, on_cpu, Progress(), "train")
    told = training(config.train, ctx=ctx, source=source_of(config.model), corpus=corpus, task=config.task)
    on_cpu.perform(Train(**told, until=UNTIL))
    return losses(told["folder"])


@pytest.mark.parametrize(("precision", "zero", "offload"), [*WHOLE, *DIVIDED, *OFFLOADED])
def test_a_gpu_has_the_losses_of_a_cpu_and_goes_on_from_where_it_stopped(
    precision, zero, offload, engine, encoder, fields, reference, tmp_path
):
    told = fields(engine, encoder, "straight", zero, offload, precision=precision)
    halted = told | {"key": "halted", "folder": tmp_path / "halted"}
    engine.perform(Train(**told, until=UNTIL))
    assert losses(told["folder"]) == pytest.approx(reference, rel=CLOSE[precision])
    engine.perform(Train(**halted, until=4))
    engine.perform(Train(**fields(engine, encoder, "other"), until=1))  # takes the gang's memory
    engine.perform(Train(**halted, until=UNTIL))
    assert losses(tmp_path / "halted")[-1] == pytest.approx(losses(told["folder"])[-1], rel=1e-5)
    facts = engine.perform(export(told, tmp_path / "model")).value
    assert facts["largest_logit_gap"] < 1e-3


@pytest.mark.parametrize("zero", [0, 2])
def test_a_base_of_four_bits_takes_less_memory_and_learns(zero, engine, decoder, fields, tmp_path):
    pytest.importorskip("bitsandbytes")
    lora = {"use": "lora", "r": 8}
    told = fields(engine, decoder, "four", zero, adapter={**lora, "base_bits": 4}, precision="bf16", optimizer={"use": "adamw", "lr": 1e-2})
    whole = fields(engine, decoder, "whole", zero, adapter=lora, precision="bf16", optimizer={"use": "adamw", "lr": 1e-2})
    for each in (told, whole):
        engine.perform(Train(**each, until=UNTIL))
    assert losses(told["folder"])[-1] < losses(told["folder"])[0]
    assert losses(told["folder"]) == pytest.approx(losses(whole["folder"]), rel=0.1), "4 bits are near what they stand for"
    assert engine.perform(export(told, tmp_path / "model")).value["largest_logit_gap"] < 1e-3
    assert (tmp_path / "model/model.safetensors").exists()


def test_packed_documents_have_the_losses_of_unpacked_ones(engine, decoder, fields):
    plain, packed = (fields(engine, decoder, key, packing=key == "packed", precision="bf16") for key in ("plain", "packed"))
    for each in (plain, packed):
        engine.perform(Train(**each, until=min(each["total"], UNTIL)))
    first = [losses(each["folder"])[0] for each in (plain, packed)]
    assert first[0] == pytest.approx(first[1], rel=0.05), "another order of the same texts"


class Filled(Train):
    """The training on a GPU of which others have all but `LEFT` bytes."""

    def perform(self, worker):
        import torch

        worker.drop()
        gc.collect()
        torch.cuda.empty_cache()
        taken = torch.empty(torch.cuda.mem_get_info()[0] - LEFT, dtype=torch.uint8, device="cuda")
        try:
            return super().perform(worker)
        finally:
            del taken
            torch.cuda.empty_cache()


def test_what_does_not_fit_is_halved_and_the_updates_stay_the_same(engine, wide_decoder, fields):
    roomy, tight = (fields(engine, wide_decoder, key, batch=96) | {"micro_rows": 96} for key in ("roomy", "tight"))
    engine.perform(Train(**roomy, until=1, resumable=False))
    engine.perform(Filled(**tight, until=1, resumable=False))
    assert read_json(tight["folder"] / "result.json")["halved"] >= 1
    assert losses(tight["folder"]) == pytest.approx(losses(roomy["folder"]), rel=1e-4)


def test_a_killed_worker_costs_time_and_nothing_else(engine, encoder, fields):
    import ray

    told = fields(engine, encoder, "whole", epochs=8, validate_every=8.0)
    killed = told | {"key": "killed", "folder": told["folder"].with_name("killed")}
    until = min(80, told["total"])
    engine.perform(Train(**told, until=until, resumable=False))
    mailbox = engine.gangs[0].mailbox
    pid = ray.get(mailbox.workers.remote())[0]["pid"]
    seen = threading.Event()
    engine.listeners.append(lambda event: seen.set() if (event["kind"], event.get("key")) == ("began", "killed") else None)

    def kill():
        assert seen.wait(60)
        os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    engine.perform(Train(**killed, until=until, resumable=False))
    killer.join()
    assert ray.get(mailbox.workers.remote())[0]["pid"] != pid
    assert np.load(killed["folder"] / "valid.npy") == pytest.approx(np.load(told["folder"] / "valid.npy"), abs=1e-4)


class Asserts(Order):
    """Leaves CUDA's context broken, as a label beyond the head does."""

    def perform(self, worker):
        import torch

        beyond = torch.tensor([1 << 20], device="cuda")
        return torch.zeros(2, device="cuda")[beyond].tolist()


def test_an_error_of_cudas_starts_a_new_group_and_the_next_training_goes_on(engine, encoder, fields):
    import ray

    mailbox = engine.gangs[0].mailbox
    pid = ray.get(mailbox.workers.remote())[0]["pid"]
    with pytest.raises(RunFailed, match="CUDA error: device-side assert"):
        engine.perform(Asserts(task=encoder[0].task))
    told = fields(engine, encoder, "after")
    engine.perform(Train(**told, until=2, resumable=False))
    assert ray.get(mailbox.workers.remote())[0]["pid"] != pid
    assert losses(told["folder"])
