"""Models in a worker: which layers are taken, what is drawn, what is shared, what an export must prove."""

import accelerate.utils.other
import numpy as np
import pytest
import torch
import transformers
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, ModernBertConfig, ModernBertForSequenceClassification

from heliostat.core.errors import RunFailed, UserError
from heliostat.engine.models import Store, compile_layers, count, draw_missing, export, freeze, keep_spread, open_model, set_dropout, spread
from heliostat.engine.orders import ModelSource
from heliostat.tasks.text_classification import TextClassification

LABELS = ("art", "money", "sport")
TASK = TextClassification(max_tokens=16)


def tiny_bert(layers=6, **changes):
    torch.manual_seed(3)
    options = {"vocab_size": 60, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24, "num_labels": 3, **changes}
    return BertForSequenceClassification(BertConfig(num_hidden_layers=layers, **options)).eval()


def some_ids(rows=4):
    ids = torch.from_numpy(np.random.default_rng(1).integers(1, 60, (rows, 7)))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


@pytest.mark.parametrize(("layers", "keep", "chosen"), [(6, 1, [0]), (6, 2, [0, 5]), (6, 3, [0, 2, 5]), (12, 4, [0, 4, 7, 11])])
def test_the_layers_of_a_student(layers, keep, chosen):
    assert spread(layers, keep) == chosen


def test_kept_layers_are_as_many_as_asked_even_and_reach_both_ends():
    for layers in range(2, 49):
        for keep in range(2, layers + 1):
            chosen = spread(layers, keep)
            gaps = np.diff(chosen)
            assert (len(chosen), chosen[0], chosen[-1]) == (keep, 0, layers - 1)
            assert gaps.max() - gaps.min() <= 1


def test_a_student_keeps_the_weights_of_its_layers(tmp_path):
    module = tiny_bert(6)
    kept = [module.bert.encoder.layer[i] for i in (0, 2, 5)]
    keep_spread(module, 3)
    assert [id(layer) for layer in module.bert.encoder.layer] == [id(layer) for layer in kept]
    module.save_pretrained(tmp_path)
    again = BertForSequenceClassification.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        assert torch.equal(again(**some_ids()).logits, module(**some_ids()).logits)


def test_frozen_layers_and_the_embeddings_are_not_trained():
    module = tiny_bert(6)
    freeze(module, 4)
    trained = {name for name, p in module.named_parameters() if p.requires_grad}
    assert not any(name.startswith(("bert.embeddings", *(f"bert.encoder.layer.{i}." for i in range(4)))) for name in trained)
    assert {"classifier.weight", "bert.pooler.dense.weight", "bert.encoder.layer.4.output.dense.weight"} <= trained
    with pytest.raises(UserError, match=r"train\.freeze: 7 layers asked for, and the model has 6"):
        freeze(tiny_bert(6), 7)


def test_more_layers_than_there_are_is_the_users_error():
    with pytest.raises(UserError, match=r"distil\.layers: 7 layers asked for, and the model it starts from has 6"):
        keep_spread(tiny_bert(6), 7)


def test_a_new_head_is_a_function_of_the_seed_alone():
    heads = {}
    for attempt, seed in enumerate([1, 1, 2]):
        torch.manual_seed(attempt)
        module = tiny_bert(1)
        torch.nn.init.uniform_(module.classifier.bias)
        torch.rand(attempt)
        draw_missing(module, ["classifier.weight", "classifier.bias"], seed)
        heads[attempt] = module.classifier.weight.detach().clone()
        assert not module.classifier.bias.any()
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_the_order_in_which_parameters_are_drawn_does_not_matter():
    names = ["classifier.weight", "bert.pooler.dense.weight"]
    one, other = tiny_bert(1), tiny_bert(1)
    draw_missing(one, names, 1)
    draw_missing(other, names[::-1], 1)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def tiny_modern_bert(**changes):
    special = dict.fromkeys(("pad_token_id", "cls_token_id", "sep_token_id", "bos_token_id", "eos_token_id"), 0)
    sizes = {"vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    return ModernBertForSequenceClassification(ModernBertConfig(num_labels=3, **sizes, **special, **changes))


def test_a_new_head_with_a_norm_is_not_born_dead():
    module = tiny_modern_bert().eval()
    head = [name for name, _ in module.named_parameters() if not name.startswith("model.")]
    assert "head.norm.weight" in head
    draw_missing(module, head, 1)
    with torch.no_grad():
        logits = module(**some_ids()).logits
    assert logits.std(0).min() > 0  # with a scale of zero every row would get the same logits


@pytest.mark.parametrize("make", [lambda: tiny_bert(2), lambda: tiny_modern_bert(attention_dropout=0.4)], ids=["bert", "modernbert"])
def test_dropout_is_set_everywhere(make):
    """Module dropouts and those that an architecture calls as functions inside its attention."""
    module = make().train()
    answer = lambda: module(**some_ids()).logits.detach()  # noqa: E731
    set_dropout(module, 0.5)
    assert not torch.equal(answer(), answer())
    set_dropout(module, 0.0)
    assert torch.equal(answer(), answer())


def test_a_copy_to_train_shares_nothing_with_what_the_gang_keeps(bert_folder):
    store, source = Store(), ModelSource(folder=str(bert_folder))
    template = store.opened(source, LABELS, TASK)
    before = {name: p.detach().clone() for name, p in template.named_parameters()}
    module = store.fresh(source, LABELS, TASK, 1)
    assert not {p.data_ptr() for p in module.parameters()} & {p.data_ptr() for p in template.parameters()}
    assert (module.training, template.training) == (True, False)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1.0)
    assert all(torch.equal(p, before[name]) for name, p in template.named_parameters())


def test_two_gangs_start_a_training_from_the_same_weights(bert_folder):
    source = ModelSource(folder=str(bert_folder), spread=1)
    first, warm = Store(), Store()
    warm.fresh(source, LABELS, TASK, 99)
    one, other = first.fresh(source, LABELS, TASK, 1), warm.fresh(source, LABELS, TASK, 1)
    assert len(one.bert.encoder.layer) == 1
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_the_least_recently_used_model_is_let_go(bert_folder):
    store = Store()
    sources = [ModelSource(folder=str(bert_folder), revision=name) for name in "abcd"]
    kept = [store.opened(source, LABELS, TASK) for source in sources[:3]]
    assert store.opened(sources[0], LABELS, TASK) is kept[0]
    store.opened(sources[3], LABELS, TASK)
    assert store.opened(sources[0], LABELS, TASK) is kept[0]
    assert store.opened(sources[1], LABELS, TASK) is not kept[1]


def test_a_folder_without_a_model_is_the_users_error(tmp_path):
    with pytest.raises(UserError, match="cannot be opened"):
        open_model(ModelSource(folder=str(tmp_path)), LABELS, TASK)


class Exported:
    """A trained model and what `export` is told about it."""

    def __init__(self, folder):
        store, self.source = Store(), ModelSource(folder=str(folder))
        source = self.source
        self.base = store.opened(source, LABELS, TASK)
        self.module = store.fresh(source, LABELS, TASK, 1).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        rows = TASK.tokenise({"text": ["water boat", "the old oven and a pan"], "label": ["art", "sport"]}, self.tokenizer, list(LABELS))
        self.probe = TASK.collate(rows, self.tokenizer)

    def logits(self):
        with torch.no_grad():
            return TASK.logits(self.module, self.probe).numpy()

    def write(self, out, before=None):
        before = self.logits() if before is None else before
        told = {"base": self.base, "source": self.source, "processor": self.tokenizer, "task": TASK}
        return export(self.module, out, **told, probe=(self.probe, before))


@pytest.fixture
def trained(bert_folder):
    return Exported(bert_folder)


def test_an_export_opens_as_a_plain_model_and_answers_the_same(trained, tmp_path):
    facts = trained.write(tmp_path / "model")
    again = BertForSequenceClassification.from_pretrained(tmp_path / "model").eval()
    with torch.no_grad():
        assert TASK.logits(again, trained.probe).numpy() == pytest.approx(trained.logits(), abs=1e-6)  # the same weights
    assert again.config.id2label == dict(enumerate(LABELS))
    assert AutoTokenizer.from_pretrained(tmp_path / "model")("boat")["input_ids"] == trained.tokenizer("boat")["input_ids"]
    assert facts["params"] == count(again)
    assert facts["bytes"] == (tmp_path / "model" / "model.safetensors").stat().st_size
    assert (tmp_path / "model" / "heliostat.json").exists()


def test_an_export_does_not_wait_for_deepspeed(trained, tmp_path, monkeypatch):
    """accelerate imports it, to look whether the model to be saved is wrapped in it."""
    asked = []
    monkeypatch.setattr(accelerate.utils.other, "is_deepspeed_available", lambda: asked.append(1))
    trained.write(tmp_path / "model")
    assert asked == []
    accelerate.utils.extract_model_from_parallel(trained.module)
    assert asked == [1], "it asks elsewhere"


def test_an_export_that_equals_its_base_is_refused(trained, tmp_path):
    trained.module.load_state_dict(trained.base.state_dict())
    with pytest.raises(RunFailed, match="equals the one it started from"):
        trained.write(tmp_path / "model")
    assert not (tmp_path / "model" / "heliostat.json").exists()


@pytest.mark.parametrize("wrong", [0.01, np.nan])
def test_an_export_that_answers_differently_is_refused(trained, tmp_path, wrong):
    before = trained.logits()
    before[1, 2] += wrong
    with pytest.raises(RunFailed, match="answers differently"):
        trained.write(tmp_path / "model", before)
    assert not (tmp_path / "model" / "heliostat.json").exists()


def test_an_export_that_is_not_whole_is_refused(trained, tmp_path):
    trained.module.lost = torch.nn.Linear(2, 2)  # a part that plain transformers does not know
    with pytest.raises(RunFailed, match=r"not whole.*lost"):
        trained.write(tmp_path / "model")


@pytest.mark.parametrize("kind", ["XLM", "Flaubert"])
def test_layers_that_are_kept_in_parts_are_no_layers(kind):
    config = getattr(transformers, f"{kind}Config")(vocab_size=20, emb_dim=8, n_layers=2, n_heads=2)
    module = getattr(transformers, f"{kind}Model")(config)
    with pytest.raises(UserError, match=r"lists of their own \(attentions, ffns\).*Freeze by patterns of names"):
        freeze(module, 1)
    freeze(module, ["attentions.0.*"])
    assert not module.attentions[0].q_lin.weight.requires_grad


def test_layers_are_compiled_in_place_and_weights_keep_their_names(monkeypatch):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda part, *options: compiled.append(part))
    module = tiny_bert(layers=3)
    names = list(module.state_dict())
    compile_layers(module)
    assert compiled == list(module.bert.encoder.layer)
    assert list(module.state_dict()) == names


def test_a_model_without_repeated_layers_is_compiled_as_a_whole(monkeypatch):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda part, *options: compiled.append(part))
    module = torch.nn.Sequential(torch.nn.Linear(2, 2))
    compile_layers(module)
    assert compiled == [module]
