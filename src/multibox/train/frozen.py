"""The first stages of a network that do not train, run without PyTorch's bookkeeping; on processors by OpenVINO."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from multibox.model.detector import Detector
from multibox.model.folding import fold
from multibox.runtime.compiled import compile_module
from multibox.structures import RawOutput


def freeze(model: Detector, stride: int) -> int:
    """Keep the stages up to this stride from training, their batch statistics too, and return their number of blocks.

    It has to be called again whenever the model was put into training mode.
    """
    blocks = model.blocks_up_to(stride)
    for block in blocks:
        block.eval().requires_grad_(False)
    return len(blocks)


class TrainedStages(nn.Module):
    """A network without its first blocks: it goes on from what these make of the images."""

    def __init__(self, model: Detector, first_block: int) -> None:
        super().__init__()
        self.model, self.first_block = model, first_block

    def forward(self, x: Tensor) -> RawOutput:
        """(B, C, S / stride, S / stride) to deltas (B, A, 4) and logits (B, A, num_classes + 1)."""
        return self.model.from_block(self.first_block, x)


def bytes_to_input(images: Tensor) -> Tensor:
    """The network's input (B, 3, S, S), channels last in memory, of RGB bytes (B, S, S, 3)."""
    return images.permute(0, 3, 1, 2).float().div_(255)


def frozen_stages(
    model: Detector, stride: int, *, input_size: int, device: torch.device, precision: torch.dtype
) -> Callable[[Tensor], Tensor]:
    """A function from RGB bytes (B, S, S, 3) on this device to what the stages up to this stride make of them.

    It has the weights of now. On a processor, OpenVINO runs it, at 2.5 times the speed of PyTorch without gradients
    (`benchmarks/train_speed.py --parts`); elsewhere, PyTorch does.
    """
    if device.type != "cpu":
        here = nn.Sequential(*model.blocks_up_to(stride))
        return lambda images: _run_here(here, images, precision)
    stages = nn.Sequential(*fold(model).blocks_up_to(stride))
    request = compile_module(
        stages, input_size=input_size, precision=precision, takes_bytes=True
    ).create_infer_request()

    def run(images: Tensor) -> Tensor:
        features = torch.from_numpy(request.infer([images.numpy()], share_inputs=True)[0])
        # The request's own memory has the next batch's values while this one's still wait for their gradients.
        return features.clone(memory_format=torch.channels_last)

    return run


def _run_here(stages: nn.Module, images: Tensor, precision: torch.dtype) -> Tensor:
    with torch.no_grad(), torch.autocast(images.device.type, precision, enabled=precision != torch.float32):
        features: Tensor = stages(bytes_to_input(images))
    return features
