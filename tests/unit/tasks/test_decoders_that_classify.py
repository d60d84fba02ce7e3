"""A decoder that classifies reads a row's last token: what the row is filled up with must not be taken for it."""

import json

import pytest
import torch
import transformers as tf

from heliostat.commands.tiny import write_model
from heliostat.core.errors import UserError
from heliostat.engine.models import open_model
from heliostat.engine.orders import ModelSource
from heliostat.engine.streams import processor
from heliostat.tasks.text_classification import TextClassification
from heliostat.train.adapters.prompt_tuning import PromptTuning
from tiny_decoder import SPECIAL, write_decoder, write_tokenizer

TASK, LABELS = TextClassification(max_tokens=16), ("a", "b", "c")
TEXTS = ["yes no", "Is it a boat Or oven yes no <end>", "water"]


def without_pad(folder):
    """The tokenizer of many a decoder: it has an end token and none to fill up with."""
    place = folder / "tokenizer_config.json"
    told = json.loads(place.read_text())
    del told["pad_token"]
    place.write_text(json.dumps(told))


@pytest.mark.parametrize("config", [{}, {"pad_token_id": None}, {"pad_token_id": 9}])
@pytest.mark.parametrize("pads", [True, False])
def test_an_answer_does_not_depend_on_what_else_is_in_the_batch(tmp_path, config, pads):
    folder = write_decoder(tmp_path / "model", **config)
    if not pads:
        without_pad(folder)
    module, _ = open_model(ModelSource(folder=str(folder)), LABELS, TASK)
    tokenizer = processor(TASK, str(folder))
    rows = TASK.tokenise({"text": TEXTS, "label": ["a", "b", "c"]}, tokenizer, LABELS)
    rows.pop("units", None)
    with torch.no_grad():
        together = TASK.logits(module, TASK.collate(rows, tokenizer))
        alone = [TASK.logits(module, TASK.collate({name: values[i : i + 1] for name, values in rows.items()}, tokenizer)) for i in range(3)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)
    assert module.config.pad_token_id == tokenizer.pad_token_id == (0 if pads else 3)


def bart(folder):
    sizes = {f"{side}_{name}": n for side in ("encoder", "decoder") for name, n in (("layers", 1), ("ffn_dim", 8), ("attention_heads", 2))}
    config = tf.BartConfig(d_model=8, vocab_size=40, max_position_embeddings=64, pad_token_id=0, bos_token_id=2, eos_token_id=3, **sizes)
    tf.BartForSequenceClassification(config).save_pretrained(folder)
    write_tokenizer(folder, [*SPECIAL, *(str(n) for n in range(36))], None)
    return folder


def test_vectors_before_a_text_are_refused_where_the_answer_would_be_read_from_the_filling(tmp_path):
    decoder, _ = open_model(ModelSource(folder=str(write_decoder(tmp_path / "llama"))), LABELS, TASK)
    with pytest.raises(UserError, match=r"LlamaForSequenceClassification reads its answer where a row may be filled up. Use lora"):
        PromptTuning(tokens=4).put_in(decoder, ["score.weight"])
    both, _ = open_model(ModelSource(folder=str(bart(tmp_path / "bart"))), LABELS, TASK)
    with pytest.raises(UserError, match=r"BartForSequenceClassification takes no vectors before a text \(.*\). Use lora"):
        PromptTuning(tokens=4).put_in(both, [])
    write_model(tmp_path / "bert")
    encoder, missing = open_model(ModelSource(folder=str(tmp_path / "bert")), LABELS, TASK)
    assert PromptTuning(tokens=4).put_in(encoder, missing).peft_config
