"""MobileNetV2 up to its 320-channel stage, tapped at strides 16 and 32."""

from __future__ import annotations

import itertools
import math
import operator

from torch import Tensor, nn

from multibox.model.layers import ConvBlock, InvertedResidual

# (hidden, out, stride) of each unit. The first unit has an expansion of factor 1 (a 1x1 convolution 32 -> 32) that the
# paper's network lacks; the published snapshots have it.
STAGES: tuple[tuple[tuple[int, int, int], ...], ...] = (
    ((32, 16, 1),),
    ((96, 24, 2), (144, 24, 1)),
    ((144, 32, 2), (192, 32, 1), (192, 32, 1)),
    ((192, 64, 2), (384, 64, 1), (384, 64, 1), (384, 64, 1), (384, 96, 1), (576, 96, 1), (576, 96, 1)),
    ((576, 160, 2), (960, 160, 1), (960, 160, 1), (960, 320, 1)),
)


class MobileNetV2(nn.Module):
    """Feature maps of an image at strides 16 (96 channels) and 32 (320 channels), both linear."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential()
        self.features.add_module("init_block", ConvBlock(3, 32, kernel_size=3, stride=2))
        in_channels = 32
        for number, units in enumerate(STAGES, start=1):
            stage = nn.Sequential()
            for position, (hidden, out, stride) in enumerate(units, start=1):
                stage.add_module(f"unit{position}", InvertedResidual(in_channels, hidden, out, stride=stride))
                in_channels = out
            self.features.add_module(f"stage{number}", stage)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) to [(B, 96, H / 16, W / 16), (B, 320, H / 32, W / 32)]."""
        return self.from_block(0, images)

    def from_block(self, first_block: int, x: Tensor) -> list[Tensor]:
        """Feature maps, as `forward` gives them, from what the blocks before `first_block` make of the images."""
        *early, stage5 = self.features
        for block in early[first_block:]:
            x = block(x)
        return [x, stage5(x)]

    def blocks_up_to(self, stride: int) -> list[nn.Module]:
        """The blocks, from the first, that shrink the image to 1 / `stride` at most."""
        block_strides = (2, *(math.prod(stride for _, _, stride in units) for units in STAGES))
        count = sum(total <= stride for total in itertools.accumulate(block_strides, operator.mul))
        return list(self.features)[:count]
