"""One batch: forward, loss, check, backward, optimizer, average. `Learner` is all that this needs and changes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from multibox.config import Template
from multibox.errors import TrainingError
from multibox.model.detector import Detector
from multibox.structures import RawOutput
from multibox.train import cuda_graph
from multibox.train.average import WeightAverage
from multibox.train.batch_norm import synchronise_batch_norm
from multibox.train.batches import DeviceBatch
from multibox.train.distributed import Processes
from multibox.train.frozen import TrainedStages, bytes_to_input, freeze, frozen_stages
from multibox.train.objective import Objective, StepLosses, make_objective
from multibox.train.progress import Counters

if TYPE_CHECKING:
    from lightning_fabric import Fabric


ADAMW_BETA2 = 0.999
"""Decay of AdamW's mean of squared gradients, as published (Loshchilov and Hutter, 2019)."""


@dataclass(frozen=True)
class Learner:
    """A network that learns.

    `model` has the weights that are trained, `network` is what a batch goes through: the same without the frozen
    stages, as the device runs it. `run_frozen` makes the input of `network` from RGB bytes (B, S, S, 3); it is None
    where nothing is frozen. `average` has the weights that are validated and saved, `objective` what is minimised.
    """

    fabric: Fabric
    processes: Processes
    template: Template
    model: Detector
    network: nn.Module
    optimizer: torch.optim.Optimizer
    average: WeightAverage[Detector]
    objective: Objective
    run_frozen: Callable[[Tensor], Tensor] | None
    check: FiniteCheck


def make_learner(
    fabric: Fabric, processes: Processes, template: Template, model: Detector, *, start_share: float, name_of_rate: str
) -> Learner:
    """A learner on the devices of `fabric`, from a network that has its starting weights.

    `start_share` is that of `WeightAverage`. `name_of_rate` is what a user can lower when the loss is not finite.
    """
    device, settings = fabric.device, template.train
    basic = template.hyper_parameters.basic
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if processes.count > 1 and basic.batch_size < settings.sync_norm_below:
        synchronise_batch_norm(model.to(device))
    # Before the devices are set up: several processes share the gradients of what trains.
    objective = make_objective(model, template, device)
    num_frozen = freeze(model.train(), settings.frozen_stride)
    network, optimizer = fabric.setup(
        TrainedStages(model, num_frozen) if num_frozen else model, _optimizer(model, template)
    )
    run_frozen = _frozen_stages(fabric, template, model) if num_frozen else None
    if settings.cuda_graph and device.type == "cuda" and processes.count == 1:
        cuda_graph.record(fabric, network, _inputs_of_zeros(template, device, run_frozen))
    return Learner(
        fabric=fabric,
        processes=processes,
        template=template,
        model=model,
        network=network,
        optimizer=optimizer,
        average=WeightAverage(model, decay=settings.ema_decay, start_share=start_share),
        objective=objective,
        run_frozen=run_frozen,
        check=FiniteCheck(
            is_delayed=device.type != "cpu", remedy=f"Lower {name_of_rate}, now {basic.base_learning_rate:g}."
        ),
    )


def step(learner: Learner, batch: DeviceBatch, counters: Counters, *, rate: float) -> StepLosses:
    """Learn from one batch at the learning rate `rate`, and return its losses.

    Raises:
        TrainingError: the loss or the gradients are not finite; on a graphics card it may be those of the step before.
    """
    for group in learner.optimizer.param_groups:
        group["lr"] = rate
    losses = learner.objective(
        _forward(learner, batch.images),
        batch.targets,
        average_over_processes=learner.processes.mean,
    )
    learner.check.add_losses(losses, counters)
    learner.optimizer.zero_grad()
    learner.fabric.backward(losses.total)
    norm = torch.nn.utils.clip_grad_norm_(learner.model.parameters(), learner.template.train.max_gradient_norm)
    learner.check.add_gradient_norm(norm, counters)
    learner.optimizer.step()
    learner.average.update(counters.step)
    return losses


class FiniteCheck:
    """Stops a run whose loss or gradients are not finite.

    With `is_delayed`, a value is looked at when the next step has its losses: on a graphics card, looking at once would
    wait for it, and then the card for the next step. `settle` looks at what is left, and has to be called before
    weights are measured or saved. `remedy` ends the message.
    """

    def __init__(self, *, is_delayed: bool, remedy: str) -> None:
        self._is_delayed = is_delayed
        self._remedy = remedy
        self._waiting: list[tuple[Callable[[], float], Callable[[], str]]] = []

    def add_losses(self, losses: StepLosses, counters: Counters) -> None:
        """Look at the losses of the step after those that `counters` counts, or let them wait for the next step."""
        where = _where(counters)

        def message() -> str:
            parts = ", ".join(f"{name} {losses.parts[name].item():.3g}" for name in sorted(losses.parts))
            return f"Loss is not finite at {where} ({parts})."

        self.settle()
        self._add(losses.total.detach(), message)

    def add_gradient_norm(self, norm: Tensor, counters: Counters) -> None:
        """Look at the norm of the gradients of that step, or let it wait for the next step."""
        where = _where(counters)
        self._add(norm.detach(), lambda: f"Gradients are not finite at {where} (their norm is {norm.item():.3g}).")

    def settle(self) -> None:
        """Look at everything that waits.

        Raises:
            TrainingError: it is not finite.
        """
        waiting, self._waiting = self._waiting, []
        for read, message in waiting:
            if not math.isfinite(read()):
                raise TrainingError(f"{message()} {self._remedy}")

    def _add(self, value: Tensor, message: Callable[[], str]) -> None:
        self._waiting.append((_reading(value), message))
        if not self._is_delayed:
            self.settle()


def _reading(value: Tensor) -> Callable[[], float]:
    """A function that gives this number and waits for nothing that is given to the device from now on."""
    if value.device.type != "cuda":
        return value.item
    # `item` would be one more task of the card, behind all that it was given until then.
    copy = value.to("cpu", non_blocking=True)
    is_copied = torch.cuda.Event()
    is_copied.record(torch.cuda.current_stream(value.device))

    def read() -> float:
        is_copied.synchronize()
        return copy.item()

    return read


def _optimizer(model: nn.Module, template: Template) -> torch.optim.Optimizer:
    """The optimizer of what is to be trained of a network."""
    settings, rate = template.train, template.hyper_parameters.basic.base_learning_rate
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if settings.optimizer == "adamw":
        betas = (settings.momentum, ADAMW_BETA2)
        return torch.optim.AdamW(trained, lr=rate, betas=betas, weight_decay=settings.weight_decay, fused=True)
    return torch.optim.SGD(trained, lr=rate, momentum=settings.momentum, weight_decay=settings.weight_decay)


def _where(counters: Counters) -> str:
    return f"epoch {counters.epoch + 1}, step {counters.step_in_epoch + 1}"


def _forward(learner: Learner, images: Tensor) -> RawOutput:
    raw: RawOutput = learner.network(_inputs(images, learner.run_frozen))
    return raw


def _inputs(images: Tensor, run_frozen: Callable[[Tensor], Tensor] | None) -> Tensor:
    """What the trained stages get of RGB bytes (B, S, S, 3)."""
    return bytes_to_input(images) if run_frozen is None else run_frozen(images)


def _inputs_of_zeros(template: Template, device: torch.device, run_frozen: Callable[[Tensor], Tensor] | None) -> Tensor:
    """What the trained stages get of a batch of black images."""
    batch_size, size = template.hyper_parameters.basic.batch_size, template.input.size
    return _inputs(torch.zeros((batch_size, size, size, 3), dtype=torch.uint8, device=device), run_frozen)


def _frozen_stages(fabric: Fabric, template: Template, model: Detector) -> Callable[[Tensor], Tensor]:
    return frozen_stages(
        model,
        template.train.frozen_stride,
        input_size=template.input.size,
        device=fabric.device,
        precision=_precision(fabric),
    )


def _precision(fabric: Fabric) -> torch.dtype:
    """The type that convolutions compute in."""
    device = fabric.device.type
    with fabric.autocast():
        return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32
