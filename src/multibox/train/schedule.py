"""The learning rate as a function of how much of the run is done."""

from __future__ import annotations

import math

from multibox.config import ScheduleConfig


def rate_factor(progress: float, *, num_steps: int, config: ScheduleConfig) -> float:
    """Share of the base learning rate when `progress` (0..1) of a run of `num_steps` steps is done.

    Linear warm-up, then half a cosine down to `final_factor` (Loshchilov and Hutter, "SGDR", 2017, eq. 5, one period).
    Warm-up is a share of the run, so that a run of a few dozen steps is not all warm-up.
    """
    cosine = config.final_factor + (1 - config.final_factor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    warmup = min(config.warmup_fraction, config.max_warmup_steps / max(1, num_steps))
    if progress >= warmup:
        return cosine
    return cosine * (config.warmup_start + (1 - config.warmup_start) * progress / warmup)


def passes_per_epoch(num_images: int, global_batch: int, *, config: ScheduleConfig) -> int:
    """How often an epoch shows each image: more than once for a set too small for `min_steps_per_epoch` steps."""
    return max(1, math.ceil(config.min_steps_per_epoch * global_batch / num_images))
