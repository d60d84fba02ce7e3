"""Objectives that do not train on classes, by hand."""

import math

import pytest
import torch

from heliostat.core.family import build

LOGITS = torch.tensor([[1.5, -0.5, 0.0], [-3.0, 2.0, 40.0]])
NAMES = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])


def loss_of(name, logits, labels, **options):
    return build("train.objectives", {"use": name, **options}).per_unit({"logits": logits, "labels": labels})


@pytest.mark.parametrize("weight", [1.0, 4.0])
def test_binary_cross_entropy_is_the_mean_over_names(weight):
    expected = []
    for logits, names in zip(LOGITS.tolist(), NAMES.tolist(), strict=True):
        terms = [weight * math.log1p(math.exp(-z)) if has else math.log1p(math.exp(z)) for z, has in zip(logits, names, strict=True)]
        expected.append(sum(terms) / len(terms))
    found = loss_of("binary_cross_entropy", LOGITS, NAMES, positive_weight=weight)
    assert found.tolist() == pytest.approx(expected, rel=1e-6)  # float32 against float64


ERRORS = torch.tensor([[0.0], [0.25], [-1.5], [30.0]])
TARGETS = torch.tensor([0.0, 0.5, 1.5, -10.0])  # off by 0, -0.25, -3 and 40


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"name": "mean_squared_error"}, [0.0, 0.0625, 9.0, 1600.0]),
        ({"name": "mean_absolute_error"}, [0.0, 0.25, 3.0, 40.0]),
        ({"name": "huber"}, [0.0, 0.03125, 2.5, 39.5]),
        ({"name": "huber", "delta": 2.0}, [0.0, 0.03125, 4.0, 78.0]),
    ],
)
def test_errors_of_numbers(spec, expected):
    assert loss_of(logits=ERRORS, labels=TARGETS, **spec).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("name", ["binary_cross_entropy", "mean_squared_error", "mean_absolute_error", "huber"])
def test_half_precision_logits_are_counted_in_float32(name):
    logits, labels = (LOGITS, NAMES) if name.startswith("binary") else (ERRORS, TARGETS)
    found = loss_of(name, logits.to(torch.bfloat16).requires_grad_(), labels)
    assert found.dtype == torch.float32
    assert torch.equal(found, loss_of(name, logits.to(torch.bfloat16).float(), labels))
