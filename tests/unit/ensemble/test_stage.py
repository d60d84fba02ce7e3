"""The stage: from saved validation logits to weights, without a model in sight."""

import json

import numpy as np
import pytest

from heliostat.artifacts import Ensemble
from heliostat.core.errors import RunFailed
from heliostat.core.family import build
from heliostat.core.seeds import rng
from heliostat.ensemble.combiners.base import Base
from heliostat.ensemble.config import EnsembleConfig
from heliostat.ensemble.stage import combine, mix


def logits(room, seed, skill=1.5):
    return rng(seed, "test", "logits").normal(size=(90, 3)) + skill * np.eye(3)[room.targets_N]


def run(room, members, **config):
    return combine(EnsembleConfig(**config), ctx=room.ctx, members=members, corpus=room.corpus, task=room.task)


def note(room):
    return json.loads((room.ctx.folder / "weights.json").read_text())


def softmax(x):
    return np.exp(x) / np.exp(x).sum(-1, keepdims=True)


def accuracy(room, probs_NC):
    return (probs_NC.argmax(1) == room.targets_N).mean()


def test_score_is_that_of_the_weighted_mean_and_beats_every_member(room):
    all_logits = {f"trial-{i}": logits(room, i) for i in range(4)}
    council = run(room, [room.member(name, x) for name, x in all_logits.items()])
    probs = np.stack([softmax(all_logits[m.name].astype(np.float32).astype(np.float64)) for m in council.members])
    assert council.score == pytest.approx(accuracy(room, mix(probs, np.array(council.weights))))
    assert council.score > max(accuracy(room, x) for x in all_logits.values())
    assert sum(council.weights) == pytest.approx(1)
    assert all(w > 0 for w in council.weights)
    assert council.fingerprint == "mark"
    assert Ensemble.model_validate(council.model_dump(mode="json")) == council


def test_weights_json_tells_every_candidate_and_the_path(room):
    council = run(room, [room.member(f"trial-{i}", logits(room, i, skill)) for i, skill in enumerate([2.0, 2.0, -1.0])])
    told = note(room)
    assert [c["name"] for c in told["candidates"]] == ["trial-0", "trial-1", "trial-2"]
    assert {c["name"]: c["weight"] for c in told["candidates"] if c["weight"]} == {
        m.name: w for m, w in zip(council.members, council.weights, strict=True)
    }
    assert told["candidates"][2]["weight"] == 0
    assert set(told["path"]) == {m.name for m in council.members}
    assert told["combination"]["score"] == council.score
    assert told["rows"] == 90


def test_it_falls_back_to_the_best_one_when_the_mean_is_worse(room):
    members = [
        room.member("poor", logits(room, 1, -3.0)),
        room.member("good", logits(room, 2, 3.0)),
        room.member("bad", logits(room, 3, -3.0)),
    ]
    council = run(room, members, combiner="uniform")
    assert [m.name for m in council.members] == ["good"]
    assert council.weights == (1.0,)
    assert council.score == pytest.approx(accuracy(room, logits(room, 2, 3.0)))
    assert note(room)["fell_back_to_best"] is True


def test_a_diverged_member_is_left_out(room):
    broken = logits(room, 1)
    broken[3] = np.nan
    council = run(room, [room.member("nan", broken), room.member("good", logits(room, 2))], combiner="uniform")
    assert [m.name for m in council.members] == ["good"]
    assert note(room)["candidates"][0] == {"name": "nan", "score": None, "log_loss": None, "weight": 0.0}


def test_a_metric_to_be_minimised_is_minimised(room):
    room.task = room.task.model_copy(update={"metric": "log_loss"})
    loud, sound = 40 * logits(room, 1), logits(room, 2)
    council = run(room, [room.member("loud", loud), room.member("sound", sound)])
    alone = build("metrics", "log_loss").value(sound, room.targets_N)
    assert 0 < council.score <= alone + 1e-6  # saved as float32
    assert note(room)["mode"] == "min"


def test_a_zero_probability_among_members_is_no_obstacle(room):
    certain = np.where(np.eye(3)[room.targets_N] > 0, 0.0, -np.inf)
    council = run(room, [room.member("certain", certain), room.member("good", logits(room, 2))])
    assert council.score == 1.0


def test_every_member_broken_is_a_clear_failure(room):
    with pytest.raises(RunFailed, match=r"all 1 candidates \(nan\) hold NaN"):
        run(room, [room.member("nan", np.full((90, 3), np.nan))])


def test_missing_or_foreign_logits_are_refused(room):
    member = room.member("trial-0", logits(room, 0))
    with pytest.raises(RunFailed, match="'trial-0' has no saved validation logits"):
        run(room, [member.model_copy(update={"valid": None})])
    with pytest.raises(RunFailed, match=r"validation logits \(7, 3\).*corpus has \(90, 3\)"):
        run(room, [room.member("short", np.zeros((7, 3)))])
    with pytest.raises(RunFailed, match=r"labels b, a, c; the corpus has"):
        run(room, [member.model_copy(update={"labels": ("b", "a", "c")})])


def test_a_combiner_that_breaks_its_contract_is_caught(room):
    class Wrong(Base):
        def weights(self, probs_MNC, targets_N, score):
            return np.array([2.0, -1.0])

    config = EnsembleConfig.model_construct(candidates=2, combiner=Wrong())
    with pytest.raises(AssertionError, match="negative weights"):
        combine(
            config,
            ctx=room.ctx,
            members=[room.member("a", logits(room, 0)), room.member("b", logits(room, 1))],
            corpus=room.corpus,
            task=room.task,
        )
