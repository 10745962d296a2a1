"""What happens between two epochs: the averaged weights are measured, the epoch is recorded, checkpoints are written.

Where `TrainingRun.is_measured_beside`, the network still runs between the epochs, but suppression and AP are worked out
by a thread during the next epoch, and the record and the checkpoints wait for them. They are those of the end of the
epoch all the same: what they hold is copied then.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING

from multibox.train.progress import Counters, has_lost_patience
from multibox.train.saving import RunState
from multibox.train.validation import Validation, Validator
from multibox.wording import Detailed

if TYPE_CHECKING:
    from multibox.train.loop import TrainingRun

METRICS = ("ap", "ap50", "ap75", "recall")
"""Names of the metrics of a validation in the log."""


@dataclass(frozen=True)
class EndedEpoch:
    """An epoch that is over: its means, and `state`, what its checkpoint will hold."""

    means: dict[str, float]
    seconds: float
    learning_rate: float
    images_per_second: float
    state: RunState


class EpochEnds:
    """The ends of the epochs of a run. As a context it waits, at its end, for what is still under way."""

    def __init__(self, run: TrainingRun) -> None:
        self._run = run
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="multibox-validation") if run.is_measured_beside else None
        self._waiting: tuple[EndedEpoch, Future[tuple[Validation, float]], float] | None = None
        self.validation: Validation | None = None
        """The last one that is done."""

    def __enter__(self) -> EpochEnds:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            # After an error nobody wants the rest.
            self._pool.shutdown(wait=True, cancel_futures=True)

    def judge_start(self) -> None:
        """Measure and save the weights as they are, if they are to be judged; else only see how long that takes."""
        run = self._run
        if run.validator is None:
            return
        if not run.judges_start:
            if run.length.pace.deadline is not None:
                run.length.pace.validation_seconds = run.validator.seconds(run.clock)
            return
        self.validation = self._validate(run.validator)
        if self.validation.metrics.ap is not None:
            run.counters.best_ap = self.validation.metrics.ap
            run.display.line(_with_accuracy("start     ", self.validation))
        self.save()

    def end(self, means: dict[str, float], num_steps: int, *, rate: float, speed: float) -> bool:
        """Validate if it is time to, record the epoch and save; whether its weights are measured, or nothing can be.

        `means` are those of the losses of the epoch, `rate` is its last learning rate, `speed` in images per second.
        """
        run = self._run
        counters, pace = run.counters, run.length.pace
        self.settle()
        run.learner.check.settle()
        is_due = run.validator is not None and run.learner.processes.agree_on(
            is_done(run, num_steps) or pace.is_validation_due()
        )
        began_at = run.clock()
        state = run.folder.state(replace(counters), is_copy=is_due and self._pool is not None)
        epoch = EndedEpoch(means, round(began_at - pace.began_at, 1), rate, speed, state)
        if not is_due or run.validator is None:
            self._record(epoch, None)
        elif self._pool is None:
            self._record(epoch, self._validate(run.validator))
        else:
            finish = run.validator.begin(self._pool)
            self._waiting = epoch, self._pool.submit(lambda: (finish(), run.clock())), began_at
            pace.validated_at = began_at
        return is_due or run.validator is None

    def poll(self) -> None:
        """Record the epoch whose validation went on beside the present one, if that is done."""
        if self._waiting is not None and self._waiting[1].done():
            self.settle()

    def settle(self) -> None:
        """Wait for the validation that goes on beside the present epoch, and record the epoch that it is of.

        Raises:
            TrainingError: a file cannot be written.
        """
        if self._waiting is None:
            return
        (epoch, future, began_at), self._waiting = self._waiting, None
        validation, done_at = future.result()
        self._run.length.pace.validation_seconds = done_at - began_at
        self._record(epoch, validation)

    def save(self) -> None:
        """Save the run as it is now.

        Raises:
            TrainingError: something is not finite, or a file cannot be written.
        """
        self.settle()
        self._save(self._run.folder.state(self._run.counters))

    def _record(self, epoch: EndedEpoch, validation: Validation | None) -> None:
        run, counters = self._run, epoch.state.counters
        metrics = validation.metrics if validation else None
        ap = metrics.ap if metrics else None
        if ap is not None and (counters.best_ap is None or ap > counters.best_ap):
            for each in (counters, run.counters):
                each.best_ap, each.best_epoch = ap, counters.epoch
        self.validation = validation or self.validation
        if run.log is not None:
            scalars = {"step": counters.step, "seconds": epoch.seconds, "learning_rate": epoch.learning_rate}
            scalars |= {**epoch.means, "images_per_second": epoch.images_per_second}
            # Before the checkpoint: a resumed run drops lines of epochs that it does again, but cannot make up for one.
            run.log.write(counters.epoch, {**scalars, **{name: getattr(metrics, name, None) for name in METRICS}})
            if validation is not None and validation.evaluation is not None and run.validator is not None:
                run.log.show(counters.epoch, validation.evaluation, run.validator.data)
            run.display.line(_epoch_line(counters, epoch, validation))
        self._save(epoch.state)

    def _save(self, state: RunState) -> None:
        began_at = self._run.clock()
        self._run.folder.save(state, self.validation)
        self._run.length.pace.count_saving(self._run.clock() - began_at)

    def _validate(self, validator: Validator) -> Validation:
        began_at = self._run.clock()
        validation = validator.validate()
        self._run.length.pace.count_validation(self._run.clock() - began_at)
        return validation


def is_done(run: TrainingRun, num_steps: int) -> bool:
    """Whether the steps of a run are done, or not worth going on with."""
    return is_out_of_patience(run, num_steps) or run.length.steps_left(run.counters.step) < 1


def is_out_of_patience(run: TrainingRun, num_steps: int) -> bool:
    """Whether AP has not risen for so long that a run of `num_steps` steps ends early."""
    return has_lost_patience(
        run.counters,
        steps_per_epoch=run.loader.steps_per_epoch,
        num_steps=num_steps,
        patience_epochs=run.learner.template.train.patience_epochs,
        mosaic=run.mosaic,
    )


def _epoch_line(counters: Counters, epoch: EndedEpoch, validation: Validation | None) -> str:
    means = epoch.means
    parts = ", ".join(f"{name.removeprefix('loss_')} {mean:.3f}" for name, mean in means.items() if name != "loss")
    text = f"epoch {counters.epoch:3d}  loss {means['loss']:.3f}"
    details = f"{text} ({parts})  {epoch.images_per_second:.1f} images/s"
    return Detailed(_with_accuracy(details, validation), brief=_with_accuracy(text, validation))


def _with_accuracy(text: str, validation: Validation | None) -> str:
    if validation is None or validation.metrics.ap is None:
        return text
    return f"{text}  AP {validation.metrics.ap:.3f}  AP50 {validation.metrics.ap50:.3f}"
