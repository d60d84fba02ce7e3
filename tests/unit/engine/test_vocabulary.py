"""Rows of an embedding that no text names are left out of training, and nothing else changes."""

import copy

import numpy as np
import pytest
import torch
import transformers
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification

from heliostat.engine import vocabulary

WORDS, WIDTH, PAD = 40, 8, 0
NAMED_N = np.array([PAD, 3, 4, 7, 11, 30])


def bert(kind=BertForSequenceClassification, **more):
    torch.manual_seed(0)
    shape = {"hidden_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    none = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return kind(BertConfig(vocab_size=WORDS, max_position_embeddings=16, pad_token_id=PAD, num_labels=3, **shape, **none, **more))


def batch(seed, ids_N=NAMED_N):
    rng = np.random.default_rng(seed)
    ids_BT = torch.from_numpy(rng.choice(ids_N[ids_N != PAD], (4, 6)))
    ids_BT[0, 4:] = PAD
    return {"input_ids": ids_BT, "attention_mask": (ids_BT != PAD).long(), "labels": torch.from_numpy(rng.integers(0, 3, 4))}


def trained(module, updates=5, weight_decay=0.1):
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-2, weight_decay=weight_decay)
    losses = []
    for step in range(updates):
        loss = module(**batch(step)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 100.0)  # not reached: norms are added up in another order
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def test_losses_and_all_named_rows_are_the_same_to_the_bit():
    whole = bert()
    shrunk = copy.deepcopy(whole)
    vocabulary.shrink(shrunk, NAMED_N)
    assert shrunk.get_input_embeddings().weight.shape == (len(NAMED_N), WIDTH)
    before = whole.get_input_embeddings().weight.detach().clone()
    assert trained(whole) == trained(shrunk)
    vocabulary.restore(shrunk)
    ours, theirs = shrunk.get_input_embeddings().weight, whole.get_input_embeddings().weight
    assert torch.equal(ours[NAMED_N], theirs[NAMED_N])
    others_N = np.setdiff1d(np.arange(WORDS), NAMED_N)
    assert torch.equal(ours[others_N], before[others_N])  # as they were
    assert not torch.equal(theirs[others_N], before[others_N])  # where weight decay reaches them
    rest = {name: p for name, p in whole.named_parameters() if "word_embeddings" not in name}
    assert len(rest) > 10
    assert all(torch.equal(p, shrunk.get_parameter(name)) for name, p in rest.items())


def test_every_token_is_answered():
    whole = bert().eval()
    shrunk = copy.deepcopy(whole)
    vocabulary.shrink(shrunk, NAMED_N)
    given = batch(9, np.arange(WORDS))
    assert set(given["input_ids"].unique().tolist()) - set(NAMED_N.tolist())
    assert torch.equal(whole(**given).logits, shrunk(**given).logits)


def test_it_counts_and_saves_under_the_same_names():
    whole = bert()
    shrunk = copy.deepcopy(whole)
    vocabulary.shrink(shrunk, NAMED_N)
    assert shrunk.state_dict().keys() == whole.state_dict().keys()
    left_out = sum(p.numel() for p in whole.parameters()) - sum(p.numel() for p in shrunk.parameters())
    assert vocabulary.untrained(shrunk) == left_out == (WORDS - len(NAMED_N)) * WIDTH
    assert vocabulary.untrained(whole) == 0


def test_an_unnamed_padding_row_stays_as_it_is():
    module = bert()
    before = module.get_input_embeddings().weight.detach()[PAD].clone()
    vocabulary.shrink(module, NAMED_N[1:])
    trained(module)
    vocabulary.restore(module)
    table = module.get_input_embeddings()
    assert table.padding_idx == PAD
    assert torch.equal(table.weight[PAD], before)


class Scaled(torch.nn.Embedding):
    """An embedding of another kind."""


def tied():
    return bert(BertForMaskedLM)


def frozen():
    module = bert()
    module.get_input_embeddings().requires_grad_(False)
    return module


def of_another_kind():
    module = bert()
    module.set_input_embeddings(Scaled(WORDS, WIDTH))
    return module


def scaled_by_frequency():
    module = bert()
    module.get_input_embeddings().scale_grad_by_freq = True
    return module


@pytest.mark.parametrize(("make", "ids_N"), [(tied, NAMED_N), (frozen, NAMED_N), (of_another_kind, NAMED_N),
                                             (scaled_by_frequency, NAMED_N), (bert, np.arange(WORDS - 5))])  # fmt: skip
def test_where_it_would_not_be_the_same_or_not_pay_nothing_happens(make, ids_N):
    module = make()
    table = module.get_input_embeddings()
    vocabulary.shrink(module, ids_N)
    assert module.get_input_embeddings() is table


def test_a_decoder_that_predicts_with_a_matrix_of_its_own_is_shrunk():
    module = bert(BertForMaskedLM, tie_word_embeddings=False)
    vocabulary.shrink(module, NAMED_N)
    assert isinstance(module.get_input_embeddings(), vocabulary.Words)
    assert module.get_output_embeddings().weight.shape == (WORDS, WIDTH)


SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "num_labels": 3}
SMALL |= {"vocab_size": WORDS, "pad_token_id": PAD, "max_position_embeddings": 64}
GPT2 = {"n_embd": 16, "n_layer": 1, "n_head": 2}
DISTILBERT = {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 32}
MARKS = {"cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1, "eos_token_id": 2}


@pytest.mark.parametrize(("name", "more", "shrunk"), [
    ("XLMRoberta", {}, True), ("Albert", {"embedding_size": 8}, True), ("DebertaV2", {}, True), ("ModernBert", MARKS, True),
    ("MobileBert", {"embedding_size": 16, "intra_bottleneck_size": 16, "true_hidden_size": 16}, True), ("DistilBert", DISTILBERT, True),
    ("Llama", {"num_key_value_heads": 1}, True), ("GPT2", GPT2, True),
    ("Gemma", {"num_key_value_heads": 1, "head_dim": 8}, False),  # it scales what it looks up
    ("Canine", {"num_hash_buckets": 64}, False),  # it has no table of words
])  # fmt: skip
def test_it_is_the_same_whatever_the_architecture(name, more, shrunk):
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**{**SMALL, **more})
    whole = getattr(transformers, f"{name}ForTokenClassification")(config).eval()
    given = {key: batch(3, np.arange(WORDS))[key] for key in ("input_ids", "attention_mask")}
    module = copy.deepcopy(whole)
    vocabulary.shrink(module, NAMED_N)
    assert any(isinstance(part, vocabulary.Words) for part in module.modules()) == shrunk
    assert torch.equal(whole(**given).logits, module(**given).logits)
    vocabulary.restore(module)
    assert torch.equal(whole(**given).logits, module(**given).logits)
    assert module.state_dict().keys() == whole.state_dict().keys()
