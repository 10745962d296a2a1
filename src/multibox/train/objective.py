"""What a training minimises: the losses that belong to the family of the network. The only place that chooses them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from multibox.config import LossConfig, Template
from multibox.model import detector
from multibox.model.detector import Detector
from multibox.model.loss import multibox_loss
from multibox.model.matching import PaddedTargets
from multibox.model.ssd import SSD
from multibox.model.task_aligned import task_aligned_loss
from multibox.structures import RawOutput


class StepLosses(Protocol):
    """The losses of one batch."""

    @property
    def total(self) -> Tensor:
        """What is minimised, a scalar."""
        ...

    @property
    def parts(self) -> Mapping[str, Tensor]:
        """Scalars that add up to `total`, by their names."""
        ...


class Objective(Protocol):
    """A function from what the network says, and what is to be found, to losses.

    `average_over_processes` makes what the losses are divided by a mean over all processes.
    """

    def __call__(
        self, raw: RawOutput, targets: PaddedTargets, *, average_over_processes: Callable[[Tensor], Tensor]
    ) -> StepLosses:
        """The losses of a batch."""
        ...


def make_objective(model: Detector, template: Template, device: torch.device) -> Objective:
    """The objective of a template, for a network that is or will be on this device.

    Weights of the network that only the losses use are set to be trained or not.
    """
    settings, model_settings = template.train.objective, template.model
    anchors = torch.from_numpy(detector.anchors(model, template)).to(device)
    if isinstance(settings, LossConfig):
        assert isinstance(model, SSD)
        head = model.bbox_head
        head.loss_weights.requires_grad_(settings.learn_balance)
        return partial(
            multibox_loss,
            anchors=anchors,
            loss_weights=head.loss_weights,
            config=settings,
            variances=model_settings.box_variances,
        )
    middles = torch.from_numpy(detector.cell_middles(model, template)).to(device)
    return partial(
        task_aligned_loss,
        anchors=anchors,
        points=middles,
        config=settings,
        variances=model_settings.box_variances,
        input_size=template.input.size,
    )
