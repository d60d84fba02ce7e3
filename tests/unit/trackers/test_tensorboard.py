"""What is written is read back by TensorBoard's own readers, after a kill too."""

from __future__ import annotations

import sys

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator as PluginAccumulator
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import STATUS_FAILURE, STATUS_SUCCESS

from heliostat.core.family import build
from heliostat.trackers.base import Outcome, Reached
from heliostat.trackers.tensorboard import reached

OUTCOME = Outcome(
    "student", "as good and smaller", {"base": {"domain/accuracy": 0.5}, "student": {"domain/accuracy": 0.75}}, {"small": False}
)


def opened(run):
    return build("trackers", "tensorboard").open(run)


def curve(folder, tag):
    """[(step, value)] as TensorBoard shows it: its reader of old and its reader of now agree."""
    old = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    now = PluginAccumulator(str(folder), tensor_size_guidance={"scalars": 0}).Reload()
    points = [(event.step, event.value) for event in old.Scalars(tag)]
    assert [event.step for event in now.Tensors(tag)] == [step for step, _ in points]
    return points


def steps(folder, tag):
    return [step for step, _ in curve(folder, tag)]


def test_curves_of_each_training_are_in_a_folder_of_its_name(run, training, losses, validated):
    record, one, other = opened(run()), training("train"), training("tune/trial-0007", lr=0.1)
    for own in (one, other):
        assert record.begin(own) == Reached()
    record.write(one, [*losses(1, 2, 3), validated(3, 0.5)])
    record.write(other, losses(1, 2))
    record.write(one, losses(4))
    root = run().folder / "tensorboard"
    assert curve(root / "train", "train/loss") == [(1, 1), (2, 1 / 2), (3, pytest.approx(1 / 3, rel=1e-6)), (4, 1 / 4)]  # float32
    assert curve(root / "train", "train/lr") == [(1, 0.5), (2, 0.5), (3, 0.5), (4, 0.5)]
    assert curve(root / "train", "valid/accuracy") == [(3, 0.5)]
    assert steps(root / "tune" / "trial-0007", "train/loss") == [1, 2]


def test_another_process_goes_on_where_the_last_one_stopped(run, training, losses, validated):
    own, root = training("train"), run().folder / "tensorboard" / "train"
    first = opened(run())
    first.begin(own)
    first.write(own, [*losses(1, 2, 3), validated(3, 0.25), *losses(4)])
    again = opened(run(resumed=True))
    assert again.begin(own) == Reached(train=4, valid=3)
    again.write(own, [*losses(5, 6), validated(6, 0.5)])
    assert steps(root, "train/loss") == [1, 2, 3, 4, 5, 6]
    assert curve(root, "valid/accuracy") == [(3, 0.25), (6, 0.5)]
    assert len(list(root.iterdir())) == 2


@pytest.mark.parametrize("other_process", [True, False])
def test_a_training_that_goes_back_replaces_what_came_after(run, training, losses, validated, other_process):
    own, root = training("train"), run().folder / "tensorboard" / "train"
    record = opened(run())
    record.begin(own)
    record.write(own, [*losses(1, 2, 3), validated(3, 0.25), *losses(4, 5, 6), validated(6, 0.5)])
    if other_process:
        record = opened(run(resumed=True))
        assert record.begin(own) == Reached(6, 6)
    assert record.back_to(own, 3)
    assert reached(root) == Reached(3, 3)
    record.write(own, [*losses(4, 5), validated(5, 0.75)])
    assert steps(root, "train/loss") == [1, 2, 3, 4, 5]
    assert curve(root, "valid/accuracy") == [(3, 0.25), (5, 0.75)]
    assert reached(root) == Reached(5, 5)


def test_a_record_torn_by_a_kill_costs_itself_alone(run, training, losses):
    own, root = training("train"), run().folder / "tensorboard" / "train"
    first = opened(run())
    first.begin(own)
    first.write(own, losses(1, 2, 3))
    (file,) = root.iterdir()
    file.write_bytes(file.read_bytes()[:-5])
    again = opened(run(resumed=True))
    assert again.begin(own) == Reached(train=2)
    again.write(own, losses(3, 4))
    assert steps(root, "train/loss") == [1, 2, 3, 4]


def test_a_stage_that_was_made_again_has_its_own_curve_only(run, training, losses):
    root = run().folder / "tensorboard" / "train"
    for mark, at in (("old", (1, 2, 3)), ("new", (1, 2))):
        record, own = opened(run(resumed=mark == "new")), training("train", mark=mark)
        assert record.begin(own) == Reached()
        record.write(own, losses(*at))
    assert steps(root, "train/loss") == [1, 2]


def hparams(folder):
    """(what the trial tries, how it ended) as the page HPARAMS reads it."""
    read = PluginAccumulator(str(folder)).Reload()
    contents = read.PluginTagToContent(metadata.PLUGIN_NAME)
    started = metadata.parse_session_start_info_plugin_data(contents[metadata.SESSION_START_INFO_TAG])
    ended = contents.get(metadata.SESSION_END_INFO_TAG)
    values = {name: getattr(value, value.WhichOneof("kind")) for name, value in started.hparams.items()}
    assert read.Tensors(metadata.SESSION_START_INFO_TAG)
    return values, metadata.parse_session_end_info_plugin_data(ended).status if ended else None


def test_settings_of_trials_and_their_ends_are_for_the_hparams_page(run, training, losses):
    record, root = opened(run()), run().folder / "tensorboard" / "tune"
    good = training("tune/trial-0001", lr=0.5, nesterov=True, use="sgd", clip=None, betas=[0.5, 0.75])
    bad, stopped = training("tune/trial-0002", lr=0.25), training("tune/trial-0003", lr=1)
    for own in (good, bad, stopped):
        record.begin(own)
        record.write(own, losses(1, 2))
    record.back_to(good, 0)
    record.write(good, losses(1, 2))
    record.end(good, failed=False)
    record.end(bad, failed=True)
    assert hparams(root / "trial-0003") == ({"train.optimizer.lr": 1}, None)
    record.close("finished")
    values, status = hparams(root / "trial-0001")
    short = {name.rpartition(".")[2]: value for name, value in values.items()}
    assert short == {"lr": 0.5, "nesterov": True, "use": "sgd", "clip": "null", "betas": "[0.5, 0.75]"}
    assert status == STATUS_SUCCESS
    assert hparams(root / "trial-0002")[1] == STATUS_FAILURE
    assert hparams(root / "trial-0003")[1] == STATUS_SUCCESS


def test_an_interrupted_trial_has_no_end_yet(run, training, losses):
    record, own = opened(run()), training("tune/trial-0001", lr=0.5)
    record.begin(own)
    record.write(own, losses(1))
    record.close("killed")
    assert hparams(run().folder / "tensorboard" / own.name)[1] is None


def test_test_scores_have_one_folder_per_model_and_the_verdict_is_text(run):
    record = opened(run())
    for _ in range(2):  # given again after a kill
        record.finish(OUTCOME)
    root = run().folder / "tensorboard" / "report"
    assert curve(root / "base", "test/domain/accuracy") == [(0, 0.5)]
    assert curve(root / "student", "test/domain/accuracy") == [(0, 0.75)]
    read = PluginAccumulator(str(root)).Reload()
    told = {tag: [e.tensor_proto.string_val[0].decode() for e in read.Tensors(tag)] for tag in ("verdict", "config")}
    assert told["verdict"] == ["ship **student**: as good and smaller\n\n- small: **not met**"]
    assert "batch: 8" in told["config"][0]
    assert read.PluginTagToContent("text").keys() == {"verdict", "config"}


def test_no_file_is_left_open_and_no_engine_is_imported(run, training, losses):
    import subprocess

    code = (
        "import os, sys; from pathlib import Path; from heliostat.core.family import build; from heliostat.trackers.base import *\n"
        "record = build('trackers', 'tensorboard').open(Run('r', 'i', Path(sys.argv[1]), {}, False))\n"
        "before = len(os.listdir('/proc/self/fd'))\n"
        "for i in range(50):\n"
        "    own = Training(f'a/{i}', f'tune/{i}', 9, 'accuracy', {}, {'x': i}); record.begin(own)\n"
        "    record.write(own, [Point(1, 1.0, {'train/loss': 1.0})]); record.end(own, failed=False)\n"
        "print(len(os.listdir('/proc/self/fd')) - before, [m for m in ('torch', 'tensorflow', 'ray', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(run().folder)], capture_output=True, text=True, check=True)
    assert done.stdout.split(maxsplit=1) == ["0", "[]\n"]
