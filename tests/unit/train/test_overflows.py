"""Updates that overflowed: a few belong to fp16, many end the training."""

from types import SimpleNamespace

import pytest

from heliostat.core.errors import Diverged
from heliostat.train.overflows import IN_A_ROW, Overflows


def after(*skipped, precision="fp16"):
    found = Overflows(precision)
    for step, each in enumerate(skipped, 1):
        found.note(SimpleNamespace(step=step, skipped=each))
    return found


def test_a_few_are_counted():
    found = after(True, True, False, True, False, False)
    assert found.skipped == 3
    found.judge(6)
    with pytest.raises(Diverged, match=r"3 of 5 updates were not made.*in fp16\. Use train\.precision: bf16 or fp32"):
        found.judge(5)


def test_so_many_in_a_row_end_a_training_at_once():
    assert after(*[True] * (IN_A_ROW - 1), False, *[True] * (IN_A_ROW - 1)).skipped == 2 * IN_A_ROW - 2
    with pytest.raises(Diverged, match=rf"the last {IN_A_ROW} updates up to step 40 were not made.*in bf16\. Use train\.precision: fp32"):
        after(*[False] * (40 - IN_A_ROW), *[True] * IN_A_ROW, precision="bf16")
