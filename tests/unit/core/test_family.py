"""A family is a folder, a member is a file."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from heliostat.commands.listing import meaning
from heliostat.core import family
from heliostat.core.errors import UserError

HALF = """
from heliostat.train.schedules.base import Base

class Half(Base):
    "Half of the peak."

    def after_warmup(self, progress, merits):
        return 0.5
"""


@pytest.mark.parametrize("name", family.FAMILIES)
def test_every_member_is_found_and_told(name: str) -> None:
    found = family.members(name)
    assert found
    for member, kind in found.items():
        assert kind.name() == member
        assert family.first_line(kind), f"{name}.{member} has no docstring"
        for option in kind.model_fields:
            assert meaning(kind, option), f"{name}.{member}.{option} has no docstring below it"


def test_members_are_built_from_a_name_a_mapping_or_themselves() -> None:
    short = family.build("tune.schedulers", "asha")
    long = family.build("tune.schedulers", {"use": "asha", "eta": 4, "first": 0.25})
    assert short.name() == long.name() == "asha"
    assert family.build("tune.schedulers", long) is long
    assert family.build("tune.schedulers", family.dump(long)) == long
    assert long.identity()["use"] == "asha"


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        ("ash", "Did you mean 'asha'"),
        ({"use": "asha", "etta": 2}, "Did you mean 'eta'"),
        ({"eta": 2}, "use: name"),
        (7, "7"),
        ("no.such.module", "installed"),
    ],
)
def test_a_wrong_member_is_told(spec: object, word: str) -> None:
    with pytest.raises(UserError, match=word):
        family.build("tune.schedulers", spec)


def test_a_member_from_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "their_parts"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "half.py").write_text(HALF)
    (package / "none.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    half = family.build("train.schedules", {"use": "their_parts.half", "warmup": 0.0})
    assert half.factor(3, 10) == 0.5
    assert half.identity()["use"] == "their_parts.half"
    with pytest.raises(UserError, match="exactly one subclass"):
        family.build("train.schedules", "their_parts.none")
    for name in [m for m in sys.modules if m.startswith("their_parts")]:
        monkeypatch.delitem(sys.modules, name)
