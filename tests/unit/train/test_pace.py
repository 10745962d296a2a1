from __future__ import annotations

import re
import time
from datetime import datetime, timedelta

import pytest

from multibox.train.pace import Pace


def with_deadline(seconds: float, **values: float) -> Pace:
    return Pace(time.monotonic() + seconds, **values)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ([10], 10),
        ([10, 8, 2], 2),  # the first two are not counted
        ([10, 8, 1, 3, 5], 3),  # the mean of 1, 3 and 5
    ],
)
def test_time_of_a_step(seconds, expected):
    pace = Pace(None, validation_seconds=0)
    for step in seconds:
        pace.count_step(step)
    assert pace.step_seconds == pytest.approx(expected)
    assert pace.num_steps == len(seconds)


def test_a_change_of_speed_is_noticed_within_a_hundred_steps():
    pace = Pace(None, validation_seconds=0)
    for step in [1.0] * 1000 + [2.0] * 100:
        pace.count_step(step)
    # 1 - 0.95^100 = 0.994 of the way
    assert pace.step_seconds == pytest.approx(1.994, abs=0.001)


def test_steps_until_a_near_deadline_leave_room_for_the_last_validation():
    # (100 - 10) / 0.5: too near for validations between
    pace = with_deadline(100, validation_seconds=10, step_seconds=0.5)
    assert pace.steps_until_deadline() == pytest.approx(180, abs=1)


def test_saving_at_the_end_has_its_room_too():
    # (100 - 10 - 5) / 0.5
    pace = with_deadline(100, validation_seconds=10, step_seconds=0.5)
    pace.count_saving(5)
    assert pace.steps_until_deadline() == pytest.approx(170, abs=1)


def test_steps_until_a_far_deadline_leave_room_for_validations_between():
    # (1010 - 10) * 0.9 / 0.5
    pace = with_deadline(1010, validation_seconds=10, step_seconds=0.5)
    assert pace.steps_until_deadline() == pytest.approx(1800, abs=1)


@pytest.mark.parametrize("seconds", [-5, 0, 9])
def test_no_steps_fit_when_only_the_validation_does(seconds):
    assert with_deadline(seconds, validation_seconds=10, step_seconds=0.5).steps_until_deadline() == 0


def test_steps_until_deadline_are_a_number_before_the_first_step():
    assert with_deadline(100, validation_seconds=0).steps_until_deadline() > 0


def test_without_deadline_each_epoch_is_validated():
    assert Pace(None, validation_seconds=1000).is_validation_due()


def test_with_deadline_validation_waits_until_it_costs_a_tenth():
    now = time.monotonic()
    assert not with_deadline(1000, validation_seconds=10, validated_at=now - 95).is_validation_due()
    assert with_deadline(1000, validation_seconds=10, validated_at=now - 105).is_validation_due()


def test_a_validation_replaces_the_guess_and_starts_the_wait():
    pace = with_deadline(1000, validation_seconds=0.1, validated_at=time.monotonic() - 500)
    assert pace.is_validation_due()
    pace.count_validation(3)
    assert pace.validation_seconds == 3
    assert not pace.is_validation_due()


def test_seconds_left_without_deadline_are_steps_and_validations():
    # 15 steps of 0.5 s; validations in 5 and in 15 steps, 2 s each
    pace = Pace(None, validation_seconds=2, step_seconds=0.5)
    assert pace.seconds_left(15, 10) == pytest.approx(11.5)


def test_seconds_left_with_deadline_are_those_until_then():
    assert with_deadline(60, validation_seconds=2).seconds_left(10**6, 10) == pytest.approx(60, abs=1)
    assert with_deadline(-60, validation_seconds=2).seconds_left(10**6, 10) == 0


def test_plan_tells_speed_length_and_end():
    pace = Pace(None, validation_seconds=0, step_seconds=0.5, num_steps=5)
    plan = pace.plan(7200, 100, 16)
    # 16 / 0.5 images per second; (7200 + 5) / 100 epochs; 7200 * 0.5 s is an hour
    assert re.fullmatch(r"32 images/s, 72 epochs in 60 minutes\. Done at about \d\d:\d\d\.", plan)
    assert pace.plan(80, 100, 16).startswith("32 images/s, 1 epoch in 40 seconds. ")
    end = datetime.now() + timedelta(hours=1)
    minute = timedelta(minutes=1)
    assert plan[-6:-1] in {f"{moment:%H:%M}" for moment in (end - minute, end, end + minute)}
