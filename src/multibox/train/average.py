"""Averaged weights: what is validated, saved and exported."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

Model = TypeVar("Model", bound=nn.Module)


class WeightAverage(Generic[Model]):
    """An exponential moving average of a model's weights and batch statistics, held as a second model.

    The decay grows with the number of updates t as (1 + t) / (10 + t) up to `decay` (the ramp of TensorFlow's
    ExponentialMovingAverage), so that the average forgets the start as soon as there is something better.

    With `start_share`, the average is of weights mixed with those of the start in this proportion. A start that knows
    the task well generalises better than what a few images make of it, and the mixture better than either.
    Source: Wortsman et al., "Robust fine-tuning of zero-shot models", 2022 (WiSE-FT).
    """

    def __init__(self, model: Model, *, decay: float, start_share: float = 0.0) -> None:
        self.model = copy.deepcopy(model)
        self.model.eval().requires_grad_(False)
        self.decay = decay
        self.start_share = start_share
        currents = {key: value for key, value in model.state_dict().items() if value.is_floating_point()}
        averages = self.model.state_dict()
        self._currents = list(currents.values())
        self._averages = [averages[key] for key in currents]
        self._start = {key: value.clone() for key, value in currents.items()} if start_share else {}

    @torch.no_grad()
    def update(self, num_updates: int) -> None:
        """Move the average towards the model's present weights; `num_updates` counts those before this one."""
        decay = min(self.decay, (1 + num_updates) / (10 + num_updates))
        targets: list[Tensor] = self._currents
        if self._start:
            targets = list(torch._foreach_lerp(self._currents, list(self._start.values()), self.start_share))
        torch._foreach_lerp_(self._averages, targets, 1 - decay)

    def state(self) -> dict[str, object]:
        """What resuming needs besides the averaged weights."""
        return {"start_share": self.start_share, "start": dict(self._start)}

    def restore(self, weights: Mapping[str, Tensor], state: Mapping[str, object]) -> None:
        """Go on from saved averaged weights and `state`."""
        self.model.load_state_dict(dict(weights))
        share, start = state["start_share"], state["start"]
        assert isinstance(share, float) and isinstance(start, Mapping)
        self.start_share, self._start = share, dict(start)
