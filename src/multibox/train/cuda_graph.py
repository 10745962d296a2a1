"""Forward and backward of a network as two recorded tasks of a graphics card, in place of some hundred small ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def record(fabric: Fabric, network: nn.Module, inputs: Tensor) -> None:
    """Record what `network`, as Fabric has set it up, does with inputs of this shape, and let it do that from now on.

    Only training is recorded; evaluation goes on as before. Recording runs the network some times: its statistics stay
    as they were.
    """
    stages = network.module
    assert isinstance(stages, nn.Module)
    before = {name: buffer.clone() for name, buffer in stages.named_buffers()}
    with fabric.autocast():
        enabled = torch.is_autocast_enabled("cuda")
        # Weights that autocast has cast once are not cast again while its memory of them lives: a recording would keep
        # the weights of now.
        with torch.autocast("cuda", torch.get_autocast_dtype("cuda"), enabled=enabled, cache_enabled=False):
            torch.cuda.make_graphed_callables(stages, (inputs,))
    with torch.no_grad():
        for name, buffer in stages.named_buffers():
            buffer.copy_(before[name])
