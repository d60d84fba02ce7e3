"""Encoders: what is hidden, how much of it, what the loss counts, which models are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers import AutoTokenizer

from heliostat.commands.tiny import PLAIN, THEMES, write_model
from heliostat.core import family, seeds
from heliostat.core.errors import UserError
from heliostat.engine.models import draw_missing
from heliostat.tasks.config import ModelConfig
from heliostat.tasks.masked_lm import MaskedLm
from heliostat.tasks.text_classification import TextClassification

WORDS = [*PLAIN, *(word for theme in THEMES.values() for word in theme)]
TEXTS = [" ".join(WORDS[:40]), "water boat bank", " ".join(WORDS[5:25]), "nowords"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("masked") / "model"
    write_model(folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(folder)


def task(**options: Any) -> Any:
    return family.build("tasks", {"use": "masked_lm", "max_tokens": 64, **options})


def drawn(own: Any, tokenizer: Any, texts: list[str], epoch: int = 0, ids: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
    rows = own.tokenise({"text": texts}, tokenizer, [])
    given = {name: values for name, values in rows.items() if name != "units"}
    names = ids or [f"row-{i}" for i in range(len(texts))]
    return rows, own.drawn(given, [seeds.rng(7, "rows", epoch, name) for name in names], tokenizer)


def test_special_tokens_are_never_told(tokenizer: Any) -> None:
    rows, _ = drawn(task(), tokenizer, TEXTS)
    assert rows["units"] == [40.0, 3.0, 20.0, 0.0]  # "nowords" is [UNK]
    for ids, labels in zip(rows["input_ids"], rows["labels"], strict=True):
        assert [a == b or b == -100 for a, b in zip(ids, labels, strict=True)]
        assert all(b == -100 for a, b in zip(ids, labels, strict=True) if a in tokenizer.all_special_ids)


@pytest.mark.parametrize("most", [8, 11, 42])
def test_a_long_text_becomes_sequences_that_have_every_word_once(tokenizer: Any, most: int) -> None:
    whole, parts = (task(max_tokens=size, whole_word=True).tokenise({"text": TEXTS}, tokenizer, []) for size in (64, most))
    begins = [i for i, piece in enumerate(parts["piece"]) if piece == 0]
    ends = [*begins[1:], len(parts["piece"])]
    assert len(begins) == len(TEXTS)
    assert all(len(ids) <= most and (ids[0], ids[-1]) == (2, 3) for ids in parts["input_ids"]), "[CLS] and [SEP] around each"
    for name in ("input_ids", "labels", "words"):
        inner = [[token for ids in parts[name][begin:end] for token in ids[1:-1]] for begin, end in zip(begins, ends, strict=True)]
        assert inner == [ids[1:-1] for ids in whole[name]]
    assert [sum(parts["units"][begin:end]) for begin, end in zip(begins, ends, strict=True)] == whole["units"]


def test_a_long_text_is_cut_when_asked_for(tokenizer: Any) -> None:
    whole, cut = (task(max_tokens=8, cut=end).tokenise({"text": TEXTS}, tokenizer, []) for end in (None, "end"))
    assert cut["piece"] == [0] * len(TEXTS)
    assert cut["input_ids"][0] == whole["input_ids"][0]


def test_tokens_around_a_text_are_those_the_tokenizer_puts_there() -> None:
    own, marks = task(max_tokens=8), [1, *[0] * 10]
    assert own._pieces(marks, 1) == [[0, *range(1, 8)], [0, 8, 9, 10]]
    assert own._pieces(marks[::-1], 1) == [[*range(7), 10], [7, 8, 9, 10]]
    assert own._pieces([0] * 9, 0) == [[*range(8)], [8]]
    assert own._pieces([1, 1], 2) == [[0, 1]]


def test_how_many_are_told_is_a_function_of_the_length(tokenizer: Any) -> None:
    for epoch in range(3):
        _, out = drawn(task(mask_share=0.25), tokenizer, TEXTS, epoch)
        assert [int((labels != -100).sum()) for labels in out["labels"]] == [10, 1, 5, 0]
        assert [float(shares.max()) for shares in out["stands_for"]] == [4.0, 3.0, 4.0, 0.0]
        assert [float(shares.sum()) for shares in out["stands_for"]] == [40.0, 3.0, 20.0, 0.0], "all that might have been told"


def test_what_is_told_is_drawn_from_the_row_and_the_epoch(tokenizer: Any) -> None:
    first, again, later = (drawn(task(), tokenizer, TEXTS, epoch)[1] for epoch in (0, 0, 1))
    for name in ("input_ids", "labels"):
        assert all(np.array_equal(a, b) for a, b in zip(first[name], again[name], strict=True))
    assert not np.array_equal(first["labels"][0], later["labels"][0])
    backwards = drawn(task(), tokenizer, TEXTS[::-1], 0, ["row-3", "row-2", "row-1", "row-0"])[1]
    assert np.array_equal(backwards["labels"][3], first["labels"][0])  # whoever else is in the batch


def test_eight_of_ten_are_hidden_and_one_is_another_word(tokenizer: Any) -> None:
    own, many = task(mask_share=0.5), [TEXTS[0]] * 500
    rows, out = drawn(own, tokenizer, many)
    was, shown, told = (np.stack(values) for values in (rows["input_ids"], out["input_ids"], [x != -100 for x in out["labels"]]))
    assert np.array_equal(np.stack(out["labels"])[told], was[told])
    assert np.array_equal(shown[~told], was[~told])
    hidden, same = (shown[told] == tokenizer.mask_token_id).mean(), (shown[told] == was[told]).mean()
    # 10,000 draws: 4 standard deviations are 0.016 and 0.012; another word is the same one once in 48 times
    assert hidden == pytest.approx(0.8, abs=0.016)
    assert same == pytest.approx(0.1 + 0.1 / len(WORDS), abs=0.012)
    others = shown[told][(shown[told] != tokenizer.mask_token_id) & (shown[told] != was[told])]
    assert not set(others.tolist()) & set(tokenizer.all_special_ids)
    assert len(set(others.tolist())) == len(WORDS)


def test_every_place_is_told_equally_often(tokenizer: Any) -> None:
    _, out = drawn(task(), tokenizer, [TEXTS[0]] * 1000)
    told_T = np.stack([labels != -100 for labels in out["labels"]]).mean(0)[1:41]
    assert told_T.mean() == pytest.approx(0.15)
    assert np.abs(told_T - 0.15).max() < 0.05  # 4 standard deviations of 1,000 draws


class Pieces:
    """Word numbers of a tokenizer that cuts words: three words of 3, 1 and 2 pieces between two marks."""

    is_fast = True

    def word_ids(self, row: int) -> list[int | None]:
        return [None, 0, 0, 0, 1, 2, 2, None]


@pytest.mark.parametrize(("share", "sizes"), [(0.15, {1, 2, 3}), (0.5, {3, 4, 5}), (0.9, {5, 6})])
def test_the_pieces_of_a_word_are_told_together(share: float, sizes: set[int]) -> None:
    from heliostat.tasks.masked_lm import words_of

    own = task(whole_word=True, mask_share=share)
    (words,) = words_of(Pieces(), 1)
    assert words == [-1, 0, 0, 0, 1, 2, 2, -1]
    seen = set()
    for i in range(60):
        told = own.chosen(np.arange(1, 7), np.array(words), seeds.rng(1, "words", i))
        assert all(len({*told} & {*group}) in (0, len(group)) for group in ([1, 2, 3], [4], [5, 6]))
        seen.add(len(told))
    assert seen == sizes


def test_whole_words_need_a_tokenizer_that_knows_them(tokenizer: Any) -> None:
    rows, out = drawn(task(whole_word=True, mask_share=0.25), tokenizer, TEXTS)
    assert rows["words"][1] == [-1, 0, 1, 2, -1]
    assert [int((labels != -100).sum()) for labels in out["labels"]] == [10, 1, 5, 0]

    class Slow:
        is_fast = False

    from heliostat.tasks.masked_lm import words_of

    with pytest.raises(UserError, match=r"task\.whole_word: this tokenizer does not tell"):
        words_of(Slow(), 1)


@pytest.fixture
def module(folder: Path) -> Any:
    module, missing = task().model(str(folder), [], None)
    assert set(missing) == {
        "cls.predictions.bias",
        *(f"cls.predictions.transform.{part}.{kind}" for part in ("dense", "LayerNorm") for kind in ("weight", "bias")),
    }
    draw_missing(module, missing, 1)
    return module.eval()


def test_the_loss_is_a_mean_over_all_tokens_that_might_be_told(tokenizer: Any, module: Any) -> None:
    own = task()
    rows, out = drawn(own, tokenizer, TEXTS)
    batch = {**own.collate(out, tokenizer), "weight": torch.tensor([1.0, 2.0, 1.0, 1.0])}
    logits = own.logits(module, batch)
    units = own.units(logits, batch)
    assert len(units["labels"]) == sum(int((labels != -100).sum()) for labels in out["labels"])
    assert float(units["weight"].sum()) == pytest.approx(np.dot(rows["units"], [1.0, 2.0, 1.0, 1.0]), rel=1e-6)
    whole = module(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.detach()
    labels = torch.full(batch["input_ids"].shape, -100)
    for i, row in enumerate(out["labels"]):
        labels[i, : len(row)] = torch.from_numpy(row)
    theirs = torch.nn.functional.cross_entropy(whole[labels != -100], labels[labels != -100], reduction="none")
    ours = torch.nn.functional.cross_entropy(units["logits"], units["labels"], reduction="none")
    assert torch.allclose(ours, theirs, atol=1e-5)  # float32
    answers = own.answers(logits, batch).detach()
    assert answers[:, 1].tolist() == [6.0, 1.0, 3.0, 0.0]
    assert float(answers[:, 0].sum()) == pytest.approx(float(theirs.sum()), rel=1e-5)


def test_an_embedding_sees_the_whole_text(tokenizer: Any, module: Any) -> None:
    own = task(mask_share=0.9)
    batch = own.collate(drawn(own, tokenizer, TEXTS[:3])[1], tokenizer)
    plain = TextClassification(max_tokens=64)
    wanted = plain.embed(module, plain.collate(plain.tokenise({"text": TEXTS[:3]}, tokenizer, []), tokenizer))
    assert torch.allclose(own.embed(module, batch), wanted, atol=1e-6)


def test_a_batch_of_rows_with_nothing_to_tell_has_answers(tokenizer: Any, module: Any) -> None:
    own = task()
    batch = own.collate(drawn(own, tokenizer, ["nowords", "x y"])[1], tokenizer)
    assert own.answers(own.logits(module, batch), batch).tolist() == [[0.0, 0.0, 0.0]] * 2


@pytest.mark.parametrize("whole_word", [False, True])
def test_a_packed_row_has_positions_and_texts_hidden_as_by_themselves(tokenizer: Any, whole_word: bool) -> None:
    own = task(whole_word=whole_word)
    rows, apart = drawn(own, tokenizer, TEXTS[1:3])
    packed = {name: [[*values[0], *values[1]]] for name, values in rows.items() if name in ("input_ids", "labels", "words")}
    packed |= {"position_ids": [[*range(5), *range(22)]], "documents": [[5, 22]]}
    out = own.drawn(packed, [seeds.rng(7, "rows", 0, f"row-{i}") for i in range(2)], tokenizer)
    for name in ("input_ids", "labels", "stands_for", "whole_ids"):
        assert np.array_equal(out[name][0], np.concatenate(apart[name]))
    batch = own.collate(out, tokenizer)
    assert "attention_mask" not in batch
    assert batch["position_ids"].tolist() == packed["position_ids"]
    shape = batch["labels"].shape
    weights = own.units(torch.zeros(*shape, 60), {**batch, "weight": torch.ones(1)})["weight"]
    assert weights.sum().item() == pytest.approx(23.0)


def without_mask(folder: Path, told: dict[str, Any]) -> Path:
    write_model(folder)
    facts = json.loads((folder / "tokenizer_config.json").read_text())
    del facts["mask_token"]
    (folder / "tokenizer_config.json").write_text(json.dumps(facts | told))
    return folder


def test_a_tokenizer_without_a_mask_is_refused_before_anything_starts(tmp_path: Path, folder: Path) -> None:
    plain = without_mask(tmp_path / "plain", {})
    (problem,) = task().problems(ModelConfig(path=str(plain)))
    assert problem.startswith("model.path: the tokenizer of")
    assert "has no mask token" in problem
    assert task().problems(ModelConfig(path=str(folder))) == []
    # a class of its own may bring its own mask token: only opening it tells
    assert task().problems(ModelConfig(path=str(without_mask(tmp_path / "own", {"tokenizer_class": "BertTokenizerFast"})))) == []
    with pytest.raises(UserError, match="has no mask token"):
        task().tokenise({"text": ["a"]}, AutoTokenizer.from_pretrained(plain), [])


def test_a_decoder_and_a_metric_of_whole_texts_are_refused(tmp_path: Path, folder: Path) -> None:
    facts = json.loads((folder / "config.json").read_text())
    write_model(tmp_path / "decoder")
    (tmp_path / "decoder" / "config.json").write_text(json.dumps(facts | {"architectures": ["LlamaForCausalLM"]}))
    assert "use causal_lm" in task().problems(ModelConfig(path=str(tmp_path / "decoder")))[0]
    assert "bits_per_byte" in task(also=["bits_per_byte"]).problems(ModelConfig(path=str(folder)))[0]


ALONE = ("Bert", "Roberta", "XLMRoberta", "DistilBert", "Electra", "Albert", "DebertaV2", "ModernBert", "MPNet", "XLM")
HEADS = {**dict.fromkeys(ALONE, True), "MobileBert": False}
"""Architectures, and whether their word predictor can be given some places alone."""


@pytest.mark.parametrize("kind", HEADS)
def test_logits_at_the_places_to_tell_are_those_of_the_whole_text(kind: str) -> None:
    small = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    own = {
        "Albert": {"embedding_size": 8},
        "DistilBert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32},
        "XLM": {"emb_dim": 16},
    }
    other = {"MobileBert": {"embedding_size": 16, "intra_bottleneck_size": 16}, "ModernBert": {"pad_token_id": 0, "cls_token_id": 1}}
    settings = small | own.get(kind, {}) | other.get(kind, {})
    torch.manual_seed(3)
    config = getattr(transformers, f"{kind}Config")(**settings)
    module = transformers.AutoModelForMaskedLM.from_config(config, attn_implementation="eager").eval()
    ids_BT = torch.randint(5, 40, (3, 7))
    batch = {"input_ids": ids_BT, "attention_mask": torch.ones_like(ids_BT), "places": torch.tensor([[0, 4], [2, 6], [1, 0]])}
    asked: list[int] = []
    hook = module.get_output_embeddings().register_forward_hook(lambda head, given, out: asked.append(out.shape[1]))
    with torch.no_grad():
        found = MaskedLm().logits(module, batch)
        whole = module(**{name: batch[name] for name in ("input_ids", "attention_mask")}).logits
    hook.remove()
    assert torch.allclose(found, whole[torch.arange(3)[:, None], batch["places"]], atol=1e-5)
    assert (asked[:1] == [2]) is HEADS[kind]
    assert not module.get_output_embeddings()._forward_pre_hooks
