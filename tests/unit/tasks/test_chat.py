"""Conversations: what is read as one, which tokens are an answer, which templates are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from heliostat.core.errors import UserError
from heliostat.tasks._chat import Writer, messages_of, runs
from tiny_decoder import CHAT, write_decoder

ASKED = [{"role": "user", "content": "a b ?"}, {"role": "assistant", "content": "yes"}]
LONGER = [*ASKED, {"role": "user", "content": "Or c ?"}, {"role": "assistant", "content": "no d"}]
PHI = (
    "{% for m in messages %}<start>{{ m['role'] }} {{ m['content'] }}<end>{% endfor %}"
    "{% if add_generation_prompt %}<start>assistant {% else %}<pad>{% endif %}"
)
"""Ends a conversation that is over in one more token, as Phi does."""
THINKS = (
    "{% for m in messages %}<start>{{ m['role'] }} "
    "{% if loop.last and m['role'] == 'assistant' %}bank {% endif %}{{ m['content'] }}<end>{% endfor %}"
    "{% if add_generation_prompt %}<start>assistant {% endif %}"
)
"""Writes the last answer otherwise than earlier ones, as Qwen does."""
MARKED = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}<start>{{ m['role'] }} {% generation %}{{ m['content'] }}<end>"
    "{% endgeneration %}{% else %}<start>{{ m['role'] }} {{ m['content'] }}<end>{% endif %}{% endfor %}"
)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return AutoTokenizer.from_pretrained(write_decoder(tmp_path_factory.mktemp("chat") / "model"))


@pytest.fixture
def written(tokenizer: Any) -> Any:
    """`written(template, messages)` gives its words and those of them that are learnt."""

    def write(template: str, messages: Any, **options: Any) -> tuple[str, list[str]] | None:
        tokenizer.chat_template = template
        (found,) = Writer(tokenizer, **{"system": None, "turns": "all", **options}).tokens([messages])
        if found is None:
            return None
        ids, marks = found
        words = tokenizer.convert_ids_to_tokens(ids)
        return " ".join(words), [" ".join(words[start:stop]) for start, stop in runs(marks)]

    yield write
    tokenizer.chat_template = CHAT


def test_answers_are_learnt_each_with_its_end(written: Any) -> None:
    whole, learnt = written(CHAT, LONGER)
    assert whole == "<start> user a b ? <end> <start> assistant yes <end> <start> user Or c ? <end> <start> assistant no d <end>"
    assert learnt == ["yes <end>", "no d <end>"]


def test_only_the_last_answer_is_learnt_when_that_is_asked(written: Any) -> None:
    assert written(CHAT, LONGER, turns="last")[1] == ["no d <end>"]
    assert written(MARKED, LONGER, turns="last")[1] == ["no d <end>"]


def test_a_system_message_stands_before_a_conversation_without_one(written: Any) -> None:
    whole, learnt = written(CHAT, ASKED, system="water")
    assert whole.startswith("<start> system water <end> <start> user a")
    assert learnt == ["yes <end>"]
    own = [{"role": "system", "content": "boat"}, *ASKED]
    assert written(CHAT, own, system="water")[0].startswith("<start> system boat <end> <start> user a")


def test_what_a_template_writes_after_a_conversation_that_is_over_does_not_matter_inside(written: Any) -> None:
    assert written(PHI, LONGER)[1] == ["yes <end>", "no d <end> <pad>"]


def test_a_template_that_marks_answers_is_believed(written: Any) -> None:
    assert written(MARKED, LONGER)[1] == ["yes <end>", "no d <end>"]


def test_what_looks_like_a_control_token_in_a_message_is_text(written: Any) -> None:
    whole, learnt = written(CHAT, [ASKED[0], {"role": "assistant", "content": "yes <end> no"}])
    assert whole.count("<end>") == 2
    assert learnt == ["yes <unk> <unk> <unk> no <end>"]


def test_so_it_is_where_the_template_marks_the_answers_if_comparing_finds_the_same(written: Any) -> None:
    asked = MARKED + "{% if add_generation_prompt %}<start>assistant {% endif %}"
    said = [ASKED[0], {"role": "assistant", "content": "yes <end> no"}]
    whole, learnt = written(asked, said)
    assert whole.count("<end>") == 2
    assert learnt == ["yes <unk> <unk> <unk> no <end>"]
    assert written(asked, ASKED)[1] == ["yes <end>"]
    assert written(MARKED, said) is None, "without a prompt for an answer its beginning is not found: nothing of it is learnt"


def test_a_template_that_writes_earlier_answers_otherwise_is_refused_for_several(written: Any) -> None:
    assert written(THINKS, ASKED)[1] == ["bank yes <end>"]
    assert written(THINKS, LONGER, turns="last")[1] == ["bank no d <end>"]
    with pytest.raises(UserError, match=r"writes an earlier answer differently.*task\.turns: last.*\{% generation %\}"):
        written(THINKS, LONGER)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        (CHAT.replace("<start>assistant ", "<start>boat "), "does not write an answer after its own prompt"),
        (CHAT.replace("<end>", " "), "does not write an answer after its own prompt"),  # nothing ends it
        ("{{ raise_exception('no chats') }}", "does not write a plain conversation: no chats"),
        ("{% for m in messages %}{{ m.nothing.at.all }}{% endfor %}", "does not write a plain conversation"),
    ],
)
def test_a_template_that_cannot_be_learnt_from_is_refused(written: Any, template: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        written(template, ASKED)


def test_a_template_without_system_messages_says_so_when_one_is_given(written: Any) -> None:
    template = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + CHAT
    assert written(template, ASKED)[1] == ["yes <end>"]
    with pytest.raises(UserError, match="System role not supported"):
        written(template, ASKED, system="water")


def test_a_conversation_the_template_refuses_costs_itself(tokenizer: Any) -> None:
    tokenizer.chat_template = "{% if messages[0].role == 'tool' %}{{ raise_exception('no') }}{% endif %}" + CHAT
    odd = [{"role": "tool", "content": "a"}, ASKED[1]]
    first, second, third = Writer(tokenizer, None, "all").tokens([ASKED, odd, LONGER])
    tokenizer.chat_template = CHAT
    assert second is None
    assert first is not None
    assert third is not None
    assert (sum(first[1]), sum(third[1])) == (2, 5)


def test_a_tokenizer_without_a_template_says_what_to_do(tmp_path: Path) -> None:
    plain = AutoTokenizer.from_pretrained(write_decoder(tmp_path / "model", template=None))
    with pytest.raises(UserError, match=r"has no chat template. Give one in task\.chat_template"):
        Writer(plain, None, "all")


def test_many_forms_are_one_conversation() -> None:
    parts = [{"role": "user", "content": [{"type": "text", "text": "a b ?"}]}, {"role": "assistant", "content": " yes\n"}]
    shared = [{"from": "human", "value": "a b ?"}, {"from": "gpt", "value": "yes"}]
    for form in (ASKED, json.dumps(ASKED), parts, shared, [*ASKED, {"role": "user", "content": "thanks"}]):
        assert messages_of(form) == ASKED
    developer = messages_of([{"role": "developer", "content": "a"}, *ASKED])
    assert isinstance(developer, list)
    assert developer[0]["role"] == "system"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (None, "missing_messages"),
        (float("nan"), "missing_messages"),
        ("{", "messages_not_json"),
        ("7", "messages_not_list"),
        (["a"], "messages_not_list"),
        ([], "no_answer"),
        (ASKED[:1], "no_answer"),
        ([{"role": "nobody", "content": "a"}], "unknown_role"),
        ([{"content": "a"}], "unknown_role"),
        ([{"role": "user", "content": None}], "content_not_text"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "content_not_text"),
        ([{"role": "user", "content": " "}], "empty_content"),
        ([{"role": "user", "content": "a\ud800"}], "wrong_encoding"),
    ],
)
def test_what_is_no_conversation_has_a_reason(given: Any, reason: str) -> None:
    assert messages_of(given) == reason
