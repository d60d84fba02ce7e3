"""Documents in one packed row never see each other, and a model that cannot do that is refused."""

import pyarrow as pa
import pytest
import torch
import transformers

from heliostat.core import seeds
from heliostat.core.errors import UserError
from heliostat.engine import isolation
from heliostat.engine.isolation import POSITIONS, Way, block_mask, collate, inputs_of, isolated, logits, way_in_rows, way_of
from heliostat.engine.packing import pack

WORDS = 64
SMALL = {
    "vocab_size": WORDS,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "pad_token_id": 1,
    "bos_token_id": 2,
    "eos_token_id": 2,
    "initializer_range": 0.2,  # documents mean something to each other, and a leak is seen
}
OURS = {
    "Llama": ("LlamaForCausalLM", "LlamaConfig", {**SMALL, "num_key_value_heads": 2}),
    "GPT2": (
        "GPT2LMHeadModel",
        "GPT2Config",
        {"vocab_size": WORDS, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "initializer_range": 0.2},
    ),
    "Qwen2": ("Qwen2ForCausalLM", "Qwen2Config", {**SMALL, "num_key_value_heads": 4}),
    "Mistral": ("MistralForCausalLM", "MistralConfig", {**SMALL, "num_key_value_heads": 2, "sliding_window": 4}),
    "Mixtral": ("MixtralForCausalLM", "MixtralConfig", {**SMALL, "num_key_value_heads": 2, "num_local_experts": 4}),
    "OPT": ("OPTForCausalLM", "OPTConfig", {**SMALL, "ffn_dim": 64, "word_embed_proj_dim": 32}),
    "Bert": ("BertForMaskedLM", "BertConfig", SMALL),
    "Roberta": ("RobertaForMaskedLM", "RobertaConfig", SMALL),
    "ModernBert": ("ModernBertForMaskedLM", "ModernBertConfig", {**SMALL, "cls_token_id": 2, "sep_token_id": 2}),
    "Bloom": ("BloomForCausalLM", "BloomConfig", {"vocab_size": WORDS, "hidden_size": 32, "n_layer": 2, "n_head": 4}),
    "Mamba": ("MambaForCausalLM", "MambaConfig", {"vocab_size": WORDS, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 8}),
}
DECODERS = ("Llama", "GPT2")


def model(name, attention=None):
    kind, config, options = OURS[name]
    torch.manual_seed(3)
    built = getattr(transformers, kind)(getattr(transformers, config)(**options, attn_implementation=attention))
    return built.eval()


def documents(count=14, longest=20, first=0.0):
    """Documents whose first third is a prompt that is not trained on; the share `first` of them begin with a target."""
    rng = seeds.rng(1, "test", "documents")
    rows = []
    for i in range(count):
        ids = rng.integers(3, WORDS, int(rng.integers(2, longest + 1))).tolist()
        prompt = 0 if i < first * count else max(1, len(ids) // 3)
        labels = [-100] * prompt + ids[prompt:]
        rows.append({"id": f"d{i}", "weight": 1.0, "input_ids": ids, "labels": labels, "units": float(sum(x != -100 for x in labels[1:]))})
    return pa.Table.from_pylist(rows, schema=pa.schema([
        ("id", pa.string()), ("weight", pa.float32()), ("input_ids", pa.list_(pa.int64())), ("labels", pa.list_(pa.int64())),
        ("units", pa.float32()),
    ]))  # fmt: skip


def loss_and_targets(found_BTV, labels_BT):
    """(sum of the losses, number of targets) of a model whose labels are shifted."""
    targets = labels_BT[:, 1:].flatten()
    return torch.nn.functional.cross_entropy(found_BTV[:, :-1].flatten(0, 1), targets, reduction="sum"), int((targets != -100).sum())


def unpacked_mean(module, table):
    """The mean loss over targets, each document by itself."""
    total = targets = 0
    for row in table.to_pylist():
        ids = torch.tensor([row["input_ids"]])
        loss, count = loss_and_targets(module(input_ids=ids).logits, torch.tensor([row["labels"]]))
        total, targets = total + loss, targets + count
    return total / targets, targets


def packed_mean(module, table, way, rows=3):
    """The same from packed rows, `rows` of them at a time."""
    total = targets = 0
    for start in range(0, table.num_rows, rows):
        batch = collate(table.slice(start, rows).to_pydict(), pad_id=0)
        loss, count = loss_and_targets(logits(module, batch, way), batch["labels"])
        total, targets = total + loss, targets + count
    return total / targets, targets


def gradient(module, loss):
    module.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in module.parameters()])


@pytest.mark.parametrize("way", [POSITIONS, Way("flat"), Way(mask="causal")], ids=["positions", "flat", "mask"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", DECODERS)
def test_packed_and_unpacked_give_the_same_loss_and_gradient(name, attention, way, tmp_path):
    module, table = model(name, attention), documents(first=0.5)
    packed = pack(table, 32, tmp_path / "packed.arrow")
    assert packed.num_rows < table.num_rows
    assert len(set(map(len, packed.column("input_ids").to_pylist()))) > 1  # some are filled up
    alone, targets = unpacked_mean(module, table)
    together, packed_targets = packed_mean(module, packed, way)
    assert targets == packed_targets == sum(table.column("units").to_pylist())
    assert together.item() == pytest.approx(alone.item(), abs=1e-5)  # float32 additions in another order
    assert torch.allclose(gradient(module, together), gradient(module, alone), atol=1e-5)


@pytest.mark.parametrize("name", DECODERS)
def test_the_loss_would_be_another_one_if_documents_saw_each_other(name, tmp_path):
    """What the test above is worth: with positions that run on, the same packed rows have another loss."""
    module, table = model(name), documents()
    packed = pack(table, 32, tmp_path / "packed.arrow")
    on = pa.array([list(range(len(ids))) for ids in packed.column("input_ids").to_pylist()], pa.list_(pa.int32()))
    joined = packed.set_column(packed.schema.get_field_index("position_ids"), "position_ids", on)
    with torch.no_grad():
        assert abs(packed_mean(module, joined, POSITIONS)[0] - packed_mean(module, packed, POSITIONS)[0]) > 0.01


@pytest.mark.parametrize(("name", "way"), [
    ("Llama", POSITIONS),
    ("GPT2", POSITIONS),
    ("Qwen2", POSITIONS),
    ("Mistral", POSITIONS),
    ("Mixtral", POSITIONS),
    ("OPT", Way(mask="causal")),
    ("Bert", Way(mask="full")),
    ("Roberta", Way(mask="full", first=2)),
])  # fmt: skip
def test_the_way_is_found_by_trying(name, way):
    module = model(name).train()
    assert way_of(module) == way
    assert isolated(module, way)
    assert module.training


@pytest.mark.parametrize("name", ["Llama", "OPT", "Bert", "Roberta"])
def test_batches_of_a_task_are_packed_in_the_same_way(name):
    module = model(name)
    way, positions_BT = way_in_rows(module), torch.tensor([[0, 1, 0, 1, 2]])
    assert way == way_of(module)
    given = inputs_of(module, positions_BT, way)
    assert torch.equal(given["position_ids"], positions_BT + way.first)
    assert ("attention_mask" in given) == (way.mask != "none")


def test_a_model_that_needs_one_row_is_not_packed_by_a_task(monkeypatch):
    monkeypatch.setattr(isolation, "isolated", lambda module, way: way == Way("flat"))
    assert way_of(model("Llama")) == Way("flat")
    with pytest.raises(UserError, match=r"train\.packing: 'LlamaForCausalLM' lets texts in one sequence see each other"):
        way_in_rows(model("Llama"))


@pytest.mark.parametrize("name", ["Mamba", "Bloom", "ModernBert"])
def test_a_model_that_cannot_keep_documents_apart_is_refused(name):
    with pytest.raises(UserError, match=rf"packing: '{OURS[name][0]}' lets documents in one row see each other.*without packing"):
        way_of(model(name))


def test_a_cache_is_a_leak():
    """What `use_cache=False` is for: a decoder that keeps one does not look at where positions begin again."""
    module = model("Llama")

    class WithCache(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.config = module, module.config

        def forward(self, **inputs):
            return self.inner(**{**inputs, "use_cache": True})

    assert isolated(module)
    assert not isolated(WithCache())


def test_a_small_leak_is_a_leak():
    """A hundredth part of what one document means to the next is told apart from none."""
    module = model("Llama")

    class Leaky(torch.nn.Module):
        def __init__(self, share):
            super().__init__()
            self.inner, self.config, self.share = module, module.config, share

        def forward(self, position_ids=None, **inputs):
            apart = self.inner(position_ids=position_ids, **inputs)
            if position_ids is not None:
                whole = torch.arange(position_ids.shape[1]).expand_as(position_ids)
                apart.logits = (1 - self.share) * apart.logits + self.share * self.inner(position_ids=whole, **inputs).logits
            return apart

    assert isolated(Leaky(0.0))
    assert not isolated(Leaky(0.02))


def test_flat_rows_come_back_where_they_were():
    module = model("Llama")
    batch = collate({"input_ids": [[5, 6, 7, 8], [9, 10]], "labels": [[5, 6, 7, 8], [9, 10]], "position_ids": [[0, 1, 0, 1], [0, 1]]}, 0)
    with torch.no_grad():
        rows, flat = logits(module, batch, POSITIONS), logits(module, batch, Way("flat"))
    assert flat.shape == rows.shape == (2, 4, WORDS)
    assert torch.allclose(flat[0], rows[0], atol=1e-6)  # float32
    assert torch.allclose(flat[1, :2], rows[1, :2], atol=1e-6)


def test_a_collated_batch_is_filled_with_documents_of_one_token():
    batch = collate({"input_ids": [[5, 6, 7], [8]], "labels": [[-100, 6, 7], [-100]], "position_ids": [[0, 1, 2], [0]]}, pad_id=9)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 9, 9]]
    assert batch["labels"].tolist() == [[-100, 6, 7], [-100, -100, -100]]
    assert batch["position_ids"].tolist() == [[0, 1, 2], [0, 0, 0]]
    assert batch["tokens"].tolist() == [3, 1]


@pytest.mark.parametrize("causal", [True, False])
def test_the_mask_is_block_diagonal(causal):
    mask = block_mask(torch.tensor([[0, 1, 0, 1, 2, 0]]), causal=causal, dtype=torch.float32)
    document = [0, 0, 1, 1, 1, 2]
    for i in range(6):
        for j in range(6):
            open_ = document[i] == document[j] and (j <= i or not causal)
            assert (mask[0, 0, i, j] == 0.0) == open_
            assert open_ or mask[0, 0, i, j] == torch.finfo(torch.float32).min


def test_a_probe_leaves_no_trace():
    module = model("GPT2").train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    state = torch.random.get_rng_state()
    isolation.way_of(module)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(p.grad is None for p in module.parameters())
