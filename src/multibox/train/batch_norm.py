"""Statistics of batch normalisation: over all processes, and estimated on images where they were folded away."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def estimate_statistics(model: nn.Module, batches: Iterable[Tensor]) -> None:
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
    for norm, measured in statistics.items():
        if measured.count < 2:
            raise ValueError("estimating statistics needs at least two values per channel; there are no images")
        _set_statistics(norm, measured.mean(), measured.variance())


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


def synchronise_batch_norm(model: nn.Module) -> nn.Module:
    """The model with batch statistics over the images of all processes, in place; names and weights stay.

    PyTorch's own synchronised layer runs on graphics cards only; on a processor this module's takes its place.
    """
    if next(model.parameters()).is_cuda:
        synchronised: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return synchronised
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.BatchNorm2d:
                setattr(parent, name, SyncedBatchNorm.of(child))
    return model


class SyncedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation whose training statistics are over all processes, which hold equally many images."""

    @classmethod
    def of(cls, norm: nn.BatchNorm2d) -> SyncedBatchNorm:
        """A layer that computes as `norm` does in one process, and shares its parameters and buffers."""
        synced = cls(norm.num_features, norm.eps, norm.momentum)
        synced._parameters, synced._buffers, synced.training = norm._parameters, norm._buffers, norm.training
        return synced

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        if not self.training:
            return super().forward(x)
        mean, variance = _statistics_of_all(x.detach())
        count = x.numel() // x.shape[1] * dist.get_world_size()
        self._follow(mean, variance * count / (count - 1))
        normalised: Tensor = _Normalisation.apply(  # type: ignore[no-untyped-call]
            x, self.weight, self.bias, mean, variance, self.eps
        )
        return normalised

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        assert self.num_batches_tracked is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
        self.num_batches_tracked.add_(1)


def _statistics_of_all(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance (C,) of each channel of (B, C, H, W) over the images of all processes.

    One message holds both: a network has some hundred normalisations, and a short message costs as much as a long one.
    """
    channels = x.shape[1]
    # Statistics that it may update make it return float32 for bfloat16 values too, and are of no other use.
    unused = torch.zeros(2, channels)
    here = torch.cat(torch.batch_norm_update_stats(x, unused[0], unused[1], 0.0))
    each = [torch.empty_like(here) for _ in range(dist.get_world_size())]
    dist.all_gather(each, here)
    means, variances = torch.stack(each).split(channels, 1)
    mean = means.mean(0)
    # By the distance of the means, not by sums of squares: those lose digits where a mean is large.
    return mean, variances.mean(0) + (means - mean).square().mean(0)


class _Normalisation(torch.autograd.Function):
    """Normalises by statistics that depend on the images of all processes, whose losses are averaged.

    The gradient is that of Ioffe and Szegedy, "Batch Normalization", 2015, with both of its sums over all processes.
    """

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        x, weight, bias, mean, variance, eps = inputs
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.eps = eps
        return nn.functional.batch_norm(x, mean, variance, weight, bias, False, 0.0, eps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        x, weight, mean, variance = ctx.saved_tensors
        _, weight_gradient, bias_gradient = torch.ops.aten.native_batch_norm_backward(
            gradient, x, weight, mean, variance, None, None, False, ctx.eps, [False, True, True]
        )
        sums = torch.cat((weight_gradient, bias_gradient)).float()
        dist.all_reduce(sums)
        means = sums / (x.numel() // x.shape[1] * dist.get_world_size())
        of_scaled, of_gradient = means.chunk(2)
        deviation = torch.rsqrt(variance + ctx.eps)
        scale = weight * deviation
        # scale * (gradient - of_gradient - (x - mean) * deviation * of_scaled), in as few passes as can be.
        slope = scale * deviation * of_scaled
        offset = slope * mean - scale * of_gradient
        shape = (1, -1, 1, 1)
        common = torch.addcmul(offset.view(shape).to(x.dtype), x, slope.view(shape).to(x.dtype), value=-1)
        of_input = torch.addcmul(common, gradient, scale.view(shape).to(x.dtype))
        return of_input, weight_gradient, bias_gradient, None, None, None
