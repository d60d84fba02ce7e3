"""What a sweep ranks by: weights add up, a limit is a limit, and the front holds what nothing beats."""

import pytest

from heliostat.artifacts import Interval, ModelScores, Scores, Trial
from heliostat.core.errors import RunFailed
from heliostat.core.family import build
from heliostat.tune.weighing import Weighed, Weighing, front, weighing


def base(value=0.6):
    models = (ModelScores(name="base", stage="base", scores={"docs": {"recall_at_1": Interval(value=value, low=0, high=1)}}),)
    return Scores(fingerprint="f", path=".", models=models, suites={}, metric="accuracy")


class Suite:
    gives = ("recall_at_1", "mrr")

    def score(self, predictor, *, engine, task, seed, resamples):
        return {"recall_at_1": Interval(value=0.25, low=0, high=0)}


def test_without_objectives_the_value_is_the_metric_in_its_direction():
    assert weighing("max", [], {}, None, 1).value(0.8, {}) == 0.8
    assert weighing("min", [], {}, None, 1).value(0.8, {}) == -0.8


def test_weights_add_in_the_direction_of_each_objective():
    objectives = [build("tune.objectives", {"use": "latency", "weight": 0.01}), build("tune.objectives", "parameters")]
    told = weighing("max", objectives, {}, None, 1)
    assert told.value(0.9, {"latency": 5.0, "parameters": 22.0}) == pytest.approx(0.9 - 0.05)
    assert told.directions == {"latency": "min", "parameters": "min"}


def test_beyond_a_limit_a_trial_ranks_below_every_trial_within_and_nearer_ones_first():
    told = weighing("max", [build("tune.objectives", {"use": "latency", "limit": 10.0})], {}, None, 1)
    within, near, far = (told.value(m, {"latency": ms}) for m, ms in ((0.0, 9.9), (1.0, 11.0), (1.0, 30.0)))
    assert within > near > far
    told = weighing("min", [build("tune.objectives", {"use": "latency", "limit": 10.0})], {}, None, 1)
    assert told.value(42_000.0, {"latency": 9.9}) > told.value(40_000.0, {"latency": 10.2})


@pytest.mark.parametrize(("extra", "floor"), [({"max_drop": 0.1}, 0.5), ({"max_drop": 0.1, "limit": 0.55}, 0.55), ({"limit": 0.2}, 0.2)])
def test_a_drop_is_counted_from_the_base_and_the_stricter_limit_holds(extra, floor):
    told = weighing("max", [build("tune.objectives", {"use": "general", **extra})], {"docs": Suite()}, base(), 1)
    objective = told.objectives["docs.recall_at_1"]
    assert objective.limit == pytest.approx(floor)
    assert objective.measured.measure(type("Live", (), {"task": None})()) == 0.25


def test_a_drop_without_a_base_score_is_refused():
    with pytest.raises(RunFailed, match=r"no score for docs\.recall_at_1"):
        weighing("max", [build("tune.objectives", {"use": "general", "max_drop": 0.1})], {"docs": Suite()}, None, 1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"suite": "dogs"}, ("suite 'dogs' is not known", "Did you mean 'docs'")),
        ({"metric": "mrrr"}, ("metric 'mrrr'", "Did you mean 'mrr'")),
    ],
)
def test_a_suite_that_is_not_there_is_named(options, words):
    (said,) = build("tune.objectives", {"use": "general", **options}).lacks({"docs": Suite()})
    assert all(word in said for word in words)


def trial(number, best, latency, state="completed"):
    known = {"settings": {}, "rung": 1, "best_step": 1, "curve": (), "busy_s": 1.0}
    return Trial(number=number, state=state, best=best, value=best, objectives={"latency": latency}, **known)


def test_the_front_holds_what_no_other_trial_beats_in_everything():
    weighed = Weighing("max", {"latency": Weighed(None, "min", None, None)})
    within = [trial(0, 0.9, 9.0), trial(1, 0.8, 3.0), trial(2, 0.8, 5.0), trial(3, 0.5, 1.0), trial(5, 0.9, 9.0)]
    trials = [*within, trial(4, 0.95, 0.1, "failed")]
    assert front(trials, weighed) == (0, 5, 1, 3)
