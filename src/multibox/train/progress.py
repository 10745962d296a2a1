"""How far a run is, how long it is, when its mosaics end and when it stops early. Nothing here changes anything."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from multibox.config import MosaicConfig
from multibox.train.pace import Pace

PATIENCE_SHARE = 0.4
"""Share of a run that must pass without a better AP before it stops early: the falling learning rate of its end
deserves a chance."""

BRIEF_STEPS = 300
"""Number of steps below which a training says little about data or model: the starting weights have hardly moved."""

TOO_BRIEF = (
    "Trained too briefly: fewer than 300 steps, or AP was still rising at the end. What follows says little about "
    "your data; train longer first (--minutes)."
)
"""What is said first wherever advice is given about such a run."""

LAST_SHARE, RISING = 0.2, 0.03
"""A run was still rising if AP grew by this much within this last share of its steps."""


@dataclass
class Counters:
    """How far a run is: with the weights and the optimizer, all that resuming needs.

    `epoch` and `step` count what is done, `step_in_epoch` the steps of the epoch that has begun. `progress` is the
    share of the run that is done, 0 to 1. `best_epoch` is the epoch after which AP was best, 0 for the starting
    weights.
    """

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    progress: float = 0.0
    best_ap: float | None = None
    best_epoch: int = 0


@dataclass(frozen=True)
class RunLength:
    """How many steps a run has: those of its epochs or, with a deadline, those that fit until then.

    `epoch_steps` is the number of steps of all epochs. With a deadline they are an upper limit if `is_limited`, and
    otherwise only what is assumed before the first step.
    """

    pace: Pace
    epoch_steps: int
    is_limited: bool = False

    def steps_left(self, step: int) -> float:
        """Number of steps after `step`; with a deadline a fraction, and infinite before the first step."""
        if self.pace.deadline is None:
            return self.epoch_steps - step
        limit = self.epoch_steps - step if self.is_limited else math.inf
        return limit if not self.pace.num_steps else min(self.pace.steps_until_deadline(), limit)

    def num_steps(self, step: int, steps_left: float) -> int:
        """Number of all steps of a run of which `step` are done and `steps_left` are left."""
        if self.pace.deadline is None or not self.pace.num_steps:
            return self.epoch_steps
        return step + math.ceil(steps_left)


def mosaic_steps(mosaic: MosaicConfig | None, progress: float, steps_left: float) -> int:
    """Number of steps from now on whose samples may be mosaics, which end at the share `mosaic.until` of the run."""
    if mosaic is None or progress >= mosaic.until:
        return 0
    # With a deadline, nothing is known before the first step: more than an epoch.
    known = min(steps_left, sys.maxsize)
    # Progress is a sum of many parts: rounded, so that a run that is resumed comes to the same step.
    return math.ceil(round((mosaic.until - progress) / (1 - progress) * known, 6))


def has_lost_patience(
    counters: Counters, *, steps_per_epoch: int, num_steps: int, patience_epochs: int, mosaic: MosaicConfig | None
) -> bool:
    """Whether AP has not risen for so long that the rest of the run is not worth its time.

    It must not have risen for `patience_epochs` epochs and for `PATIENCE_SHARE` of the `num_steps` steps of the run.
    `mosaic` is None for a run without mosaics.
    """
    # What the part without mosaics brings shows in that part: half of it is waited for.
    if mosaic is not None and counters.progress < (1 + mosaic.until) / 2:
        return False
    idle_epochs = counters.epoch - counters.best_epoch
    is_long = idle_epochs * steps_per_epoch >= PATIENCE_SHARE * num_steps
    # An AP of 0 is no plateau but a start: rare or small objects take a while to be found at all.
    return bool(counters.best_ap) and is_long and idle_epochs >= patience_epochs


def is_too_brief(epochs: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a run ended before it showed what the data are good for; by the lines of its metrics.jsonl."""
    if not epochs:
        return True
    num_steps = epochs[-1].get("step", 0)
    if num_steps < BRIEF_STEPS:
        return True
    measured = [(line["step"], line["ap"]) for line in epochs if line.get("ap") is not None and "step" in line]
    before = [ap for step, ap in measured if step <= (1 - LAST_SHARE) * num_steps]
    return bool(before) and measured[-1][1] - max(before) >= RISING
