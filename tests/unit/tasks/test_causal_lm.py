"""Decoders: what is learnt of a text, of a conversation and of a question with its answer; what is refused before anything starts."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from heliostat.commands.tiny import write_model
from heliostat.core import family
from heliostat.core.errors import UserError
from heliostat.engine.streams import processor
from heliostat.tasks.causal_lm import SPARE, CausalLm, _shortened
from heliostat.tasks.config import ModelConfig
from tiny_decoder import CHAT, write_decoder

CHATS = [
    [{"role": "user", "content": "a b ?"}, {"role": "assistant", "content": "yes"}],
    [{"role": "user", "content": "c ?"}, {"role": "assistant", "content": "no d no d"}],
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_decoder(tmp_path_factory.mktemp("causal") / "model")


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(folder)


def task(**options: Any) -> Any:
    return family.build("tasks", {"use": "causal_lm", **options})


def words(tokenizer: Any, ids: list[int]) -> str:
    return " ".join("." if i < 0 else tokenizer.convert_ids_to_tokens(i) for i in ids)


def test_every_token_of_a_text_is_learnt_and_where_it_ends(tokenizer: Any) -> None:
    encoded = task().tokenise({"text": ["water boat bank", "pan <end>"]}, tokenizer, [])
    assert [words(tokenizer, ids) for ids in encoded["labels"]] == ["water boat bank <end>", "pan <end>"]
    assert encoded["labels"] == encoded["input_ids"]
    assert encoded["units"] == [3.0, 1.0]  # nothing stands before a first token
    assert encoded["bytes"] == [len(b"boat bank"), 0.0]


@pytest.mark.parametrize(("cut", "left"), [("end", "a b c d a b c d"), ("start", "b c d a b c d <end>")])
def test_a_long_row_is_cut_at_the_end_that_is_asked_for(tokenizer: Any, cut: str, left: str) -> None:
    encoded = task(max_tokens=8, cut=cut).tokenise({"text": ["a b c d a b c d"]}, tokenizer, [])
    assert words(tokenizer, encoded["input_ids"][0]) == left
    assert encoded["units"] == [7.0]


def test_a_long_text_becomes_sequences_that_have_every_target_once(tokenizer: Any) -> None:
    texts = ["a b c d a b c d " * 3, "a b c", "a b c d a b c"]  # 25 tokens, 4 and 8 with their ends
    whole, parts = (task(max_tokens=most).tokenise({"text": texts}, tokenizer, []) for most in (64, 8))
    assert parts["piece"] == [0, 1, 2, 3, 0, 0]
    assert [len(ids) for ids in parts["input_ids"]] == [8, 8, 8, 4, 4, 8]
    first, *later = parts["input_ids"][:4]
    assert first + [token for ids in later for token in ids[1:]] == whole["input_ids"][0]
    assert all(ids[0] == before[-1] for before, ids in pairwise(parts["input_ids"][:4])), "what stands before a target is its context"
    for name in ("units", "bytes"):
        assert [sum(parts[name][:4]), *parts[name][4:]] == whole[name]


def test_a_long_conversation_is_cut_at_its_end_unless_asked_otherwise(tokenizer: Any) -> None:
    chats = {"messages": [json.dumps(chat) for chat in CHATS]}
    encoded, cut = (task(form="chat", max_tokens=8, cut=end).tokenise(chats, tokenizer, []) for end in (None, "end"))
    assert encoded == cut
    assert encoded["piece"] == [0, 0]


def test_of_a_conversation_the_answers_are_learnt(tokenizer: Any) -> None:
    own = task(form="chat")
    rows = [own.row({"messages": chat}) for chat in CHATS]
    encoded = own.tokenise({"messages": [row["messages"] for row in rows]}, tokenizer, [])
    assert words(tokenizer, encoded["labels"][0]) == ". . . . . . . . yes <end>"
    assert encoded["units"] == [2.0, 5.0]
    assert encoded["bytes"] == [3.0, 9.0]


def test_an_answer_beyond_the_limit_leaves_nothing_to_learn(tokenizer: Any) -> None:
    chats = {"messages": [json.dumps(chat) for chat in CHATS]}
    assert task(form="chat", max_tokens=8).tokenise(chats, tokenizer, [])["units"] == [0.0, 1.0]
    assert task(form="chat", max_tokens=8, cut="start").tokenise(chats, tokenizer, [])["units"] == [2.0, 5.0]


def test_a_question_with_its_answer_is_a_conversation(tokenizer: Any) -> None:
    own = task(form="prompt", context=True)
    assert list(own.columns()) == ["text", "text_pair", "target_text"]
    row = own.row({"text": "c ?", "text_pair": "a b", "target_text": "yes"})
    assert row == {"text": "c ?", "text_pair": "a b", "target_text": "yes", "label": ""}
    columns = {"text": ["c ?", "c ?"], "text_pair": ["a b", ""], "target_text": ["yes", "no"]}
    encoded = own.tokenise(columns, tokenizer, [])
    assert words(tokenizer, encoded["input_ids"][0]) == "<start> user c ? a b <end> <start> assistant yes <end>"
    assert words(tokenizer, encoded["input_ids"][1]) == "<start> user c ? <end> <start> assistant no <end>"
    assert encoded["units"] == [2.0, 2.0]
    del columns["target_text"]
    prompts = own.tokenise(columns, tokenizer, [])
    assert words(tokenizer, prompts["input_ids"][1]) == "<start> user c ? <end> <start> assistant"
    assert prompts["units"] == [0.0, 0.0]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"text": "a", "text_pair": None, "target_text": None}, "missing_target_text"),
        ({"text": "", "text_pair": "b", "target_text": "c"}, "empty_text"),
        ({"text": "a", "text_pair": 7, "target_text": "c"}, "text_pair_not_string"),
    ],
)
def test_a_question_without_an_answer_has_a_reason(values: dict[str, Any], reason: str) -> None:
    assert task(form="prompt", context=True).row(values) == reason


def test_filters_that_rewrite_reach_every_message_and_the_answer() -> None:
    chat = task(form="chat")
    row = chat.row({"messages": CHATS[0]})
    louder = chat.revised(row, str.upper)
    assert [message["content"] for message in json.loads(louder["messages"])] == ["A B ?", "YES"]
    assert louder["text"] == "A B ?\nYES"
    asked = task(form="prompt")
    assert asked.revised(asked.row({"text": "a", "target_text": "b"}), str.upper) == {"text": "A", "target_text": "B", "label": ""}


def test_personal_data_is_hidden_in_answers_too() -> None:
    mask: Any = family.build("corpus.filters", "mask_personal")
    chat = task(form="chat")
    row = chat.row({"messages": [{"role": "user", "content": "mail?"}, {"role": "assistant", "content": "it is a@b.org"}]})
    assert mask.rewrites
    assert "a@b.org" not in json.dumps(chat.revised(row, mask.changed))


def test_the_same_texts_but_for_case_are_no_contradiction() -> None:
    own = task()
    first, second = (own.row({"text": text}) for text in ("A boat", "a BOAT"))
    assert own.answer(first) == own.answer(second)
    assert task(form="prompt").content({"text": "a", "target_text": "b"}) != task(form="prompt").content({"text": "a", "target_text": "c"})


def collated(own: Any, tokenizer: Any, columns: dict[str, list[Any]]) -> dict[str, Any]:
    encoded = own.tokenise(columns, tokenizer, [])
    units = encoded.pop("units")
    return {**own.collate(encoded, tokenizer), "weight": torch.tensor([1.0, 0.5]), "counted": units}


@pytest.mark.parametrize("form", ["text", "chat"])
def test_the_loss_is_that_of_transformers(folder: Path, tokenizer: Any, form: str) -> None:
    own = task(form=form)
    columns = {"messages": [json.dumps(chat) for chat in CHATS], "text": ["water boat bank", "a b"]}
    batch = collated(own, tokenizer, {"text": columns["text"]} if form == "text" else columns)
    module, missing = own.model(str(folder), [], None)
    assert missing == []
    units = own.units(own.logits(module, batch), batch)
    assert units["weight"].tolist() == [1.0] * int(batch["counted"][0]) + [0.5] * int(batch["counted"][1])
    loss = torch.nn.functional.cross_entropy(units["logits"], units["labels"])
    encoded = own.tokenise(columns, tokenizer, [])
    labels = torch.full(batch["input_ids"].shape, -100)
    for i, row in enumerate(encoded["labels"]):
        labels[i, : len(row)] = torch.tensor(row)
    theirs = module(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=labels).loss.detach()
    assert float(loss.detach()) == pytest.approx(float(theirs), rel=1e-5)  # float32, summed in another order
    answers = own.answers(own.logits(module, batch), batch).detach()
    assert answers[:, 1].tolist() == batch["counted"]
    assert float(answers[:, 0].sum() / answers[:, 1].sum()) == pytest.approx(float(theirs), rel=1e-5)
    assert answers[:, 2].tolist() == batch["bytes"].tolist()


def test_logits_are_worked_out_where_something_is_learnt(folder: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    own = task(form="chat")
    batch = collated(own, tokenizer, {"messages": [json.dumps(chat) for chat in CHATS]})
    module, _ = own.model(str(folder), [], None)
    logits = own.logits(module, batch)
    assert logits.shape[:2] == (2, len(batch["kept"]))
    assert len(batch["kept"]) < batch["input_ids"].shape[1] // 2 + 1
    monkeypatch.setattr("heliostat.tasks.causal_lm._leaves_out", lambda kind: False)
    # the same places of a longer product: float32
    assert torch.allclose(own.logits(module, batch), logits, atol=1e-5)


def test_a_packed_row_has_positions_and_no_mask(folder: Path, tokenizer: Any) -> None:
    own = task()
    encoded = own.tokenise({"text": ["water boat bank", "pan oven"]}, tokenizer, [])
    packed = {"input_ids": [[*encoded["input_ids"][0], *encoded["input_ids"][1]]], "position_ids": [[0, 1, 2, 3, 0, 1, 2]]}
    packed["labels"] = [[-100, *encoded["labels"][0][1:], -100, *encoded["labels"][1][1:]]]
    batch = own.collate(packed, tokenizer)
    assert "attention_mask" not in batch
    module, _ = own.model(str(folder), [], None)
    module.requires_grad_(False)
    found = own.answers(own.logits(module, batch), batch)
    single = own.collate(encoded, tokenizer)
    apart = own.answers(own.logits(module, single), single)
    assert found[0, 1] == apart[:, 1].sum() == 5
    assert float(found[0, 0]) == pytest.approx(float(apart[:, 0].sum()), rel=1e-4)  # another shape adds in another order


def test_rows_without_anything_to_learn_have_a_batch_too(folder: Path, tokenizer: Any) -> None:
    own = task(form="prompt")
    batch = own.collate(own.tokenise({"text": ["a", "b c d"]}, tokenizer, []), tokenizer)
    module, _ = own.model(str(folder), [], None)
    logits = own.logits(module, batch)
    assert logits.shape[:2] == (2, 1)
    assert own.answers(logits, batch).tolist() == [[0.0, 0.0, 0.0]] * 2


def test_texts_of_a_suite_are_read_as_they_are(tokenizer: Any) -> None:
    encoded = task(form="chat").tokenise({"text": ["water boat"]}, tokenizer, [])
    assert words(tokenizer, encoded["input_ids"][0]) == "water boat <end>"


def test_the_template_of_the_config_is_the_models_from_then_on(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "chat.jinja"
    file.write_text(CHAT.replace("<start>", "<start>water "))
    own = task(form="chat", chat_template=str(file))
    assert (
        own.identity() == task(form="chat", chat_template=file.read_text()).identity() == family.build("tasks", family.dump(own)).identity()
    )
    tokenizer = processor(own, str(folder))
    assert tokenizer.chat_template == file.read_text()
    assert processor(task(form="chat"), str(folder)).chat_template == CHAT
    encoded = own.tokenise({"messages": [json.dumps(CHATS[0])]}, tokenizer, [])
    assert words(tokenizer, encoded["input_ids"][0]).startswith("<start> water user a b")
    tokenizer.save_pretrained(tmp_path / "out")
    assert AutoTokenizer.from_pretrained(tmp_path / "out").chat_template == own.chat_template


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"form": "chat", "chat_template": "nowhere.jinja"}, "'nowhere.jinja' is no file and no Jinja template"),
        ({"form": "chat", "chat_template": __file__.replace("causal_lm", "config")}, "holds no Jinja template"),
        ({"system": "be kind"}, "system: rows of form text have no use for it.*set form: chat or prompt"),
        ({"form": "chat", "context": True}, "context: rows of form chat have no use for it.*set form: prompt"),
        ({"form": "chat", "cut": "question"}, "cut: rows of form chat have no use for it.*set form: prompt"),
        ({"form": "chat", "turns": "first"}, "turns"),
    ],
)
def test_options_that_mean_nothing_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        task(**options)


def test_what_the_models_files_tell_is_refused_before_anything_starts(tmp_path: Path, folder: Path) -> None:
    plain = ModelConfig(path=str(write_decoder(tmp_path / "plain", template=None)))
    (problem,) = task(form="chat", max_tokens=32).problems(plain)
    assert problem.startswith("task.chat_template: the tokenizer of")
    assert task(max_tokens=32).problems(plain) == task(form="chat", max_tokens=32, chat_template=CHAT).problems(plain) == []
    assert task(form="chat", max_tokens=32).problems(ModelConfig(path=str(folder))) == []
    assert task(max_tokens=65).problems(plain)[0].startswith("task.max_tokens: 65 asked for")
    write_model(tmp_path / "bert")
    (problem,) = task(max_tokens=32).problems(ModelConfig(path=str(tmp_path / "bert")))
    assert "is an encoder" in problem
    assert task(max_tokens=32).problems(ModelConfig(path="someone/on-the-hub")) == []


def test_an_encoder_is_not_opened_as_a_decoder(tmp_path: Path) -> None:
    write_model(tmp_path / "bert")
    with pytest.raises(UserError, match="sees what comes next"):
        CausalLm().model(str(tmp_path / "bert"), [], None)


def test_a_tokenizer_without_an_end_is_refused(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder, eos_token=None)
    with pytest.raises(UserError, match="no end-of-text token"):
        task().tokenise({"text": ["a"]}, tokenizer, [])


def test_shared_weights_stay_shared(folder: Path, tmp_path: Path) -> None:
    module, _ = CausalLm().model(str(folder), [], None)
    module.save_pretrained(tmp_path)
    again, info = CausalLm().reopen(tmp_path)
    assert not info["missing_keys"]
    assert isinstance(again, type(AutoModelForCausalLM.from_pretrained(folder)))
    assert again.lm_head.weight is again.model.embed_tokens.weight


def test_a_question_is_not_cut_inside_a_character() -> None:
    ends = {5: "水在河里", 4: "水在河\ufffd", 3: "水在河", 2: "水\ufffd\ufffd"}

    class Bytes:
        """Tokens that are parts of characters, as byte-level tokenizers have them."""

        def __call__(self, text: str, **options: Any) -> dict[str, list[int]]:
            return {"input_ids": list(range(5 + SPARE))}

        def decode(self, ids: list[int]) -> str:
            return ends[len(ids)]

    assert [_shortened("水在河里", beyond, Bytes()) for beyond in range(4)] == ["水在河里", "水在河", "水在河", "水"]


def test_a_long_question_is_shortened_and_all_else_stays(tokenizer: Any) -> None:
    own = task(form="prompt", cut="question", max_tokens=16, system="be b")
    columns = {"text": ["a b c d " * 8, "a ?"], "target_text": ["no d", "yes"]}
    encoded = own.tokenise(columns, tokenizer, [])
    assert words(tokenizer, encoded["input_ids"][0]) == "<start> system <unk> b <end> <start> user a <end> <start> assistant no d <end>"
    assert words(tokenizer, encoded["input_ids"][1]) == "<start> system <unk> b <end> <start> user a ? <end> <start> assistant yes <end>"
    assert encoded["units"] == [3.0, 2.0]
    del columns["target_text"]
    prompt = own.tokenise(columns, tokenizer, [])["input_ids"][0]
    assert words(tokenizer, prompt).endswith("user a b c d <end> <start> assistant")
    assert len(prompt) == 14
