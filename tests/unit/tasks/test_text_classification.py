"""Texts with the tokenizer of a real model folder."""

import pytest
from transformers import AutoTokenizer

from heliostat.commands.tiny import write_model
from heliostat.core import family
from heliostat.core.errors import UserError
from heliostat.tasks.text_classification import TextClassification

LABELS = ["art", "sport"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text") / "model"
    write_model(folder)
    return folder


def test_a_long_text_is_cut_at_its_end_and_keeps_its_marks(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = ["water boat bank stream fish bridge flood shore", "pan"]
    encoded = TextClassification(max_tokens=8).tokenise({"text": texts}, tokenizer, LABELS)
    words = tokenizer.convert_ids_to_tokens(encoded["input_ids"][0])
    assert words == ["[CLS]", "water", "boat", "bank", "stream", "fish", "bridge", "[SEP]"]
    assert tokenizer.convert_ids_to_tokens(encoded["input_ids"][1]) == ["[CLS]", "pan", "[SEP]"]


def test_a_head_of_another_size_is_made_new_and_named(folder, tmp_path):
    module, _ = TextClassification().model(str(folder), ["a", "b", "c"], None)
    module.save_pretrained(tmp_path)
    assert TextClassification().model(str(tmp_path), ["a", "b", "c"], None)[1] == []
    again, missing = TextClassification().model(str(tmp_path), LABELS, None)
    assert sorted(missing) == ["classifier.bias", "classifier.weight"]
    assert again.config.num_labels == 2


def test_a_limit_of_tokens_that_holds_no_text_is_refused():
    with pytest.raises(UserError, match="max_tokens"):
        family.build("tasks", {"use": "text_classification", "max_tokens": 2})
