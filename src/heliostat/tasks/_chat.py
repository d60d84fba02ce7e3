"""Conversations: read from what a source holds, written by a tokenizer's chat template, with the tokens of the answers marked.

Which tokens are an answer is found by writing the conversation up to it with the template's own prompt for an answer: these
tokens must be what the whole conversation begins with, and the answer ends with the special token that ends a turn. A
template that marks answers itself ({% generation %}) is believed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Literal

from heliostat.core.errors import UserError
from heliostat.core.values import is_unicode

Message = dict[str, str]
Tokens = tuple[list[int], list[bool]]
"""Token ids of a conversation, and whether each belongs to an answer that is learnt."""

ROLES = {"system": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
OTHER_NAMES = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant", "model": "assistant", "developer": "system"}
"""Of ShareGPT and others."""
KEYS = (("role", "content"), ("from", "value"))
MARKS_ANSWERS = re.compile(r"\{%-?\s*generation\s*-?%\}")
AT_ONCE = 256
"""Conversations that are written at once."""
SHORT: tuple[Message, ...] = ({"role": "user", "content": "Is it a?"}, {"role": "assistant", "content": "It is b."})
LONG = (*SHORT, {"role": "user", "content": "Or c?"}, {"role": "assistant", "content": "No, d."})
NEXT = (
    "Give another template in task.chat_template: one that writes every message in the same way wherever it stands, or one that"
    " marks the answers with {% generation %} and {% endgeneration %}."
)


def messages_of(value: Any) -> list[Message] | str:
    """A list of {role, content}, or of {from, value} as ShareGPT has it, or the JSON of one, as messages up to the last answer; the
    reason word when it is none. White space around a message is no part of it."""
    if value is None or value != value:
        return "missing_messages"
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return "messages_not_json"
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        return "messages_not_list"
    found: list[Message] = []
    for each in value:
        message = _message(each)
        if isinstance(message, str):
            return message
        found.append(message)
    answers = [place for place, message in enumerate(found) if message["role"] == "assistant"]
    return found[: answers[-1] + 1] if answers else "no_answer"


def _message(given: dict[str, Any]) -> Message | str:
    role_key, content_key = next((keys for keys in KEYS if keys[0] in given), KEYS[0])
    named, content = str(given.get(role_key)).strip().lower(), given.get(content_key)
    role = ROLES.get(named) or OTHER_NAMES.get(named)
    if role is None:
        return "unknown_role"
    if isinstance(content, list):  # parts, of which only texts can be read
        texts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
        content = "\n".join(map(str, texts)) if len(texts) == len(content) else None
    if not isinstance(content, str):
        return "content_not_text"
    if not is_unicode(content) or "\0" in content:
        return "wrong_encoding"
    return {"role": role, "content": content.strip()} if content.strip() else "empty_content"


def text_of(messages: Sequence[Message]) -> str:
    """What is said, a message on a line of its own."""
    return "\n".join(message["content"] for message in messages)


def dump(messages: Sequence[Message]) -> str:
    """Messages as a corpus keeps them."""
    return json.dumps(list(messages), ensure_ascii=False)


def loaded(text: str) -> list[Message]:
    """Messages that a corpus kept."""
    return list(json.loads(text))


class Writer:
    """Conversations as tokens, by one tokenizer's chat template."""

    def __init__(self, processor: Any, system: str | None, turns: Literal["all", "last"]):
        self.processor, self.turns = processor, turns
        self.first = [{"role": "system", "content": system}] if system else []
        if not processor.chat_template:
            raise UserError(no_template(processor.name_or_path))
        template = processor.get_chat_template()
        self.is_marked = bool(MARKS_ANSWERS.search(template))
        added = getattr(processor, "added_tokens_decoder", {})
        self.special = {*processor.all_special_ids, *(token for token, told in added.items() if told.special)}
        self.control = [str(told.content) for told in added.values() if told.special or (told.content.strip() and told.content in template)]
        self.writes_several = self._tried()

    def whole(self, messages: list[Message]) -> list[Message]:
        """The conversation with the system message before it, when it has none of its own."""
        return messages if messages[0]["role"] == "system" else [*self.first, *messages]

    def tokens(self, conversations: Sequence[list[Message]]) -> list[Tokens | None]:
        """Each conversation, and which of its tokens are learnt; None for one that the template refuses to write.

        Raises `UserError` for a conversation of several answers when the template writes earlier answers differently later.
        """
        if not self.writes_several and any(len(self._answers(messages)) > 1 for messages in conversations):
            raise UserError(
                "the chat template writes an earlier answer differently once the conversation goes on, so that what a model learns there is"
                f" not what it reads later. Set task.turns: last to learn the last answer of each conversation only. {NEXT}"
            )
        out: list[Tokens | None] = []
        for start in range(0, len(conversations), AT_ONCE):
            out += self._marked(conversations[start : start + AT_ONCE])
        return out

    def prompts(self, conversations: Sequence[list[Message]]) -> list[list[int] | None]:
        """Each conversation with the template's prompt for an answer after it."""
        return self._written([self.whole(messages) for messages in conversations], prompt=True)

    def _tried(self) -> bool:
        """Whether several answers in one conversation can be told apart; `UserError` when not even one can."""
        try:
            self._ids([[*self.first, *SHORT]], prompt=False)
        except refusals() as error:
            raise UserError(f"the chat template does not write a plain conversation: {one_line(error)}. {NEXT}") from None
        (short,) = self._marked([list(SHORT)])
        if short is None or not any(short[1]):
            raise UserError(f"the chat template does not write an answer after its own prompt for one. {NEXT}")
        if self.turns == "last" or self.is_marked:
            return True
        (long,) = self._marked([list(LONG)])
        return long is not None and len(runs(long[1])) == 2

    def _answers(self, messages: Sequence[Message]) -> list[int]:
        """Places of the answers that are learnt."""
        found = [place for place, message in enumerate(messages) if message["role"] == "assistant"]
        return found if self.turns == "all" else found[-1:]

    def _marked(self, conversations: Sequence[list[Message]]) -> list[Tokens | None]:
        full = [self.whole(messages) for messages in conversations]
        if not self.is_marked:
            return self._compared(full)
        return [self._told_apart(each) if self._looks_like_control(each) else self._believed(each) for each in full]

    def _looks_like_control(self, messages: list[Message]) -> bool:
        """Whether a message holds what is a control token elsewhere."""
        return any(token in message["content"] for message in messages for token in self.control)

    def _told_apart(self, messages: list[Message]) -> Tokens | None:
        """A conversation whose template marks answers, and whose messages hold what looks like control tokens: transformers (5.23) does
        not tell the marks of one that is read as text. None where comparing finds other answers than the template marks."""
        short = [*self.first, *SHORT]
        same = self._compared([short]) == [self._believed(short)]
        return self._compared([messages])[0] if same else None

    def _compared(self, full: list[list[Message]]) -> list[Tokens | None]:
        """Whole conversations whose answers are found beside the prompts for them."""
        asked = [(row, place) for row, messages in enumerate(full) for place in self._answers(messages)]
        ids = self._written(full)
        prompts = self._written([full[row][:place] for row, place in asked], prompt=True)
        ends = self._written([full[row][: place + 1] for row, place in asked])
        out: list[Tokens | None] = [None if row is None else (row, [False] * len(row)) for row in ids]
        for (row, _), prompt, end in zip(asked, prompts, ends, strict=True):
            written = out[row]
            if written is None or prompt is None or end is None:
                continue
            start, stop = self._answer(written[0], prompt, end)
            written[1][start:stop] = [True] * (stop - start)
        return out

    def _answer(self, whole: list[int], prompt: list[int], end: list[int]) -> tuple[int, int]:
        """First token of an answer and the one after its last, which ends the turn; an empty stretch when the template breaks it.

        `end` is the conversation that ends with the answer. It may end in more than the whole one goes on with.
        """
        start = len(prompt)
        if whole[:start] != prompt:
            return 0, 0
        same = next((i for i, (a, b) in enumerate(zip(whole, end, strict=False)) if a != b), min(len(whole), len(end)))
        last = next((i for i in range(same - 1, start - 1, -1) if whole[i] in self.special), None)
        if last is None or self.processor.decode(whole[last + 1 : same]).strip():
            return 0, 0
        return start, last + 1

    def _believed(self, messages: list[Message]) -> Tokens | None:
        """A conversation whose answers the template itself marks."""
        try:
            found = self.processor.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
        except refusals():
            return None
        ids, marks = list(found["input_ids"]), [bool(mark) for mark in found["assistant_masks"]]
        if self.turns == "last" and (stretches := runs(marks)):
            start, stop = stretches[-1]
            marks = [start <= i < stop for i in range(len(marks))]
        return ids, marks

    def _written(self, conversations: list[list[Message]], *, prompt: bool = False) -> list[list[int] | None]:
        """Token ids of each conversation; None for one that the template refuses."""
        if not conversations:
            return []
        try:
            return self._ids(conversations, prompt=prompt)
        except refusals():
            if len(conversations) == 1:
                return [None]
            return [self._written([each], prompt=prompt)[0] for each in conversations]

    def _ids(self, conversations: list[list[Message]], *, prompt: bool) -> list[Any]:
        """What looks like a control token in a message is read as the text it is."""
        found = self.processor.apply_chat_template(
            conversations, add_generation_prompt=prompt, return_dict=True, sanitize_control_tokens=True
        )
        return [list(ids) for ids in found["input_ids"]]


def refusals() -> tuple[type[Exception], ...]:
    """What a template raises that does not write a conversation."""
    from jinja2.exceptions import TemplateError

    return TemplateError, TypeError, ValueError, KeyError


def runs(marks: Sequence[bool]) -> list[tuple[int, int]]:
    """(first, last + 1) of every stretch that is true."""
    edges = [i for i, (before, now) in enumerate(zip([False, *marks], [*marks, False], strict=True)) if before != now]
    return list(zip(edges[::2], edges[1::2], strict=True))


def one_line(error: Exception) -> str:
    """The first line of what an error says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def no_template(model: str) -> str:
    """What is wrong with a tokenizer that cannot write a conversation, and what to do."""
    return (
        f"the tokenizer of '{model}' has no chat template. Give one in task.chat_template: a Jinja file, for example the"
        " chat_template.jinja of an instruction-tuned model of the same family."
    )
