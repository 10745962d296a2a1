"""The folded network with the input that a file takes."""

from __future__ import annotations

import copy
from typing import Any, Literal

import torch
from torch import Tensor, nn

from multibox.model.detector import Detector
from multibox.model.quantized import INPUT_QUANTIZER, QuantizedConv2d, Quantizer

ChannelOrder = Literal["BGR", "RGB"]


def take_raw_images(folded: Detector, *, channel_order: ChannelOrder, input_maximum: int) -> Detector:
    """A copy of a folded network, quantised or not, that takes images 0..`input_maximum` in this channel order.

    The first convolution has no offset to its input, so dividing by 255 and swapping channels move into its weights:
    what runs has no layer for them.
    """
    return _with_input(folded, channel_order, 1 / input_maximum)


def take_scaled_images(raw: Detector, *, channel_order: ChannelOrder, input_maximum: int) -> Detector:
    """A copy of what `take_raw_images` gave that takes RGB images in 0..1 again."""
    return _with_input(raw, channel_order, input_maximum)


def round_to_half(folded: Detector, *, channel_order: ChannelOrder, input_maximum: int) -> Detector:
    """A copy of a folded network, RGB in 0..1, with the weights that a half precision file with this input holds."""
    stored = take_raw_images(folded, channel_order=channel_order, input_maximum=input_maximum)
    return take_scaled_images(stored.half().float(), channel_order=channel_order, input_maximum=input_maximum)


def name_of_first_convolution(network: Detector) -> str:
    """The name of the module that reads the image."""
    first = _first_convolution(network)
    (name,) = (name for name, module in network.named_modules() if module is first)
    return str(name)


def _with_input(network: Detector, channel_order: ChannelOrder, factor: float) -> Detector:
    changed = copy.deepcopy(network)
    first = _first_convolution(changed)
    weight = first.weight.detach().double() * factor
    first.weight = nn.Parameter((weight.flip(1) if channel_order == "BGR" else weight).float(), requires_grad=False)
    # The integers stay the same, so what is rounded to them changes by the same factor as their steps.
    if isinstance(first, QuantizedConv2d):
        _multiply_step(first.quantizer, factor)
    for name, module in first.named_children():
        if name == INPUT_QUANTIZER:
            assert isinstance(module, Quantizer)
            _multiply_step(module, 1 / factor)
    return changed


def _multiply_step(quantizer: Quantizer, factor: float) -> None:
    quantizer.step = (quantizer.step.double() * factor).float()


def _first_convolution(network: Detector) -> nn.Conv2d:
    """The convolution that reads the image; the network is run, because modules need not stand in the order of data."""
    image = torch.zeros(1, 3, 64, 64)
    readers: list[nn.Conv2d] = []

    def look(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        given = inputs[0]
        if isinstance(module, nn.Conv2d) and isinstance(given, Tensor) and given is image:
            readers.append(module)

    # First of all, before the image is rounded.
    hooks = [module.register_forward_pre_hook(look, prepend=True) for module in network.modules()]
    try:
        with torch.no_grad():
            network(image)
    finally:
        for hook in hooks:
            hook.remove()
    assert len(readers) == 1, f"{len(readers)} convolutions read the image"
    return readers[0]
