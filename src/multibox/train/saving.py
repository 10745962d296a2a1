"""What a run leaves on disk: checkpoints, and what its best weights find beside them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from multibox import config
from multibox.errors import OptionError, TrainingError
from multibox.evaluate import record
from multibox.files import write_atomically
from multibox.model.folding import unfold
from multibox.train.progress import Counters
from multibox.train.step import Learner
from multibox.train.validation import Validation, Validator
from multibox.weights import checkpoint
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
        with saying_where(self.latest):
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
def saying_where(latest: Path) -> Iterator[None]:
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


def _check_finite(parts: Mapping[str, Any], counters: Counters) -> None:
    """Refuse tensors that are not finite, wherever they are in nested mappings.

    Raises:
        TrainingError: one is not.
    """
    name = name_of_non_finite(parts)
    if name is not None:
        raise TrainingError(
            f"The weights are not finite after epoch {counters.epoch}, step {counters.step_in_epoch} ({name}). "
            "They are not saved. Lower the learning rate."
        )


def name_of_non_finite(value: Any) -> str | None:
    """Where in nested mappings a tensor is that is not finite; None if there is none."""
    if isinstance(value, Tensor):
        return None if not value.is_floating_point() or bool(value.isfinite().all()) else "a tensor"
    for key, part in value.items() if isinstance(value, Mapping) else ():
        name = name_of_non_finite(part)
        if name is not None:
            return str(key) if name == "a tensor" else f"{key}: {name}"
    return None
