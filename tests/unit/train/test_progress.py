"""How long a run is and when it stops, as hand-typed tables."""

from __future__ import annotations

import math

import pytest

from multibox.config import MosaicConfig
from multibox.train.pace import Pace
from multibox.train.progress import Counters, RunLength, has_lost_patience, is_too_brief, mosaic_steps

MOSAIC = MosaicConfig(share=0.5, until=0.7, max_images=100)


class StillClock:
    """A clock that stands at 100 seconds."""

    def __call__(self) -> float:
        return 100.0


def pace(*, deadline: float | None, step_seconds: float = 0.5, num_steps: int = 10) -> Pace:
    return Pace(
        deadline,
        validation_seconds=0.0,
        step_seconds=step_seconds,
        num_steps=num_steps,
        validated_at=100.0,
        began_at=90.0,
        clock=StillClock(),
    )


def test_without_a_deadline_a_run_has_the_steps_of_its_epochs():
    length = RunLength(pace(deadline=None), epoch_steps=30)
    assert (length.steps_left(12), length.num_steps(12, steps_left=18)) == (18, 30)


@pytest.mark.parametrize(
    ("is_limited", "seconds", "steps_left"),
    [
        # 50 s / 0.5 s a step, less the tenth that validations between may take
        (False, 50, 90.0),
        # the epochs have 30 steps, of which 12 are done
        (True, 50, 18),
        # 5 s are 9 steps, fewer than the epochs have
        (True, 5, 9.0),
        (False, -5, 0.0),
    ],
)
def test_with_a_deadline_a_run_has_the_steps_that_fit(is_limited, seconds, steps_left):
    length = RunLength(pace(deadline=100 + seconds), epoch_steps=30, is_limited=is_limited)
    assert length.steps_left(12) == pytest.approx(steps_left)
    assert length.num_steps(12, length.steps_left(12)) == 12 + math.ceil(steps_left)


@pytest.mark.parametrize(("is_limited", "steps_left"), [(False, math.inf), (True, 30)])
def test_before_the_first_step_nothing_is_known_of_a_deadline(is_limited, steps_left):
    length = RunLength(pace(deadline=150, num_steps=0), epoch_steps=30, is_limited=is_limited)
    assert length.steps_left(0) == steps_left
    assert length.num_steps(0, steps_left) == 30


def test_asking_changes_nothing():
    length = RunLength(pace(deadline=150), epoch_steps=30)
    assert [length.steps_left(12) for _ in range(3)] == [90.0] * 3
    assert (length.pace.num_steps, length.pace.step_seconds, length.epoch_steps) == (10, 0.5, 30)


@pytest.mark.parametrize(
    ("progress", "steps_left", "steps"),
    [
        (0.0, 100, 70),  # 0.7 of the run
        (0.35, 65, 35),  # the other half of that
        (0.7, 30, 0),
        (0.9, 10, 0),
        (0.1, 7, 5),  # 0.6 / 0.9 of 7 are 4.67: the step in which mosaics end has some
    ],
)
def test_mosaics_end_at_their_share_of_the_run(progress, steps_left, steps):
    assert mosaic_steps(MOSAIC, progress, steps_left) == steps


def test_mosaics_of_a_run_of_unknown_length_last_longer_than_an_epoch():
    assert mosaic_steps(MOSAIC, 0.0, math.inf) > 10**9


def test_without_mosaics_no_step_has_any():
    assert mosaic_steps(None, 0.0, 100) == 0


@pytest.mark.parametrize("num_parts", [3, 7, 300])
def test_a_resumed_run_comes_to_the_same_end_of_mosaics(num_parts):
    # Progress as the loop adds it up: 0.1 + 0.1 + ... is not 0.7 exactly.
    progress, steps_left = 0.0, 1000.0
    ends = []
    for part in range(num_parts):
        ends.append(part + mosaic_steps(MOSAIC, progress, steps_left))
        steps_left -= 1
        progress += (1 - progress) / (steps_left + 1)
    assert set(ends) == {700}


def lost(
    *,
    epoch: int,
    best_epoch: int,
    best_ap: float | None = 0.5,
    progress: float = 1.0,
    mosaic: MosaicConfig | None = None,
) -> bool:
    """Of a run of 10 epochs of 8 steps with a patience of 3 epochs."""
    counters = Counters(epoch=epoch, best_epoch=best_epoch, best_ap=best_ap, progress=progress)
    return has_lost_patience(counters, steps_per_epoch=8, num_steps=80, patience_epochs=3, mosaic=mosaic)


@pytest.mark.parametrize(
    ("epoch", "best_epoch", "is_lost"),
    [
        (3, 0, False),  # 3 epochs are the patience, but less than 0.4 of 10
        (4, 0, True),
        (7, 3, True),
        (7, 4, False),
        (9, 9, False),
    ],
)
def test_patience_is_the_longer_of_its_epochs_and_its_share_of_the_run(epoch, best_epoch, is_lost):
    assert lost(epoch=epoch, best_epoch=best_epoch) is is_lost


def test_patience_of_a_short_run_is_its_epochs():
    counters = Counters(epoch=2, best_epoch=0, best_ap=0.5, progress=1.0)
    settings = {"steps_per_epoch": 8, "num_steps": 24, "mosaic": None}
    assert not has_lost_patience(counters, patience_epochs=3, **settings)
    assert has_lost_patience(counters, patience_epochs=2, **settings)


@pytest.mark.parametrize("best_ap", [None, 0.0])
def test_a_run_that_finds_nothing_yet_is_not_given_up(best_ap):
    assert not lost(epoch=9, best_epoch=0, best_ap=best_ap)


@pytest.mark.parametrize(("progress", "is_lost"), [(0.84, False), (0.86, True)])
def test_patience_waits_for_half_of_the_part_without_mosaics(progress, is_lost):
    # Mosaics end at 0.7: half of the rest is over at 0.85.
    assert lost(epoch=9, best_epoch=0, progress=progress, mosaic=MOSAIC) is is_lost


def epochs(*measured: float | None, steps: int = 100) -> list[dict[str, float | None]]:
    return [{"step": steps * (number + 1), "ap": ap} for number, ap in enumerate(measured)]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], True),
        (epochs(0.5, 0.6), True),  # 200 steps
        (epochs(0.5, 0.6, 0.6), False),
        (epochs(0.2, 0.3, 0.4, 0.45, 0.481), True),  # by 0.03 in the last fifth
        (epochs(0.2, 0.3, 0.4, 0.45, 0.479), False),
        (epochs(0.2, 0.3, 0.5, 0.45, 0.48), False),  # no better than before
        (epochs(0.2, 0.3, None, None, 0.48), True),
        (epochs(None, None, None, None), False),  # nobody knows
    ],
)
def test_too_brief_are_few_steps_and_an_ap_that_rises_at_the_end(lines, expected):
    assert is_too_brief(lines) is expected
