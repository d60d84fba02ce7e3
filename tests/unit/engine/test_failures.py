"""What is done about an order that failed: decisions over the replies of its tries, and what an error counts as."""

import pickle
import re
import subprocess
import sys

import pytest
import ray
import torch
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError

from heliostat.core.errors import Diverged, RunFailed, UserError
from heliostat.core.family import find
from heliostat.core.layout import Layout
from heliostat.engine.failures import MAX_TRIES, SMALLEST, Again, GiveUp, Left, decide, failed, fallen, mark_of, one_line
from heliostat.engine.orders import Reply, Stopped
from heliostat.train.config import TrainConfig


def tries(*reasons, **common):
    return [Reply(error=f"{reason} {n}", reason=reason, **common) for n, reason in enumerate(reasons)]


def bug(mark):
    return Reply(error=f"bug {mark}", reason="exception", mark=mark)


@pytest.mark.parametrize("reason", ["request", "diverged"])
@pytest.mark.parametrize("divisible", [True, False])
def test_what_no_retry_can_change_is_given_up_at_once(reason, divisible):
    history = tries(reason)
    assert decide(history, divisible=divisible) == GiveUp(history[0])


def test_an_exception_is_tried_again_until_it_repeats():
    assert isinstance(decide([bug("a")], divisible=True), Again)
    assert isinstance(decide([bug("a"), bug("b")], divisible=True), Again)
    assert decide([bug("a"), bug("a")], divisible=True) == GiveUp(bug("a"))
    assert decide([bug("a"), *tries("preempted"), bug("a")], divisible=True) == GiveUp(bug("a"))


def test_exceptions_that_are_all_different_are_given_up_in_the_end():
    history = [bug(str(n)) for n in range(MAX_TRIES)]
    assert decide(history, divisible=True) == GiveUp(history[-1])


def test_being_told_to_leave_is_never_charged():
    history = tries(*["preempted"] * 50)
    assert isinstance(decide(history, divisible=False), Again)
    assert isinstance(decide([*history, bug("a")], divisible=False), Again)
    assert isinstance(decide([*history, *tries("lost")], divisible=False), Again)


def test_what_does_not_fit_is_made_smaller_and_given_up_with_advice_when_it_cannot_be():
    (out,) = tries("memory")
    verdict = decide([out], divisible=True)
    assert isinstance(verdict, Again)
    assert verdict.smaller
    final = decide([out], divisible=False)
    assert isinstance(final, GiveUp)
    assert final.reply.reason == "memory"
    assert all(word in final.reply.error for word in ("memory 0", "task.max_tokens", "gradient_checkpointing", "layout.zero"))


def test_the_advice_names_settings_that_there_are():
    sections = {"task": find("tasks", "text_classification"), "train": TrainConfig, "layout": Layout}
    named = re.findall(r"\b(task|train|layout)\.(\w+)", SMALLEST)
    assert {section for section, _ in named} == sections.keys()
    assert all(name in sections[section].model_fields for section, name in named)


def test_a_hang_is_forgiven_once():
    assert isinstance(decide(tries("hang"), divisible=True), Again)
    assert decide(tries("hang", "hang"), divisible=True).reply.reason == "hang"
    assert decide(tries("hang", "lost", "hang"), divisible=True).reply.reason == "hang"


@pytest.mark.parametrize(("first", "second", "smaller"), [(5, 5, True), (5, 4, True), (5, 6, False), (0, 0, True)])
def test_workers_that_die_twice_without_getting_farther_are_taken_to_lack_memory(first, second, smaller):
    history = [*tries("lost", step=first), *tries("lost", step=second)]
    verdict = decide(history, divisible=True)
    assert isinstance(verdict, Again)
    assert verdict.smaller is smaller


def test_workers_that_die_again_and_again_on_what_cannot_be_smaller_are_given_up():
    for count in range(1, MAX_TRIES):
        verdict = decide(tries(*["lost"] * count), divisible=False)
        assert isinstance(verdict, Again)
        assert not verdict.smaller
    final = decide(tries(*["lost"] * MAX_TRIES), divisible=False)
    assert final.reply.reason == "lost"
    assert f"died {MAX_TRIES} times" in final.reply.error


def test_every_mixture_of_failures_ends():
    """Whatever comes, an order is given up after a bounded number of charged tries."""
    for reasons in (["exception", "hang", "lost"], ["lost", "exception", "hang"], ["hang", "lost", "exception"]):
        history = tries(*reasons)
        assert [isinstance(decide(history[:n], divisible=False), Again) for n in (1, 2, 3)] == [True, True, False]


def raised(error):
    try:
        raise error
    except type(error) as caught:
        return caught


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Stopped("stopped at step 3"), "preempted"),
        (Diverged("the loss became nan", 3, 0.1), "diverged"),
        (UserError("no such label"), "request"),
        (RunFailed("the checkpoint is not whole"), "exception"),
        (KeyError("x"), "exception"),
        (MemoryError(), "memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "memory"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried ..."), "memory"),
        (RuntimeError("CUDA error: out of memory"), "memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "memory"),
        (OSError(12, "Cannot allocate memory"), "memory"),
        (ValueError("'out of memory' is not a label"), "exception"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), "exception"),
    ],
)
@pytest.mark.parametrize("alone", [True, False])
def test_what_an_error_counts_as(error, reason, alone):
    reply = failed(raised(error), alone=alone, seconds=2.0, step=7)
    assert (reply.reason, reply.seconds, reply.step) == (reason, 2.0, 7)
    assert str(error) in reply.error or reply.reason == "memory"
    assert bool(reply.mark) is (reason == "exception")


ASSERTED = """CUDA error: device-side assert triggered
CUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be incorrect.
For debugging consider passing CUDA_LAUNCH_BLOCKING=1
Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.
"""
CAUSES = [
    (ASSERTED, "CUDA error: device-side assert triggered"),
    (
        f"Traceback (most recent call last):\n  File one.py\nRuntimeError: {ASSERTED}",
        "RuntimeError: CUDA error: device-side assert triggered",
    ),
    ("Traceback (most recent call last):\n  File one.py\nKeyError: 'a'", "KeyError: 'a'"),
    ("1 validation error\nepochs\n  too large\n  For further information visit https://errors.pydantic.dev", "too large"),
    ("", ""),
]


@pytest.mark.parametrize(("message", "line"), CAUSES)
def test_of_a_long_message_the_line_that_tells_the_cause_is_kept(message, line):
    assert one_line(RuntimeError(message)) == f"RuntimeError: {line}"


def test_what_cannot_be_allocated_on_a_cpu_is_memory():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert failed(caught.value, alone=True).reason == "memory"


def test_a_broken_collective_is_the_other_workers_failure():
    broken = RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:3456")
    assert failed(raised(broken), alone=False).reason == "lost"
    assert failed(raised(torch.distributed.DistBackendError("remote process exited")), alone=False).reason == "lost"
    assert failed(raised(broken), alone=True).reason == "exception"


def fail_at(place):
    if place:
        raise KeyError(place)
    raise KeyError(place)


def test_a_mark_is_the_place_and_the_kind_and_not_the_words():
    def mark(work):
        with pytest.raises(Exception) as caught:
            work()
        return mark_of(caught.value)

    def one():
        fail_at(1)

    assert mark(one) == mark(one)
    assert mark(lambda: fail_at(1)) != mark(lambda: fail_at(0))
    assert mark_of(raised(KeyError("a"))) == mark_of(raised(KeyError("b")))
    assert mark_of(raised(KeyError("a"))) != mark_of(raised(ValueError("a")))


def dead(cause):
    """What Ray Train says of a worker whose process is gone."""
    return WorkerHealthCheckFailedError("A worker health check failed.\nWorker info: ...", failure=cause)


def actor_died(text, preempted=False):
    return ray.exceptions.RayActorError("id", f"The actor died before finishing this task.\n\tpid: 3\n{text}", False, preempted)


MONITOR = "1 worker(s) were killed due to the node running low on memory. Memory on the node was 15.2GB / 16.0GB"
KILLED = "Worker unexpectedly exits with a connection error code 2. Some causes: (1) the process was killed by the OOM killer"


@pytest.mark.parametrize(
    ("errors", "reason"),
    [
        ({1: dead(actor_died(KILLED))}, "lost"),
        ({0: Left("lost", "Connection closed by peer"), 1: dead(actor_died(KILLED))}, "lost"),
        ({0: Left("lost", "Connection closed by peer")}, "lost"),
        ({0: dead(actor_died(MONITOR))}, "memory"),
        ({0: dead(ray.exceptions.OutOfMemoryError(MONITOR))}, "memory"),
        ({0: Left("lost", "gloo"), 1: dead(actor_died("the node was drained", preempted=True))}, "preempted"),
        ({0: Left("preempted", "a new group"), 1: Left("preempted", "a new group")}, "preempted"),
        ({0: ImportError("no module named torch")}, "lost"),
    ],
)
def test_why_a_group_fell(errors, reason):
    reply = fallen(errors)
    assert reply.reason == reason
    assert reply.error


def test_how_a_worker_died_is_told_in_a_line():
    told = fallen({0: Left("lost", "gloo"), 1: dead(actor_died(KILLED))}).error
    assert told.startswith("rank 1: RayActorError: Worker unexpectedly exits")
    assert "\n" not in told


def test_leaving_travels_between_processes():
    left = pickle.loads(pickle.dumps(Left("lost", "gone")))
    assert (left.reason, str(left)) == ("lost", "gone")


def test_deciding_needs_neither_ray_nor_torch():
    code = "import sys, heliostat.engine.failures; print([m for m in ('ray', 'torch') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
