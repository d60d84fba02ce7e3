"""What a sweep tells of itself: how long it is, how its trials ended, which are its finalists."""

from types import SimpleNamespace

import pytest

from heliostat.artifacts import Corpus
from heliostat.core.errors import RunFailed
from heliostat.core.progress import Progress
from heliostat.engine.orders import ModelSource, Reply
from heliostat.tasks.text_classification import TextClassification
from heliostat.train.config import TrainConfig
from heliostat.tune import stage
from heliostat.tune.config import TuneConfig
from heliostat.tune.schedulers.base import Job
from heliostat.tune.stage import Running, expected_jobs


@pytest.mark.parametrize(
    ("scheduler", "trials", "jobs"),
    [
        ({"use": "full"}, 8, 8),
        ({"use": "asha", "eta": 2, "first": 0.25}, 8, 8 + 4 + 2),
        ({"use": "asha", "eta": 4, "first": 0.25}, 10, 10 + 2),
        ({"use": "asha", "first": 1}, 5, 5),
    ],
)
def test_jobs_of_a_whole_sweep(scheduler, trials, jobs):
    assert expected_jobs(TuneConfig(trials=trials, scheduler=scheduler, finalists=1)) == jobs


class Told(Progress):
    def __init__(self):
        self.trials, self.notes = [], []

    def trial(self, number, state, info):
        self.trials.append((number, state, info))

    def update(self, name, done, total, unit, note=""):
        self.notes.append((done, total, note))


@pytest.fixture
def running(tmp_path, monkeypatch):
    """`running(**config)` is a sweep whose trainings have 16 steps and are never run."""

    def training(config, *, ctx, source, corpus, task, key="train"):
        own = {"task": task, "key": f"{ctx.fingerprint}/{key}", "folder": ctx.folder / key, "model": source, "labels": corpus.labels}
        own |= {"train": config, "train_rows": tmp_path, "valid_rows": tmp_path, "seed": 1, "total": 16, "metric": "accuracy"}
        return own | {"micro_rows": config.batch, "accumulation": 1}

    monkeypatch.setattr(stage, "training", training)
    monkeypatch.setattr(stage, "source_of", lambda model: ModelSource(folder="anywhere"))
    corpus = Corpus(fingerprint="c", path=tmp_path, labels=("a", "b"), rows={}, dropped={}, read=0)

    made = []

    def make(**config):
        ctx = SimpleNamespace(folder=tmp_path / "tune", fingerprint="mark", seed=7, name="tune", show=Told(), engine=None)
        task = TextClassification(metric=config.pop("task_metric", "accuracy"))
        made.append(Running(TuneConfig(**{"trials": 4, "finalists": 2, **config}), ctx, TrainConfig(), None, corpus, task))
        return made[-1]

    yield make
    for run in made:
        run.ledger.close()


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


def test_each_trial_has_its_own_settings_seed_and_key(running):
    run = running()
    fields = [run.fields(number) for number in range(4)]
    assert len({f["train"].optimizer.lr for f in fields}) == 4
    assert len({f["seed"] for f in fields}) == 4
    assert len({f["key"] for f in fields}) == 4
    assert fields[2]["train"].optimizer.lr == run.settings(2)["train.optimizer.lr"]
    assert running().fields(2)["seed"] == fields[2]["seed"]


def test_an_order_brings_a_trial_to_its_rung(running):
    run = running()
    orders = [run.order_for(Job(1, rung)) for rung in range(3)]
    assert [(order.until, order.resumable) for order in orders] == [(4, True), (8, True), (16, False)]


def test_trials_end_as_the_ledger_says(running):
    run = running(scheduler={"use": "asha", "decision_lag": 0}, max_identical_failures=9)
    taken = record(run, [good(0.5), good(0.8), good(0.9, 8), bad("diverged", "the loss became nan")])
    assert [(j.trial, j.rung) for j in taken] == [(0, 0), (1, 0), (1, 1), (2, 0)]
    record(run, [good(0.7), bad()])
    done = {t.number: t for t in run.trials()}
    ends = [("stopped", 1, 0.5), ("stopped", 2, 0.9), ("failed", 0, None), ("failed", 1, 0.7)]
    assert [(t.state, t.rung, t.best) for t in done.values()] == ends
    assert done[2].error == "the loss became nan"
    assert done[1].best_step == 8


def test_the_ledger_alone_gives_the_state_back(running):
    run = running()
    record(run, [good(0.5), good(0.8), good(0.6)])
    run.ledger.close()
    again = running()
    assert again.trials() == run.trials()
    assert again.decisions.results == run.decisions.results


def test_smaller_is_better_when_the_metric_says_so(running):
    run = running(metric="log_loss", scheduler={"use": "asha", "decision_lag": 0})
    taken = record(run, [good(0.9), good(0.2), good(0.1)])
    assert (taken[2].trial, taken[2].rung) == (1, 1)
    assert "best log_loss 0.1000 (trial 0001)" in run.ctx.show.notes[-1][2]


def test_a_negative_value_is_shown_as_it_is(running):
    run = running(metric="matthews")
    record(run, [good(-0.25)])
    assert run.ctx.show.trials[-1][2]["value"] == -0.25
    assert "best matthews -0.2500 (trial 0000)" in run.ctx.show.notes[-1][2]


def test_identical_failures_stop_a_sweep_and_it_says_what_failed(running):
    run = running(max_identical_failures=2, trials=9)
    record(run, [bad(), good(0.5), bad(error="OSError: disk")])
    assert not run.decisions.stopped
    record(run, [bad()])
    assert run.decisions.stopped
    with pytest.raises(RunFailed, match=r"3 jobs failed \(2 x ValueError: shape; 1 x OSError: disk\)"):
        run.refuse_if_nothing_worked()


def test_diverged_trials_do_not_stop_a_sweep(running):
    run = running(max_identical_failures=2)
    record(run, [bad("diverged", "nan"), bad("diverged", "nan"), bad("diverged", "nan"), good(0.4)])
    assert not run.decisions.stopped
    run.refuse_if_nothing_worked()


def test_a_sweep_without_one_good_trial_has_failed(running):
    run = running(max_identical_failures=9)
    record(run, [bad("diverged", f"nan {n}") for n in range(4)])
    with pytest.raises(RunFailed, match="4 jobs failed"):
        run.refuse_if_nothing_worked()


def test_finalists_are_the_best_trials_and_ties_go_to_the_lower_number(running, monkeypatch):
    run = running(finalists=3, trials=5, scheduler={"use": "full"}, max_identical_failures=9)
    record(run, [good(0.5), good(0.9), bad(), good(0.9), good(0.6)])
    run.ctx.engine = SimpleNamespace(perform_all=lambda orders: [Reply(value={"params": 1, "bytes": 2}) for _ in orders])
    monkeypatch.setattr(stage, "exported", lambda own, out, value, **said: (own["key"], said["name"], said["fingerprint"]))
    assert run.finalists(run.trials()) == [
        ("mark/trial-0001", "trial-0001", "mark/best-0"),
        ("mark/trial-0003", "trial-0003", "mark/best-1"),
        ("mark/trial-0004", "trial-0004", "mark/best-2"),
    ]


def test_wall_time_adds_up_over_attempts(running):
    run = running()
    run.note_wall(3.0)
    again = running()
    again.note_wall(4.0)
    assert again.wall_s == 7.0


def test_only_what_the_finalists_need_is_kept(running, tmp_path):
    run = running()
    for name in ("trial-0000/latest/x", "trial-0001/latest/x", "trial-0001/best/x", "ray/x"):
        (tmp_path / "tune" / name).mkdir(parents=True)
    (tmp_path / "tune" / "trial-0001" / "valid.npy").touch()
    run.forget_others([SimpleNamespace(name="trial-0001")])
    left = sorted(str(p.relative_to(tmp_path / "tune")) for p in (tmp_path / "tune").rglob("*"))
    assert left == ["ledger.jsonl", "trial-0001", "trial-0001/valid.npy"]
