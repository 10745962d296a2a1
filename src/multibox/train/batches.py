"""Batches of a training as tensors on its device, ready before the step that learns from them."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import closing
from typing import NamedTuple

import torch
from torch import Tensor

from multibox.data.dataset import Batch
from multibox.data.loader import TrainLoader
from multibox.model.matching import PaddedTargets, pad


class DeviceBatch(NamedTuple):
    """What a step learns from: `images` (B, S, S, 3), RGB bytes, and what is to be found in them, on one device."""

    images: Tensor
    targets: PaddedTargets


def device_batches(
    loader: TrainLoader, device: torch.device, epoch: int, first_step: int = 0, mosaic_steps: int = 0
) -> Generator[DeviceBatch, None, None]:
    """The batches of `TrainLoader.epoch` on a device.

    The threads of the loader pad the targets and, for a graphics card, put everything where a card can fetch it by
    itself. It is copied while the card still computes the step before.

    Raises:
        DataError: an image cannot be read any more.
    """

    def finish(batch: Batch) -> DeviceBatch:
        return _pinned(to_tensors(batch)) if device.type == "cuda" else to_tensors(batch)

    with closing(loader.finished_epoch(finish, epoch, first_step, mosaic_steps)) as batches:
        if device.type == "cuda":
            yield from _copied_beside(batches, device)
        else:
            for batch in batches:
                yield batch if device.type == "cpu" else _copied(batch, device)


def to_tensors(batch: Batch) -> DeviceBatch:
    """A batch of the loader as tensors on the processor; the images keep their memory."""
    return DeviceBatch(torch.from_numpy(batch.images), pad(batch.targets, "cpu"))


def _copied_beside(batches: Iterable[DeviceBatch], device: torch.device) -> Generator[DeviceBatch, None, None]:
    """Batches on a graphics card, copied on a stream of their own: the stream of the steps waits for its batch only.

    A batch is asked for when the step before has been given to the card, which still computes it.
    """
    beside = torch.cuda.Stream(device)
    for batch in batches:
        with torch.cuda.stream(beside):
            copy = _copied(batch, device)
        steps = torch.cuda.current_stream(device)
        steps.wait_stream(beside)
        for tensor in (copy.images, *copy.targets):
            # Its memory belongs to the stream beside, which must not use it again before the step is done.
            tensor.record_stream(steps)
        yield copy


def _copied(batch: DeviceBatch, device: torch.device) -> DeviceBatch:
    targets = (tensor.to(device, non_blocking=True) for tensor in batch.targets)
    return DeviceBatch(batch.images.to(device, non_blocking=True), PaddedTargets(*targets))


def _pinned(batch: DeviceBatch) -> DeviceBatch:
    targets = (tensor.pin_memory() for tensor in batch.targets)
    return DeviceBatch(batch.images.pin_memory(), PaddedTargets(*targets))
