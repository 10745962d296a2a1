"""The network as it is deployed: batch normalisation folded into the convolutions, and the input that a file takes."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from multibox.model.ssd import SSD

ChannelOrder = Literal["BGR", "RGB"]


def fold(model: SSD) -> SSD:
    """A copy in evaluation mode, on the CPU, whose batch normalisation is folded into the convolutions before it.

    It computes the same as `model` in evaluation mode up to rounding: the folding itself is done in double precision.
    """
    folded = copy.deepcopy(model).cpu().double().eval()
    for module in list(folded.modules()):
        for (_, before), (name, after) in pairwise(list(module.named_children())):
            if isinstance(before, nn.Conv2d) and isinstance(after, nn.BatchNorm2d):
                fused = fuse_conv_bn_eval(before, after)
                before.weight, before.bias = fused.weight, fused.bias
                setattr(module, name, nn.Identity())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules()), "a normalisation is left over"
    return folded.float().requires_grad_(False)


def take_raw_images(folded: SSD, *, channel_order: ChannelOrder, input_maximum: int) -> SSD:
    """A copy of a folded network that takes images with values 0..`input_maximum` in this channel order.

    The first convolution has no offset to its input, so dividing by 255 and swapping channels move into its weights:
    what runs has no layer for them.
    """
    return _with_input(folded, channel_order, 1 / input_maximum)


def round_to_half(folded: SSD, *, channel_order: ChannelOrder, input_maximum: int) -> SSD:
    """A copy of a folded network, RGB in 0..1, with the weights that a half precision file with this input holds."""
    stored = take_raw_images(folded, channel_order=channel_order, input_maximum=input_maximum)
    return _with_input(stored.half().float(), channel_order, input_maximum)


def _with_input(network: SSD, channel_order: ChannelOrder, factor: float) -> SSD:
    changed = copy.deepcopy(network)
    first = _first_convolution(changed)
    weight = first.weight.detach().double() * factor
    first.weight = nn.Parameter((weight.flip(1) if channel_order == "BGR" else weight).float(), requires_grad=False)
    return changed


def _first_convolution(network: SSD) -> nn.Conv2d:
    """The convolution that reads the image, found by running it: the order of modules need not be that of data."""
    image = torch.zeros(1, 3, 64, 64)
    found: list[nn.Conv2d] = []

    def look(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        given = inputs[0]
        if isinstance(module, nn.Conv2d) and isinstance(given, Tensor) and given is image:
            found.append(module)

    hooks = [module.register_forward_pre_hook(look) for module in network.modules()]
    try:
        with torch.no_grad():
            network(image)
    finally:
        for hook in hooks:
            hook.remove()
    assert len(found) == 1, f"{len(found)} convolutions read the image"
    return found[0]
