"""Whether a training was long enough for its result to say anything about the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

FEW_STEPS = 300
"""Number of steps below which a result tells of the length of the training, not of the data: with any of the weights
that come with multibox, AP still grows by tens of points there."""

LATE_SHARE = 0.2
"""Share of the validations, the last ones, in which AP should have come to rest."""

STILL_RISING = 0.02
"""Gain of AP in that last share from which it was still rising. Less is the good that the falling learning rate does at
the end of every training."""


def why_too_brief(epochs: Sequence[Mapping[str, Any]]) -> str | None:
    """Why a training of these epochs (lines of metrics.jsonl) was too brief, as half a sentence; None if it was not."""
    if not epochs:
        return None
    steps = int(epochs[-1].get("step") or 0)
    if 0 < steps < FEW_STEPS:
        return f"it had {steps} steps, and fewer than {FEW_STEPS} are rarely enough"
    gain = late_gain(epochs)
    if gain is not None and gain >= STILL_RISING:
        return f"AP was still rising when it ended, by {100 * gain:.1f} points over the last validations"
    return None


def late_gain(epochs: Sequence[Mapping[str, Any]]) -> float | None:
    """AP that the last fifth of the validations gained, if the last was the best of all; None with fewer than three."""
    aps = [float(epoch["ap"]) for epoch in epochs if epoch.get("ap") is not None]
    if len(aps) < 3 or aps[-1] < max(aps):
        return None
    num_late = max(1, round(LATE_SHARE * len(aps)))
    return aps[-1] - max(aps[:-num_late])
