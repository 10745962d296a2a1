"""Normalisation for networks whose own was folded away: real statistics, and weights as large as fresh ones.

A folded network can be put under its old names again with normalisations that only add the biases. It computes the
same, but trains badly: in training mode the statistics of a batch replace ones that were never true, and the weights
carry the scales that normalisation had, so that a step of the optimiser turns some channels hardly and others far.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from multibox.model.folding import Network, normalised

FRESH_NORM = 1 / math.sqrt(3)
"""Norm of a channel's weights in a fresh convolution: n values drawn from -1 / sqrt(n) to 1 / sqrt(n)."""


class _Moments:
    """Mean and variance (C,) of all values of each channel that were seen."""

    def __init__(self) -> None:
        self.count = 0
        self.sum: Tensor | float = 0.0
        self.sum_of_squares: Tensor | float = 0.0

    def add(self, values: Tensor) -> None:
        """Count in values (B, C, H, W)."""
        values = values.detach().double()
        self.count += values.numel() // values.shape[1]
        self.sum = self.sum + values.sum(dim=(0, 2, 3))
        self.sum_of_squares = self.sum_of_squares + values.square().sum(dim=(0, 2, 3))

    def result(self) -> tuple[Tensor, Tensor]:
        """Mean and unbiased variance."""
        assert isinstance(self.sum, Tensor) and isinstance(self.sum_of_squares, Tensor)
        mean = self.sum / self.count
        variance = (self.sum_of_squares - self.count * mean.square()).clamp(min=0) / max(self.count - 1, 1)
        return mean, variance


@torch.no_grad()
def restore_normalisation(network: Network, batches: Iterable[Tensor]) -> Network:
    """Change a network in place so that it computes the same in evaluation mode, and can be trained; returns it.

    Every normalisation gets the statistics that it would have on `batches` of images (B, 3, H, W), and its scale and
    shift make up for the change. Every channel of the convolutions before them gets weights of `FRESH_NORM`, for which
    the scale makes up, too; a channel of zeros stays as it is.

    Raises:
        ValueError: there are no images.
    """
    pairs = [(before, after) for module in network.modules() for (_, before), (_, after) in normalised(module)]
    moments = [_Moments() for _ in pairs]
    hooks = [before.register_forward_hook(_adding(seen)) for (before, _), seen in zip(pairs, moments, strict=True)]
    was_training = network.training
    network.eval()
    try:
        for batch in batches:
            network(batch)
    finally:
        for hook in hooks:
            hook.remove()
        network.train(was_training)
    for (before, after), seen in zip(pairs, moments, strict=True):
        if seen.count == 0:
            raise ValueError("statistics need images; there are none")
        _restate(before, after, *seen.result())
    return network


def _adding(moments: _Moments) -> Callable[[nn.Module, Any, Tensor], None]:
    def add(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        moments.add(output)

    return add


def _restate(convolution: nn.Conv2d, normalisation: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    """Give a pair these statistics (C,) of the convolution's output, and weights of `FRESH_NORM`."""
    old_mean, old_variance = normalisation.running_mean, normalisation.running_var
    assert old_mean is not None and old_variance is not None
    slope = normalisation.weight.double() / (old_variance.double() + normalisation.eps).sqrt()
    shift = normalisation.bias.double() - slope * old_mean.double()

    norm = convolution.weight.double().flatten(1).norm(dim=1)
    factor = torch.where(norm > 0, norm / FRESH_NORM, 1)  # what the weights are divided by
    convolution.weight.copy_(convolution.weight.double() / factor[:, None, None, None])
    if convolution.bias is not None:
        convolution.bias.copy_(convolution.bias.double() / factor)
    mean, variance = mean / factor, variance / factor.square()

    normalisation.weight.copy_(slope * factor * (variance + normalisation.eps).sqrt())
    normalisation.bias.copy_(shift + slope * factor * mean)
    old_mean.copy_(mean)
    old_variance.copy_(variance)
