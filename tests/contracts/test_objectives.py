"""What every objective promises, found by itself in the family; and the formulas of those that ship, by hand.

Those that train on classes are tried on logits of four classes here; the others in tests/unit/train/test_objectives.py.
"""

import math

import pytest
import torch

from heliostat.core import family, seeds

ROWS, LABELS = 6, 4


@pytest.fixture(params=[name for name in family.names("train.objectives") if "labels" in family.find("train.objectives", name).takes])
def objective(request):
    return family.build("train.objectives", request.param)


def loss_of(objective, logits, batch):
    return objective.per_unit({**batch, "logits": logits})


def drawn(name, scale=2.0):
    return torch.from_numpy(scale * seeds.rng(2, "test", "objectives", name).normal(size=(ROWS, LABELS))).float()


@pytest.fixture
def batch():
    labels = torch.tensor([0, 1, 2, 3, 1, 2])
    # a teacher that is mostly right
    return {"labels": labels, "teacher": torch.log_softmax(drawn("teacher", 0.5) + 3 * torch.nn.functional.one_hot(labels, LABELS), -1)}


@pytest.mark.parametrize("name", family.names("train.objectives"))
def test_it_says_which_tasks_it_trains(name):
    takes = family.find("train.objectives", name).takes
    assert isinstance(takes, tuple)
    assert set(takes) & {family.find("tasks", task).answers_are for task in family.names("tasks")}


def test_one_finite_loss_per_row(objective, batch):
    losses = loss_of(objective, drawn("student"), batch)
    assert losses.shape == (ROWS,)
    assert torch.isfinite(losses).all()
    assert (losses >= 0).all()


def test_a_row_depends_on_itself_alone(objective, batch):
    logits = drawn("student")
    alone = [loss_of(objective, logits[i : i + 1], {k: v[i : i + 1] for k, v in batch.items()})[0] for i in range(ROWS)]
    # the same float32 arithmetic on other shapes may be vectorised otherwise
    assert loss_of(objective, logits, batch).tolist() == pytest.approx([float(loss) for loss in alone], rel=1e-6)


def test_a_gradient_reaches_every_logit(objective, batch):
    logits = drawn("student").requires_grad_()
    loss_of(objective, logits, batch).sum().backward()
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad != 0).all()


def test_the_likelier_the_right_class_the_lower_the_loss(objective, batch):
    right = torch.nn.functional.one_hot(batch["labels"], LABELS).float()
    losses = [loss_of(objective, scale * right, batch) for scale in (-2.0, 0.0, 2.0)]
    assert (losses[0] > losses[1]).all()
    assert (losses[1] > losses[2]).all()


def test_adding_the_same_to_every_logit_changes_nothing(objective, batch):
    logits = drawn("student")
    # float32 logits near 100 have steps of 8e-6
    assert loss_of(objective, logits + 100, batch).tolist() == pytest.approx(loss_of(objective, logits, batch).tolist(), abs=2e-4)


def test_half_precision_logits_are_counted_in_float32(objective, batch):
    logits = drawn("student").to(torch.bfloat16)
    assert torch.equal(loss_of(objective, logits, batch), loss_of(objective, logits.float(), batch))


def probabilities(row, temperature=1.0):
    exps = [math.exp(z / temperature) for z in row]
    return [e / sum(exps) for e in exps]


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_by_hand(batch, smoothing):
    objective = family.build("train.objectives", {"use": "cross_entropy", "label_smoothing": smoothing})
    logits = drawn("student")
    expected = []
    for row, label in zip(logits.tolist(), batch["labels"].tolist(), strict=True):
        logs = [math.log(p) for p in probabilities(row)]
        expected.append(-(1 - smoothing) * logs[label] - smoothing * sum(logs) / LABELS)
    assert loss_of(objective, logits, batch).tolist() == pytest.approx(expected, rel=1e-5)  # float32 against float64


@pytest.mark.parametrize(("temperature", "hard"), [(1.0, 0.0), (2.0, 0.3), (4.0, 0.0), (3.0, 1.0)])
def test_distillation_by_hand(batch, temperature, hard):
    objective = family.build("train.objectives", {"use": "distillation", "temperature": temperature, "hard": hard})
    logits = drawn("student")
    expected = []
    for row, teacher, label in zip(logits.tolist(), batch["teacher"].tolist(), batch["labels"].tolist(), strict=True):
        p, q = probabilities(teacher, temperature), probabilities(row, temperature)
        soft = temperature**2 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
        expected.append(hard * -math.log(probabilities(row)[label]) + (1 - hard) * soft)
    assert loss_of(objective, logits, batch).tolist() == pytest.approx(expected, rel=1e-4)  # float32; the divergence subtracts near values


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_a_student_that_equals_its_teacher_has_nowhere_to_go(batch, temperature):
    objective = family.build("train.objectives", {"use": "distillation", "temperature": temperature, "hard": 0.0})
    logits = (batch["teacher"] + 3.0).requires_grad_()  # equal up to a constant
    losses = loss_of(objective, logits, batch)
    losses.sum().backward()
    assert losses.tolist() == pytest.approx([0.0] * ROWS, abs=1e-5)  # float32, times the temperature's square
    assert logits.grad.abs().max() < 1e-5


def test_the_gradient_of_distillation_keeps_its_size_at_any_temperature(batch):
    """Hinton et al. scale by the square: for a hot temperature it tends to (z - v) / labels for centred logits."""
    logits = drawn("student").requires_grad_()
    family.build("train.objectives", {"use": "distillation", "temperature": 100.0, "hard": 0.0}).per_unit(
        {**batch, "logits": logits}
    ).sum().backward()
    centred = lambda z: z - z.mean(-1, keepdim=True)  # noqa: E731
    limit = centred(logits.detach() - batch["teacher"]) / LABELS
    assert torch.allclose(logits.grad, limit, atol=0.05)  # the next term is of the order of z * z / temperature


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.5])
def test_focal_by_hand(batch, gamma):
    objective = family.build("train.objectives", {"use": "focal", "gamma": gamma})
    logits = drawn("student")
    right = [probabilities(row)[label] for row, label in zip(logits.tolist(), batch["labels"].tolist(), strict=True)]
    expected = [-((1 - p) ** gamma) * math.log(p) for p in right]
    assert loss_of(objective, logits, batch).tolist() == pytest.approx(expected, rel=1e-4)  # float32


@pytest.mark.parametrize("use", ["cross_entropy", "focal"])
def test_balanced_classes_count_the_same_and_weigh_one_on_average(use, batch):
    rows = torch.tensor([6.0, 2.0, 0.0, 4.0])
    facts = {**batch, "class_rows": rows, "names": ("a", "b", "c", "d")}
    plain = loss_of(family.build("train.objectives", use), drawn("student"), facts)
    balanced = loss_of(family.build("train.objectives", {"use": use, "class_weights": "balanced"}), drawn("student"), facts)
    weights = {0: 12 / (3 * 6), 1: 12 / (3 * 2), 2: 0.0, 3: 12 / (3 * 4)}
    assert sum(weights[i] * n for i, n in enumerate(rows.tolist())) == pytest.approx(12)
    expected = [loss * weights[label] for loss, label in zip(plain.tolist(), batch["labels"].tolist(), strict=True)]
    assert balanced.tolist() == pytest.approx(expected, rel=1e-6)  # float32


def test_named_weights_and_names_that_are_no_class(batch):
    objective = family.build("train.objectives", {"use": "cross_entropy", "class_weights": {"b": 3.0, "d": 0.5}})
    names = ("a", "b", "c", "d")
    plain = loss_of(family.build("train.objectives", "cross_entropy"), drawn("student"), batch)
    expected = [loss * (1, 3, 1, 0.5)[label] for loss, label in zip(plain.tolist(), batch["labels"].tolist(), strict=True)]
    assert loss_of(objective, drawn("student"), {**batch, "names": names}).tolist() == pytest.approx(expected, rel=1e-6)
    assert objective.problems(names) == []
    (problem,) = objective.problems(("a", "bb", "d"))
    assert problem.startswith("class_weights: ")
    assert "'b'" in problem


@pytest.mark.parametrize("use", ["cross_entropy", "focal"])
@pytest.mark.parametrize("weights", ["balanced", {"b": 3.0}])
def test_classes_are_weighed_only_where_there_are_some(use, weights):
    weighed = family.build("train.objectives", {"use": use, "class_weights": weights})
    for task in ("text_classification", "token_classification"):
        assert weighed.lacks(family.build("tasks", task)) == []
    for task in ("causal_lm", "masked_lm", "seq2seq"):
        (problem,) = weighed.lacks(family.build("tasks", task))
        assert problem.startswith(f"class_weights: {task} answers with likelihood")
        assert family.build("train.objectives", use).lacks(family.build("tasks", task)) == []
