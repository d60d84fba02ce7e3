"""Which part of a model learns at which share of the rate."""

import pytest
import torch
from tests.saving import save
from transformers import LlamaConfig, LlamaForSequenceClassification, OPTConfig, OPTForSequenceClassification

from heliostat.commands.tiny import write_model
from heliostat.core.errors import UserError
from heliostat.engine import adapters, models, states
from heliostat.engine.group import Group
from heliostat.engine.rates import LR_SCALE, parts
from heliostat.engine.zero import parameter_groups
from heliostat.tasks.text_classification import TextClassification
from heliostat.tasks.token_classification import TokenClassification
from heliostat.train.adapters.lora import Lora

LABELS = ["a", "b"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rates") / "model"
    write_model(folder)
    return str(folder)


def shares(module, missing, **asked):
    """Trainable parameter's name to its share; each must be in exactly one group."""
    groups = parameter_groups(module, parts(module, missing, **asked))
    names = {id(p): name for name, p in module.named_parameters() if p.requires_grad}
    found = [(names[id(p)], group.get(LR_SCALE, 1.0)) for group in groups for p in group["params"]]
    assert sorted(name for name, _ in found) == sorted(names.values())
    for group in groups:
        assert group["params"]
        assert all((p.ndim >= 2) == group["decay"] for p in group["params"])
    return dict(found)


def of(found, start):
    (share,) = {share for name, share in found.items() if name.startswith(start)}
    return share


def test_without_rates_of_their_own_the_groups_are_the_plain_ones(folder):
    module, missing = TextClassification().model(folder, LABELS, None)
    assert parts(module, missing, head=None, decay=1.0) == []
    groups = parameter_groups(module, [])
    assert [set(group) for group in groups] == [{"params", "decay"}] * 2
    plain = [[p for p in module.parameters() if (p.ndim >= 2) == matrices] for matrices in (True, False)]
    for group, expected in zip(groups, plain, strict=True):
        assert all(a is b for a, b in zip(group["params"], expected, strict=True))


def test_the_head_is_what_is_outside_of_the_encoder_and_what_the_pretrained_model_lacks(folder):
    module, missing = TextClassification().model(folder, LABELS, None)
    found = shares(module, missing, head=40.0, decay=1.0)
    assert {name for name, share in found.items() if share == 40.0} == {"classifier.weight", "classifier.bias"}
    assert of(found, "bert") == 1.0
    found = shares(module, [*missing, "bert.pooler.dense.weight", "bert.pooler.dense.bias"], head=40.0, decay=0.5)
    assert of(found, "bert.pooler") == of(found, "classifier") == 40.0
    assert of(found, "bert.encoder.layer.1") == 1.0


def test_the_rate_falls_layer_by_layer_and_embeddings_get_the_least(folder):
    module, missing = TextClassification().model(folder, LABELS, None)
    found = shares(module, missing, head=None, decay=0.5)
    assert of(found, "classifier") == of(found, "bert.pooler") == of(found, "bert.encoder.layer.1") == 1.0
    assert of(found, "bert.encoder.layer.0") == 0.5
    assert of(found, "bert.embeddings") == 0.25


def test_a_decoder_has_its_norm_at_the_top_and_its_embeddings_at_the_bottom():
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "vocab_size": 20}
    module = LlamaForSequenceClassification(LlamaConfig(**sizes, pad_token_id=0))
    found = shares(module, ["score.weight"], head=3.0, decay=0.5)
    assert of(found, "score") == 3.0
    assert [of(found, name) for name in ("model.norm", "model.layers.2", "model.layers.0", "model.embed_tokens")] == [1.0, 1.0, 0.25, 0.125]


def test_a_norm_after_the_layers_is_at_the_top_wherever_it_is_registered():
    sizes = {
        "hidden_size": 16,
        "ffn_dim": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "word_embed_proj_dim": 16,
    }
    module = OPTForSequenceClassification(OPTConfig(**sizes, vocab_size=20, max_position_embeddings=20))
    found = shares(module, ["score.weight"], head=None, decay=0.5)
    at = [of(found, f"model.decoder.{name}") for name in ("final_layer_norm", "layers.2", "layers.0", "embed_positions")]
    assert at == [1.0, 1.0, 0.25, 0.125]
    assert of(found, "model.decoder.layers.0.final_layer_norm") == 0.25
    models.freeze(module, 1)
    assert module.model.decoder.final_layer_norm.weight.requires_grad
    assert not module.model.decoder.embed_positions.weight.requires_grad


def test_adapters_learn_at_the_rate_of_their_layer(folder):
    module, missing = TokenClassification().model(folder, LABELS, None)
    wrapped = adapters.put_in(module, Lora(r=2, targets=["query"]), missing, 1)
    found = shares(wrapped, missing, head=9.0, decay=0.5)
    assert len(found) == 2 * 2 + 2
    assert {share for name, share in found.items() if "classifier" in name} == {9.0}
    assert {share for name, share in found.items() if "layer.1" in name} == {1.0}
    assert {share for name, share in found.items() if "layer.0" in name} == {0.5}


def test_what_is_frozen_is_in_no_group(folder):
    module, missing = TextClassification().model(folder, LABELS, None)
    for parameter in module.bert.embeddings.parameters():
        parameter.requires_grad_(False)
    assert 0.25 not in shares(module, missing, head=None, decay=0.5).values()


def test_the_parts_do_not_depend_on_their_shares(folder):
    module, missing = TextClassification().model(folder, LABELS, None)
    one, other = (parts(module, missing, head=head, decay=decay) for head, decay in ((0.1, 0.9), (90.0, 0.2)))
    assert [ids for _, ids in one] == [ids for _, ids in other]


def test_a_model_without_a_stack_of_layers_is_refused(folder):
    module, missing = TextClassification().model(folder, LABELS, None)
    module.config.num_hidden_layers = 7
    with pytest.raises(UserError, match=r"list of 7 encoder layers.*train\.layer_decay"):
        parts(module, missing, head=None, decay=0.9)


def test_state_of_another_training_brings_no_rates_with_it(folder, tmp_path):
    class Engine:
        def __init__(self, head):
            self.module, missing = TextClassification().model(folder, LABELS, None)
            self.optimizer = torch.optim.AdamW(parameter_groups(self.module, parts(self.module, missing, head=head, decay=0.5)), lr=1.0)

    mine, theirs = Engine(7.0), Engine(3.0)
    place = save(tmp_path, 1, states=states.collect(theirs, Group()), facts={}, group=Group())
    states.restore(mine, place)
    assert [group[LR_SCALE] for group in mine.optimizer.param_groups] == [7.0, 7.0, 1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
