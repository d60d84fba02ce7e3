"""Adapters: little is trained, and merging changes no answer."""

import copy
import fnmatch
import sys
from types import SimpleNamespace

import pytest
import torch
import transformers

from heliostat.core import family
from heliostat.core.errors import UserError
from heliostat.engine import adapters, models
from heliostat.engine.models import Store
from heliostat.engine.orders import ModelSource
from heliostat.tasks.text_classification import TextClassification

LABELS = ("art", "money", "sport")
LORA = {"use": "lora", "r": 2, "alpha": 8.0}


@pytest.fixture
def fresh(bert_folder):
    """`fresh()` is (module, names of its new parameters)."""
    store, source, task = Store(), ModelSource(folder=str(bert_folder)), TextClassification()
    return lambda: (store.fresh(source, LABELS, task, 1), store.missing(source, LABELS, task))


def answer(module):
    ids = torch.arange(1, 13).reshape(2, 6)
    return module.eval()(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.detach()


def test_only_adapters_and_the_new_head_are_trained(fresh):
    module = adapters.put_in(fresh()[0], family.build("train.adapters", LORA), fresh()[1], 1)
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
        wrapped = adapters.put_in(copy.deepcopy(module), family.build("train.adapters", LORA), missing, seed)
        assert torch.equal(answer(wrapped), before)
        drawn[attempt] = torch.cat([p.detach().flatten() for name, p in wrapped.named_parameters() if "lora_A" in name])
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


MERGING = [name for name, kind in family.members("train.adapters").items() if kind.merges]


@pytest.mark.parametrize("use", MERGING)
def test_merging_changes_no_answer(fresh, use):
    module, missing = fresh()
    before = answer(module)
    wrapped = adapters.put_in(module, family.build("train.adapters", use), missing, 1)
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
    for targets in (["q_proj"], ["query", "q_proj"]):
        with pytest.raises(UserError, match=r"train.adapter.targets: no weight .* called q_proj.*It has: dense, key, query, value"):
            adapters.put_in(fresh()[0], family.build("train.adapters", {**LORA, "targets": targets}), fresh()[1], 1)


@pytest.mark.parametrize("use", family.names("train.adapters"))
def test_what_is_trained_is_what_the_plan_says_and_the_head(fresh, use):
    """The plan knows shapes alone; the head of three classes has 3 x width weights and 3 biases."""
    adapter = family.build("train.adapters", use)
    module, missing = fresh()
    shapes = {name: tuple(part.weight.shape) for name, part in adapters.matrices(module).items()}
    shapes |= {name: tuple(part.weight.shape) for name, part in module.named_modules() if name.endswith("word_embeddings")}
    width = module.config.hidden_size
    wrapped = adapters.put_in(module, adapter, missing, 1)
    trained = sum(p.numel() for p in wrapped.parameters() if p.requires_grad)
    assert trained == adapter.adds(shapes) + 3 * width + 3


def test_the_shares_of_a_mixture_are_noisy_in_training_only(fresh):
    from heliostat.engine.mixture import Mixed

    module, missing = fresh()
    wrapped = adapters.put_in(module, family.build("train.adapters", {"use": "mixture", "experts": 3}), missing, 1)
    (one, *_) = [part for part in wrapped.modules() if isinstance(part, Mixed)]
    assert one.eval().shares().tolist() == pytest.approx([1 / 3] * 3)
    assert not torch.equal(one.train().shares(), one.shares())
    assert one.shares().sum().item() == pytest.approx(1.0)


@pytest.mark.parametrize("patterns", [["*embeddings*"], ["*layer.0.*", "*bias"]])
def test_parameters_are_frozen_by_pattern(fresh, patterns):
    module, _ = fresh()
    models.freeze(module, patterns)
    frozen = {name for name, p in module.named_parameters() if not p.requires_grad}
    assert frozen == {name for name, _ in module.named_parameters() if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)}
    assert frozen


@pytest.mark.parametrize(
    ("patterns", "said"), [(["*embedings*"], "matches no parameter. There are bert.embeddings"), (["*"], "nothing is left to train")]
)
def test_patterns_that_freeze_nothing_or_everything_are_refused(fresh, patterns, said):
    with pytest.raises(UserError, match=said):
        models.freeze(fresh()[0], patterns)


class Small(torch.nn.Linear):
    """Stands in for the 4-bit layer of bitsandbytes."""

    def __init__(self, inputs, outputs, bias, dtype, *, quant_type, compress_statistics):
        super().__init__(inputs, outputs, bias)


TINY = {"vocab_size": 20, "num_attention_heads": 2}
SMALL_BERT = {"hidden_size": 8, "num_hidden_layers": 1, "intermediate_size": 16, **TINY}
T5_SIZES = {"vocab_size": 20, "d_model": 8, "d_ff": 16, "d_kv": 4, "num_layers": 1, "num_heads": 2, "feed_forward_proj": "gated-gelu"}
KEPT_WHOLE = [
    (transformers.LlamaForCausalLM, transformers.LlamaConfig(tie_word_embeddings=True, **SMALL_BERT), [], {"lm_head"}),
    (transformers.LlamaForCausalLM, transformers.LlamaConfig(tie_word_embeddings=False, **SMALL_BERT), [], {"lm_head"}),
    (transformers.T5ForConditionalGeneration, transformers.T5Config(**T5_SIZES), [], {"lm_head", "wo"}),
    (transformers.BertForMaskedLM, transformers.BertConfig(**SMALL_BERT), [], {"decoder"}),
    (transformers.BertForSequenceClassification, transformers.BertConfig(**SMALL_BERT), ["classifier"], {"classifier"}),
]


@pytest.mark.parametrize(("kind", "config", "head", "whole"), KEPT_WHOLE, ids=lambda given: getattr(given, "__name__", ""))
def test_what_predicts_the_head_and_what_must_stay_in_fp32_are_not_in_4_bits(monkeypatch, kind, config, head, whole):
    monkeypatch.setitem(sys.modules, "bitsandbytes", SimpleNamespace(nn=SimpleNamespace(Linear4bit=Small)))
    module = kind(config)
    linear = {name for name, part in module.named_modules() if isinstance(part, torch.nn.Linear)}
    weights = {name: part.detach().clone() for name, part in module.named_parameters()}
    adapters.in_four_bits(module, head)
    small = {name for name, part in module.named_modules() if isinstance(part, Small)}
    assert {name.rsplit(".", 1)[-1] for name in linear - small} == whole
    assert all(torch.equal(part, weights[name]) for name, part in module.named_parameters())
    assert small


def wavlm():
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "conv_dim": (8,)}
    return transformers.WavLMModel(transformers.WavLMConfig(**sizes, conv_stride=(5,), conv_kernel=(10,), num_conv_pos_embeddings=4))


@pytest.mark.parametrize("use", [LORA, {"use": "mixture", "r": 2, "experts": 2}])
def test_weights_that_attention_takes_past_their_forward_get_no_adapter(use):
    names = adapters.matrices(wavlm())
    assert any(name.endswith("intermediate_dense") for name in names)
    assert not any(name.endswith(("q_proj", "v_proj", "k_proj", "out_proj")) for name in names)
    assert any(name.endswith("gru_rel_pos_linear") for name in names), "this one is called"
    with pytest.raises(UserError, match=r"none of the usual names .* is in it\. It has: .*intermediate_dense"):
        adapters.put_in(wavlm(), family.build("train.adapters", use), [], 1)


def test_so_it_is_with_torchs_own_attention():
    inside = torch.nn.ModuleDict({"attention": torch.nn.MultiheadAttention(8, 2), "dense": torch.nn.Linear(8, 8)})
    assert list(adapters.matrices(inside)) == ["dense"]
