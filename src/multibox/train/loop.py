"""The loop of a run: epochs, steps, validation, checkpoints, stopping. What it starts from is made in `run`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from multibox.config import MosaicConfig
from multibox.data.loader import TrainLoader
from multibox.evaluate.average_precision import Metrics
from multibox.signals import interruption
from multibox.train.batches import DeviceBatch, device_batches
from multibox.train.epoch_end import EpochEnds, is_done, is_out_of_patience
from multibox.train.objective import StepLosses
from multibox.train.progress import Counters, RunLength, mosaic_steps
from multibox.train.run_log import RunLog
from multibox.train.saving import RunFolder
from multibox.train.schedule import rate_factor
from multibox.train.step import Learner, step
from multibox.train.validation import Validation, Validator

SAVE_EVERY_SECONDS = 600
"""Seconds after which a long epoch is saved in between, so that a kill costs at most this."""

SHOW_EVERY_SECONDS = 0.2
"""Seconds between two updates of the display: more often, nobody reads it, and on a graphics card the loss that is
shown has to be waited for."""

PLAN_AFTER_STEPS = 10
"""Number of steps after which the speed is known well enough to announce the plan of a time budget."""

STOPPING = "Stopping after this step; a checkpoint will be saved. Once more stops at once."


class Display(Protocol):
    """Where a run tells how it goes."""

    def line(self, text: str) -> None:
        """One line that stays. Of a `wording.Detailed`, its `brief` is enough for most."""
        ...

    def progress(self, *, epoch: int, share: float, loss: float, seconds_left: float) -> None:
        """The present state, replaced by the next."""
        ...


@dataclass(frozen=True)
class TrainingResult:
    """Where a run ended. `metrics` are those of the last validation; None without validation data."""

    latest: Path
    best: Path | None
    metrics: Metrics | None
    best_ap: float | None
    best_epoch: int
    epochs: int
    steps: int
    images_per_second: float
    is_interrupted: bool


@dataclass(frozen=True)
class TrainingRun:
    """All that `fit` needs; only `counters`, the pace in `length` and what `learner` holds change on the way.

    `log` is None but in the main process. With `judges_start`, the starting weights are measured and saved first: a
    start that knows the classes may be hard to beat. With `is_measured_beside`, AP of an epoch is worked out during the
    next one (`epoch_end`). `clock` gives seconds, as `time.monotonic`.
    """

    learner: Learner
    loader: TrainLoader
    counters: Counters
    length: RunLength
    folder: RunFolder
    validator: Validator | None
    display: Display
    log: RunLog | None
    judges_start: bool = False
    is_measured_beside: bool = False
    clock: Callable[[], float] = time.monotonic

    @property
    def global_batch(self) -> int:
        """Number of images of a step, over all processes."""
        return self.loader.batch_size * self.learner.processes.count

    @property
    def mosaic(self) -> MosaicConfig | None:
        """The mosaics of this run; None without any."""
        return self.learner.template.train.augment.mosaic if self.loader.dataset.mosaic_share else None


def fit(run: TrainingRun) -> TrainingResult:
    """Train until the epochs, the time or the patience are over, or a signal comes.

    Raises:
        TrainingError: the loss, the gradients or the weights are not finite. Nothing of that is saved.
    """
    learner, counters, pace, agree = run.learner, run.counters, run.length.pace, run.learner.processes.agree
    settings = learner.template.train
    base_rate = learner.template.hyper_parameters.basic.base_learning_rate
    num_steps = run.length.epoch_steps
    shown = Shown(run)
    with interruption(lambda: run.display.line(STOPPING)) as stop, EpochEnds(run) as ends:
        ends.judge_start()
        saved_at = run.clock()
        is_over = learner.processes.agree_on(is_done(run, num_steps) or stop.is_set())
        while not is_over:
            losses, first_step, began_at = MeanLosses(), counters.step_in_epoch, run.clock()
            step_began_at, is_last, must_stop, rate = began_at, False, False, 0.0
            mosaics_until = first_step + mosaic_steps(
                run.mosaic, counters.progress, run.length.steps_left(counters.step)
            )
            with closing(_batches(run, first_step, mosaics_until)) as batches:
                for batch in batches:
                    rate = base_rate * rate_factor(counters.progress, num_steps=num_steps, config=settings.schedule)
                    losses.add(step(learner, batch, counters, rate=rate))
                    # Waiting for the batch counts: a step is from the end of one to the end of the next.
                    pace.count_step(run.clock() - step_began_at)
                    step_began_at = run.clock()
                    counters.step += 1
                    counters.step_in_epoch += 1
                    steps_left, must_stop = agree(run.length.steps_left(counters.step), stop.is_set())
                    num_steps = run.length.num_steps(counters.step, steps_left)
                    counters.progress += (1 - counters.progress) / max(1.0, steps_left + 1)
                    is_last = steps_left < 1
                    shown.update(losses, steps_left)
                    if must_stop or is_last:
                        break
                    ends.poll()
                    if run.clock() - saved_at > SAVE_EVERY_SECONDS:
                        ends.save()
                        saved_at = run.clock()
            num_images = (counters.step_in_epoch - first_step) * run.global_batch
            if not is_last and counters.step_in_epoch < run.loader.steps_per_epoch:
                break
            counters.epoch += 1
            counters.step_in_epoch = 0
            speed = num_images / (run.clock() - began_at)
            is_measured = ends.end(losses.means(learner.processes.mean), num_steps, rate=rate, speed=speed)
            saved_at = run.clock()
            # Time passes: a budget may have run out just after an epoch was not thought to be the last. Its weights
            # are not measured; one more step follows, and those are.
            is_over = learner.processes.agree_on(stop.is_set() or (is_measured and is_done(run, num_steps)))
        ends.settle()
        if stop.is_set():
            ends.save()
    if run.log is not None:
        run.log.close()
        if is_out_of_patience(run, num_steps):
            idle_epochs = counters.epoch - counters.best_epoch
            run.display.line(f"No better AP for {idle_epochs} epochs: stopped early.")
    return _result(run, ends.validation, is_interrupted=stop.is_set())


class MeanLosses:
    """Means over the steps of an epoch."""

    def __init__(self) -> None:
        # Where the losses are: adding them up waits for nothing.
        self._sums: Tensor | None = None
        self._names: tuple[str, ...] = ("classes", "boxes")
        self._count = 0

    def add(self, losses: StepLosses) -> None:
        """Count one more step."""
        self._names = tuple(losses.parts)
        values = torch.stack([losses.total, *losses.parts.values()]).detach().double()
        self._sums = values if self._sums is None else self._sums + values
        self._count += 1

    def means(self, over_processes: Callable[[Tensor], Tensor] = lambda values: values) -> dict[str, float]:
        """Total and parts; each process knows its own images, so the whole batch's loss is the mean over them."""
        names = ("loss", *(f"loss_{name}" for name in self._names))
        sums = over_processes(torch.zeros(len(names), dtype=torch.float64) if self._sums is None else self._sums)
        return dict(zip(names, (sums / max(1, self._count)).tolist(), strict=True))


class Shown:
    """What the display shows of a run, not more often than somebody can read; the main process alone speaks."""

    def __init__(self, run: TrainingRun) -> None:
        self._run = run
        self._shown_at = -math.inf

    def update(self, losses: MeanLosses, steps_left: float) -> None:
        """Show the state after a step, and once the plan of a time budget."""
        run, pace = self._run, self._run.length.pace
        if not run.learner.processes.is_main:
            return
        if pace.deadline is not None and pace.num_steps == PLAN_AFTER_STEPS:
            run.display.line(pace.plan(steps_left, run.loader.steps_per_epoch, run.global_batch))
        if run.clock() - self._shown_at < SHOW_EVERY_SECONDS:
            return
        self._shown_at = run.clock()
        run.display.progress(
            epoch=run.counters.epoch + 1,
            share=run.counters.progress,
            loss=losses.means()["loss"],
            seconds_left=pace.seconds_left(steps_left, run.loader.steps_per_epoch),
        )


def _batches(run: TrainingRun, first_step: int, mosaic_steps: int) -> Generator[DeviceBatch, None, None]:
    """The batches that are left of the present epoch."""
    return device_batches(run.loader, run.learner.fabric.device, run.counters.epoch, first_step, mosaic_steps)


def _result(run: TrainingRun, validation: Validation | None, *, is_interrupted: bool) -> TrainingResult:
    counters, pace = run.counters, run.length.pace
    return TrainingResult(
        latest=run.folder.latest,
        best=run.folder.best if counters.best_ap is not None and run.folder.best.exists() else None,
        metrics=validation.metrics if validation else None,
        best_ap=counters.best_ap,
        best_epoch=counters.best_epoch,
        epochs=counters.epoch,
        steps=counters.step,
        images_per_second=run.global_batch / pace.step_seconds if pace.step_seconds else 0.0,
        is_interrupted=is_interrupted,
    )
