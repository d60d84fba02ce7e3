"""Corpora of texts and conversations: read from any source, cleaned in every message, and apart from what another corpus judges by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from heliostat.core import family
from heliostat.corpus.config import CorpusConfig
from heliostat.corpus.stage import build


def chats(texts: list[str]) -> list[list[dict[str, str]]]:
    return [[{"role": "user", "content": f"What of {text}?"}, {"role": "assistant", "content": f"It is {text}."}] for text in texts]


@pytest.fixture
def made(context: Any, rows_of: Any) -> Any:
    """`made(task, **settings)` builds a corpus for it: (the corpus, its rows)."""

    def go(task: dict[str, Any], folder: str = "language", apart_from: Any = None, **settings: Any) -> tuple[Any, list[dict[str, Any]]]:
        config = CorpusConfig(**settings)
        own: Any = family.build("tasks", task)
        assert config.problems(own) == []
        corpus = build(config, ctx=context(7, folder), task=own, apart_from=apart_from)
        return corpus, rows_of(corpus)

    return go


CHAT = {"use": "causal_lm", "form": "chat"}


def test_a_conversation_is_read_from_json_lines_from_json_in_a_table_and_from_parquet(
    made: Any, texts: Any, write_jsonl: Any, tmp_path: Path
) -> None:
    talks = chats(texts(12))
    lines = write_jsonl([{"messages": talk} for talk in talks[:3]])
    shared = [[{"from": {"user": "human"}.get(m["role"], "gpt"), "value": m["content"]} for m in talk] for talk in talks[3:6]]
    other = write_jsonl([{"conversations": talk} for talk in shared], "shared.jsonl")
    rows = ["messages", *('"' + json.dumps(talk).replace('"', '""') + '"' for talk in talks[6:9])]
    (tmp_path / "table.csv").write_text("\n".join(rows) + "\n")
    pq.write_table(pa.table({"messages": talks[9:]}), tmp_path / "rows.parquet")
    sources = [
        {"use": "jsonl", "paths": lines},
        {"use": "jsonl", "paths": other, "columns": {"messages": "conversations"}},
        {"use": "csv", "paths": str(tmp_path / "table.csv")},
        {"use": "parquet", "paths": str(tmp_path / "rows.parquet")},
    ]
    corpus, found = made(CHAT, sources=sources)
    assert corpus.labels == ()
    assert corpus.dropped == {}
    assert sorted(row["messages"] for row in found) == sorted(json.dumps(talk) for talk in talks)
    assert {row["label"] for row in found} == {""}


def test_broken_conversations_are_counted_by_what_is_wrong(made: Any, texts: Any, write_jsonl: Any) -> None:
    talks: list[Any] = [{"messages": talk} for talk in chats(texts(9))]
    talks += [{"messages": []}, {"messages": [{"role": "nobody", "content": "a"}]}, {"messages": 7}]
    corpus, found = made(CHAT, sources=[{"use": "jsonl", "paths": write_jsonl(talks)}], max_bad_share=0.5)
    assert len(found) == 9
    assert corpus.dropped == {"messages_not_list": 1, "no_answer": 1, "unknown_role": 1}


def test_every_message_is_cleaned(made: Any, texts: Any, write_jsonl: Any) -> None:
    talks = [[*talk[:1], {"role": "assistant", "content": "Ask <b>me</b>   at a@b.org"}] for talk in chats(texts(6))]
    path = write_jsonl([{"messages": talk} for talk in talks])
    _, found = made(CHAT, sources=[{"use": "jsonl", "paths": path}], filters=["fix_text", "mask_personal"])
    assert {json.loads(row["messages"])[-1]["content"] for row in found} == {"Ask me at [EMAIL]"}


def test_one_question_may_have_two_answers_and_equal_rows_are_one(made: Any, write_jsonl: Any) -> None:
    rows = [{"q": f"What is thing number {i}?", "a": f"answer {i} of {kind}"} for i in range(4) for kind in ("one", "two", "one")]
    task = {"use": "causal_lm", "form": "prompt"}
    columns = {"text": "q", "target_text": "a"}
    corpus, found = made(task, sources=[{"use": "jsonl", "paths": write_jsonl(rows)}], columns=columns, near_duplicates=None)
    assert len(found) == 8
    assert corpus.dropped == {"exact_duplicate": 4}
    assert {row["target_text"] for row in found} == {row["a"] for row in rows}


def test_texts_for_pretraining_are_apart_from_what_the_task_is_judged_by(
    made: Any, run: Any, rows_of: Any, texts: Any, write_jsonl: Any, quarantined: Any
) -> None:
    every = texts(60)
    path = write_jsonl([{"text": text, "label": "ab"[i % 2]} for i, text in enumerate(every)])
    judged = run(sources=[{"use": "jsonl", "paths": path}])
    held = [row["text"] for row in rows_of(judged, "valid", "test")]
    # the same texts in another file, order, case and with a word more: nothing of where they stood tells
    own = [f"{text} more" if i % 3 == 0 else text.upper() for i, text in enumerate(every[::-1])] + texts(10, start=100)
    other = write_jsonl([{"body": text} for text in own], "own.jsonl")
    settings = {"sources": [{"use": "jsonl", "paths": other}], "columns": {"text": "body"}, "near_duplicates": {"threshold": 0.7}}
    corpus, found = made({"use": "masked_lm"}, apart_from=judged, **settings)
    read = {row["text"].lower().removesuffix(" more") for row in found}
    assert read == {text for text in [*every, *texts(10, start=100)] if text not in held}
    assert corpus.dropped == {"held_out": len(held)}
    assert all(count > 0 for count in corpus.rows.values()), "its valid and test rows are its own"
    assert len([row for row in quarantined("language") if row["reason"] == "held_out"]) == len(held)
