from __future__ import annotations

import pytest

from multibox.report.training_length import late_gain, why_too_brief


def epochs_of(aps, *, steps=1000):
    last = len(aps)
    return [{"epoch": n, "step": steps * n // last, "ap": ap} for n, ap in enumerate(aps, start=1)]


@pytest.mark.parametrize(
    ("aps", "gain"),
    [
        ([0.1, 0.2], None),  # two points are no course
        ([0.1, 0.3, 0.2], None),  # the best was before
        ([0.1, 0.2, 0.3], 0.1),  # of three, the last one is late
        ([0.1, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.2, 0.31], 0.01),  # of ten, the last two
        ([0.1, None, 0.2, None, 0.3], 0.1),  # epochs without validation do not count
    ],
)
def test_the_late_gain(aps, gain):
    found = late_gain(epochs_of(aps))
    assert found == (None if gain is None else pytest.approx(gain))


@pytest.mark.parametrize(
    ("aps", "steps", "words"),
    [
        ([0.3, 0.3, 0.3], 299, "it had 299 steps"),
        ([0.3, 0.3, 0.3], 300, None),
        ([0.1, 0.2, 0.3], 5000, "still rising when it ended, by 10.0 points"),
        ([0.1, 0.3, 0.31], 5000, None),
        ([0.3, 0.2, 0.1], 5000, None),
    ],
)
def test_what_is_too_brief(aps, steps, words):
    reason = why_too_brief(epochs_of(aps, steps=steps))
    assert reason is None if words is None else words in reason


def test_a_log_without_steps_or_without_lines_says_nothing():
    assert why_too_brief([]) is None
    assert why_too_brief([{"epoch": 1, "ap": 0.5}]) is None
