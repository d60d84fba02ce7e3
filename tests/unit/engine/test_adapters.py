"""Adapters: little is trained, and merging changes no answer."""

import copy

import pytest
import torch

from heliostat.core.errors import UserError
from heliostat.engine import adapters
from heliostat.engine.models import Store
from heliostat.engine.orders import ModelSource
from heliostat.tasks.text_classification import TextClassification

LABELS = ("art", "money", "sport")
LORA = {"r": 2, "alpha": 8.0, "dropout": 0.0, "targets": ["query", "value"]}


@pytest.fixture
def fresh(bert_folder):
    """`fresh()` is (module, names of its new parameters)."""
    store, source, task = Store(), ModelSource(folder=str(bert_folder)), TextClassification()
    return lambda: (store.fresh(source, LABELS, task, 1), store.missing(source, LABELS, task))


def answer(module):
    ids = torch.arange(1, 13).reshape(2, 6)
    return module.eval()(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.detach()


def test_only_adapters_and_the_new_head_are_trained(fresh):
    module = adapters.wrap(fresh()[0], LORA, fresh()[1], 1)
    trained = {name for name, p in module.named_parameters() if p.requires_grad}
    layers = {name for name in trained if "lora_" in name}
    assert len(layers) == 2 * 2 * 2  # two layers, two targets, two matrices each
    assert all(".query." in name or ".value." in name for name in layers)
    assert trained - layers == {name for name in trained if "classifier.modules_to_save" in name}
    assert len(trained - layers) == 2


def test_adapters_start_as_nothing_and_as_the_seed_says(fresh):
    module, missing = fresh()
    before = answer(module)
    drawn = {}
    for attempt, seed in enumerate([1, 1, 2]):
        torch.manual_seed(attempt)
        wrapped = adapters.wrap(copy.deepcopy(module), LORA, missing, seed)
        assert torch.equal(answer(wrapped), before)
        drawn[attempt] = torch.cat([p.detach().flatten() for name, p in wrapped.named_parameters() if "lora_A" in name])
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_merging_changes_no_answer(fresh):
    module, missing = fresh()
    before = answer(module)
    wrapped = adapters.wrap(module, LORA, missing, 1)
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in wrapped.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    trained = answer(wrapped)
    assert not torch.allclose(trained, before, atol=0.1)
    plain = adapters.merged(wrapped)
    # W x + B A x and (W + B A) x differ by float32 rounding
    assert torch.allclose(answer(plain), trained, atol=1e-5)
    assert not any("lora" in name or "modules_to_save" in name for name in plain.state_dict())


def test_a_model_without_adapters_is_left_as_it_is(fresh):
    module, _ = fresh()
    assert adapters.merged(module) is module


def test_a_target_that_is_not_there_names_those_that_are(fresh):
    with pytest.raises(UserError, match=r"\['q_proj'\] match no linear module.*It has: classifier, dense, key, query, value"):
        adapters.wrap(fresh()[0], {**LORA, "targets": ["q_proj"]}, fresh()[1], 1)
