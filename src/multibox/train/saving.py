"""The record of a run: checkpoints, and one line of JSON per epoch, which loggers get as well."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import msgspec
import torch
from msgspec import Meta, Struct
from torch import Tensor

from multibox import config
from multibox.config import Count, CountOrZero, Fraction
from multibox.data.coco import CocoData
from multibox.errors import CheckpointError, OptionError, TrainingError
from multibox.evaluate import record
from multibox.evaluate.run import Evaluation
from multibox.files import check_regular, write_atomically
from multibox.model.folding import unfold
from multibox.train.loggers import Logger, glance_at
from multibox.train.progress import Counters
from multibox.train.step import Learner
from multibox.train.validation import Validation, Validator
from multibox.weights import checkpoint
from multibox.weights.checked import check_weights
from multibox.weights.checkpoint import Checkpoint


@dataclass(frozen=True)
class RunState:
    """What a checkpoint of a run holds: the averaged weights, what resuming needs beside them, how far the run is."""

    weights: dict[str, Tensor]
    training: dict[str, Any]
    counters: Counters


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run, and what its checkpoints say of it.

    `latest.pth` holds the run, `best.pth` the weights of the best validation, with what they find beside them;
    `template.yaml` and `run.json` say what the run is made of. `meta` is plain data for run.json and checkpoints.
    `quantization` is that of a network that computes in 8 bits.
    """

    path: Path
    learner: Learner
    validator: Validator | None
    classes: tuple[str, ...]
    seed: int
    steps_per_epoch: int
    meta: Mapping[str, Any]
    quantization: Mapping[str, Any] | None = None

    @property
    def latest(self) -> Path:
        """The checkpoint that a run goes on from."""
        return self.path / "latest.pth"

    @property
    def best(self) -> Path:
        """The checkpoint with the best AP so far."""
        return self.path / "best.pth"

    def begin(self) -> None:
        """Write what the run is made of."""
        # First what says that a run is here: a template alone would be taken for somebody's own.
        write_atomically(self.path / "run.json", json.dumps(self.meta, indent=2, ensure_ascii=False) + "\n")
        write_atomically(self.path / "template.yaml", config.dump(self.learner.template))

    def state(self, counters: Counters, *, is_copy: bool = False) -> RunState:
        """The run as it is now, of which `counters` say how far it is; with `is_copy`, whatever it learns later."""
        weights, training = self._weights(), self._training()
        if is_copy:
            weights, training = _copied(weights), _copied(training)
        return RunState(weights, training, counters)

    def save(self, state: RunState, validation: Validation | None) -> None:
        """Write the checkpoints, in the main process; `validation` is the last one.

        Raises:
            TrainingError: something in them is not finite, or a file cannot be written. The files are as before.
        """
        self.learner.check.settle()
        if not self.learner.processes.is_main:
            return
        counters, weights = state.counters, state.weights
        training = {**state.training, "counters": asdict(counters)}
        _check_finite({"state_dict": weights, **training}, counters)
        meta = self._meta(counters, validation)
        is_best = counters.best_ap is not None and counters.best_epoch == counters.epoch and counters.step_in_epoch == 0
        with _saying_where(self.latest):
            # latest.pth last: a run killed before it does the epoch again, and with it all that belongs to the epoch.
            if is_best:
                checkpoint.save(self.best, self._checkpoint(weights, meta))
                self._record_best(validation)
            checkpoint.save(self.latest, self._checkpoint(weights, meta, training))

    def _meta(self, counters: Counters, validation: Validation | None) -> dict[str, Any]:
        meta = {**self.meta, "epoch": counters.epoch, "iter": counters.step, "time": time.strftime("%Y-%m-%d %H:%M:%S")}
        meta["metrics"] = validation.metrics.to_plain() if validation else None
        if validation is not None and validation.evaluation is not None:
            meta["threshold"] = validation.threshold
        return meta

    def _training(self) -> dict[str, Any]:
        """What resuming needs beside the averaged weights and the counters."""
        return {
            "model": self.learner.model.state_dict(),
            "optimizer": self.learner.optimizer.state_dict(),
            "average": self.learner.average.state(),
            "seed": self.seed,
            "steps_per_epoch": self.steps_per_epoch,
        }

    def _weights(self) -> dict[str, Tensor]:
        """The averaged weights, under the names that every checkpoint has."""
        model = self.learner.average.model
        weights = model.state_dict() if self.quantization is None else unfold(model, self.learner.template)
        return {key: value.cpu() for key, value in weights.items()}

    def _checkpoint(
        self, weights: dict[str, Tensor], meta: dict[str, Any], training: dict[str, Any] | None = None
    ) -> Checkpoint:
        return Checkpoint(weights, self.classes, self.learner.template, meta, training, quantization=self.quantization)

    def _record_best(self, validation: Validation | None) -> None:
        """What the best weights find, for reports."""
        if validation is not None and validation.evaluation is not None and self.validator is not None:
            record.write_record(
                self.path / record.NAME,
                validation.evaluation.detections,
                self.validator.data,
                model=self.best,
                input_size=self.learner.template.input.size,
            )


def _copied(value: Any) -> Any:
    """Nested mappings and lists with copies of their tensors, on the processor."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: _copied(part) for key, part in value.items()}
    return [_copied(part) for part in value] if isinstance(value, list) else value


@contextmanager
def _saying_where(latest: Path) -> Iterator[None]:
    """Say of a file that cannot be written how to go on.

    Raises:
        TrainingError: it cannot be written.
    """
    try:
        yield
    except (OSError, OptionError) as error:
        reason = f"{error.filename or latest.parent}: {error.strerror}." if isinstance(error, OSError) else str(error)
        go_on = "Nothing was saved yet."
        if latest.exists():
            go_on = f"{latest} is whole: go on from it with --resume-from."
        raise TrainingError(f"{reason} The training stops here. {go_on}") from error


class _Counters(Struct, frozen=True, forbid_unknown_fields=True):
    """`Counters`, as a file must have them."""

    epoch: CountOrZero
    step_in_epoch: CountOrZero
    step: CountOrZero
    progress: Fraction
    best_ap: Fraction | None
    best_epoch: CountOrZero


class _Average(Struct, frozen=True):
    start_share: Fraction
    start: dict[str, Any]


class _Training(Struct, frozen=True):
    """What resuming reads of the part `training` of a checkpoint."""

    model: dict[str, Any]
    optimizer: dict[str, Any]
    counters: _Counters
    average: _Average
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
    steps_per_epoch: Count | None = None


def check_training(resume: Checkpoint) -> None:
    """Refuse a checkpoint to resume from whose record of the training is not whole, before anything is done with it.

    Raises:
        CheckpointError: a part is missing, of another type, or has numbers that no training gives.
    """
    try:
        training = msgspec.convert(dict(resume.training or {}), _Training)
    except (msgspec.ValidationError, RecursionError) as error:
        raise _damaged(str(error)) from error
    if "steps_per_epoch" in (resume.training or {}) and training.steps_per_epoch is None:
        raise _damaged("the number of steps of an epoch is missing")
    counters = training.counters
    numbers = (counters.progress, counters.best_ap or 0.0, training.average.start_share)
    if not all(map(math.isfinite, numbers)) or counters.best_epoch > counters.epoch or counters.epoch > counters.step:
        raise _damaged("its counters contradict each other")
    if name := _name_of_non_finite({"optimizer": training.optimizer}):
        raise _damaged(f"{name} is not finite")
    if resume.quantization is None:
        expected = resume.build_float().state_dict()
        check_weights(training.model, expected, source=SOURCE)
        if training.average.start:
            check_weights(training.average.start, _floats(expected), source=SOURCE)


SOURCE = "The checkpoint to resume from"
"""How messages call it: its path is known to whoever read it."""


def _floats(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in weights.items() if value.is_floating_point()}


def _damaged(what: str) -> CheckpointError:
    return CheckpointError(
        f"{SOURCE} is damaged: {what}. Take an earlier one, or start a new run from its weights with --load-weights."
    )


def _put_optimizer(optimizer: torch.optim.Optimizer, state: Any) -> None:
    """Put the saved state into an optimizer.

    Raises:
        CheckpointError: it is of another one, or damaged.
    """
    groups = [{key: type(value) for key, value in group.items()} for group in optimizer.param_groups]
    try:
        optimizer.load_state_dict(state)
    except (KeyError, ValueError, TypeError, AttributeError, IndexError, RuntimeError) as error:
        raise _damaged("the state of its optimizer is not whole") from error
    is_like = [{key: type(value) for key, value in group.items()} for group in optimizer.param_groups] == groups
    for weight, values in optimizer.state.items():
        arrays = [value for value in values.values() if isinstance(value, Tensor) and value.ndim]
        is_like = is_like and all(value.shape == weight.shape for value in arrays)
    if not is_like:
        raise _damaged("the state of its optimizer is of another network")


def restore(learner: Learner, resume: Checkpoint, *, steps_per_epoch: int) -> Counters:
    """Put a saved run into a learner whose model has its weights already; how far that run was.

    Where steps are of another size now, as with another number of processes, the counters are those of this size.
    """
    training = resume.training
    assert training is not None
    # As it runs, not as it is saved: of a quantised network, these are not the same weights.
    learner.average.restore(resume.build().state_dict(), training["average"])
    _put_optimizer(learner.optimizer, training["optimizer"])
    counters = Counters(**training["counters"])
    before = training.get("steps_per_epoch", steps_per_epoch)
    if before == steps_per_epoch:
        return counters
    step_in_epoch = min(steps_per_epoch - 1, round(counters.step_in_epoch * steps_per_epoch / before))
    return replace(counters, step_in_epoch=step_in_epoch, step=counters.epoch * steps_per_epoch + step_in_epoch)


LOGGED_FILES = ("best.pth", "template.yaml", "run.json", "metrics.jsonl", record.NAME)
"""What loggers that keep files get of a run when it ends."""


class RunLog:
    """Appends scalars of each epoch to `metrics.jsonl`, and tells the loggers of them.

    `first_epoch`: lines of this epoch and later ones, left by a run that was killed after its last checkpoint, go.
    """

    def __init__(self, output: Path, loggers: Sequence[Logger] = (), *, first_epoch: int) -> None:
        self._path = output / "metrics.jsonl"
        kept = _lines_before(self._path, first_epoch) if first_epoch > 1 else []
        write_atomically(self._path, "".join(kept))
        self._loggers = tuple(loggers)

    def write(self, epoch: int, scalars: dict[str, float | int | None]) -> None:
        """One epoch; a value that does not exist is None.

        Raises:
            TrainingError: there is no room for it.
        """
        known = {name: float(value) for name, value in scalars.items() if value is not None}
        with _saying_where(self._path.with_name("latest.pth")):
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"epoch": epoch, **scalars}) + "\n")
            for logger in self._loggers:
                logger.write(epoch, known)

    def show(self, epoch: int, evaluation: Evaluation, data: CocoData) -> None:
        """What a validation looks like, for the loggers.

        Raises:
            TrainingError: there is no room for it.
        """
        if not self._loggers:
            return
        glance = glance_at(evaluation, data)
        with _saying_where(self._path.with_name("latest.pth")):
            for logger in self._loggers:
                logger.show(epoch, glance)

    def close(self) -> None:
        """Finish writing."""
        files = [self._path.with_name(name) for name in LOGGED_FILES]
        for logger in self._loggers:
            logger.end([file for file in files if file.is_file()])


def _lines_before(path: Path, epoch: int) -> list[str]:
    if not path.exists():
        return []
    try:
        check_regular(path)
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    except OSError as error:
        raise OptionError(f"{path}: cannot read the record of the run: {error.strerror}. Move it away.") from error
    return [line for line in lines if line.endswith("\n") and 0 <= _epoch_of(line) < epoch]


class _Line(Struct, frozen=True):
    epoch: Annotated[int, Meta(ge=0)]


def _epoch_of(line: str) -> int:
    """The epoch of a line of metrics.jsonl; -1 of one that is damaged, which is of no use to anybody."""
    try:
        return msgspec.json.decode(line, type=_Line).epoch
    except (msgspec.DecodeError, RecursionError):
        return -1


def _check_finite(parts: Mapping[str, Any], counters: Counters) -> None:
    """Refuse tensors that are not finite, wherever they are in nested mappings.

    Raises:
        TrainingError: one is not.
    """
    name = _name_of_non_finite(parts)
    if name is not None:
        raise TrainingError(
            f"The weights are not finite after epoch {counters.epoch}, step {counters.step_in_epoch} ({name}). "
            "They are not saved. Lower the learning rate."
        )


def _name_of_non_finite(value: Any) -> str | None:
    if isinstance(value, Tensor):
        return None if not value.is_floating_point() or bool(value.isfinite().all()) else "a tensor"
    for key, part in value.items() if isinstance(value, Mapping) else ():
        name = _name_of_non_finite(part)
        if name is not None:
            return str(key) if name == "a tensor" else f"{key}: {name}"
    return None
