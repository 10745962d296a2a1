"""A training of a few steps on a part of the data: to see how fast a machine is, or what a start is worth."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from multibox import config
from multibox.config import Template
from multibox.data.coco import CocoData
from multibox.train.assembly import without_mosaics
from multibox.train.loop import TrainingResult
from multibox.train.run import train
from multibox.unfinished import unfinished_folder
from multibox.weights.start import StartingPoint


@contextmanager
def brief_training(
    template: Template,
    data: CocoData,
    *,
    steps: int,
    start: StartingPoint,
    val_data: CocoData | None = None,
    seed: int = 0,
    device: str = "auto",
    minutes: float | None = None,
) -> Iterator[TrainingResult]:
    """One epoch of at least so many steps, with its own warm-up and decay; its files are there within.

    With `minutes`, it has as many steps as fit into these, if that is fewer.

    Raises:
        KeyboardInterrupt: a signal came.
    """
    short = config.changed(
        without_mosaics(template), {"hyper_parameters.basic.epochs": 1, "train.schedule.min_steps_per_epoch": steps}
    )
    few = data.evenly(steps * template.hyper_parameters.basic.batch_size)
    with unfinished_folder(Path(tempfile.gettempdir())) as folder:
        result = train(
            short,
            few,
            folder,
            display=_Silent(),
            val_data=val_data,
            start=start,
            seed=seed,
            device=device,
            time_budget_minutes=minutes,
            is_limited=True,
        )
        if result.is_interrupted:
            raise KeyboardInterrupt
        yield result


class _Silent:
    """A display of a training of which nobody is to hear."""

    def line(self, text: str) -> None:
        """Nothing."""

    def progress(self, *, epoch: int, share: float, loss: float, seconds_left: float) -> None:
        """Nothing."""
