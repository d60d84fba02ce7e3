"""What every suite promises, found by itself in the family."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from heliostat.core import family, seeds
from heliostat.tasks.text_classification import TextClassification

WORDS = 60


class Words:
    """An engine whose embeddings are counts of hashed words plus noise that grows as a model is worse."""

    def embed(self, predictor, texts, *, task):
        vectors = np.zeros((len(texts), WORDS), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().split():
                vectors[row, seeds.derive(0, word) % WORDS] += 1
        vectors += predictor.noise * seeds.rng(1, "test", texts[0]).normal(size=vectors.shape)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def labelled(tmp_path):
    rng = seeds.rng(2, "test", "suites")
    lines = []
    for row in range(120):
        words = [f"word{rng.integers(0, 30) + 30 * (row % 2)}" for _ in range(6)]
        lines.append(
            json.dumps({"text": " ".join(words), "label": "ab"[row % 2], "query": words[0], "passage": " ".join(words) + f" {row}"})
        )
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    return str(tmp_path / "rows.jsonl")


@pytest.fixture(params=family.names("evaluate.suites"))
def suite(request, labelled):
    required = {"probe": {"source": {"use": "jsonl", "paths": [labelled]}}}
    kind = family.find("evaluate.suites", request.param)
    needs = [name for name, field in kind.model_fields.items() if field.is_required()]
    assert set(needs) <= set(required.get(request.param, {})), "every option has a default, or its value is given above"
    return family.build("evaluate.suites", {"use": request.param, **required.get(request.param, {})})


def measured(suite, noise=0.1, seed=7):
    return suite.score(SimpleNamespace(noise=noise), engine=Words(), task=TextClassification(), seed=seed, resamples=200)


def test_values_lie_inside_their_intervals_and_between_0_and_1(suite):
    scores = measured(suite)
    assert set(scores) == set(suite.gives), "a gate on a metric it does not give is refused before anything starts"
    for interval in scores.values():
        assert 0 <= interval.low <= interval.value <= interval.high <= 1


def test_larger_is_better_in_every_metric(suite):
    good, poor = measured(suite, noise=0.01), measured(suite, noise=50.0)
    assert all(good[name].value > poor[name].value for name in good)


def test_the_same_seed_gives_the_same_scores(suite):
    assert measured(suite) == measured(suite)


def test_it_says_in_one_sentence_what_it_measures(suite):
    said = suite.describe()
    assert said.endswith(".")
    assert "\n" not in said
    assert any(c.isdigit() for c in said)


def test_a_usable_suite_has_no_problems_and_survives_a_round_trip(suite):
    assert suite.problems() == []
    again = family.build("evaluate.suites", family.dump(suite))
    assert again.identity() == suite.identity()
    assert json.dumps(again.identity())
