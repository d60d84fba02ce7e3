"""Texts, and pairs of them, with the tokenizer of a real model folder."""

import pytest
from transformers import AutoTokenizer

from heliostat.commands.tiny import write_model
from heliostat.core import family
from heliostat.core.errors import UserError
from heliostat.corpus.shingles import key
from heliostat.tasks.text_classification import TextClassification

LABELS = ["art", "sport"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text") / "model"
    write_model(folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(folder):
    return AutoTokenizer.from_pretrained(folder)


def test_a_long_text_is_cut_at_its_end_and_keeps_its_marks(tokenizer):
    texts = ["water boat bank stream fish bridge flood shore", "pan"]
    encoded = TextClassification(max_tokens=8).tokenise({"text": texts}, tokenizer, LABELS)
    words = tokenizer.convert_ids_to_tokens(encoded["input_ids"][0])
    assert words == ["[CLS]", "water", "boat", "bank", "stream", "fish", "bridge", "[SEP]"]
    assert tokenizer.convert_ids_to_tokens(encoded["input_ids"][1]) == ["[CLS]", "pan", "[SEP]"]


def test_labels_are_places_and_an_unknown_one_is_left_out_of_the_loss(tokenizer):
    task = TextClassification()
    columns = {"text": ["pan", "oven", "salt"], "label": ["sport", "chess", "art"]}
    encoded = task.tokenise(columns, tokenizer, LABELS)
    assert encoded["labels"] == [1, -100, 0]
    assert encoded["units"] == [1.0, 0.0, 1.0]
    assert task.tokenise({"text": columns["text"]}, tokenizer, LABELS)["labels"] == [-100] * 3  # rows to predict have no target


def test_a_batch_is_padded_to_its_longest_row():
    class Nines:
        pad_token_id = 9

    batch = TextClassification().collate({"input_ids": [[2, 3], [2, 7, 7, 3]], "labels": [1, -100]}, Nines())
    assert batch["input_ids"].tolist() == [[2, 3, 9, 9], [2, 7, 7, 3]]
    assert batch["attention_mask"].tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    assert batch["labels"].tolist() == [1, -100]


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


PAIRS = TextClassification(pair=True, max_tokens=8)


def test_a_pair_is_read_together_and_its_parts_are_told_apart(tokenizer):
    encoded = PAIRS.tokenise({"text": ["boat"], "text_pair": ["an oven"], "label": ["art"]}, tokenizer, LABELS)
    assert tokenizer.convert_ids_to_tokens(encoded["input_ids"][0]) == ["[CLS]", "boat", "[SEP]", "[UNK]", "oven", "[SEP]"]
    assert list(encoded["token_type_ids"][0]) == [0, 0, 0, 1, 1, 1]
    batch = PAIRS.collate({name: [*encoded[name], [1]] for name in ("input_ids", "token_type_ids")} | {"labels": [0, 1]}, tokenizer)
    assert batch["token_type_ids"].tolist() == [[0, 0, 0, 1, 1, 1], [1, 0, 0, 0, 0, 0]]


def test_of_a_long_pair_the_longer_text_is_cut(tokenizer):
    encoded = PAIRS.tokenise({"text": ["water boat bank stream fish"], "text_pair": ["pan oven"]}, tokenizer, LABELS)
    words = tokenizer.convert_ids_to_tokens(encoded["input_ids"][0])
    assert words == ["[CLS]", "water", "boat", "bank", "[SEP]", "pan", "oven", "[SEP]"]


def test_a_tokenizer_that_does_not_tell_texts_apart_is_taken_as_it_is(tokenizer):
    class Bare:
        pad_token_id = 0

        def __call__(self, first, second, **options):
            assert options["truncation"] == "longest_first"
            return {"input_ids": [[len(a), len(b)] for a, b in zip(first, second, strict=True)]}

    encoded = PAIRS.tokenise({"text": ["ab"], "text_pair": ["c"], "label": ["art"]}, Bare(), LABELS)
    assert encoded == {"input_ids": [[2, 1]], "labels": [0], "units": [1.0]}


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"text": "a", "text_pair": "b", "label": None}, "missing_label"),
        ({"text": "a", "text_pair": None, "label": 1}, "missing_text_pair"),
        ({"text": "a", "text_pair": " ", "label": 1}, "empty_text_pair"),
        ({"text": "a", "text_pair": 7, "label": 1}, "text_pair_not_string"),
        ({"text": "a", "text_pair": "b\0", "label": 1}, "nul_bytes"),
    ],
)
def test_a_pair_that_is_none_has_a_reason(values, reason):
    assert PAIRS.row(values) == reason


def test_pairs_are_the_same_input_only_when_both_texts_are():
    def content(first, second):
        return key(PAIRS.content(PAIRS.row({"text": first, "text_pair": second, "label": "x"})))

    assert content("The  boat", "bank") == content("the boat", "BANK ")
    assert len({content("a b", "c"), content("a", "b c"), content("b c", "a"), content("a", "b")}) == 4


def test_without_pairs_a_second_text_is_no_column():
    assert list(TextClassification().columns()) == ["text", "label"]
    assert list(PAIRS.columns()) == ["text", "text_pair", "label"]
