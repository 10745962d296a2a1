"""How much memory a training will take, estimated before it begins."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import psutil
import torch
from torch import Tensor, nn

SCRATCH_SHARE = 0.5
"""Of what a step keeps for its gradients: gradients themselves and what layers compute with, at their peak."""

RUNNING_BYTES = 300 << 20
"""What a run takes beside: libraries that are loaded late, OpenVINO's graph, images on their way, the validation.

Whole trainings on 205 images of blood cells took 1.39, 1.73 and 1.91 GiB where 1.4, 1.8 and 2.3 were announced (256 px;
16 and 32 images a step with frozen stages, 16 without).
"""


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes: `present` in use already, `step` for the network at work, `images` for decoded images that are kept."""

    present: int
    step: int
    images: int

    @property
    def peak(self) -> int:
        """All together, with what every run takes."""
        return self.present + self.step + self.images + RUNNING_BYTES

    def __str__(self) -> str:
        gib = 2**30
        return (
            f"About {self.peak / gib:.1f} GiB of memory at most: {self.step / gib:.1f} for a step, "
            f"{self.images / gib:.1f} for decoded images."
        )


def estimate(
    network: nn.Module,
    example: Tensor,
    *,
    batch_size: int,
    autocast: Callable[[], AbstractContextManager[object]],
    image_bytes: int,
) -> TrainingMemory:
    """Run one input forwards through a copy of the network, and count what is kept for the gradients.

    `example` (2, C, H, W) is what the network takes; two images, of which batch normalisation makes statistics.
    """
    copied = copy.deepcopy(network).train()
    kept = 0
    if example.device.type == "cpu":  # elsewhere, a step takes no memory of this kind
        with autocast():
            kept = _bytes_kept(lambda: copied(example)) * batch_size // len(example)
    parameters = sum(value.numel() * value.element_size() for value in network.parameters())
    # Gradients and momentum.
    step = int(kept * (1 + SCRATCH_SHARE)) + 2 * parameters
    return TrainingMemory(present=psutil.Process().memory_info().rss, step=step, images=image_bytes)


def _bytes_kept(run: Callable[[], object]) -> int:
    """Bytes that `run` leaves for its gradients, every piece of memory once."""
    sizes: dict[int, int] = {}

    def count(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(count, lambda value: value):
        result = run()
    del result
    return sum(sizes.values())
