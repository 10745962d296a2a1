"""Building blocks of YOLOX-Nano: convolutions with SiLU, depthwise separable ones, and cross-stage partial blocks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from multibox.model.depthwise import DepthwiseConv2d

EPS, MOMENTUM = 1e-3, 0.03
"""Epsilon and momentum of every batch normalisation, as published.

Some channels of depthwise layers vary so little that epsilon decides how large they come out.
"""


class ConvSiLU(nn.Module):
    """A convolution without bias, batch normalisation and SiLU; depthwise ones keep the number of channels."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int = 1,
        stride: int = 1,
        is_depthwise: bool = False,
    ) -> None:
        super().__init__()
        if is_depthwise:
            assert kernel_size == 3 and in_channels == out_channels
            self.conv: nn.Conv2d = DepthwiseConv2d(in_channels, stride=stride)
        else:
            self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=EPS, momentum=MOMENTUM)
        # Not in place: its gradient needs the input, of which PyTorch would keep a copy.
        self.activ = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        y: Tensor = self.activ(self.bn(self.conv(x)))
        return y


class SeparableConv(nn.Module):
    """A 3x3 convolution in two steps: each channel for itself, then all channels of a cell."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = ConvSiLU(in_channels, in_channels, kernel_size=3, stride=stride, is_depthwise=True)
        self.pointwise = ConvSiLU(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        y: Tensor = self.pointwise(self.depthwise(x))
        return y


class Bottleneck(nn.Module):
    """A 1x1 and a separable 3x3 convolution of as many channels, to which the input is added if `has_residual`."""

    def __init__(self, channels: int, *, has_residual: bool) -> None:
        super().__init__()
        self.has_residual = has_residual
        self.conv1 = ConvSiLU(channels, channels)
        self.conv2 = SeparableConv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to the same shape."""
        y: Tensor = self.conv2(self.conv1(x))
        return x + y if self.has_residual else y


class CSPBlock(nn.Module):
    """Half of the channels pass through bottlenecks, half pass by; a 1x1 convolution joins them.

    Source: Wang et al., "CSPNet: A New Backbone that can Enhance Learning Capability of CNN", 2019, with the three
    convolutions that YOLOX has.
    """

    def __init__(self, in_channels: int, out_channels: int, *, num_bottlenecks: int, has_residual: bool) -> None:
        super().__init__()
        hidden = out_channels // 2
        self.main = ConvSiLU(in_channels, hidden)
        self.bypass = ConvSiLU(in_channels, hidden)
        self.bottlenecks = nn.Sequential(
            *(Bottleneck(hidden, has_residual=has_residual) for _ in range(num_bottlenecks))
        )
        self.join = ConvSiLU(out_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W)."""
        y: Tensor = self.join(torch.cat([self.bottlenecks(self.main(x)), self.bypass(x)], dim=1))
        return y
