"""Which of several starts serves a data set best: each is trained for a short while, and the better one is taken.

A backbone that learnt a thousand kinds of things tells classes apart that a detector's cannot, and a detector's head
finds small and crowded objects that a fresh one misses for long. Which of the two a set needs shows within a few dozen
steps (docs/decisions/0009).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from multibox.config import Template
from multibox.data.coco import CocoData
from multibox.train.brief import brief_training
from multibox.train.schedule import passes_per_epoch
from multibox.weights.start import StartingPoint
from multibox.wording import Detailed

STEPS = 60
"""Least number of steps of each trial, which has its own warm-up and decay as a whole run of that length."""

IMAGES = 960
"""Least number of images that each trial sees."""

SHARE = 0.16
"""Share of the steps of a run that all trials together may take: two of them before the templates' epochs on a small
set. A shorter run takes the first start untried."""

TIME_SHARE = 0.1
"""Share of a time budget that all trials together may take, validations included. If they would take longer, the first
start is taken, with the time that is left."""

LEAST_SHARE = 2 / 3
"""Share of the steps of a trial that the time must allow: after fewer, the better start does not show."""

MAX_IMAGES = 100
"""Largest number of validation images of a trial."""

SECONDS_PER_TRIAL = 15
"""Seconds that a trial of a small template takes on two cores, to judge a run that is given minutes, not steps."""


def choose_start(
    starts: Sequence[StartingPoint],
    template: Template,
    train_data: CocoData,
    val_data: CocoData | None,
    *,
    seed: int,
    device: str,
    is_alone: bool,
    time_budget_minutes: float | None,
    say: Callable[[str], None],
) -> StartingPoint | None:
    """The best of several starts, or the first if they are not tried, which is said; None if there is none.

    They are tried if there are images to validate on, the run is long enough, and it `is_alone`, the only process of
    its training.

    Raises:
        KeyboardInterrupt: a signal came during a trial.
    """
    if len(starts) < 2:
        return starts[0] if starts else None
    reason = ""
    if val_data is None:
        reason = "there are no images to measure it on"
    elif not is_alone:
        reason = "several processes train"
    elif not pays(template, len(train_data.records), len(starts), time_budget_minutes):
        reason = "it would take too much of so short a run"
    if reason or val_data is None:
        say(f"Starting from {_short(starts[0])}, without a trial of both: {reason}.")
        return starts[0]
    say(f"Trying {len(starts)} kinds of pretrained weights on these data.")
    limit = None if time_budget_minutes is None else time_budget_minutes * TIME_SHARE / len(starts)
    return best_start(starts, template, train_data, val_data, seed=seed, device=device, minutes=limit, say=say)


def pays(template: Template, num_images: int, num_starts: int, time_budget_minutes: float | None) -> bool:
    """Whether a run is long enough for a trial of each start before it."""
    if time_budget_minutes is not None:
        return 60 * time_budget_minutes * TIME_SHARE >= num_starts * SECONDS_PER_TRIAL
    basic = template.hyper_parameters.basic
    passes = passes_per_epoch(num_images, basic.batch_size, config=template.train.schedule)
    steps = basic.epochs * math.ceil(num_images * passes / basic.batch_size)
    return steps * SHARE >= num_starts * num_steps(basic.batch_size)


def num_steps(batch_size: int) -> int:
    """Number of steps of each trial with batches of this size."""
    return max(STEPS, math.ceil(IMAGES / batch_size))


def best_start(
    starts: Sequence[StartingPoint],
    template: Template,
    train_data: CocoData,
    val_data: CocoData,
    *,
    seed: int,
    device: str,
    minutes: float | None = None,
    say: Callable[[str], None],
) -> StartingPoint:
    """The start from which a short training reaches the best AP50, the first of equal ones; what came of it is said.

    Not AP: within a few dozen steps, boxes are as tight as the head that came with the start, which says nothing of
    where they end. On playing_cards, AP took the classifier in two of four trials, AP50 in all of them, and it leads by
    14 points of AP50 after 840 steps (docs/decisions/0009).

    Each trial takes `minutes` at most. Where that is too short for `LEAST_SHARE` of its steps, the first start is
    taken.

    Raises:
        KeyboardInterrupt: a signal came.
    """
    steps = num_steps(template.hyper_parameters.basic.batch_size)
    some_val_data = val_data.evenly(MAX_IMAGES)
    scores: list[float] = []
    for start in starts:
        with brief_training(
            template,
            train_data,
            steps=steps,
            start=start,
            val_data=some_val_data,
            seed=seed,
            device=device,
            minutes=minutes,
        ) as result:
            if minutes is not None and result.steps < LEAST_SHARE * steps:
                say(f"Starting from {_short(starts[0])}: this machine is too slow to try both in a tenth of the time.")
                return starts[0]
            scores.append((result.metrics.ap50 or 0.0) if result.metrics else 0.0)
    best = max(range(len(starts)), key=lambda index: scores[index])
    tried = ", ".join(f"{_short(start)} AP50 {score:.3f}" for start, score in zip(starts, scores, strict=True))
    taken = f"Starting from {_short(starts[best])}, the better one after {steps} steps"
    say(Detailed(f"{taken}: {tried}.", brief=f"{taken}."))
    return starts[best]


def _short(start: StartingPoint) -> str:
    return start.name.partition(" (")[0]
