"""Batch normalisation folded into convolutions, as networks are deployed and compressed, and unfolded again."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from multibox.config import Template
from multibox.model import detector
from multibox.model.csp_darknet import Focus, merge_pixels, split_pixels
from multibox.model.detector import Detector

Network = TypeVar("Network", bound=nn.Module)


def fold(model: Network) -> Network:
    """A copy in evaluation mode, on the CPU, whose batch normalisation is folded into the convolutions before it.

    It computes the same as `model` in evaluation mode up to rounding: the folding itself is done in double precision.
    A `Focus` becomes one convolution of the image, whose weights have its name and another shape. What has no
    normalisation, folded before or quantised, is copied as it is.
    """
    folded = copy.deepcopy(model).cpu().double().eval()
    for module in list(folded.modules()):
        for name, child in module.named_children():
            if isinstance(child, Focus):
                setattr(module, name, _reading_pixels(child))
    for module in folded.modules():
        for (_, before), (name, after) in normalised(module):
            assert after.running_mean is not None and after.running_var is not None
            before.weight, before.bias = fuse_conv_bn_weights(
                before.weight, before.bias, after.running_mean, after.running_var, after.eps, after.weight, after.bias
            )
            setattr(module, name, nn.Identity())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules()), "a normalisation is left over"
    return folded.float().requires_grad_(False)


def unfold(folded: Detector, template: Template) -> dict[str, Tensor]:
    """The weights of a folded network under the names of an ordinary one, whose normalisations only add the biases.

    Folding a network with these weights gives exactly the one that was given.
    """
    network = detector.build(template, num_classes=folded.num_classes)
    weights = network.state_dict()
    given = {key: value.detach().cpu().clone() for key, value in folded.state_dict().items()}
    for parent_name, parent in network.named_modules():
        for (before_name, before), (after_name, after) in normalised(parent):
            before_key, after_key = f"{parent_name}.{before_name}", f"{parent_name}.{after_name}"
            weights[f"{after_key}.weight"] = torch.ones_like(after.weight)
            weights[f"{after_key}.bias"] = given.pop(f"{before_key}.bias")
            weights[f"{after_key}.running_mean"] = torch.zeros_like(after.bias)
            # Folding divides by the root of variance + eps. In single precision that sum is 1 to 3e-8, and its root to
            # half of that: too little to change a weight's last bit.
            weights[f"{after_key}.running_var"] = torch.ones_like(after.bias) - after.eps
            if before.bias is not None:
                weights[f"{before_key}.bias"] = torch.zeros_like(before.bias)
        if isinstance(parent, Focus):
            given[f"{parent_name}.conv.conv.weight"] = split_pixels(given[f"{parent_name}.conv.conv.weight"])
    return {key: value.detach() for key, value in (weights | given).items()}


def normalised(parent: nn.Module) -> Iterator[tuple[tuple[str, nn.Conv2d], tuple[str, nn.BatchNorm2d]]]:
    """The pairs, among a module's children, of a convolution and the normalisation after it, each with its name."""
    for (before_name, before), (after_name, after) in pairwise(list(parent.named_children())):
        if isinstance(before, nn.Conv2d) and isinstance(after, nn.BatchNorm2d):
            yield (before_name, before), (after_name, after)


def _reading_pixels(focus: Focus) -> nn.Sequential:
    """The layers of a `Focus`, with a convolution of twice the size and stride that reads the image itself."""
    cells = focus.conv.conv
    weight = merge_pixels(cells.weight.detach())
    out_channels, in_channels, side, _ = weight.shape
    pixels = nn.Conv2d(in_channels, out_channels, side, stride=2, padding=2 * cells.padding[0])
    pixels.weight, pixels.bias = nn.Parameter(weight), cells.bias
    focus.conv.conv = pixels.train(cells.training)
    return nn.Sequential(OrderedDict(conv=focus.conv))
