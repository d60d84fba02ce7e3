"""What the driver computes itself: no cluster is needed."""

import os
from types import SimpleNamespace

import numpy as np
import pytest
import ray
from scipy import special

from heliostat.artifacts import Ensemble, Model
from heliostat.core import seeds
from heliostat.core.errors import Diverged, RunFailed, UserError
from heliostat.core.layout import Layout
from heliostat.core.progress import Progress
from heliostat.engine import cluster, rows
from heliostat.engine.driver import MAX_LOSSES, Engine, checked, combined, content_of, members, softmax, source_of
from heliostat.engine.orders import Reply
from heliostat.tasks.config import ModelConfig


def model(path, name="trial"):
    return Model(fingerprint=name, name=name, stage="tune", path=path, labels=("a", "b", "c"))


def ensemble(tmp_path, *weights):
    return Ensemble(fingerprint="e", members=tuple(model(tmp_path, f"m{i}") for i in range(len(weights))), weights=weights, score=0.5)


def logits(members=3, rows=6):
    return list(3 * seeds.rng(1, "test", "driver").normal(size=(members, rows, 3)).astype(np.float32))


def test_probabilities_of_any_logits():
    given = np.array([[0.0, 0.0], [1000.0, 0.0], [-1e30, 1e30], [3.0, 1.0]], np.float32)
    # float64 arithmetic on both sides
    assert softmax(given) == pytest.approx(special.softmax(given.astype(np.float64), axis=-1), abs=1e-15)


def test_a_single_model_answers_for_itself(tmp_path):
    given = logits(1)
    assert combined(model(tmp_path), given) is given[0]


def test_an_ensemble_answers_with_the_log_of_its_weighted_mean_probability(tmp_path):
    given, weights = logits(), (0.5, 0.3, 0.2)
    by_hand = np.log(sum(w * special.softmax(z.astype(np.float64), axis=-1) for w, z in zip(weights, given, strict=True)))
    answer = combined(ensemble(tmp_path, *weights), given)
    assert answer.dtype == np.float32
    assert answer == pytest.approx(by_hand, rel=1e-6)  # float32 has 7 digits
    assert np.exp(answer).sum(-1) == pytest.approx(1.0, abs=1e-6)


def test_a_probability_of_zero_stays_a_number(tmp_path):
    answer = combined(ensemble(tmp_path, 1.0), [np.array([[-1000.0, 1000.0, 0.0]], np.float32)])
    assert np.isfinite(answer).all()
    assert answer.argmax() == 1


def test_the_members_of_a_predictor(tmp_path):
    council, single = ensemble(tmp_path, 0.5, 0.5), model(tmp_path)
    assert [m.name for m in members(council)] == ["m0", "m1"]
    assert members(single) == (single,)


@pytest.mark.parametrize(
    ("reason", "kind", "exit_code"),
    [("request", UserError, 2), ("diverged", Diverged, 4), ("exception", RunFailed, 4), ("lost", RunFailed, 4), ("memory", RunFailed, 4)],
)
def test_a_reply_that_failed_raises_what_it_stands_for(reason, kind, exit_code):
    with pytest.raises(kind, match="what happened") as caught:
        checked(Reply(error="what happened", reason=reason))
    assert type(caught.value) is kind
    assert caught.value.exit_code == exit_code


def test_a_reply_that_worked_is_passed_on():
    reply = Reply(value={"rows": 3})
    assert checked(reply) is reply


def test_a_model_that_is_written_again_is_other_content(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    before = content_of(model(tmp_path))
    assert content_of(model(tmp_path)) == before
    os.utime(tmp_path / "config.json", ns=(1, 1))
    assert content_of(model(tmp_path)) != before


def test_where_the_weights_of_a_model_are(bert_folder):
    local = source_of(ModelConfig(path=str(bert_folder), layers=1))
    assert (local.folder, local.layers) == (str(bert_folder), 1)
    hub = source_of(ModelConfig(path="someone/some-model", revision="v2"))
    assert (hub.folder, hub.revision) == ("someone/some-model", "v2")


def test_the_vectors_of_an_ensemble_have_the_weighted_mean_of_its_members_cosines(tmp_path, monkeypatch):
    council, texts = ensemble(tmp_path, 0.75, 0.25), ("x", "y")
    (tmp_path / "config.json").write_text("{}")
    vectors = [seeds.rng(i, "test", "vectors").normal(size=(2, 4)) for i in range(2)]
    vectors = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in vectors]
    engine = Engine(Layout(), tmp_path)
    monkeypatch.setattr(engine, "_answers", lambda orders: vectors)
    task = SimpleNamespace(identity=lambda: {}, reads="text")
    both = engine.embed(council, texts, task=task)
    mean = 0.75 * vectors[0][0] @ vectors[0][1] + 0.25 * vectors[1][0] @ vectors[1][1]
    assert both[0] @ both[1] == pytest.approx(mean, abs=1e-6)  # float32
    assert np.linalg.norm(both, axis=1) == pytest.approx(1.0, abs=1e-6)


def test_the_members_of_an_ensemble_answer_one_after_another(tmp_path, monkeypatch):
    engine = Engine(Layout(), tmp_path)
    times = {"m0": [1.0, 2.0, 3.0], "m1": [10.0, 10.0, 40.0]}
    monkeypatch.setattr(engine, "_time", lambda part, texts, task: {"ms": times[part.name]})
    taken = engine.latency(ensemble(tmp_path, 0.5, 0.5), ["x"] * 3, task=None)
    assert taken == {"p50": 12.0, "p99": round(12 + 0.98 * 31, 3)}  # 11, 12, 43; p99 interpolates between the last two


class Gang:
    """Answers every order with the same reply."""

    def __init__(self, reply, name="gang"):
        self.reply, self.name, self.orders, self.closed = reply, name, [], []
        self.mailbox = None

    def perform(self, order):
        self.orders.append(order)
        return self.reply

    def dismiss(self):
        self.closed.append("dismissed")

    def close(self, wait_s=20.0, *, leaving=None):
        self.closed.append(wait_s)


class Plain:
    """An order, as far as the engine looks at it."""

    def model_copy(self, update):
        return self


@pytest.fixture
def engine(tmp_path, monkeypatch):
    """An engine with gangs that wait to be mustered in `coming`."""
    made = Engine(Layout(grace_s=30), tmp_path, Progress())
    made.coming = []

    def muster(count):
        made.gangs += [made.coming.pop(0) for _ in range(count - len(made.gangs))]
        return made.gangs[:count]

    monkeypatch.setattr(made, "muster", muster)
    return made


def test_an_order_whose_gang_is_gone_is_given_to_another(engine):
    dead = Gang(Reply(error="the gang was lost", reason="closed"))
    engine.coming = [dead, Gang(Reply(value={"rows": 3}))]
    assert engine.perform(Plain()).value == {"rows": 3}
    assert len(dead.orders) == 1
    assert dead not in engine.gangs


def test_an_order_that_loses_one_gang_after_the_other_has_failed(engine):
    engine.coming = [Gang(Reply(error="the gang was lost", reason="closed")) for _ in range(MAX_LOSSES + 1)]
    with pytest.raises(RunFailed, match="the gang was lost"):
        engine.perform(Plain())
    assert len(engine.coming) == 1


def test_trainings_that_are_interrupted_share_the_time_they_have_to_save(engine):
    gangs = engine.gangs = [Gang(None), Gang(None)]
    engine.close()
    for gang in gangs:
        assert gang.closed[0] == "dismissed"
        assert 0 < gang.closed[1] <= 30
    assert engine.gangs == []


def test_what_a_gang_tells_of_its_failures_is_shown(engine):
    told, heard = [], []
    engine.show.message = told.append
    engine.listeners.append(heard.append)
    events = [{"kind": "told", "text": "gang-0: out of memory"}, {"kind": "step", "step": 3}]
    for event in events:
        engine.tell(event)
    assert told == ["gang-0: out of memory"]
    assert heard == events


def test_gangs_that_may_be_narrow_share_the_cluster(tmp_path, monkeypatch):
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "NodeID": "a", "Resources": {"CPU": 9.0}}])
    widths = {}
    for wanted in (1, 2, 5):
        engine = Engine(Layout(workers=6, least_workers=2), tmp_path, side_by_side=wanted)
        monkeypatch.setattr(engine, "connect", lambda: None)
        widths[wanted] = (engine.widest(), engine._width())
    assert widths == {1: (1, 6), 2: (2, 4), 5: (4, 2)}
    assert Engine(Layout(workers=2), tmp_path, side_by_side=3)._width() == 2


def test_a_gang_of_a_smaller_cluster_makes_place_for_a_wider_one(tmp_path, monkeypatch):
    cpus, told, gone = [2.0], [], []
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "NodeID": "a", "Resources": {"CPU": cpus[0]}}])
    show = SimpleNamespace(message=told.append)
    engine = Engine(Layout(workers=2, least_workers=1), tmp_path, show, side_by_side=1)
    engine.gangs = [SimpleNamespace(name="gang-1", most=engine._width())]
    monkeypatch.setattr(engine, "release", gone.append)
    engine._outgrow()
    assert gone == []
    cpus[0] = 3.0
    engine._outgrow()
    assert [gang.name for gang in gone] == ["gang-1"]
    assert told == ["gang-1: nodes have come: another gang of up to 2 workers takes its place"]
    monkeypatch.setattr(engine, "side_by_side", 2)  # in a sweep more gangs come up beside it
    engine._outgrow()
    assert len(gone) == 1


def test_gangs_that_leave_no_cpu_make_place_for_data(engine, monkeypatch):
    stay = []
    monkeypatch.setattr(engine, "connect", lambda: None)
    monkeypatch.setattr(cluster, "beside_data", lambda layout, gangs: stay.append(gangs) or 1)
    monkeypatch.setattr(rows, "read", lambda pieces, function: iter(pieces))
    engine.gangs = [Gang(None), Gang(None)]
    first = engine.gangs[0]
    assert list(engine.map_pieces([{}], None)) == [{}]
    assert (engine.gangs, stay) == ([first], [2])
