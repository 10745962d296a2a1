"""Depthwise convolutions whose gradients are computed fast, where the library's own way is slow."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise 3x3 convolution that computes what `nn.Conv2d` does, also as a part of exported graphs.

    PyTorch's gradient of one with stride 2 takes 20 times as long in bfloat16 on a processor as that of one with stride
    1, which has four times the arithmetic (`benchmarks/train_speed.py --parts`). There, it is computed as that of
    stride 1, with zeros between the gradients.
    """

    def __init__(self, channels: int, *, stride: int) -> None:
        super().__init__(channels, channels, 3, stride, padding=1, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to (B, channels, H / stride, W / stride)."""
        if self.training and torch.is_grad_enabled() and self.stride == (2, 2) and _is_half_on_processor(x):
            return _convolve_with_stride_2(x, self.weight.to(x.dtype))
        return super().forward(x)


class _ConvolveWithStride2(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return nn.functional.conv2d(x, weight, stride=2, padding=1, groups=x.shape[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        # With stride 1, the outputs at odd places count as well: their gradient is 0.
        spread = torch.zeros_like(x)
        spread[:, :, ::2, ::2] = gradients[0]
        pair, ones, wanted = (1, 1), (1, 1), (True, True, False)
        of_x, of_weight, _ = torch.ops.aten.convolution_backward(
            spread, x, weight, None, ones, pair, ones, False, (0, 0), x.shape[1], wanted
        )
        return of_x, of_weight


def _convolve_with_stride_2(x: Tensor, weight: Tensor) -> Tensor:
    y: Tensor = _ConvolveWithStride2.apply(x, weight)  # type: ignore[no-untyped-call]
    return y


def _is_half_on_processor(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype == torch.bfloat16
