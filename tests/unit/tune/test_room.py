"""Disk of a sweep: it is counted, and when a budget is reached the worst paused trials lose their checkpoints first."""

import pytest

from heliostat.tune.room import Room, trial_name


@pytest.fixture
def room(tmp_path):
    """Five trials of 60 + 40 bytes."""

    def make(limit):
        found = Room(tmp_path, limit)
        for number in range(5):
            for part, size in (("latest", 60), ("best", 40)):
                folder = tmp_path / trial_name(number) / part / "step-00000001"
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "weights").write_bytes(b"x" * size)
            found.measure(number)
        return found

    return make


def there(room):
    return {p.parent.name + "/" + p.name for p in room.folder.glob("*/*")}


def test_what_is_on_disk_is_counted(room):
    found = room(None)
    assert (found.total, found.peak, found.largest) == (500, 500, 100)


def test_without_a_budget_nothing_goes(room):
    found = room(None)
    found.make(2, [0, 1, 2, 3, 4], {4}, {3})
    assert found.total == 500


@pytest.mark.parametrize(
    ("limit", "gone"),
    [
        (600, []),
        (550, ["0/latest"]),
        (450, ["0/latest", "1/latest", "2/latest"]),
        (330, ["0/latest", "1/latest", "2/latest", "3/latest", "0/best"]),
    ],
)
def test_room_is_made_for_what_is_about_to_be_saved_the_worst_first(room, limit, gone):
    found = room(limit)
    before = there(found)
    found.make(1, [0, 1, 2, 3, 4], running={4}, best={3})
    missing = {f"trial-000{name}" for name in gone}
    assert before - there(found) == missing
    assert found.total + found.largest <= limit


def test_running_trials_and_the_weights_of_the_best_are_never_touched(room):
    found = room(1)
    found.make(1, [0, 1, 2, 3, 4], running={4}, best={3})
    assert there(found) == {"trial-0003/best", "trial-0004/latest", "trial-0004/best"}
    assert found.total == 140


def test_a_state_that_nobody_goes_on_from_is_no_longer_counted(room):
    found = room(None)
    found.drop(2, "latest")
    found.drop(2, "latest")
    assert found.total == 440
    assert not (found.folder / "trial-0002" / "latest").exists()
    found.measure(2)
    assert (found.total, found.peak) == (440, 500)


def test_other_trainings_lie_beside_those_of_the_trials(room):
    found = room(None)
    (found.folder / "confirm-0" / "best").mkdir(parents=True)
    (found.folder / "confirm-0" / "best" / "weights").write_bytes(b"x" * 30)
    found.beside(found.folder.glob("confirm-*"))
    assert (found.total, found.peak) == (500, 530)
