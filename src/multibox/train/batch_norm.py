"""Real statistics for batch normalisation that was folded away when a network was exported."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def calibrate_batch_norm(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Give batch normalisations the statistics of these images (B, 3, S, S) without changing what the model computes.

    In an exported network, normalisation is part of the convolutions: mean 0, variance 1. In training, batch
    normalisation uses the statistics of the batch instead, which are nothing like that: the first batch would turn the
    pretrained network into another function, and its loss into that of a random one. With mean and variance measured
    here, and scale and shift set to undo them, normalising by a batch is close to what the network computes anyway.

    One pass suffices: as outputs do not change, neither do the inputs of later layers. The model keeps its mode.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    statistics = {norm: _Statistics(norm.num_features) for norm in norms}
    hooks = [norm.register_forward_pre_hook(lambda module, inputs: statistics[module].add(inputs[0])) for norm in norms]
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            for images in batches:
                model(images)
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode
    for norm, found in statistics.items():
        if found.count < 2:
            raise ValueError("calibrating needs at least two values per channel; there are no images")
        _set_statistics(norm, found.mean(), found.variance())


class _Statistics:
    """Mean and variance of each channel over all that is added, in double precision."""

    def __init__(self, channels: int) -> None:
        self.count = 0
        self.centre = torch.zeros(channels, dtype=torch.float64)
        self.squares = torch.zeros(channels, dtype=torch.float64)

    def add(self, values: Tensor) -> None:
        """Values (B, C, H, W)."""
        variance, mean = (part.cpu().double() for part in torch.var_mean(values, dim=(0, 2, 3), correction=0))
        count = values.numel() // values.shape[1]
        total = self.count + count
        # Merging by means, not by sums of squares, loses no digits where the mean is far larger than the deviation.
        difference = mean - self.centre
        self.squares += variance * count + difference**2 * self.count * count / total
        self.centre += difference * count / total
        self.count = total

    def mean(self) -> Tensor:
        return self.centre

    def variance(self) -> Tensor:
        """Unbiased, as batch normalisation keeps it."""
        return self.squares / (self.count - 1)


def _set_statistics(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    """Replace the statistics of a normalisation; its scale and shift change such that its output stays as it was."""
    assert norm.running_mean is not None and norm.running_var is not None
    old_mean, old_variance, weight, bias = (
        tensor.detach().cpu().double() for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    # What it computes is x * slope + offset, before and after. Epsilon keeps channels without variance finite: their
    # scale becomes small, not infinite.
    slope = weight / (old_variance + norm.eps).sqrt()
    offset = bias - old_mean * slope
    mean, variance = mean.float(), variance.float()
    with torch.no_grad():
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_((slope * (variance.double() + norm.eps).sqrt()).float())
        norm.bias.copy_((offset + mean.double() * slope).float())
