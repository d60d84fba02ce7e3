"""Tagged words with tokenizers of every kind: which token answers for a word, what is trained, what is cut off."""

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import CanineTokenizer, PreTrainedTokenizerFast

from heliostat.commands.tiny import write_model
from heliostat.core import family
from heliostat.core.errors import UserError
from heliostat.core.words import joined, laid_out
from heliostat.engine import streams
from heliostat.tasks.base import IGNORED
from heliostat.tasks.config import ModelConfig
from heliostat.tasks.token_classification import UNREAD, TokenClassification, begun_in

LABELS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
MARK = "\u2581"


def fast(model, splits, ids, ends):
    """A tokenizer with `<s> words </s>`."""
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = splits
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[(end, ids[end]) for end in ends])
    names = {"unk_token": "<unk>", "pad_token": "<pad>", "cls_token": "<s>", "sep_token": "</s>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


@pytest.fixture(scope="module")
def word_pieces():
    words = "<pad> <unk> <s> </s> anna lives in wash ##ing ##ton . the".split()
    ids = {word: i for i, word in enumerate(words)}
    return fast(models.WordPiece(ids, unk_token="<unk>"), pre_tokenizers.Whitespace(), ids, ("<s>", "</s>"))


@pytest.fixture(scope="module")
def sentence_pieces():
    """As XLM-R's and multilingual-e5's: a space mark before every word, which is a token of its own before most characters."""
    words = ["<s>", "<pad>", "</s>", "<unk>", MARK, f"{MARK}in", "江", "泽", "民", "在", "北京", "北", "京", "9"]
    ids = {word: i for i, word in enumerate(words)}
    model = models.Unigram([(word, -1.0 - len(words[i])) for i, word in enumerate(words)], unk_id=3)
    return fast(model, pre_tokenizers.Metaspace(), ids, ("<s>", "</s>"))


def rows(tokens, tags, task, tokenizer, labels=LABELS):
    columns = {"tokens": [words.split("|") for words in tokens]} | ({} if tags is None else {"tags": [each.split() for each in tags]})
    return task.tokenise(columns, tokenizer, labels)


def test_the_first_token_of_a_word_answers_for_it_and_is_trained(word_pieces):
    found = rows(["anna|lives|in|washington|."], ["B-PER O O B-LOC O"], TokenClassification(), word_pieces)
    assert word_pieces.convert_ids_to_tokens(found["input_ids"][0]) == "<s> anna lives in wash ##ing ##ton . </s>".split()
    assert found["words"] == [[1, 2, 3, 4, 7]]
    assert found["labels"] == [[IGNORED, 3, 0, 0, 1, IGNORED, IGNORED, 0, IGNORED]]
    assert found["units"] == [5.0]


def test_all_tokens_of_a_word_can_be_trained_and_go_on_with_the_span_it_begins(word_pieces):
    tags = ["B-LOC I-LOC O"]
    found = rows(["washington|washington|washington"], tags, TokenClassification(subwords="all"), word_pieces)
    assert found["labels"] == [[IGNORED, 1, 2, 2, 2, 2, 2, 0, 0, 0, IGNORED]]
    assert found["words"] == [[1, 4, 7]]
    assert found["units"] == [9.0]
    plain = TokenClassification(subwords="all", scheme="plain")
    assert rows(["washington"], ["b"], plain, word_pieces, ["a", "b"])["labels"] == [[IGNORED, 1, 1, 1, IGNORED]]


def test_chinese_is_read_as_it_is_written_and_a_space_mark_answers_for_nothing(sentence_pieces):
    found = rows(["江|泽|民|在|北|京|9"], ["B-PER I-PER I-PER O B-LOC I-LOC O"], TokenClassification(), sentence_pieces)
    tokens = sentence_pieces.convert_ids_to_tokens(found["input_ids"][0])
    assert tokens == ["<s>", MARK, "江", "泽", "民", "在", "北京", "9", "</s>"]
    assert [tokens[place] for place in found["words"][0]] == ["江", "泽", "民", "在", "北京", "北京", "9"]
    trained = {tokens[at]: LABELS[label] for at, label in enumerate(found["labels"][0]) if label != IGNORED}
    assert trained == {"江": "B-PER", "泽": "I-PER", "民": "I-PER", "在": "O", "北京": "B-LOC", "9": "O"}
    assert found["units"] == [6.0]
    both = rows(["江|泽"], ["B-PER I-PER"], TokenClassification(subwords="all"), sentence_pieces)
    assert both["labels"] == [[IGNORED, IGNORED, 3, 4, IGNORED]]  # a space mark is never trained


def test_a_word_of_several_characters_is_answered_for_by_the_first(sentence_pieces):
    found = rows(["江泽民|在|北京"], ["B-PER O B-LOC"], TokenClassification(subwords="all"), sentence_pieces)
    tokens = sentence_pieces.convert_ids_to_tokens(found["input_ids"][0])
    assert [tokens[place] for place in found["words"][0]] == ["江", "在", "北京"]
    assert [label for label in found["labels"][0] if label != IGNORED] == [3, 4, 4, 0, 1]


def test_a_word_may_begin_inside_a_token_and_a_token_be_part_of_two_words():
    inside = [(0, 2), (2, 5), (5, 6), None, (0, 0), (7, 9)]  # tokens: AB CDE F, a mark, </s>, HI
    words = [(0, 1), (1, 3), (3, 4), (4, 6), (6, 6), (7, 8), (8, 9), (9, 12)]  # A BC D EF, white space, H I, and one that was cut off
    places, word_of = begun_in(inside, words)
    assert places == [0, 0, 1, 1, UNREAD, 5, 5, UNREAD]
    assert word_of == [0, 2, 3, None, None, 5]


def test_a_word_that_begins_in_the_token_of_another_goes_on_with_its_span():
    places = torch.tensor([[1, 1, 2, UNREAD, 2, 3]])
    logits = torch.full((1, 4, 5), -9.0)
    logits[0, 1, 1] = logits[0, 2, 4] = logits[0, 3, 0] = 9.0
    answers = TokenClassification().answers(logits, {"words": places})
    assert answers.argmax(-1).tolist() == [[1, 2, 4, 0, 4, 0]]  # B-LOC I-LOC, I-PER (not read) I-PER, O
    assert answers[0, 1].softmax(-1)[2] == pytest.approx(logits[0, 1].softmax(-1)[1:3].sum())
    plain = TokenClassification(scheme="plain").answers(logits, {"words": places})
    assert plain.argmax(-1).tolist() == [[1, 1, 4, 0, 4, 0]]


def test_words_that_are_cut_off_are_not_read_and_carry_no_unit(word_pieces):
    short = TokenClassification(max_tokens=8)
    tags = ["O O B-LOC I-LOC", "O " * 9 + "B-PER"]
    found = rows(["|".join(["washington"] * 4), "the|" * 9 + "anna"], tags, short, word_pieces)
    assert max(map(len, found["input_ids"])) == 8
    assert found["words"] == [[1, 4, UNREAD, UNREAD], [1, 2, 3, 4, 5, 6, UNREAD, UNREAD, UNREAD, UNREAD]]
    assert found["units"] == [2.0, 6.0]
    marks = rows(["|".join(["the"] * 7 + ["anna"])], [" ".join(["?"] * 7 + ["B-PER"])], short, word_pieces)
    assert marks["units"] == [0.0]


def test_a_word_that_the_tokenizer_passes_over_has_no_token(word_pieces):
    found = rows(["anna| |."], ["B-PER O O"], TokenClassification(), word_pieces)
    assert found["words"] == [[1, UNREAD, 2]]
    assert found["units"] == [2.0]


def test_rows_to_predict_have_no_tags_and_other_tasks_have_texts_to_embed(word_pieces):
    found = rows(["anna|lives"], None, TokenClassification(), word_pieces, [])
    assert found["words"] == [[1, 2]]
    assert found["labels"] == [[IGNORED] * 4]
    assert found["units"] == [0.0]
    texts = TokenClassification().tokenise({"text": ["anna lives", "the"]}, word_pieces, [])
    assert [len(ids) for ids in texts["input_ids"]] == [4, 3]
    assert texts["units"] == [0.0, 0.0]
    assert TokenClassification().collate(texts, word_pieces)["words"].shape == (2, 0)


@pytest.mark.parametrize(
    ("tokens", "tags", "made"),
    [
        (["Anna", "sleeps"], ["B-PER", "O"], ["B-PER", "O"]),
        ("Anna sleeps", "B-PER O", ["B-PER", "O"]),
        ([1998, "年"], ("B-T", "I-T"), ["B-T", "I-T"]),
        (None, ["O"], "missing_tokens"),
        ([], [], "missing_tokens"),
        (3, ["O"], "missing_tokens"),
        (["a"], None, "missing_tags"),
        (["a", "b"], ["O"], "lengths_differ"),
        (["a", {}], ["O", "O"], "tokens_not_text"),
        (["a", None], ["O", "O"], "tokens_not_text"),
        ([" ", ""], ["O", "O"], "empty_tokens"),
        (["a\0"], ["O"], "nul_bytes"),
        (["\ud800"], ["O"], "wrong_encoding"),
        (["a", "b"], ["O", None], "bad_tag"),
        (["a", "b"], ["O", ["O"]], "bad_tag"),
        (["a", "b"], ["O", 1], "bad_tag"),
        (["a", "b"], ["O", "PER"], "bad_tag"),
        (["a", "b"], ["O", "I-PER"], "broken_span"),
    ],
)
def test_a_row_is_clean_or_has_a_reason_word(tokens, tags, made):
    row = TokenClassification().row({"tokens": tokens, "tags": tags})
    assert (row if isinstance(row, str) else row["tags"]) == made
    if not isinstance(row, str):
        assert row["label"] == ""
        assert all(isinstance(word, str) for word in row["tokens"])


def test_other_schemes_become_bio_and_numbers_become_names():
    assert TokenClassification(scheme="iob1").row({"tokens": ["a", "b"], "tags": ["O", "I-X"]})["tags"] == ["O", "B-X"]
    assert TokenClassification(scheme="bioes").row({"tokens": ["a", "b"], "tags": ["S-X", "O"]})["tags"] == ["B-X", "O"]
    assert TokenClassification(scheme="plain").row({"tokens": ["a", "b"], "tags": ["DET", 7]})["tags"] == ["DET", "7"]
    numbered = TokenClassification(names=["O", "B-X", "I-X"])
    assert numbered.row({"tokens": ["a", "b"], "tags": [1, 2]})["tags"] == ["B-X", "I-X"]
    assert numbered.row({"tokens": ["a", "b"], "tags": ["B-X", 0]})["tags"] == ["B-X", "O"]
    assert {numbered.row({"tokens": ["a"], "tags": [tag]}) for tag in (3, -1, True)} == {"bad_tag"}


def test_words_are_joined_as_their_language_writes_them():
    assert joined(["Anna", "lives", "in", "Rome", "."]) == "Anna lives in Rome ."
    assert joined([*list("江泽民,在"), "Rome", "。"]) == "江泽民,在Rome。"
    assert joined(["東京", "タワー", "a", "b"]) == "東京タワーa b"
    assert laid_out(["New York", "", " is", "在", "Rome"]) == ("New York  is在Rome", [(0, 8), (8, 8), (10, 12), (12, 13), (13, 17)])


def test_outputs_are_in_the_order_that_metrics_read():
    assert TokenClassification().ordered(["B-LOC", "B-PER", "I-PER", "O"]) == LABELS
    assert TokenClassification(scheme="plain").ordered(["DET", "NN", "O"]) == ["O", "DET", "NN"]
    assert TokenClassification(scheme="plain").ordered(["DET", "NN"]) == ["DET", "NN"]


def test_answers_are_the_logits_of_the_words_and_zero_for_those_not_read():
    logits = torch.arange(24, dtype=torch.float32).reshape(2, 4, 3) + 1
    answers = TokenClassification().answers(logits, {"words": torch.tensor([[1, 2, UNREAD], [3, UNREAD, UNREAD]])})
    assert torch.equal(answers[0, :2], logits[0, 1:3])
    assert torch.equal(answers[1, 0], logits[1, 3])
    assert not answers[0, 2].any()
    assert not answers[1, 1:].any()


def test_units_are_the_tokens_with_a_target_each_with_the_weight_of_its_row():
    logits = torch.randn(2, 3, 5)
    batch = {"labels": torch.tensor([[IGNORED, 1, 2], [0, IGNORED, IGNORED]]), "weight": torch.tensor([0.5, 2.0])}
    units = TokenClassification().units(logits, batch)
    assert units["labels"].tolist() == [1, 2, 0]
    assert units["weight"].tolist() == [0.5, 0.5, 2.0]
    assert torch.equal(units["logits"], torch.stack([logits[0, 1], logits[0, 2], logits[1, 0]]))


def test_targets_are_stacked_with_nothing_where_there_is_no_word():
    task = TokenClassification()
    targets = task.targets({"tokens": [["a", "b"], ["c"]], "tags": [["B-PER", "B-ORG"], ["O"]]}, LABELS)
    assert task.stacked(targets).tolist() == [[3, IGNORED], [0, IGNORED]]
    assert task.stacked([]).shape == (0, 0)


def test_plain_tags_are_ranked_by_accuracy_and_have_no_spans():
    plain = family.build("tasks", {"use": "token_classification", "scheme": "plain"})
    assert (plain.metric, plain.also) == ("tag_accuracy", [])
    wrong = family.build("tasks", {"use": "token_classification", "scheme": "plain", "metric": "span_f1", "also": ["span_recall"]})
    found = wrong.problems(ModelConfig(path="nowhere/at/all"))
    assert [problem.split(":")[0] for problem in found] == ["task.metric", "task.also.0"]
    assert all("tag_accuracy" in problem for problem in found)


def test_a_slow_tokenizer_is_refused_with_what_to_do(tmp_path):
    CanineTokenizer().save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"CanineTokenizer.* which word a token belongs to.*tokenizer\.json"):
        streams.processor(TokenClassification(), str(tmp_path))


def test_byte_level_words_have_the_space_before_them_that_the_text_has(tmp_path):
    alphabet = ["<s>", "<pad>", "</s>", "<unk>", *sorted(pre_tokenizers.ByteLevel.alphabet()), "\u0120a", "ab"]
    ids = {word: i for i, word in enumerate(alphabet)}
    model = models.BPE(vocab=ids, merges=[("\u0120", "a"), ("a", "b")])
    fast(model, pre_tokenizers.ByteLevel(add_prefix_space=False), ids, ("<s>", "</s>")).save_pretrained(tmp_path / "model")
    tokenizer = TokenClassification().processor(str(tmp_path / "model"))
    found = rows(["a|ab|é|在|b"], None, TokenClassification(), tokenizer, [])
    tokens = tokenizer.convert_ids_to_tokens(found["input_ids"][0])
    assert tokens[1:4] == ["a", "\u0120a", "b"]
    assert [tokens[place] for place in found["words"][0]] == ["a", "\u0120a", "Ã", "å", "b"]
    assert tokenizer("a ab é在b")["input_ids"] == found["input_ids"][0]


def test_padding_does_not_change_an_answer(tmp_path):
    write_model(tmp_path)
    task = TokenClassification()
    module, missing = task.model(str(tmp_path), LABELS, None)
    assert sorted(missing) == ["classifier.bias", "classifier.weight"]
    tokenizer = task.processor(str(tmp_path))
    encoded = rows(["water|boat|bank", "pan", "the|old|oven|boils|a|fish"], None, task, tokenizer, LABELS)
    module.eval()
    with torch.no_grad():
        batches = [encoded, *({name: values[i : i + 1] for name, values in encoded.items()} for i in range(3))]
        together, *alone = (task.answers(task.logits(module, b), b).numpy() for b in (task.collate(rows, tokenizer) for rows in batches))
    assert together.shape == (3, 6, len(LABELS))
    for i, one in enumerate(alone):
        assert np.allclose(together[i, : one.shape[1]], one[0], atol=1e-5)  # float32 additions over another length
        assert not together[i, one.shape[1] :].any()
