"""Metrics of likelihood, by hand."""

import math

import numpy as np
import pytest

from heliostat.core import family, seeds
from heliostat.metrics._intervals import bootstrap

ANSWERS = np.array([[6.0, 3.0, 12.0], [2.0, 1.0, 8.0], [0.0, 0.0, 0.0]])
"""Two rows with tokens, and one that has none."""


def value(name, answers=ANSWERS):
    return family.build("metrics", name).value(answers, np.zeros(len(answers)))


def test_every_token_counts_the_same_whatever_row_it_is_in():
    assert value("token_loss") == pytest.approx(8 / 4)
    assert value("perplexity") == pytest.approx(math.exp(2))
    assert value("bits_per_byte") == pytest.approx(8 / math.log(2) / 20)


def test_a_uniform_guess_has_as_many_choices_as_words():
    words = 50
    assert value("perplexity", np.array([[7 * math.log(words), 7, 30]])) == pytest.approx(words)


@pytest.mark.parametrize("name", ["token_loss", "perplexity", "bits_per_byte"])
def test_rows_without_tokens_define_nothing(name):
    assert math.isnan(value(name, ANSWERS[2:]))
    metric = family.build("metrics", name)
    assert not metric.is_defined(ANSWERS[2:], np.zeros(1))
    assert metric.is_defined(ANSWERS, np.zeros(3))


def test_bytes_that_are_not_told_give_no_bits_per_byte():
    assert math.isnan(value("bits_per_byte", ANSWERS[:, :2]))
    assert value("token_loss", ANSWERS[:, :2]) == value("token_loss")


def test_a_surprise_beyond_numbers_never_wins():
    metric = family.build("metrics", "perplexity")
    assert metric.merit(value("perplexity", np.array([[1e6, 1, 1]]))) == -math.inf


def test_an_interval_holds_the_value():
    rng = seeds.rng(1, "test", "likelihood")
    tokens_N = rng.integers(5, 60, 200)
    answers = np.stack([rng.uniform(1, 4, 200) * tokens_N, tokens_N, 4 * tokens_N], 1)
    names = ("token_loss", "perplexity", "bits_per_byte")
    found = bootstrap({name: family.build("metrics", name) for name in names}, answers, np.zeros(200), seed=1, resamples=500)
    for name in names:
        assert found[name].low < found[name].value < found[name].high
    spread = found["token_loss"].high - found["token_loss"].low
    assert 0.02 < spread < 0.5  # the mean of 200 rows of uniform(1, 4) has a standard deviation of about 0.07
