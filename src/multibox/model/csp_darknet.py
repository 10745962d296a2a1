"""The backbone of YOLOX-Nano: CSPDarknet of depth 0.33 and width 0.25, tapped at strides 8, 16 and 32.

Source: Ge et al., "YOLOX: Exceeding YOLO Series in 2021", 2021, sections 2.1 and 3: YOLOX-Nano has depthwise
convolutions throughout. The order of the layers is that of the published graph.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from multibox.model.csp_layers import ConvSiLU, CSPBlock, SeparableConv

STEM_CHANNELS = 16
STAGES: tuple[tuple[int, int], ...] = ((32, 1), (64, 3), (128, 3), (256, 1))
"""Output channels and number of bottlenecks of each stage: a quarter of 128 to 1024, a third of 3, 9, 9 and 3."""

TAPS = (64, 128, 256)
"""Channels of the feature maps that the backbone returns."""

STRIDES = (8, 16, 32)
"""Pixels of the network input for each cell of those feature maps."""

POOLS = (5, 9, 13)
"""Sides of the windows of the spatial pyramid pooling, in cells."""


class CSPDarknet(nn.Module):
    """Feature maps of an image at strides 8 (64 channels), 16 (128 channels) and 32 (256 channels)."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential()
        self.features.add_module("stem", Focus(3, STEM_CHANNELS))
        in_channels = STEM_CHANNELS
        for number, (out_channels, num_bottlenecks) in enumerate(STAGES, start=1):
            is_last = number == len(STAGES)
            stage = nn.Sequential()
            stage.add_module("down", SeparableConv(in_channels, out_channels, stride=2))
            if is_last:
                stage.add_module("pool", PyramidPooling(out_channels))
            # After the pooling, as published, nothing is added to what passes through the bottlenecks.
            block = CSPBlock(out_channels, out_channels, num_bottlenecks=num_bottlenecks, has_residual=not is_last)
            stage.add_module("block", block)
            self.features.add_module(f"stage{number}", stage)
            in_channels = out_channels

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) to [(B, 64, H / 8, W / 8), (B, 128, H / 16, W / 16), (B, 256, H / 32, W / 32)]."""
        return self.from_block(0, images)

    def from_block(self, first_block: int, x: Tensor) -> list[Tensor]:
        """The feature maps that follow from `x`, what the blocks before `first_block` make of the images.

        Blocks are the stem and the four stages. Those up to stride 8 may be left out, whose result is the first map.
        """
        maps = [x]
        for block in list(self.features)[first_block:]:
            x = block(x)
            maps.append(x)
        return maps[-len(STRIDES) :]

    def blocks_up_to(self, stride: int) -> list[nn.Module]:
        """The blocks, from the first, that shrink the image to 1 / `stride` at most."""
        count = sum(2 ** (number + 1) <= stride for number in range(len(self.features)))
        return list(self.features)[:count]


class Focus(nn.Module):
    """Each square of 2x2 pixels becomes one cell of four times the channels; a 3x3 convolution follows.

    The order of the four is top left, bottom left, top right, bottom right.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = ConvSiLU(4 * in_channels, out_channels, kernel_size=3)

    def forward(self, images: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H / 2, W / 2)."""
        left, right = images[..., ::2], images[..., 1::2]
        pixels = [left[..., ::2, :], left[..., 1::2, :], right[..., ::2, :], right[..., 1::2, :]]
        y: Tensor = self.conv(torch.cat(pixels, dim=1))
        return y


def merge_pixels(weight: Tensor) -> Tensor:
    """Weights (O, 4 C, k, k) for the cells that `Focus` makes, as weights (O, C, 2 k, 2 k) for the image itself."""
    out_channels, channels, side, _ = weight.shape
    by_pixel = weight.reshape(out_channels, 2, 2, channels // 4, side, side)  # O, x, y, C, row, column
    return by_pixel.permute(0, 3, 4, 2, 5, 1).reshape(out_channels, channels // 4, 2 * side, 2 * side)


def split_pixels(weight: Tensor) -> Tensor:
    """Weights (O, 4 C, k, k) of which `merge_pixels` makes these, (O, C, 2 k, 2 k)."""
    out_channels, channels, side, _ = weight.shape
    by_place = weight.reshape(out_channels, channels, side // 2, 2, side // 2, 2)  # O, C, row, y, column, x
    return by_place.permute(0, 5, 3, 1, 2, 4).reshape(out_channels, 4 * channels, side // 2, side // 2)


class PyramidPooling(nn.Module):
    """Maxima over windows of several sizes, between two 1x1 convolutions: each cell sees most of the image.

    Source: He et al., "Spatial Pyramid Pooling in Deep Convolutional Networks for Visual Recognition", 2014; in the
    form that YOLOv3-SPP gave it.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels // 2
        self.reduce = ConvSiLU(channels, hidden)
        self.pools = nn.ModuleList(nn.MaxPool2d(side, stride=1, padding=side // 2) for side in POOLS)
        self.join = ConvSiLU(hidden * (1 + len(POOLS)), channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to the same shape."""
        x = self.reduce(x)
        y: Tensor = self.join(torch.cat([x, *(pool(x) for pool in self.pools)], dim=1))
        return y
