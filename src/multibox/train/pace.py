"""How fast a run is, how much of it is left, and when it has to end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from multibox.wording import counted

VALIDATION_SHARE = 0.1
"""Largest share of a time budget, roughly, that goes into validation before the end."""

MINUTES_FROM = 90
"""Seconds from which a time is said in minutes."""

UNTIMED_STEPS = 2
"""Number of first steps that are not timed: they pay for memory and the choice of algorithms."""


@dataclass
class Pace:
    """Smoothed time per step, per validation and per saving of the checkpoints, and what follows from them.

    `deadline`, `began_at` (the start of the command) and `validated_at` are times of `clock`; there may be no deadline.
    `validation_seconds` begins as a guess.
    """

    deadline: float | None
    validation_seconds: float
    saving_seconds: float = 0.0
    step_seconds: float = 0.0
    num_steps: int = 0
    validated_at: float = field(default_factory=time.monotonic)
    began_at: float = field(default_factory=time.monotonic)
    clock: Callable[[], float] = time.monotonic

    def count_step(self, seconds: float) -> None:
        """Learn from one more step."""
        self.num_steps += 1
        weight = 1.0 if self.num_steps <= UNTIMED_STEPS + 1 else max(0.05, 1 / (self.num_steps - UNTIMED_STEPS))
        self.step_seconds += weight * (seconds - self.step_seconds)

    def count_validation(self, seconds: float) -> None:
        """Learn from one more validation."""
        self.validation_seconds = seconds
        self.validated_at = self.clock()

    def count_saving(self, seconds: float) -> None:
        """Learn from one more time that the checkpoints were saved."""
        self.saving_seconds = seconds

    def steps_until_deadline(self) -> float:
        """Steps that still fit, with room for the validations between, and for the one and the saving at the end."""
        assert self.deadline is not None
        left = self.deadline - self.clock() - self.validation_seconds - self.saving_seconds
        return max(0.0, left) * (1 - self._validation_share(left)) / max(self.step_seconds, 1e-6)

    def is_validation_due(self) -> bool:
        """After each epoch; with a deadline, only when the last validation was long enough ago."""
        if self.deadline is None:
            return True
        return (self.clock() - self.validated_at) * VALIDATION_SHARE >= self.validation_seconds

    def seconds_left(self, steps_left: float, steps_per_epoch: int) -> float:
        """Until the end, validations counted."""
        if self.deadline is not None:
            return max(0.0, self.deadline - self.clock())
        return steps_left * self.step_seconds + math.ceil(steps_left / steps_per_epoch) * self.validation_seconds

    def plan(self, steps_left: float, steps_per_epoch: int, images_per_step: int) -> str:
        """One line: speed, length, and the time of day at which it will be done."""
        speed = images_per_step / self.step_seconds
        left = self.seconds_left(steps_left, steps_per_epoch)
        epochs = max(1, round((steps_left + self.num_steps) / steps_per_epoch))
        time_left = counted(round(left / 60), "minute") if left >= MINUTES_FROM else counted(round(left), "second")
        return (
            f"{speed:.0f} images/s, {counted(epochs, 'epoch')} in {time_left}. "
            f"Done at about {datetime.now() + timedelta(seconds=left):%H:%M}."
        )

    def _validation_share(self, left: float) -> float:
        return VALIDATION_SHARE if left > 2 * self.validation_seconds / VALIDATION_SHARE else 0.0
