"""Decoders and encoders are trained on tokens, exported with their heads, and opened again by plain transformers."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

from heliostat.commands.tiny import PLAIN, THEMES, write_model
from heliostat.core import family, seeds
from heliostat.core.errors import UserError
from heliostat.engine import streams
from heliostat.engine.orders import ModelSource
from heliostat.engine.predict import Embed, EmbedRows, Predict, batch_of, forward
from heliostat.engine.streams import opened, processor
from heliostat.tasks.text_classification import TextClassification
from heliostat.train.batching import batches
from heliostat.train.config import TrainConfig
from heliostat.train.orders import Export, Train
from heliostat.train.starting import rows_of
from tiny_decoder import write_decoder

TOTAL = 8


def sentence(rng: Any) -> str:
    """Words of one theme between plain ones: there is something to learn."""
    theme = THEMES[str(rng.choice([*THEMES]))]
    return " ".join(str(rng.choice(theme if i % 2 else PLAIN)) for i in range(rng.integers(4, 12)))


def columns_of(task: Any, name: str, rows: int) -> dict[str, list[str]]:
    texts = [sentence(seeds.rng(1, "test", name, i)) for i in range(rows)]
    if task.name() == "masked_lm" or task.form == "text":
        return {"text": texts}
    chats = [[{"role": "user", "content": text}, {"role": "assistant", "content": f"yes {text.split()[-1]}"}] for text in texts]
    return {"messages": [json.dumps(chat) for chat in chats]}


TASKS: dict[str, dict[str, Any]] = {
    "masked": {"use": "masked_lm", "mask_share": 0.5},
    "masked in pieces": {"use": "masked_lm", "mask_share": 0.5, "max_tokens": 8},
    "causal": {"use": "causal_lm"},
    "causal in pieces": {"use": "causal_lm", "max_tokens": 8},
    "chat": {"use": "causal_lm", "form": "chat"},
}


@pytest.fixture(scope="module", params=TASKS)
def ground(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """`task`, `model` (a folder), `train` and `valid` (prepared rows)."""
    folder = tmp_path_factory.mktemp("ground")
    task: Any = family.build("tasks", {"max_tokens": 32, **TASKS[request.param]})
    (write_model if task.name() == "masked_lm" else write_decoder)(folder / "model")

    def prepared(split: str, rows: int) -> Path:
        file = folder / f"{split}.parquet"
        beside = {"id": [f"{split}-{i}" for i in range(rows)], "weight": pa.array(np.ones(rows, np.float32))}
        pq.write_table(pa.table({**beside, **columns_of(task, split, rows)}), file)
        function = streams.Tokenise(str(folder / "model"), task, ())
        return streams.prepare(folder / "rows", [file], function, identity=split, map_pieces=lambda pieces, work: map(work, pieces))

    return SimpleNamespace(task=task, model=folder / "model", train=prepared("train", 22), valid=prepared("valid", 9))


def fields(ground: Any, folder: Path, **train: Any) -> dict[str, Any]:
    config = {"batch": 6, "optimizer": {"use": "adamw", "lr": 1e-2}, "dropout": 0.0, "validate_every": 0.5, **train}
    own = {"task": ground.task, "key": "test", "folder": folder, "model": ModelSource(folder=str(ground.model)), "labels": ()}
    own |= {"train": TrainConfig(**config), "train_rows": ground.train, "valid_rows": ground.valid, "seed": 5, "total": TOTAL}
    return own | {"metric": "token_loss", "micro_rows": 3}


def reached(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "result.json").read_text())


TARGETS = {"masked_lm": ["query", "value"], "causal_lm": ["q_proj", "v_proj"]}


@pytest.mark.parametrize("adapters", [False, True], ids=["full", "lora"])
def test_it_learns_and_its_export_opens_in_plain_transformers(ground: Any, worker: Any, tmp_path: Path, adapters: bool) -> None:
    name = ground.task.name()
    adapter = {"use": "lora", "r": 8, "targets": TARGETS[name]} if adapters else None
    given = fields(ground, tmp_path / "training", adapter=adapter)
    gang = worker()
    Train(**given, until=TOTAL).perform(gang)
    curve = [point["value"] for point in reached(tmp_path / "training")["curve"]]
    assert min(curve[1:]) < curve[0]
    facts = Export(**given, out=tmp_path / "model").perform(gang)
    kind = AutoModelForMaskedLM if name == "masked_lm" else AutoModelForCausalLM
    again, info = kind.from_pretrained(tmp_path / "model", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert facts["params"] == sum(p.numel() for p in again.parameters()), "what was shared is counted once"
    assert again.get_output_embeddings().weight is again.get_input_embeddings().weight
    assert len(AutoTokenizer.from_pretrained(tmp_path / "model")) == len(processor(ground.task, str(ground.model)))
    saved = np.load(tmp_path / "training" / "valid.npy")
    found = forward(again, opened(ground.valid), ground.task, processor(ground.task, str(tmp_path / "model")), gang.group)
    assert found.shape == (9, 3)
    # the same weights, saved and opened again; merged adapters add in another order
    assert np.allclose(found, saved, rtol=1e-4, atol=1e-4)


def test_going_on_from_disk_is_the_same_training(ground: Any, worker: Any, tmp_path: Path) -> None:
    Train(**fields(ground, tmp_path / "whole"), until=TOTAL).perform(worker())
    for until in (reached(tmp_path / "whole")["curve"][1]["step"], TOTAL):
        Train(**fields(ground, tmp_path / "parts"), until=until).perform(worker())
    curves = [[(p["step"], p["value"], p["loss"]) for p in reached(tmp_path / name)["curve"]] for name in ("whole", "parts")]
    assert curves[0] == curves[1]


def test_the_update_does_not_depend_on_the_micro_batch(ground: Any, worker: Any, tmp_path: Path) -> None:
    for rows in (6, 2):
        given = fields(ground, tmp_path / str(rows)) | {"micro_rows": rows}
        Train(**given, until=4).perform(worker())
    losses = [[p["loss"] for p in reached(tmp_path / name)["curve"]] for name in ("6", "2")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)  # float32, added in another order


def test_the_base_is_scored_as_it_is_and_the_same_every_time(ground: Any, worker: Any, tmp_path: Path) -> None:
    found = []
    for attempt in range(2):
        torch.manual_seed(attempt)
        order = Predict(
            task=ground.task, model=ModelSource(folder=str(ground.model)), labels=(), rows=ground.valid, out=tmp_path / "out.npy"
        )
        order.perform(worker())
        found.append(np.load(tmp_path / "out.npy"))
    assert np.array_equal(*found)
    assert (found[0][:, 1] > 0).all()


def test_what_is_random_about_a_row_is_the_same_at_every_validation(ground: Any) -> None:
    rows, prepared = opened(ground.valid), processor(ground.task, str(ground.model))
    once, again = (batch_of(rows, np.arange(4), ground.task, prepared, (0, "valid")) for _ in range(2))
    assert all(torch.equal(once[name], again[name]) for name in once)


HEADS = {"masked_lm": {"classifier.weight", "classifier.bias"}, "causal_lm": {"score.weight"}}


def test_an_export_opens_as_a_classifier_that_lacks_its_head(ground: Any, worker: Any, tmp_path: Path) -> None:
    given, gang = fields(ground, tmp_path / "training"), worker()
    Train(**given, until=4).perform(gang)
    Export(**given, out=tmp_path / "model").perform(gang)
    module, missing = TextClassification().model(str(tmp_path / "model"), ["a", "b"], None)
    assert HEADS[ground.task.name()] <= set(missing)
    adapted, _ = ground.task.reopen(tmp_path / "model")
    inside, theirs = (m.base_model.state_dict() for m in (module, adapted))
    assert all(torch.equal(inside[name], value) for name, value in theirs.items())


def test_packed_texts_have_the_loss_and_the_tokens_of_texts_by_themselves(ground: Any, worker: Any, tmp_path: Path) -> None:
    """One update on all rows: the loss before it is the mean over the same tokens, whatever sequences they are in."""
    packed = streams.packed(ground.train, ground.task.max_tokens, shifted=ground.task.shifted)
    apart, together = opened(ground.train), opened(packed)
    assert len(together) < len(apart)
    assert together.column("units").sum() == apart.column("units").sum()
    assert np.array_equal(streams.tokens_in(packed), streams.tokens_in(ground.train))
    losses = {}
    for name, rows in (("apart", ground.train), ("together", packed)):
        own = fields(ground, tmp_path / name, batch=64, packing=name == "together") | {"train_rows": rows, "total": 1, "micro_rows": 64}
        losses[name] = Train(**own, until=1).perform(worker())["curve"][0]["loss"]
    assert losses["together"] == pytest.approx(losses["apart"], abs=1e-5)


def test_all_of_a_text_is_trained_on_and_scored_however_long_it_is(ground: Any, worker: Any, tmp_path: Path) -> None:
    """In pieces it has the tokens that it has as one sequence."""
    whole = ground.task.model_copy(update={"max_tokens": 64})
    function = streams.Tokenise(str(ground.model), whole, ())
    model = ModelSource(folder=str(ground.model))
    for name, rows in (("train", ground.train), ("valid", ground.valid)):
        pieces, one = opened(rows), function({"file": str(ground.model.parent / f"{name}.parquet")})
        assert (len(pieces) > one.num_rows) == (ground.task.max_tokens == 8)
        assert pieces.column("units").sum() == sum(one["units"].to_pylist())
        assert pieces.column("id")[pieces.first_N].tolist() == one["id"].to_pylist()
        Predict(task=ground.task, model=model, labels=(), rows=rows, out=tmp_path / f"{name}.npy").perform(worker())
        lost, told, size = np.load(tmp_path / f"{name}.npy").T
        assert len(lost) == len(pieces.targets(ground.task)) == one.num_rows
        if ground.task.name() == "causal_lm":
            assert told.tolist() == one["units"].to_pylist()
            assert size.tolist() == one["bytes"].to_pylist()


def test_the_pieces_of_a_text_are_in_one_fold(ground: Any) -> None:
    parts = [[set(rows.column("id")) for rows in rows_of(ground.train, ground.valid, (which, 3, 1))] for which in range(3)]
    assert all(not seen & held for seen, held in parts)
    assert sorted(row for _, held in parts for row in held) == sorted(
        {*opened(ground.train).column("id"), *opened(ground.valid).column("id")}
    )


def test_a_text_in_pieces_has_one_embedding_raw_or_prepared(ground: Any, worker: Any, tmp_path: Path) -> None:
    index = np.array([8, 0, 5])
    inputs = pq.read_table(ground.model.parent / "valid.parquet").drop(["id", "weight"]).take(index).to_pydict()
    told = {"task": ground.task, "model": ModelSource(folder=str(ground.model)), "labels": ()}
    Embed(**told, inputs=inputs, out=tmp_path / "raw.npy").perform(worker())
    EmbedRows(**told, rows=ground.valid, index=index, out=tmp_path / "prepared.npy").perform(worker())
    raw, prepared = np.load(tmp_path / "raw.npy"), np.load(tmp_path / "prepared.npy")
    assert len(raw) == 3
    assert np.allclose(raw, prepared, atol=1e-6)  # float32, padded to another length


def test_the_pieces_of_a_text_are_as_hard_as_the_text() -> None:
    ids, pieces = ["a", "a", "b", "c", "c"], [0, 1, 0, 0, 1]
    rows = streams.Rows(pa.table({"id": ids, "piece": pieces, "units": [1.0] * 5, "input_ids": [[1]] * 5}))
    train = TrainConfig(batch=5, curriculum={"use": "loss", "randomness": 0.0})
    order = batches(train, rows, 5, losses_N=np.array([3.0, 1.0, 2.0])).whole(0)
    assert [ids[i] for i in order] == ["b", "c", "c", "a", "a"]


class Chance:
    """A task whose batch is what was drawn."""

    is_drawn = True

    def drawn(self, rows: Any, generators: Any, processor: Any) -> Any:
        return [rng.random() for rng in generators]

    def collate(self, rows: Any, processor: Any) -> Any:
        return rows


def test_what_is_random_about_a_piece_is_its_own_and_of_the_first_that_of_the_text() -> None:
    split = {"id": ["a", "a", "b"], "piece": [0, 1, 0], "input_ids": [[1], [2], [3]]}
    drawn = batch_of(streams.Rows(pa.table(split)), np.arange(3), Chance(), None, (5, "rows", 2))
    assert drawn == [seeds.rng(5, "rows", 2, *name).random() for name in (("a",), ("a", 1), ("b",))]


def test_a_model_that_lets_texts_see_each_other_is_not_packed(ground: Any, worker: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("heliostat.engine.isolation.isolated", lambda module, way: False)
    with pytest.raises(UserError, match=r"train\.packing: .* lets texts in one sequence see each other"):
        Train(**fields(ground, tmp_path, packing=True), until=1).perform(worker())
