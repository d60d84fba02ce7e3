"""Further tasks share the encoder: one loss, one state, and no trace in what is exported."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from heliostat.commands.tiny import PLAIN, THEMES
from heliostat.core import family, seeds
from heliostat.core.errors import UserError
from heliostat.engine import checkpoints, streams
from heliostat.engine.orders import ModelSource
from heliostat.tasks.base import IGNORED
from heliostat.tasks.text_classification import TextClassification
from heliostat.train.auxiliary import Auxiliary, problems, targets_of
from heliostat.train.config import TrainConfig
from heliostat.train.heads import Heads
from heliostat.train.orders import Export, Train

THEME, LENGTH = Auxiliary(column="theme", weight=0.5), Auxiliary(column="length", kind="number")
LABELS, NAMES = ("long", "short"), tuple(THEMES)


class Columns:
    """Rows with the columns that are given."""

    def __init__(self, **columns):
        self.columns = columns

    def column(self, name):
        return np.array(self.columns[name], dtype=object)


def test_classes_are_in_order_and_what_is_missing_is_ignored():
    (made,) = targets_of(Columns(theme=["b", "", "a", None, "b"]), [THEME]).values()
    assert (made.values_N.tolist(), made.outputs) == ([1, IGNORED, 0, IGNORED, 1], 2)


def test_numbers_are_in_standard_deviations():
    (made,) = targets_of(Columns(length=["1", "", "3", None, "nan"]), [LENGTH]).values()
    assert made.values_N[[0, 2]].tolist() == [-1.0, 1.0]
    assert np.isnan(made.values_N[[1, 3, 4]]).all()
    assert made.outputs == 1


@pytest.mark.parametrize(
    ("values", "kind", "words"),
    [
        (["a", "a", ""], "class", "holds 1 classes in the training rows. Allowed: 2 to 1,000"),
        ([str(i) for i in range(1001)], "class", "Set kind: number"),
        (["1", "much"], "number", "a row has 'much'. Set kind: class"),
        (["2", "2.0", ""], "number", "no two different numbers"),
    ],
)
def test_a_column_that_cannot_be_learnt_is_refused(values, kind, words):
    with pytest.raises(UserError) as caught:
        targets_of(Columns(x=values), [Auxiliary(column="x", kind=kind)])
    (problem,) = caught.value.problems
    assert problem.startswith("train.auxiliary.0: the column 'x' ")
    assert words in problem


@pytest.mark.parametrize(
    ("train", "task", "words"),
    [
        ({"auxiliary": [{"column": "thme"}]}, "text_classification", ["'thme' is not kept. Did you mean 'theme'? Add it to corpus.slices"]),
        ({"auxiliary": [{"column": "theme"}] * 2}, "text_classification", ["named twice"]),
        ({"auxiliary": [{"column": "theme"}]}, "causal_lm", ["causal_lm does not answer once for a whole text"]),
        ({"auxiliary": [{"column": "theme"}], "regularizer": "fgm"}, "text_classification", ["Use one of the two"]),
        ({"task_weights": "learned"}, "text_classification", ["nothing to weigh"]),
        ({"auxiliary": [{"column": "theme"}], "task_weights": "learned"}, "text_regression", []),
    ],
)
def test_what_does_not_go_together_is_told(train, task, words):
    found = problems(TrainConfig(**train), family.build("tasks", task), ["theme"])
    assert len(found) == len(words)
    assert all(word in problem for word, problem in zip(words, found, strict=True))


@pytest.fixture
def heads():
    """`heads(learned, squared)` on two features, and the batch of three rows, the last of which has no further target."""
    targets = targets_of(Columns(theme=["a", "b", ""], length=["1", "3", ""]), [THEME, LENGTH])

    def make(learned=False, squared=False):
        made = Heads([THEME, LENGTH], targets, 2, learned=learned, squared=squared, seed=3)
        hidden_BTD = torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(1))
        mask_BT = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]])
        made(hidden_BTD, mask_BT)
        mean_BD = torch.stack([hidden_BTD[0, :2].mean(0), hidden_BTD[1].mean(0), hidden_BTD[2, 0]])
        theme_BC, length_B = made.linear[0](mean_BD), made.linear[1](mean_BD)[:, 0]
        losses = [
            torch.nn.functional.cross_entropy(theme_BC[:2], torch.tensor([0, 1]), reduction="none"),
            (length_B[:2] - torch.tensor([-1.0, 1.0])) ** 2,
        ]
        return made, made.batch(np.arange(3)), losses

    return make


def test_fixed_weights_weigh_each_loss_and_a_row_without_a_target_has_the_main_one_only(heads):
    made, batch, (theme, length) = heads()
    joined = made.joined(torch.tensor([1.0, 2.0, 3.0]), batch)
    expected = [1.0 + 0.5 * theme[0] + length[0], 2.0 + 0.5 * theme[1] + length[1], 3.0]
    assert joined.tolist() == pytest.approx([float(torch.as_tensor(value).detach()) for value in expected], rel=1e-6)


@pytest.mark.parametrize("squared", [False, True])
def test_learned_weights_follow_kendall(heads, squared):
    made, batch, (theme, length) = heads(learned=True, squared=squared)
    variances = [0.3, -0.2, 0.7]
    with torch.no_grad():
        made.log_variances.copy_(torch.tensor(variances))
    made(torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(1)), torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]]))
    joined = made.joined(torch.tensor([1.0, 2.0, 3.0]), batch)
    main = [(0.5 if squared else 1.0) * math.exp(-0.3) * loss + 0.15 for loss in (1.0, 2.0, 3.0)]
    beside = [0.5 * (math.exp(0.2) * theme[i].item() - 0.1) + 0.5 * math.exp(-0.7) * length[i].item() + 0.35 for i in (0, 1)]
    assert joined.tolist() == pytest.approx([main[0] + beside[0], main[1] + beside[1], main[2]], rel=1e-6)
    joined.sum().backward()
    assert made.log_variances.grad.abs().min() > 0


@pytest.fixture(scope="module")
def place(ground, tmp_path_factory):
    """Texts of three themes, to be told by whether they are long; theme and length stay with the rows, one in five without them."""
    folder, task = tmp_path_factory.mktemp("auxiliary"), TextClassification(max_tokens=16)

    def prepared(name, rows):
        rng = seeds.rng(2, "test", name)
        sizes = [int(rng.choice([2, 3, 8, 9])) for _ in range(rows)]
        themes = [NAMES[i % 3] for i in range(rows)]
        texts = [" ".join([rng.choice(THEMES[t]), *rng.choice(PLAIN, size)]) for t, size in zip(themes, sizes, strict=True)]
        columns = {"id": [f"{name}-{i}" for i in range(rows)], "text": texts, "label": ["long" if s > 5 else "short" for s in sizes]}
        columns |= {
            "theme": [t if i % 5 else "" for i, t in enumerate(themes)],
            "length": [str(s) if i % 5 else "" for i, s in enumerate(sizes)],
        }
        columns |= {"weight": pa.array(np.ones(rows, np.float32))}
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
        function = streams.Tokenise(str(ground.model), task, LABELS, ("theme", "length"))
        files = [folder / f"{name}.parquet"]
        return streams.prepare(folder / "rows", files, function, identity=name, map_pieces=lambda pieces, work: map(work, pieces))

    return SimpleNamespace(task=task, train=prepared("train", 36), valid=prepared("valid", 9))


def fields(ground, place, folder, **train):
    config = {"batch": 6, "optimizer": {"use": "adamw", "lr": 5e-3}, "validate_every": 1.0, "dropout": 0.0, **train}
    config = {"auxiliary": [THEME.dump(), LENGTH.dump()], "task_weights": "learned", **config}
    given = {"task": place.task, "key": "test", "folder": folder, "model": ModelSource(folder=str(ground.model)), "labels": LABELS}
    given |= {"train": TrainConfig(**config), "train_rows": place.train, "valid_rows": place.valid, "seed": 5, "total": 48}
    return given | {"metric": "log_loss", "micro_rows": 6}


def curve(folder):
    return [point["loss"] for point in json.loads((folder / "result.json").read_text())["curve"]]


def test_all_tasks_are_learnt_and_a_resume_equals_never_having_stopped(ground, place, worker, tmp_path):
    whole, halted = (fields(ground, place, tmp_path / name) for name in ("whole", "halted"))
    Train(**whole, until=48, resumable=False).perform(worker())
    Train(**halted, until=20).perform(worker())
    Train(**halted, until=48, resumable=False).perform(worker())
    assert curve(whole["folder"])[-1] == curve(halted["folder"])[-1] < 0.5 * curve(whole["folder"])[0]
    one, other = (checkpoints.weights(checkpoints.latest(tmp_path / name / "best")) for name in ("whole", "halted"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert one["auxiliary.linear.0.weight"].shape == (3, 32)
    assert (one["auxiliary.log_variances"] != 0).all()


def test_the_passes_of_an_update_change_nothing(ground, place, worker, tmp_path):
    for rows in (6, 2):
        given = fields(ground, place, tmp_path / str(rows)) | {"micro_rows": rows}
        Train(**given, until=12, resumable=False).perform(worker())
    assert curve(tmp_path / "6") == pytest.approx(curve(tmp_path / "2"), rel=1e-4)  # float32 sums in another order, over 12 updates


def test_what_is_exported_is_the_main_task_alone(ground, place, worker, tmp_path):
    from transformers import AutoModelForSequenceClassification

    given = fields(ground, place, tmp_path / "training")
    gang = worker()
    Train(**given, until=12, resumable=False).perform(gang)
    Export(**given, out=tmp_path / "model").perform(gang)
    opened, told = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model", output_loading_info=True)
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]
    assert opened.config.id2label == dict(enumerate(LABELS))
    assert not any("auxiliary" in name for name in opened.state_dict())


def test_adapters_leave_room_for_heads(ground, place, worker, tmp_path):
    given = fields(ground, place, tmp_path / "training", adapter={"use": "lora", "r": 2}, head_lr=1e-2)
    gang = worker()
    Train(**given, until=12, resumable=False).perform(gang)
    held = checkpoints.weights(checkpoints.latest(tmp_path / "training/best"))
    assert {"auxiliary.linear.1.bias"} <= held.keys()
    assert any("lora_A" in name for name in held)
    Export(**given, out=tmp_path / "model").perform(gang)
    assert (tmp_path / "model/model.safetensors").exists()
