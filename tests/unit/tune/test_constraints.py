"""Conditions between searched values: what can be written, what is refused, and what they say of settings."""

import pytest

from heliostat.core.errors import UserError
from heliostat.tune.constraints import parse_constraint

PATHS = ["train.batch", "train.epochs", "train.optimizer", "train.optimizer.lr", "train.data.sources.0.weight", "clip"]
SETTINGS = {
    "train.batch": 16,
    "train.epochs": 3,
    "train.optimizer": {"use": "adamw", "decay": 0.1},
    "train.optimizer.lr": 2e-5,
    "clip": None,
}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("train.batch * train.epochs <= 48", True),
        ("train.batch * train.epochs < 48", False),
        ("train.optimizer.lr < 1e-4", True),
        ("train.optimizer.lr >= 3e-05", False),
        ("10 < train.batch <= 16", True),
        ("10 < train.batch < 16", False),
        ("train.batch == 8 or train.epochs == 3", True),
        ("not (train.batch == 16 and train.epochs == 3)", False),
        ("train.batch // 5 == 3 and train.batch % 5 == 1 and train.batch / 4 == +4 and -train.batch + 1 == -15", True),
        ("train.batch ** 2 == 256", True),
        ("train.optimizer == 'adamw'", True),
        ('train.optimizer != "adamw"', False),
        ("clip == None or clip < 2", True),
    ],
)
def test_an_expression_is_worked_out(text, holds):
    assert parse_constraint(text, PATHS).holds(SETTINGS) is holds


def test_a_path_in_quotes_is_a_text():
    assert not parse_constraint("train.batch == 'train.batch'", PATHS).holds(SETTINGS)


def test_where_a_path_does_not_exist_nothing_is_said():
    constraint = parse_constraint("train.batch > 100 and train.data.sources.0.weight > 1", PATHS)
    assert constraint.holds(SETTINGS)
    assert not constraint.holds({**SETTINGS, "train.data.sources.0.weight": 2})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train.bath < 3", "Did you mean 'train.batch'"),
        ("1 < 2", "names no searched path"),
        ("train.batch < ", "cannot be read"),
        ("train.batch = 4", "cannot be read"),
        ("abs(train.batch) < 3", "'abs' is not known"),
        ("(lambda: train.batch)() < 3", "lambda"),
        ("[train.batch] == 3", "is not allowed"),
        ("train.batch in (1, 2)", "'in' is not known"),
        ("train.batch if train.epochs else 3", "'if' is not known"),
        ("train.batch.real < 3", "'train.batch.real' is not known"),
        ("train.batch << 3", "is not allowed"),
    ],
)
def test_what_cannot_be_written_is_refused_by_name(text, said):
    with pytest.raises(UserError, match="constraint") as caught:
        parse_constraint(text, PATHS)
    assert said in str(caught.value)
    assert text in str(caught.value)


@pytest.mark.parametrize("text", ["clip < 2", "1 / (train.batch - 16) > 0", "train.batch ** 1e9 > 1.5 ** 1e9", "'a' < train.batch"])
def test_values_that_cannot_be_worked_out_are_told_with_their_paths(text):
    with pytest.raises(UserError, match=r"tune\.constraints\.0: .* cannot be worked out for"):
        parse_constraint(text, PATHS).holds({**SETTINGS, "train.batch": 16.0} if "1e9" in text else SETTINGS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("clip < 2", "None is no value and 2 is a number; .* `path == None or path < 2`"),
        ("'a' < train.batch", "'a' is a text and 16 is a number; numbers go with numbers"),
        ("train.optimizer * train.optimizer == 1", "'adamw' is a text and 'adamw' is a text"),
        ("-train.optimizer == 1", "'adamw' is a text; "),
        ("train.optimizer + 1 == 2", "'adamw' is a text and 1 is a number"),
    ],
)
def test_values_of_kinds_that_do_not_go_together_are_told_in_our_words(text, said):
    with pytest.raises(UserError, match=said) as caught:
        parse_constraint(text, PATHS, 4).holds(SETTINGS)
    assert caught.value.problems[0].startswith(f"tune.constraints.4: '{text}'")
