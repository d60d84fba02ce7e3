"""What a sweep tells of itself: how long it is, how its trials ended, which are its finalists."""

from types import SimpleNamespace

import pytest

from heliostat.artifacts import Corpus
from heliostat.core.errors import RunFailed, UserError
from heliostat.core.layout import Layout
from heliostat.core.manifest import write_json
from heliostat.core.progress import Progress
from heliostat.engine import checkpoints, trials
from heliostat.engine.orders import ModelSource, Reply
from heliostat.tasks.config import ModelConfig
from heliostat.tasks.text_classification import TextClassification
from heliostat.train.config import TrainConfig
from heliostat.tune import finalists, running, stage
from heliostat.tune.config import Confirm, TuneConfig
from heliostat.tune.finalists import Measured, concluded
from heliostat.tune.running import Ground, Running
from heliostat.tune.schedulers.base import Job
from heliostat.tune.trial import Sections


class Told(Progress):
    def __init__(self):
        self.trials, self.notes, self.messages, self.before = [], [], [], []

    def earlier(self, trials):
        self.before.extend(trials)

    def message(self, text):
        self.messages.append(text)

    def trial(self, number, state, info):
        self.trials.append((number, state, info))

    def update(self, name, done, total, unit, note=""):
        self.notes.append((done, total, note))


@pytest.fixture
def sweeping(tmp_path, monkeypatch):
    """`sweeping(**config)` is a sweep whose trainings have 16 steps and are never run."""

    def training(config, *, ctx, source, corpus, task, key="train"):
        own = {"task": task, "key": f"{ctx.fingerprint}/{key}", "folder": ctx.folder / key, "model": source, "labels": corpus.labels}
        own |= {"train": config, "train_rows": tmp_path, "valid_rows": tmp_path, "seed": 1, "total": 16, "metric": "accuracy"}
        return own | {"micro_rows": config.batch}

    monkeypatch.setattr(running, "training", training)
    monkeypatch.setattr(running, "source_of", lambda model: ModelSource(folder=model.path))
    corpus = Corpus(fingerprint="c", path=tmp_path, labels=("a", "b"), rows={}, dropped={}, read=0)

    made = []

    def make(**config):
        engine = SimpleNamespace(told=(heard := []), tell=heard.append, gangs=["gang-0", "gang-1"])
        ctx = SimpleNamespace(
            folder=tmp_path / "tune", fingerprint="mark", seed=7, name="tune", show=Told(), engine=engine, layout=Layout()
        )
        task = TextClassification(metric=config.pop("task_metric", "accuracy"))
        ground = Ground(Sections(TrainConfig(), ModelConfig(path="anywhere"), task), corpus)
        made.append(Running(TuneConfig(**{"trials": 4, "finalists": 2, **config}), ctx, ground))
        return made[-1]

    yield make
    for run in made:
        run.close()


def good(value, step=4):
    curve = [{"step": step, "epoch": 1.0, "value": value, "loss": 0.5}]
    return Reply(value={"best": {"step": step, "value": value}, "curve": curve, "busy_s": 2.0})


def bad(reason="exception", error="ValueError: shape"):
    return Reply(error=error, reason=reason, seconds=1.0)


def record(run, replies):
    """Take the next jobs and give them these replies; the jobs."""
    taken = []
    for reply in replies:
        job = run.decisions.next()
        taken.append(job)
        run.record(job, reply)
    return taken


def test_each_trial_has_its_own_settings_seed_and_key(sweeping):
    run = sweeping()
    record(run, [good(0.5), good(0.8), good(0.6), good(0.7), good(0.7)])
    fields = [run.fields(number) for number in range(4)]
    assert len({f["train"].optimizer.lr for f in fields}) == 4
    assert len({f["seed"] for f in fields}) == 4
    assert len({f["key"] for f in fields}) == 4
    assert fields[2]["train"].optimizer.lr == run.settings(2)["train.optimizer.lr"]
    run.ledger.close()
    assert sweeping().fields(2)["seed"] == fields[2]["seed"]


def test_late_words_of_an_earlier_sweep_are_not_shown(sweeping):
    run = sweeping()
    record(run, [good(0.5)])
    for number in (0, 9):
        run.heard({"kind": "step", "key": f"mark/trial-{number:04d}", "step": 2, "until": 4, "loss": 0.5})
    assert [number for number, state, _ in run.ctx.show.trials if state == "running"] == [0]


def test_an_order_brings_a_trial_to_its_rung(sweeping):
    run = sweeping()
    record(run, [good(0.5), good(0.8)])
    orders = [run.order_for(Job(1, rung)) for rung in range(3)]
    assert [(order.until, order.resumable) for order in orders] == [(4, True), (8, True), (16, False)]


def test_trials_end_as_the_ledger_says(sweeping):
    run = sweeping(scheduler={"use": "asha", "decision_lag": 0}, max_identical_failures=9)
    taken = record(run, [good(0.5), good(0.8), good(0.9, 8), bad("diverged", "the loss became nan")])
    assert [(j.trial, j.rung) for j in taken] == [(0, 0), (1, 0), (1, 1), (2, 0)]
    record(run, [good(0.7), bad()])
    done = {t.number: t for t in stage.trials_of(run)}
    ends = [("stopped", 1, 0.5), ("stopped", 2, 0.9), ("failed", 0, None), ("failed", 1, 0.7)]
    assert [(t.state, t.rung, t.best) for t in done.values()] == ends
    assert done[2].error == "the loss became nan"
    assert done[1].best_step == 8


def test_whoever_listens_learns_what_a_trial_tries_and_that_it_failed(sweeping):
    run = sweeping(max_identical_failures=9)
    record(run, [good(0.5), bad("diverged", "the loss became nan")])
    assert run.order_for(Job(0, 1)).settings == run.settings(0)
    assert run.ctx.engine.told == [{"kind": "failed", "key": "mark/trial-0001", "error": "the loss became nan"}]


def test_a_trial_without_a_value_is_worse_than_any_other(sweeping):
    run = sweeping(max_identical_failures=1)
    nothing = Reply(value={"best": None, "curve": [{"step": 4, "epoch": 1.0, "value": None, "loss": 0.5}], "busy_s": 2.0}, seconds=2.0)
    record(run, [good(0.5), nothing, nothing])
    assert [run.values.get(number) for number in range(3)] == [0.5, None, None]
    (one, other) = run.ctx.engine.told
    assert "has had no value yet" in one["error"] == other["error"]
    assert not run.alike, "it is no bug that all of them would meet"


def test_the_ledger_alone_gives_the_state_back(sweeping):
    run = sweeping()
    record(run, [good(0.5), good(0.8), good(0.6)])
    run.ledger.close()
    again = sweeping()
    assert stage.trials_of(again) == stage.trials_of(run)
    assert again.decisions.results == run.decisions.results


def test_who_goes_on_with_a_sweep_sees_the_trials_that_were_before(sweeping):
    run = sweeping(max_identical_failures=9)
    assert run.ctx.show.before == []
    record(run, [good(0.5), good(0.8), bad("diverged", "the loss became nan")])
    run.decisions.next()  # handed out and not over when the driver was killed
    run.ledger.close()
    before = sweeping(max_identical_failures=9).ctx.show.before
    assert [(number, state, info.get("value")) for number, state, info in before] == [
        (0, "paused", 0.5),
        (1, "paused", 0.8),
        (2, "failed", None),
    ]
    assert before[1][2]["settings"] == run.settings(1)
    assert before[1][2]["metric"] == "accuracy"


def test_smaller_is_better_when_the_metric_says_so(sweeping):
    run = sweeping(metric="log_loss", scheduler={"use": "asha", "decision_lag": 0})
    taken = record(run, [good(0.9), good(0.2), good(0.1)])
    assert (taken[2].trial, taken[2].rung) == (1, 1)
    assert "best log_loss 0.1000 (trial 0001)" in run.ctx.show.notes[-1][2]


def test_a_negative_value_is_shown_as_it_is(sweeping):
    run = sweeping(metric="matthews")
    record(run, [good(-0.25)])
    assert run.ctx.show.trials[-1][2]["value"] == -0.25
    assert "best matthews -0.2500 (trial 0000)" in run.ctx.show.notes[-1][2]


def test_identical_failures_stop_a_sweep_and_it_says_what_failed(sweeping):
    run = sweeping(max_identical_failures=2, trials=9)
    record(run, [bad(), good(0.5), bad(error="OSError: disk")])
    assert not run.decisions.stopped
    record(run, [bad()])
    assert run.decisions.stopped
    with pytest.raises(RunFailed, match=r"3 jobs failed \(2 x ValueError: shape; 1 x OSError: disk\)"):
        stage.refuse_if_nothing_worked(run, stage.trials_of(run))


def test_failures_of_an_earlier_attempt_do_not_stop_this_one(sweeping):
    run = sweeping(max_identical_failures=2, trials=9)
    record(run, [bad(), good(0.5), bad()])
    assert run.alike
    run.ledger.close()
    again = sweeping(max_identical_failures=2, trials=9)
    record(again, [bad()])
    assert (again.alike, again.failures.total()) == (False, 3)
    record(again, [bad()])
    assert again.alike


def test_what_was_decided_and_never_done_is_not_spent(sweeping):
    run = sweeping(scheduler="full", trials=4)
    record(run, [good(0.5)])
    for _ in range(2):
        assert run.decisions.next() is not None
    told = stage.told(run, stage.trials_of(run), [], None, spent_s=1.0, slots=2)
    assert (told.spent.jobs, told.spent.trainings) == ((1,), 1.0)


def test_goodput_counts_the_slots_that_there_were(sweeping, monkeypatch):
    run, clock = sweeping(scheduler="full", trials=4), [100.0]
    monkeypatch.setattr(Running, "wall_s", property(lambda self: clock[0] - 100.0))
    for seconds, gangs in ((10.0, 4), (10.0, 1)):
        clock[0] += seconds
        run.ctx.engine.gangs = list(range(gangs))
        record(run, [good(0.5)])
    told = stage.told(run, stage.trials_of(run), [], None, spent_s=20.0, slots=1)
    assert told.slot_s == 50.0
    assert told.goodput == pytest.approx(2 * 2.0 / 50)
    run.ledger.close()
    assert sweeping(scheduler="full", trials=4).slot_s == 50.0


def test_a_population_is_compared_by_where_it_stands_and_ranked_by_its_best(sweeping):
    run = sweeping(trials=4, finalists=1, scheduler={"use": "pbt", "iterations": 3})

    def fallen(best, now):
        reply = good(best)
        reply.value["curve"].append({"step": 8, "epoch": 2.0, "value": now, "loss": 0.5})
        return reply

    record(run, [fallen(0.9, 0.1), good(0.8), good(0.7), good(0.6)])
    copies = [job for _ in range(4) if (job := run.decisions.next()).parent is not None]
    assert [(job.trial, job.parent) for job in copies] == [(0, 1)], "the first one has the best of all steps, and stands worst"
    assert finalists.ranked(stage.trials_of(run))[0].number == 0
    run.ledger.close()
    assert sweeping(trials=4, finalists=1, scheduler={"use": "pbt", "iterations": 3}).decisions.jobs == run.decisions.jobs


def test_a_sweep_of_which_no_trial_can_work_as_asked_was_asked_amiss(sweeping):
    run = sweeping(max_identical_failures=2)
    record(run, [bad("request", "task.max_tokens: 8 is too few"), bad("request", "task.max_tokens: 8 is too few")])
    with pytest.raises(UserError, match=r"2 jobs failed \(2 x task.max_tokens: 8 is too few\)"):
        stage.refuse_if_nothing_worked(run, stage.trials_of(run))


def test_failures_that_differ_in_numbers_alone_are_the_same(sweeping):
    run = sweeping(max_identical_failures=2)
    sizes = ["out of memory: tried 1.25 GiB in gang-0", "out of memory: tried 3.5 GiB in gang-11"]
    record(run, [bad(error=error) for error in sizes])
    assert run.alike
    assert run.failures == {sizes[0]: 2}


def test_a_finalist_that_diverges_when_it_is_trained_again_is_none(sweeping):
    run = sweeping(confirm={"seeds": 3})
    wanted = finalists.Repetitions(run, run.config.confirm, [4, 1])
    job = wanted.next()
    assert job == Job(4, 0)
    wanted.record(job, bad("diverged", "the loss became nan"))
    assert [wanted.next() for _ in range(4)] == [Job(1, 0), Job(1, 1), Job(1, 2), None]
    for rep, value in enumerate((0.5, 0.7, 0.6)):
        wanted.record(Job(1, rep), good(value))
    assert wanted.whole() == {1: [Measured(0.5), Measured(0.7), Measured(0.6)]}
    again = finalists.Repetitions(run, run.config.confirm, [4, 1])
    assert again.done
    assert again.whole() == wanted.whole()
    assert "trial 0004 is no finalist any more" in run.ctx.show.messages[-1]
    with pytest.raises(RunFailed, match="repetition 0 failed: ValueError: shape"):
        wanted.record(Job(1, 0), bad())


def test_a_confirmation_that_a_budget_cuts_short_is_of_what_all_finalists_have(sweeping, monkeypatch):
    run = sweeping(confirm={"seeds": 3})
    wanted = finalists.Repetitions(run, run.config.confirm, [4, 1])
    shown = []
    monkeypatch.setattr(run.ctx.show, "update", lambda name, done, total, *_: shown.append((done, total)))
    assert wanted.next() == Job(4, 0)
    assert wanted.next() == Job(1, 0)
    for rep, trial, value in [(0, 4, 0.1), (0, 1, 0.2), (1, 4, 0.3)]:
        wanted.record(Job(trial, rep), good(value))
    assert shown == [(1, 6), (2, 6), (3, 6)]
    assert wanted.whole() is None
    wanted.record(Job(1, 1), good(0.4))
    wanted.record(Job(4, 2), good(0.5))
    assert wanted.whole() == {4: [Measured(0.1), Measured(0.3)], 1: [Measured(0.2), Measured(0.4)]}


def test_who_diverged_is_no_finalist_when_the_budget_ends_the_confirmation_too(sweeping, monkeypatch):
    run = sweeping(confirm={"seeds": 3}, scheduler="full")
    record(run, [good(0.9), good(0.8)])
    best = finalists.ranked(stage.trials_of(run))
    wanted = finalists.Repetitions(run, run.config.confirm, [t.number for t in best])
    wanted.record(Job(best[0].number, 0), bad("diverged", "nan"))
    monkeypatch.setattr(trials.Sweep, "run", lambda self: None)  # the budget lets nothing begin
    assert finalists.confirm(run, best) == (None, best[1:])


def test_a_confirmation_measures_what_decides_and_remembers_it(sweeping):
    run = sweeping(confirm={"seeds": 2}, objectives=[{"use": "latency", "limit": 9.0}, "parameters"], scheduler="full")
    reply = good(0.9)
    reply.value["best"]["objectives"] = {"latency": 7.0, "parameters": 3.0}
    record(run, [reply, reply])
    wanted = finalists.Repetitions(run, run.config.confirm, [1])
    order = wanted.order_for(Job(1, 0))
    assert [objective.name() for objective in order.objectives] == ["latency"]
    for rep, ms in enumerate((8.0, 11.0)):
        reply = good(0.5)
        reply.value["best"]["objectives"] = {"latency": ms}
        wanted.record(Job(1, rep), reply)
    (trial,) = (trial for trial in stage.trials_of(run) if trial.number == 1)
    told, left = finalists.confirm(run, [trial])
    assert left == [trial]
    assert told.finalists[0].objectives == {"latency": 9.5}
    assert not told.finalists[0].within


def test_no_finalist_is_left_when_all_diverge(sweeping):
    run = sweeping(confirm={"seeds": 2})
    wanted = finalists.Repetitions(run, run.config.confirm, [4])
    wanted.record(Job(4, 0), bad("diverged", "nan"))
    with pytest.raises(RunFailed, match="no finalist could be trained again"):
        wanted.whole()


def test_failed_trials_give_their_checkpoints_up_first(sweeping):
    run = sweeping(budget={"checkpoint_gb": 250e-9}, finalists=1, max_identical_failures=9)
    for number in range(3):
        (run.ctx.folder / f"trial-000{number}" / "latest").mkdir(parents=True)
        (run.ctx.folder / f"trial-000{number}" / "latest" / "x").write_bytes(b"x" * 100)
    record(run, [good(0.2), bad(), bad()])
    run._make_room(Job(3, 0))
    left = [number for number in range(3) if (run.ctx.folder / f"trial-000{number}/latest").exists()]
    assert left == [0]


def test_diverged_trials_do_not_stop_a_sweep(sweeping):
    run = sweeping(max_identical_failures=2)
    record(run, [bad("diverged", "nan"), bad("diverged", "nan"), bad("diverged", "nan"), good(0.4)])
    assert not run.decisions.stopped
    stage.refuse_if_nothing_worked(run, stage.trials_of(run))


def test_a_sweep_without_one_good_trial_has_failed(sweeping):
    run = sweeping(max_identical_failures=9)
    record(run, [bad("diverged", f"nan {n}") for n in range(4)])
    with pytest.raises(RunFailed, match=r"no trial gave a result: 4 jobs failed .* Change the config and give --replace"):
        stage.refuse_if_nothing_worked(run, stage.trials_of(run))


def test_finalists_are_the_best_trials_and_ties_go_to_the_lower_number(sweeping, monkeypatch):
    run = sweeping(finalists=3, trials=5, scheduler={"use": "full"}, max_identical_failures=9)
    record(run, [good(0.5), good(0.9), bad(), good(0.9), good(0.6)])
    run.ctx.engine = SimpleNamespace(perform_all=lambda orders: [Reply(value={"params": 1, "bytes": 2}) for _ in orders])
    monkeypatch.setattr(finalists, "exported", lambda own, out, value, **said: (own["key"], said["name"], said["fingerprint"]))
    monkeypatch.setattr(finalists, "best_step", lambda folder, settings, until: folder)
    best = finalists.ranked(stage.trials_of(run))[:3]
    assert finalists.export(run, best) == [
        ("mark/trial-0001", "trial-0001", "mark/best-0"),
        ("mark/trial-0003", "trial-0003", "mark/best-1"),
        ("mark/trial-0004", "trial-0004", "mark/best-2"),
    ]


def test_a_trial_whose_next_job_never_ran_ends_with_the_settings_of_its_result(sweeping, monkeypatch):
    run = sweeping(trials=4, finalists=4, scheduler={"use": "pbt", "iterations": 3})
    record(run, [good(0.1), good(0.9), good(0.8), good(0.7)])
    job = next(job for _ in range(4) if (job := run.decisions.next()).parent is not None)  # the worst one copies another
    run.decisions.requeue(job)
    run.decisions.stop()  # the budget is reached
    (ended,) = (trial for trial in stage.trials_of(run) if trial.number == job.trial)
    begun = next(event["settings"] for event in run.ledger.read() if event["event"] == "job" and event["trial"] == job.trial)
    assert ended.settings == begun != run.settings(job.trial)
    exported = []
    run.ctx.engine = SimpleNamespace(perform_all=lambda orders: exported.extend(orders) or [Reply(value={"params": 1, "bytes": 2})])
    monkeypatch.setattr(finalists, "exported", lambda own, out, value, **said: own["key"])
    monkeypatch.setattr(finalists, "best_step", lambda folder, settings, until: folder)
    finalists.export(run, [ended])
    assert exported[0].settings == begun


def test_a_finalist_whose_weights_were_given_up_for_disk_is_made_again(sweeping, monkeypatch):
    run = sweeping(finalists=1, scheduler={"use": "asha", "decision_lag": 0})
    record(run, [good(0.5), good(0.8), good(0.9, 8)])
    performed = []
    run.ctx.engine = SimpleNamespace(perform=performed.append, perform_all=lambda orders: [Reply(value={"params": 1, "bytes": 2})])
    monkeypatch.setattr(finalists, "exported", lambda own, out, value, **said: own["key"])
    assert finalists.export(run, finalists.ranked(stage.trials_of(run))[:1]) == ["mark/trial-0001"]
    assert [(order.key, order.until) for order in performed] == [("mark/trial-0001", 8)]


def test_wall_time_goes_on_after_a_kill(sweeping):
    run = sweeping()
    run._before = 30.0
    record(run, [good(0.5)])
    run.ledger.close()
    assert 30.0 <= sweeping().wall_s < 40.0


def test_the_confirmation_is_spent_and_is_no_part_of_the_sweeps_times(sweeping):
    run = sweeping(scheduler="full", trials=2)
    run.ctx.layout = Layout(cost_per_hour=3600.0)
    run._before = 30.0
    record(run, [good(0.5), good(0.6)])
    run.ledger.append({"event": "confirm", "trial": 1, "rep": 0, "value": 0.5, "busy_s": 1.0, "wall_s": 90.0})
    run.close()
    again = sweeping(scheduler="full", trials=2)
    again.ctx.layout, again.ctx.folder = run.ctx.layout, run.ctx.folder
    assert again.wall_s >= 90.0
    found = {1: [Measured(0.5), Measured(0.6)], 0: [Measured(0.4), Measured(0.5)]}
    confirmation = concluded(found, Confirm(seeds=2), weighing=again.weighing, held_out_share=0.0)
    told = stage.told(again, stage.trials_of(again), [], confirmation, spent_s=120.0, slots=2)
    assert (told.spent.wall_s, told.spent.cost, told.spent.trainings) == (120.0, 120.0, 2 + 4)
    assert 30.0 <= told.wall_s < 40.0


@pytest.mark.parametrize(("scheduler", "left"), [("asha", False), ({"use": "pbt", "iterations": 3}, True)])
def test_the_state_of_a_trial_at_the_last_rung_goes(sweeping, tmp_path, scheduler, left):
    run = sweeping(scheduler=scheduler)
    state = tmp_path / "tune" / "trial-0001" / "latest"
    state.mkdir(parents=True)
    (state / "weights").write_bytes(b"x" * 100)
    run._measure(1, len(run.rungs) - 2)
    assert (state.exists(), run.room.total) == (True, 100)
    run._measure(1, len(run.rungs) - 1)
    assert (state.exists(), run.room.total, run.room.peak) == (left, 100 * left, 100)


@pytest.mark.parametrize(("budget", "price", "ended"), [({"hours": 1}, None, "hours"), ({"cost": 5}, 5.0, "cost")])
def test_a_budget_lets_what_runs_end_and_begins_nothing(sweeping, budget, price, ended):
    run = sweeping(budget=budget)
    run.ctx.layout = Layout(cost_per_hour=price)
    job = run.decisions.next()
    assert not run.stop()
    run._before = 3600.0
    assert run.stop()
    assert run.decisions.next() is None
    run.record(job, good(0.5))
    assert run.decisions.done
    assert run.ended == ended


def written(run, folder, part, values):
    """Trials, one after the other, of which each leaves 100 bytes in `part`."""
    for number, value in enumerate(values):
        job = run.decisions.next()
        run.order_for(job)
        place = folder / "tune" / f"trial-{number:04d}" / part
        place.mkdir(parents=True)
        (place / "weights").write_bytes(b"x" * 100)
        run.record(job, good(value))


def test_a_disk_budget_takes_the_worst_paused_trials_state(sweeping, tmp_path):
    run = sweeping(budget={"checkpoint_gb": 350e-9}, finalists=1, scheduler={"use": "asha", "decision_lag": 0, "eta": 4, "first": 0.25})
    written(run, tmp_path, "latest", (0.8, 0.5, 0.7))
    run.order_for(run.decisions.next())
    assert [p.parent.name for p in sorted((tmp_path / "tune").glob("*/latest"))] == ["trial-0000", "trial-0002"]


def test_a_disk_budget_that_cannot_be_kept_to_is_said_once(sweeping, tmp_path):
    run = sweeping(budget={"checkpoint_gb": 50e-9}, finalists=1, scheduler={"use": "asha", "decision_lag": 0, "eta": 4, "first": 0.25})
    written(run, tmp_path, "best", (0.5, 0.7, 0.9))
    (said,) = [message for message in run.ctx.show.messages if "checkpoint_gb" in message]
    assert "need 2e-07 GB" in said
    assert "fewer finalists" in said


def test_a_repetition_that_is_recorded_keeps_no_checkpoints(sweeping, tmp_path):
    run = sweeping(trials=2, confirm={"seeds": 2})
    record(run, [good(0.5), good(0.6)])
    wanted = finalists.Repetitions(run, Confirm(seeds=2), [1])
    for rep in range(2):
        best = tmp_path / "tune" / f"confirm-trial-0001-{rep}" / "best"
        best.mkdir(parents=True)
        (best / "weights").write_bytes(b"x" * 100)
    wanted.record(wanted.next(), good(0.6))
    assert [p.parent.name for p in (tmp_path / "tune").glob("confirm-*/best")] == ["confirm-trial-0001-1"]
    assert run.room.peak == 100
    run.ledger.append({"event": "confirm", "trial": 1, "rep": 1, "value": 0.7})  # killed before the checkpoints went
    finalists.Repetitions(run, Confirm(seeds=2), [1])
    assert list((tmp_path / "tune").glob("confirm-*/best")) == []


def test_objectives_are_weighed_into_the_value_and_kept(sweeping):
    run = sweeping(objectives=[{"use": "latency", "weight": 0.01}], scheduler={"use": "full"})
    reply = good(0.9)
    reply.value["best"]["objectives"] = {"latency": 20.0}
    record(run, [reply])
    (trial,) = stage.trials_of(run)
    assert (trial.value, trial.best, trial.objectives) == (pytest.approx(0.7), 0.9, {"latency": 20.0})


def test_only_what_the_finalists_need_is_kept(sweeping, tmp_path):
    run = sweeping()
    for name in ("trial-0000/latest/x", "trial-0001/latest/x", "trial-0001/best/x", "confirm-trial-0001-0/best/x"):
        (tmp_path / "tune" / name).mkdir(parents=True)
    (tmp_path / "tune" / "trial-0001" / "valid.npy").touch()
    stage.forget_others(run, [SimpleNamespace(name="trial-0001")])
    left = sorted(str(p.relative_to(tmp_path / "tune")) for p in (tmp_path / "tune").rglob("*"))
    assert left == ["ledger.jsonl", "optuna.db", "trial-0001", "trial-0001/valid.npy"]


@pytest.mark.parametrize("best", [{"step": 3, "settings": {}}, {"step": 9, "settings": None}, {"step": 3, "settings": None}])
def test_weights_of_other_settings_or_of_a_later_step_are_no_finalists(sweeping, monkeypatch, best):
    """As they are when an older copy of the ledger was put back."""
    run = sweeping(finalists=1, scheduler={"use": "asha", "decision_lag": 0})
    record(run, [good(0.5), good(0.8), good(0.9, 8)])
    own = run.fields(1)
    result = {"step": 16, "over": False, "best": {"step": best["step"], "value": 0.9}}
    settings = own["settings"] if best["settings"] is None else {"train.optimizer.lr": 1.0}
    write_json(own["folder"] / "result.json", {**result, "settings": settings})
    monkeypatch.setattr(checkpoints, "is_valid", lambda checkpoint: True)
    monkeypatch.setattr(finalists, "exported", lambda own, out, value, **said: own["key"])
    performed = []
    run.ctx.engine = SimpleNamespace(perform=performed.append, perform_all=lambda orders: [Reply(value={"params": 1, "bytes": 2})])
    finalists.export(run, finalists.ranked(stage.trials_of(run))[:1])
    assert [order.until for order in performed] == ([] if best == {"step": 3, "settings": None} else [8])
