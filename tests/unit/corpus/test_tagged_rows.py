"""A corpus of tagged words, from files to splits."""

import pyarrow.parquet as pq
import pytest

from heliostat.core.errors import UserError
from heliostat.corpus.config import CorpusConfig
from heliostat.corpus.stage import build
from heliostat.tasks.token_classification import TokenClassification


@pytest.fixture
def sentences(texts):
    """60 sentences in CoNLL: the first two words are a place in every third one, else the first is a person."""
    out = []
    for i, text in enumerate(texts(60)):
        words = text.split()
        tags = (["B-LOC", "I-LOC"] if i % 3 == 0 else ["B-PER", "O"]) + ["O"] * (len(words) - 2)
        out.append("\n".join(f"{word} {tag}" for word, tag in zip(words, tags, strict=True)))
    return out


def written(tmp_path, sentences):
    (tmp_path / "x.conll").write_text("-DOCSTART- O\n\n" + "\n\n".join(sentences), encoding="utf-8")
    return [{"use": "conll", "paths": [str(tmp_path / "x.conll")]}]


def test_words_and_tags_come_out_with_the_outputs_of_a_model(context, tmp_path, sentences, rows_of, quarantined):
    broken = "a O\nb I-LOC"
    doubled = [*sentences, sentences[0], sentences[1].replace("B-PER", "O"), broken, "one"]
    corpus = build(CorpusConfig(sources=written(tmp_path, doubled)), ctx=context(), task=TokenClassification())
    assert corpus.labels == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert corpus.dropped == {"exact_duplicate": 1, "conflicting_labels": 2, "broken_span": 1, "missing_column": 1}
    rows = rows_of(corpus)
    assert len(rows) == 59
    assert list(rows[0]) == ["id", "text", "label", "tokens", "tags", "source", "domain", "weight"]
    assert {" ".join(row["tokens"]) for row in rows} == {row["text"] for row in rows}
    assert {row["label"] for row in rows} == {""}
    assert all(len(row["tokens"]) == len(row["tags"]) for row in rows)
    (file,) = corpus.split("train")
    assert str(pq.read_schema(file).field("tags").type) == "list<element: string>"
    assert {row["reason"] for row in quarantined()} == corpus.dropped.keys()


def test_a_corpus_without_any_span_has_nothing_to_learn(context, tmp_path, sentences):
    sources = written(tmp_path, [s.replace("B-LOC", "O").replace("I-LOC", "O").replace("B-PER", "O") for s in sentences])
    with pytest.raises(UserError, match="all have the class 'O'"):
        build(CorpusConfig(sources=sources), ctx=context(), task=TokenClassification())


def test_documents_stay_together(context, tmp_path, sentences, rows_of):
    blocks = [f"-DOCSTART- O\n\n{sentences[i]}\n\n{sentences[i + 1]}" for i in range(0, 60, 2)]
    (tmp_path / "x.conll").write_text("\n\n".join(blocks), encoding="utf-8")
    sources = [{"use": "conll", "paths": [str(tmp_path / "x.conll")]}]
    config = CorpusConfig(sources=sources, slices=["document"], split={"group": "document"})
    corpus = build(config, ctx=context(), task=TokenClassification())
    places = [{row["document"] for row in rows_of(corpus, split)} for split in corpus.rows]
    assert sum(map(len, places)) == len(set.union(*places)) == 30


def test_what_hides_a_part_of_the_text_is_refused_where_the_words_are_read(tmp_path, sentences):
    config = CorpusConfig(sources=written(tmp_path, sentences), filters=["length", "mask_personal"])
    (problem,) = config.problems(TokenClassification())
    assert problem.startswith("corpus.filters.1: mask_personal changes the text")
    assert CorpusConfig(sources=written(tmp_path, sentences)).problems(TokenClassification()) == []


def test_columns_that_are_not_there_are_told(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"words": ["a"], "tags": ["O"]}\n')
    config = CorpusConfig(sources=[{"use": "jsonl", "paths": [str(tmp_path / "x.jsonl")]}])
    (problem,) = config.problems(TokenClassification())
    assert problem.startswith("corpus.columns.tokens")
    assert "has no column 'tokens'" in problem
