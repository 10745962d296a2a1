"""Averaged weights: what is validated, saved and exported."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

Model = TypeVar("Model", bound=nn.Module)


class WeightAverage(Generic[Model]):
    """An exponential moving average of a model's weights and batch statistics, held as a second model.

    The decay grows with the number of updates t as (1 + t) / (10 + t) up to `decay` (the ramp of TensorFlow's
    ExponentialMovingAverage), so that the average forgets the start as soon as there is something better.
    """

    def __init__(self, model: Model, *, decay: float) -> None:
        self.model = copy.deepcopy(model)
        self.model.eval().requires_grad_(False)
        self.decay = decay
        self._pairs = _float_pairs(self.model, model)

    @torch.no_grad()
    def update(self, num_updates: int) -> None:
        """Move the average towards the model's present weights; `num_updates` counts those before this one."""
        decay = min(self.decay, (1 + num_updates) / (10 + num_updates))
        averages, currents = self._pairs
        torch._foreach_lerp_(averages, currents, 1 - decay)


def _float_pairs(average: nn.Module, model: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    averages, currents = average.state_dict(), model.state_dict()
    keys = [key for key, value in currents.items() if value.is_floating_point()]
    return [averages[key] for key in keys], [currents[key] for key in keys]
