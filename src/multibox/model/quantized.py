"""Networks that compute in 8 bits, simulated in floating point: what a compressed checkpoint is in PyTorch.

A `Quantization` says which values of a folded network are rounded, and how. It is kept beside the weights, which stay
floating-point numbers under their usual names. `apply` puts both together: for evaluation, for export, and for training
on. Where its numbers come from is told in `compress/nncf.py`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from multibox.model.detector import Detector

Place = Literal["input", "output", "weight", "summand"]
"""Value of a module that is rounded: its input, its output, its weights, or a summand.

A summand is an output that is at once added to a shortcut. It is rounded in an exported file, else the sum would not be
a part of the convolution. But as such a part it is added before anything is rounded, as OpenVINO does it on processors,
so here a summand is not rounded. (With it rounded, a fifth of the sums of the first shortcut were another integer than
in OpenVINO; without, fewer than one in 500.)
"""

INPUT_QUANTIZER, OUTPUT_QUANTIZER = "input_quantizer", "output_quantizer"
"""Names of the `Quantizer` of a module's input and of that of its output among the children of the module."""

RANGES = ((-128, 127), (0, 255), (-127, 127))
"""Ranges of the integers that values become: signed, unsigned, and weights, which leave out one to be symmetric."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How values become integers: value / `step`, rounded, `zero` added, cut to `low`..`high`.

    `step` is (1,) for all values, or (C,) for each channel: of outputs in a weight, else of the value itself. `zero`,
    int32 of the same shape, has the integers that stand for 0; None means that it is 0 itself.

    Before that, values are multiplied by `factor` (C,), None for 1: each channel by its own, in a weight each channel
    of inputs. Where a value has one, the weights of the convolutions that read it have the inverse, so that the
    network computes the same but for the rounding.
    """

    step: Tensor
    low: int
    high: int
    zero: Tensor | None = None
    factor: Tensor | None = None


Quantization = Mapping[tuple[str, Place], Scale]
"""Scales by module and place; the scale of the image is that of the input of the first convolution."""


class Quantizer(nn.Module):
    """Rounds values to what 8 bits hold. Gradients pass where nothing was cut off; the scale is not trained.

    `axis`: of the channels, where each has a step of its own. While not `is_active`, values pass as they are.
    """

    step: Tensor
    zero: Tensor
    factor: Tensor | None

    def __init__(self, scale: Scale, *, axis: int, is_active: bool = True) -> None:
        super().__init__()
        self.low, self.high, self.axis, self.is_active = scale.low, scale.high, axis, is_active
        # Not among the weights: the names of a state dict stay those of the network, and scales are kept beside it.
        self.register_buffer("step", scale.step.clone(), persistent=False)
        zero = torch.zeros_like(scale.step, dtype=torch.int32) if scale.zero is None else scale.zero.clone()
        self.register_buffer("zero", zero, persistent=False)
        factor = None if scale.factor is None else scale.factor.clone().reshape(1, -1, 1, 1)
        self.register_buffer("factor", factor, persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        """Rounded values, in the shape of `values` and times `factor`."""
        if not self.is_active:
            return values
        if self.factor is not None:
            values = values * self.factor
        shape = [1] * values.ndim
        if len(self.step) > 1:
            shape[self.axis] = -1
        step, zero = self.step.reshape(shape), self.zero.reshape(shape)
        rounded: Tensor = _Rounding.apply(values, step, zero, self.low, self.high)  # type: ignore[no-untyped-call]
        return rounded


class _Rounding(torch.autograd.Function):
    """Values (any shape) rounded to the integers low..high of `step` and `zero`, which broadcast.

    The same numbers and gradients as PyTorch's `fake_quantize_per_tensor_affine` and `..._per_channel_affine`, which
    go through the values one by one: these go through them in vectors (benchmarks/notebook.md, "No waiting").
    """

    @staticmethod
    def forward(ctx: FunctionCtx, values: Tensor, step: Tensor, zero: Tensor, low: int, high: int) -> Tensor:
        integers = (values * step.reciprocal()).round_().add_(zero)
        ctx.save_for_backward(integers)
        ctx.ends = (low - 0.5, high + 0.5)  # type: ignore[attr-defined]  # whole numbers within are not cut off
        return integers.clamp(low, high).sub_(zero).mul_(step)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (integers,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(gradients[0], integers, *ctx.ends), None, None, None, None


class QuantizedConv2d(nn.Conv2d):
    """A convolution that computes with rounded weights; those that are trained and saved stay as they are."""

    quantizer: Quantizer

    @classmethod
    def of(cls, module: nn.Conv2d, scale: Scale) -> QuantizedConv2d:
        """A convolution that shares the parameters of `module`, with this scale for its weights."""
        quantized = cls(
            module.in_channels,
            module.out_channels,
            _pair(module.kernel_size),
            _pair(module.stride),
            padding=module.padding if isinstance(module.padding, str) else _pair(module.padding),
            dilation=_pair(module.dilation),
            groups=module.groups,
            bias=module.bias is not None,
            padding_mode=module.padding_mode,
            device="meta",  # its own parameters take no memory and draw no random numbers
        )
        quantized.weight, quantized.bias, quantized.training = module.weight, module.bias, module.training
        quantized.quantizer = Quantizer(scale, axis=0)
        return quantized

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H / stride, W / stride), with rounded weights."""
        y: Tensor = self._conv_forward(x, self.quantizer(self.weight), self.bias)
        return y


def apply(folded: Detector, quantization: Quantization) -> Detector:
    """A copy of a folded network that computes in 8 bits (simulated in floating point), and can be trained on so.

    Raises:
        ValueError: a scale is for a module that is not there, or for other weights.
    """
    network = copy.deepcopy(folded)
    put_scales(network, quantization)
    return network


def put_scales(network: Detector, quantization: Quantization) -> None:
    """Make a folded network compute in 8 bits, in place, as `apply` does with a copy.

    Raises:
        ValueError: a scale is for a module that is not there, or for other weights.
    """
    # Convolutions first: hooks belong to the module that they are put on.
    for (name, place), scale in quantization.items():
        if place == "weight":
            parent, _, child = name.rpartition(".")
            convolution = _module(network, name)
            if not isinstance(convolution, nn.Conv2d) or len(scale.step) not in {1, convolution.out_channels}:
                raise ValueError(f"no convolution has the weights that the scale of `{name}` is for")
            setattr(network.get_submodule(parent), child, QuantizedConv2d.of(convolution, scale))
    for (name, place), scale in quantization.items():
        if place == "weight":
            continue
        module = _module(network, name)
        quantizer = Quantizer(scale, axis=1, is_active=place != "summand")
        if place == "input":
            module.add_module(INPUT_QUANTIZER, quantizer)
            module.register_forward_pre_hook(_round_inputs)
        else:
            module.add_module(OUTPUT_QUANTIZER, quantizer)
            module.register_forward_hook(_round_outputs)


def activate_all(network: Detector) -> None:
    """Round summands too, in place, as an exported file does."""
    for module in network.modules():
        if isinstance(module, Quantizer):
            module.is_active = True


def is_quantized(network: nn.Module) -> bool:
    """Whether anything in a network is rounded."""
    return any(isinstance(module, Quantizer) for module in network.modules())


def scales_to_plain(quantization: Quantization) -> dict[str, Any]:
    """Plain values and tensors, for a checkpoint; a zero that is 0 and a factor that is 1 are left out."""
    return {f"{name}:{place}": _plain(scale) for (name, place), scale in quantization.items()}


def scales_from_plain(plain: Any) -> Quantization:
    """The quantization of which `to_plain` made these values.

    Raises:
        ValueError: `to_plain` never gives such values.
    """
    if not isinstance(plain, Mapping) or not plain:
        raise ValueError("it is no table of scales")
    scales: dict[tuple[str, Place], Scale] = {}
    for key, value in plain.items():
        name, _, place = str(key).rpartition(":")
        if not name or place not in get_args(Place):
            raise ValueError(f"`{key}` names no place in a network")
        scales[name, cast(Place, place)] = _scale(key, value)
    return scales


def _plain(scale: Scale) -> dict[str, Any]:
    plain = {"step": scale.step.detach().cpu().clone(), "low": scale.low, "high": scale.high}
    optional = {"zero": scale.zero, "factor": scale.factor}
    return plain | {key: value.detach().cpu().clone() for key, value in optional.items() if value is not None}


def _scale(key: str, value: Any) -> Scale:
    if not isinstance(value, Mapping) or set(value) - {"zero", "factor"} != {"step", "low", "high"}:
        raise ValueError(f"`{key}` is no scale")
    step = value["step"]
    if not _is_positive(step) or (value["low"], value["high"]) not in RANGES:
        raise ValueError(f"`{key}` is no scale")
    if value.get("factor") is not None and not _is_positive(value["factor"]):
        raise ValueError(f"`{key}` is no scale")
    zero = value.get("zero")
    if zero is not None:
        is_zero = isinstance(zero, Tensor) and zero.shape == step.shape and zero.dtype == torch.int32
        if not is_zero or not bool(((zero >= value["low"]) & (zero <= value["high"])).all()):
            raise ValueError(f"`{key}` is no scale")
    return Scale(**value)


def _is_positive(values: Any) -> bool:
    """Whether these are numbers, as many as there are channels or one for all, that can be multiplied by."""
    is_row = isinstance(values, Tensor) and values.ndim == 1 and len(values) > 0 and values.dtype == torch.float32
    return is_row and bool((values.isfinite() & (values > 0)).all())


def _pair(sizes: tuple[int, ...]) -> tuple[int, int]:
    height, width = sizes
    return height, width


def _module(network: Detector, name: str) -> nn.Module:
    try:
        return network.get_submodule(name)
    except AttributeError as error:
        raise ValueError(f"the network has no `{name}`") from error


def _round_inputs(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (module.get_submodule(INPUT_QUANTIZER)(inputs[0]), *inputs[1:])


def _round_outputs(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> Tensor:
    rounded: Tensor = module.get_submodule(OUTPUT_QUANTIZER)(output)
    return rounded
