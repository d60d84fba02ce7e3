"""The sections that show a sweep: who won, what is drawn of many trials, what is said in words."""

from __future__ import annotations

import dataclasses
import re
from itertools import pairwise

import pytest

from heliostat.artifacts import Curve, Spent
from heliostat.report.axes import Axis
from heliostat.report.parallel import Row, Thread, parallel
from heliostat.report.sections.confirmation import Confirmation, verdict
from heliostat.report.sections.expectation import Expectation, quantities, said
from heliostat.report.sections.front import Front, corner
from heliostat.report.sections.importance import Importance
from heliostat.report.sections.settings import Settings, colour
from heliostat.report.sections.sweep import MAX_CURVES, MAX_STEPS, Sweep, epochs_spent, lengths, thinned
from heliostat.report.sections.trials import MAX_ROWS, Trials, causes
from heliostat.report.trials import is_logarithmic, ranked, readable, ruler, sample, tail, varied, winner


@pytest.fixture(scope="module")
def many(sample, tmp_path_factory):
    return sample.many(tmp_path_factory.mktemp("many"))


@pytest.fixture(scope="module")
def crowd(sample, many, tmp_path_factory):
    return dataclasses.replace(many, sweep=sample.wide(tmp_path_factory.mktemp("crowd"), 400))


def plain(html: str) -> str:
    """With spaces that may break."""
    return html.replace("\xa0", " ")


def test_epochs_saved_by_stopping(full):
    assert epochs_spent(full.sweep, full) == (12.5, 24.0)


def test_epochs_saved_where_trials_differ_in_length(full):
    trials = [t.model_copy(update={"settings": {**t.settings, "train.epochs": 1 + t.number % 3}}) for t in full.sweep.trials]
    sweep = full.sweep.model_copy(update={"trials": tuple(trials)})
    assert epochs_spent(sweep, full) == (12.5, float(sum(1 + t.number % 3 for t in trials)))


def test_log_scale_is_seen_in_the_values_or_read_from_the_config(full):
    assert is_logarithmic([1e-5, 3e-5, 1e-4, 1e-3])
    assert not is_logarithmic([0.01, 0.3, 0.5, 0.7, 0.99])
    assert not is_logarithmic([0.0, 0.1, 10.0])
    decay = "train.optimizer.weight_decay"
    assert not ruler(decay, full).axis.log
    asked = dataclasses.replace(full)
    asked.__dict__["run"] = {"config": {"tune": {"space": {"train.optimizer.lr": {"uniform": [0, 1]}}}}}
    assert ruler("train.optimizer.lr", full).axis.log
    assert not ruler("train.optimizer.lr", asked).axis.log


def test_ranks_go_by_what_the_sweep_ranked_and_failed_trials_have_none(full):
    assert [t.number for t in ranked(full.sweep)][:3] == [6, 2, 5]
    assert 3 not in [t.number for t in ranked(full.sweep)]
    weighed = [t.model_copy(update={"value": -(t.best or 9)}) for t in full.sweep.trials]
    assert ranked(full.sweep.model_copy(update={"trials": tuple(weighed)}))[0].number == 7
    smallest = full.sweep.model_copy(
        update={"mode": "min", "trials": tuple(t.model_copy(update={"value": None}) for t in full.sweep.trials)}
    )
    assert ranked(smallest)[0].number == 7


def test_the_winner_is_the_confirmed_one(full):
    assert winner(full.sweep).number == 6
    other = full.sweep.confirmation.model_copy(update={"finalists": full.sweep.confirmation.finalists[::-1]})
    assert winner(full.sweep.model_copy(update={"confirmation": other})).number == 2
    assert winner(full.sweep.model_copy(update={"confirmation": None, "finalists": full.sweep.finalists[1:]})).number == 2
    assert winner(full.sweep.model_copy(update={"confirmation": None, "finalists": ()})).number == 6


def test_a_sample_has_the_best_and_reaches_to_the_last():
    some = sample(list(range(1000)), 100)  # type: ignore[arg-type]
    assert len(some) == len(set(some)) == 100
    assert some[:20] == list(range(20))
    assert some[-1] == 999
    assert sample([1, 2, 3], 100) == [1, 2, 3]  # type: ignore[list-item]


def test_long_curves_are_thinned_to_their_ends():
    curve = tuple(Curve(step=i, epoch=i / 10, value=0.5, loss=None) for i in range(1000))
    few = thinned(curve)
    assert len(few) == MAX_STEPS
    assert (few[0].step, few[-1].step) == (0, 999)


def test_an_axis_leaves_out_what_would_press_the_rest_flat():
    values = [0.9 + i / 1000 for i in range(95)] + [0.1] * 5
    assert readable(values, mode="max", many=True)[0] > 0.85
    assert readable(values, mode="max", many=False)[0] == 0.1
    assert readable([-v for v in values], mode="min", many=True)[1] < -0.85


def test_names_are_as_short_as_they_can_be_told_apart():
    paths = ["train.optimizer.lr", "train.head.lr", "train.batch"]
    assert [tail(p, paths) for p in paths] == ["optimizer.lr", "head.lr", "batch"]


def test_settings_that_never_varied_are_not_drawn(full):
    trials = tuple(t.model_copy(update={"settings": {**t.settings, "train.batch": 8}}) for t in full.sweep.trials)
    assert varied(full.sweep.model_copy(update={"trials": trials})) == [
        "train.optimizer.lr",
        "train.schedule",
        "train.optimizer.weight_decay",
    ]


def test_rungs_are_marked_and_the_curves_of_other_lengths_are_shares(full):
    html = Sweep().render(full)
    assert html.count('class="reference"') == 3
    assert ">rung 3<" in html
    trials = tuple(t.model_copy(update={"settings": {"train.epochs": 3 + t.number}}) for t in full.sweep.trials)
    mixed = dataclasses.replace(full, sweep=full.sweep.model_copy(update={"trials": trials}))
    assert lengths(mixed.sweep, mixed)[2] == 5.0
    assert "share of the training" in Sweep().render(mixed)


def test_hundreds_of_trials_stay_light(crowd):
    html = Sweep().render(crowd)
    curves = html.count("<polyline")
    assert MAX_CURVES // 2 < curves <= MAX_CURVES + 1
    assert "trials are drawn" in html
    assert len(html) < 250_000
    assert len(Settings().render(crowd)) < 250_000
    assert len(re.findall("<tr", Trials().render(crowd))) < MAX_ROWS + 20
    assert "--json has all" in Trials().render(crowd)


def test_importance_is_told_and_drawn_in_its_order(many):
    html = Importance().render(many)
    assert "train.optimizer.lr decided most: 52" in html
    bars = re.findall(r'class="name">([^<]*)</text>', html.split("</figure>")[0])
    assert bars == ["lr", "optimizer", "batch", "momentum", "schedule", "dropout", "freeze"]
    few = dataclasses.replace(many, sweep=many.sweep.model_copy(update={"importance": {}}))
    assert "Too few trials" in Importance().render(few)


def test_parallel_coordinates_place_what_is_not_there(many):
    html = Settings().render(many)
    assert ">not there<" in html
    assert ">no result<" in html
    assert html.count('class="thread strong"') == 1
    rows = [Row(Axis("a", log=True), (1e-5, 1e-2)), Row(Axis("b", names=("x", "y")), (0, 1)), Row(Axis("c"), (0.5, 0.5))]
    chart = parallel(rows, [Thread((1e-3, 1.0, 0.5), "red", "t"), Thread((1e-4, None, None), "blue", "u")], title="t")
    assert chart.count("<path") == 2
    ends = [Row(Axis("a"), (0.902, 0.971)), Row(Axis("b", log=True), (1e-5, 1e-2))]
    assert 'd="M14.0' in parallel(ends, [Thread((0.902, 1e-5), "red", "t")], title="t"), "the ends of a row are the ends of its axis"
    assert chart.count("not there") == 2


def test_colours_go_from_the_sun_to_grey():
    assert colour(0.0) == "color-mix(in oklab, var(--ship) 100%, var(--m1))"
    assert colour(1.0) == "color-mix(in oklab, var(--m1) 0%, var(--faint))"


def test_the_front_of_two_is_joined(many):
    able = [t for t in many.sweep.trials if t.state != "failed"]
    found = corner(able, "latency_ms", metric="max", objective="min")
    assert all(a[0] > b[0] and a[1] > b[1] for a, b in pairwise(found))
    for x, y in found:
        assert not any(t.objectives["latency_ms"] <= x and t.best > y for t in able)
    html = Front().render(many)
    assert html.count('class="curve joined"') == 2
    assert f"On the front: {len(many.sweep.front)} trials of 60." in plain(html)


def test_what_is_not_significant_is_said(sample, full):
    html = Confirmation().render(full)
    assert "Not significant: trial 6 is ahead of trial 2" in html
    sure = sample.confirmation({6: (0.97, 0.98), 2: (0.9, 0.91)}, p_value=0.01)
    assert verdict(sure, "accuracy").startswith(
        "Trial 6 is significantly better than trial 2: accuracy 0.975 against 0.905 over 2 seeds, p = 0.010"
    )
    alone = sample.confirmation({6: (0.97, 0.98)}, p_value=None)
    assert "no second finalist" in verdict(alone, "accuracy")
    unknown = sample.confirmation({6: (0.97,), 2: (0.9,)}, p_value=None)
    assert "cannot be said" in verdict(unknown, "accuracy")
    first, second = unknown.finalists
    beyond = [one.model_copy(update={"objectives": {"latency": ms}, "within": False}) for one, ms in ((first, 12.0), (second, 9.0))]
    within = first.model_copy(update={"objectives": {"latency": 5.0}})
    told = verdict(unknown.model_copy(update={"finalists": (within, beyond[1])}), "accuracy")
    assert told.startswith("Trial 6 is the best one within the limits of tune.objectives; trial 2 is beyond them (accuracy 0.970")
    assert "latency" in told
    assert "No finalist is within" in verdict(unknown.model_copy(update={"finalists": tuple(beyond)}), "accuracy")


def test_expected_against_spent(full):
    before = Spent(jobs=(8, 2), trainings=4.0, wall_s=100.0, checkpoint_bytes=None, cost=None)
    assert said(before, before.model_copy(update={"wall_s": 110.0})).startswith("It came true: 1 min 40 s were expected and 1 min 50 s")
    assert said(before, before.model_copy(update={"wall_s": 50.0})).startswith("It took less")
    unknown = before.model_copy(update={"wall_s": None})
    assert said(unknown, unknown.model_copy(update={"trainings": 8.0})).startswith("It took more: the work of 4.0 whole trainings")
    assert [row[0] for row in quantities(before, before)] == ["jobs", "whole trainings", "wall time"]
    assert "largest disk use" in Expectation().render(full)


def test_failures_are_grouped_by_cause(many):
    failed = [t for t in many.sweep.trials if t.state == "failed"]
    found = causes(failed)
    assert [len(numbers) for _, numbers in found] == sorted((len(n) for _, n in found), reverse=True)
    assert sum(len(numbers) for _, numbers in found) == len(failed)
    assert f"{len(failed)} trials failed, for {len(found)} causes" in plain(Trials().render(many))
