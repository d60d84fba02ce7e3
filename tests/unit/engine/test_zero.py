"""From a layout to DeepSpeed's config, and from a module to its parameter groups and weights."""

from types import SimpleNamespace

import pytest
import torch

from heliostat.engine import zero
from heliostat.engine.zero import (
    ZeroPlan,
    _forget_rehearsal,
    _leave_overflows_to_the_loop,
    narrow_statistics,
    parameter_groups,
    start,
    whole_weights,
)


def plan(**changes):
    batch = {"micro_rows": 4, "accumulation": 3, "world": 2}
    return ZeroPlan(**{"stage": 0, "offload": "none", "precision": "fp32", "clip": None, **batch, **changes})


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_the_global_batch_is_the_product_of_its_parts(stage):
    config = plan(stage=stage).config()
    assert config["zero_optimization"]["stage"] == stage
    assert config["train_batch_size"] == 24
    assert config["train_micro_batch_size_per_gpu"] * config["gradient_accumulation_steps"] * 2 == 24


def test_what_a_stage_cannot_use_is_not_said():
    assert plan(stage=0).config()["zero_optimization"] == {"stage": 0}
    for stage in (1, 2, 3):
        stage_config = plan(stage=stage).config()["zero_optimization"]
        assert any(key.startswith("stage3_") for key in stage_config) == (stage == 3)
        assert "offload_optimizer" not in stage_config


def test_offload_keeps_optimiser_states_in_cpu_memory():
    found = plan(stage=2, offload="optimizer").config()["zero_optimization"]
    assert found["offload_optimizer"]["device"] == "cpu"
    assert "offload_param" not in found


def test_offload_keeps_weights_there_too():
    found = plan(stage=3, offload="parameters").config()["zero_optimization"]
    assert found["offload_optimizer"]["device"] == found["offload_param"]["device"] == "cpu"


@pytest.mark.parametrize(("precision", "on"), [("fp32", (False, False)), ("bf16", (True, False)), ("fp16", (False, True))])
def test_one_precision_at_most_is_on(precision, on):
    config = plan(precision=precision).config()
    assert (config["bf16"]["enabled"], config["fp16"]["enabled"]) == on


def test_no_clipping_is_zero_for_deepspeed():
    assert plan(clip=None).config()["gradient_clipping"] == 0.0
    assert plan(clip=0.5).config()["gradient_clipping"] == 0.5


def small():
    return torch.nn.Sequential(torch.nn.Embedding(5, 4), torch.nn.Linear(4, 3), torch.nn.LayerNorm(3))


def test_matrices_decay_biases_and_norms_do_not():
    module = small()
    groups = parameter_groups(module)
    decayed = {id(p) for g in groups if g["decay"] for p in g["params"]}
    kept = {id(p) for g in groups if not g["decay"] for p in g["params"]}
    assert decayed == {id(module[0].weight), id(module[1].weight)}
    assert kept == {id(module[1].bias), id(module[2].weight), id(module[2].bias)}


def test_frozen_parameters_are_in_no_group_and_no_group_is_empty():
    module = small()
    for name, parameter in module.named_parameters():
        parameter.requires_grad = name == "1.bias"
    assert parameter_groups(module) == [{"params": [module[1].bias], "decay": False}]


def test_weights_are_whole_float32_copies_of_what_is_trained():
    module = small().to(torch.bfloat16)
    module[0].weight.requires_grad = False
    weights = whole_weights(module, rank=0)
    assert list(weights) == ["1.weight", "1.bias", "2.weight", "2.bias"]
    assert {w.dtype for w in weights.values()} == {torch.float32}
    kept = weights["1.bias"].clone()
    with torch.no_grad():
        module[1].bias.add_(1.0)
    assert torch.equal(weights["1.bias"], kept)
    assert whole_weights(module, rank=1) is None


def test_a_copy_of_float32_weights_is_a_copy_too():
    module = small()
    weights = whole_weights(module, rank=0)
    assert not {w.data_ptr() for w in weights.values()} & {p.data_ptr() for p in module.parameters()}


def test_an_update_that_allocates_states_leaves_no_trace():
    """DeepSpeed's wrapper for 16 bits without ZeRO makes one when it is built."""
    low, high = torch.nn.Parameter(torch.randn(3).bfloat16()), torch.nn.Parameter(torch.randn(3))

    class Wrapper:
        optimizer, fp32_groups = torch.optim.AdamW([high], lr=0.1), [[high]]

        def refresh_fp32_params(self):
            high.data.copy_(low.data)

    high.grad = torch.zeros(3)
    Wrapper.optimizer.step()
    _forget_rehearsal(Wrapper())
    assert torch.equal(high.data, low.data.float())
    assert not Wrapper.optimizer.state


def test_batch_normalisation_has_statistics_as_precise_as_its_weights_and_other_buffers_stay():
    module = torch.nn.Sequential(
        torch.nn.Conv1d(2, 2, 1), torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2, track_running_stats=False)
    ).eval()
    module.register_buffer("angles", torch.ones(3))
    original = module[1].running_var
    for parameter in module.parameters():
        parameter.data = parameter.data.bfloat16()
    narrow_statistics(module)
    assert module[1](torch.ones(1, 2, 4, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert {module.angles.dtype, original.dtype} == {torch.float32}
    assert module[1].num_batches_tracked.dtype == torch.long


def test_a_loss_scale_that_cannot_fall_any_more_is_no_error_of_deepspeeds():
    """DeepSpeed's own would be tried again, as any exception is."""
    scaler = SimpleNamespace(raise_error_at_min_scale=True)
    for optimizer in (
        SimpleNamespace(loss_scaler=scaler),
        torch.optim.SGD([torch.nn.Parameter(torch.ones(1))]),
        SimpleNamespace(loss_scaler=None),
    ):
        _leave_overflows_to_the_loop(optimizer)
    assert scaler.raise_error_at_min_scale is False


@pytest.mark.parametrize(("stage", "precision", "parted"), [
    (3, "bf16", [("cpu", torch.bfloat16)] * 4), (3, "fp32", [("cpu", torch.float32)] * 4), (2, "bf16", []),
])  # fmt: skip
def test_with_zero_3_no_device_has_the_whole_module(monkeypatch, stage, precision, parted):
    """Parameters are on the CPU, in as few bits as they are trained in, when DeepSpeed is given them to part; the rest moves as it is."""
    module, seen = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4)), []
    given = {"Init": lambda module, config_dict_or_path: seen.extend((p.device.type, p.dtype) for p in module.parameters())}

    def initialize(model, optimizer, config):
        seen.append("initialized")
        return SimpleNamespace(optimizer=optimizer), None

    fake = SimpleNamespace(zero=SimpleNamespace(**given), initialize=initialize, init_distributed=lambda: None)
    monkeypatch.setattr(zero, "_deepspeed", lambda: fake)
    monkeypatch.setattr(zero, "narrow_statistics", lambda module: None)
    start(module, None, plan(stage=stage, precision=precision, device="meta"))
    assert seen == [*parted, "initialized"]
    assert {buffer.device.type for buffer in module.buffers()} == ({"meta"} if parted else {"cpu"})
