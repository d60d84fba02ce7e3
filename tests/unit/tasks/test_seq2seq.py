"""Text to text, with a random T5 and a random BART."""

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from contracts.samples_plain import write_bart, write_t5
from heliostat.commands.tiny import write_model
from heliostat.core.family import build
from heliostat.tasks.config import ModelConfig
from heliostat.tasks.seq2seq import Seq2seq

COLUMNS = {"text": ["boat", "water bank"], "target_text": ["the small boat", "oven"]}


@pytest.fixture(scope="module", params=[write_t5, write_bart], ids=["t5", "bart"])
def folder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("seq2seq") / "model"
    request.param(folder)
    return str(folder)


@pytest.fixture(scope="module")
def batch(folder):
    task = Seq2seq()
    encoded = task.tokenise(COLUMNS, task.processor(folder), [])
    batch = task.collate({name: encoded[name] for name in ("input_ids", "labels")}, task.processor(folder))
    return {**batch, "weight": torch.tensor([1.0, 3.0])}


def test_the_prefix_stands_before_every_input_and_both_sides_are_cut(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    task = Seq2seq(prefix="the old ", max_tokens=8, max_target_tokens=3)
    encoded = task.tokenise({**COLUMNS, "text": ["boat", "water bank " * 9]}, tokenizer, [])
    assert tokenizer.convert_ids_to_tokens(encoded["input_ids"][0]) == ["the", "old", "boat", "</s>"]
    assert len(encoded["input_ids"][1]) == 8
    assert tokenizer.convert_ids_to_tokens(encoded["labels"][0]) == ["the", "small", "</s>"]
    assert encoded["units"] == [3.0, 2.0]


def test_the_loss_is_the_one_transformers_works_out(folder, batch):
    model = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    task = Seq2seq()
    with torch.no_grad():
        expected = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=batch["labels"]).loss
        logits = task.logits(model, batch)
    units = task.units(logits, batch)
    losses_U = build("train.objectives", task.objective).per_unit(units)
    assert len(losses_U) == int((batch["labels"] != -100).sum()) == 6
    assert units["weight"].tolist() == [1.0] * 4 + [3.0] * 2
    assert float(losses_U.mean()) == pytest.approx(float(expected), rel=1e-5)
    answers_B = task.answers(logits, batch)
    assert answers_B[:, 0].tolist() == pytest.approx([float(losses_U[:4].sum()), float(losses_U[4:].sum())], rel=1e-5)
    assert answers_B[:, 1].tolist() == [4.0, 2.0]
    token_loss = build("metrics", "token_loss").value(answers_B.numpy(), task.stacked(task.targets(COLUMNS, [])))
    assert token_loss == pytest.approx(float(expected), rel=1e-5)


def test_a_model_without_its_own_shift_is_given_the_labels(folder, batch):
    model = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()

    class Shifting:
        def __call__(self, **inputs):
            assert "decoder_input_ids" not in inputs
            return model(**inputs)

    assert torch.equal(Seq2seq().logits(Shifting(), batch), Seq2seq().logits(model, batch))


def test_a_row_to_answer_takes_one_step_of_the_decoder(folder):
    task = Seq2seq()
    model = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    encoded = task.tokenise({"text": COLUMNS["text"]}, task.processor(folder), [])
    assert encoded["units"] == [0.0, 0.0]
    batch = task.collate({name: encoded[name] for name in ("input_ids", "labels")}, task.processor(folder))
    with torch.no_grad():
        logits = task.logits(model, batch)
        first = model.generate(**{k: batch[k] for k in ("input_ids", "attention_mask")}, max_new_tokens=1, do_sample=False, min_length=0)
    assert logits.shape[:2] == (2, 1)
    if model.generation_config.forced_eos_token_id is None:  # BART's configuration forces the last token
        assert logits[:, 0].argmax(-1).tolist() == first[:, 1].tolist()
    assert task.answers(logits, batch)[:, 1].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(("layers", "depth"), [(1, 1), (5, 2)])
def test_layers_are_kept_on_both_sides(folder, layers, depth):
    module, missing = Seq2seq().model(folder, [], layers)
    stacks = [getattr(part, "block", None) or part.layers for part in (module.get_encoder(), module.get_decoder())]
    assert [len(stack) for stack in stacks] == [depth, depth]
    assert missing == []


def test_what_cannot_be_done_is_said_before_anything_starts(folder, tmp_path):
    limited = ModelConfig(path=folder).positions()
    found = Seq2seq(max_tokens=64, max_target_tokens=65).problems(ModelConfig(path=folder))
    assert (limited, len(found)) in ((None, 0), (64, 1))  # T5 knows no limit, BART does
    assert all("task.max_target_tokens: 65" in problem for problem in found)
    write_model(tmp_path / "encoder")
    (problem,) = Seq2seq(max_tokens=64, max_target_tokens=64).problems(ModelConfig(path=str(tmp_path / "encoder")))
    assert "needs an encoder-decoder" in problem


@pytest.mark.parametrize(
    ("values", "reason"),
    [({"text": "a", "target_text": None}, "missing_target_text"), ({"text": "", "target_text": "b"}, "empty_text")],
)
def test_a_row_without_either_text_has_a_reason(values, reason):
    assert Seq2seq().row(values) == reason
