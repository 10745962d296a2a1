"""Going on from a saved run: its record is checked before anything is done with it, and then put into a learner."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import msgspec
import torch
from msgspec import Meta, Struct
from torch import Tensor

from multibox.config import Count, CountOrZero, Fraction
from multibox.errors import CheckpointError
from multibox.prepared import prepared
from multibox.train.progress import Counters
from multibox.train.saving import name_of_non_finite
from multibox.train.step import Learner
from multibox.weights.checked import check_weights
from multibox.weights.checkpoint import Checkpoint


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
        training = msgspec.convert(dict(resume.training or {}), prepared(_Training))
    except (msgspec.ValidationError, RecursionError) as error:
        raise _damaged(str(error)) from error
    if "steps_per_epoch" in (resume.training or {}) and training.steps_per_epoch is None:
        raise _damaged("the number of steps of an epoch is missing")
    counters = training.counters
    numbers = (counters.progress, counters.best_ap or 0.0, training.average.start_share)
    if not all(map(math.isfinite, numbers)) or counters.best_epoch > counters.epoch or counters.epoch > counters.step:
        raise _damaged("its counters contradict each other")
    if name := name_of_non_finite({"optimizer": training.optimizer}):
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
