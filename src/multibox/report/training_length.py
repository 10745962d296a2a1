"""Why a training was too short to judge the data by, in words; the rule is that of `train.progress`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from multibox.train.progress import BRIEF_STEPS, is_too_brief
from multibox.wording import counted


def why_too_brief(epochs: Sequence[Mapping[str, Any]]) -> str | None:
    """Why a training of these epochs (lines of metrics.jsonl) was too brief, as half a sentence; None if it was not.

    Lines that do not say how many steps were done say nothing of that, either.
    """
    if not epochs or not all("step" in epoch for epoch in epochs) or not is_too_brief(epochs):
        return None
    steps = int(epochs[-1]["step"])
    if steps < BRIEF_STEPS:
        return f"it had {counted(steps, 'step')}, and fewer than {BRIEF_STEPS} are rarely enough"
    return "AP was still rising when it ended"
