"""One number per text: what counts as one, and where a new head begins."""

import math

import numpy as np
import pytest
import torch
from transformers import RobertaConfig, RobertaForSequenceClassification

from heliostat.commands.tiny import write_model
from heliostat.engine.models import settle
from heliostat.tasks.text_regression import TextRegression

TASK = TextRegression(max_tokens=8)
TARGETS = np.array([900.0, 1000.0, 1100.0])


@pytest.mark.parametrize(("given", "number"), [(3, 3.0), ("-4.5", -4.5), (" 1e3 ", 1000.0), (0.0, 0.0)])
def test_numbers_come_as_numbers_or_as_text(given, number):
    assert TASK.row({"text": "a", "target": given}) == {"text": "a", "target": number, "label": ""}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (None, "missing_target"),
        (" ", "missing_target"),
        (math.nan, "missing_target"),
        (math.inf, "target_not_number"),
        ("many", "target_not_number"),
        (True, "target_not_number"),
    ],
)
def test_what_is_no_number_has_a_reason(given, reason):
    assert TASK.row({"text": "a", "target": given}) == reason


@pytest.fixture
def module(tmp_path):
    write_model(tmp_path / "model")
    return TASK.model(str(tmp_path / "model"), [], None)


def test_the_head_is_one_output_with_a_name(module):
    model, missing = module
    assert sorted(missing) == ["classifier.bias", "classifier.weight"]
    assert (model.config.num_labels, model.config.problem_type, model.config.id2label) == (1, "regression", {0: "target"})


def test_a_new_head_answers_around_the_mean_in_steps_of_the_spread(module):
    model, missing = module
    own = {name: model.state_dict()[name].clone() for name in missing}
    TASK.begin(model, missing, lambda: TARGETS)
    spread = TARGETS.std()
    assert torch.allclose(model.classifier.weight, own["classifier.weight"] * spread)
    assert torch.allclose(model.classifier.bias, own["classifier.bias"] * spread + 1000.0)
    names = dict(model.named_parameters())
    assert names["classifier.parametrizations.weight.original"].shape == (1, 32)  # what the optimiser moves
    answer = model(input_ids=torch.tensor([[2, 9, 3]])).logits
    settle(model)
    assert torch.equal(model(input_ids=torch.tensor([[2, 9, 3]])).logits, answer)
    assert "classifier.weight" in dict(model.named_parameters())


def test_targets_that_do_not_vary_scale_by_one(module):
    model, missing = module
    before = model.classifier.weight.detach().clone()
    TASK.begin(model, missing, lambda: np.full(3, 7.0))
    assert torch.equal(model.classifier.weight, before)
    assert float(model.classifier.bias) == 7.0


def test_a_head_that_the_model_brought_is_left_as_it_is(module):
    def never():
        raise AssertionError("the targets are read for a new head only")

    for task, new in ((TASK, []), (TextRegression(scale=False), module[1])):
        task.begin(module[0], new, never)
    assert "classifier.weight" in dict(module[0].named_parameters())


def test_of_a_head_of_two_layers_the_last_one_is_scaled():
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 20}
    model = RobertaForSequenceClassification(RobertaConfig(**sizes, num_labels=1))
    TASK.begin(model, [f"classifier.{part}.{kind}" for part in ("dense", "out_proj") for kind in ("bias", "weight")], lambda: TARGETS)
    scaled = {name for name, _ in model.named_parameters() if "parametrizations" in name}
    assert scaled == {f"classifier.out_proj.parametrizations.{kind}.original" for kind in ("weight", "bias")}
