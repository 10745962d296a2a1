from __future__ import annotations

import pytest

from multibox.report.training_length import why_too_brief


def epochs_of(aps, *, steps):
    last = len(aps)
    return [{"epoch": n, "step": steps * n // last, "ap": ap} for n, ap in enumerate(aps, start=1)]


@pytest.mark.parametrize(
    ("aps", "steps", "words"),
    [
        ([0.3, 0.3, 0.3], 299, "it had 299 steps, and fewer than 300"),
        ([0.3], 1, "it had 1 step, and fewer than 300"),
        ([0.3, 0.3, 0.3], 300, None),
        ([0.1, 0.2, 0.3, 0.4, 0.5], 5000, "still rising when it ended"),
        ([0.1, 0.3, 0.3, 0.3, 0.31], 5000, None),
        ([0.3, 0.2, 0.1], 5000, None),
    ],
)
def test_what_is_too_brief(aps, steps, words):
    reason = why_too_brief(epochs_of(aps, steps=steps))
    assert reason is None if words is None else words in reason


def test_a_log_without_steps_or_without_lines_says_nothing():
    assert why_too_brief([]) is None
    assert why_too_brief([{"epoch": 1, "ap": 0.5}]) is None
