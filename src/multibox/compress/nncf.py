"""INT8: NNCF decides, on the OpenVINO network that will be deployed, which values are rounded and with which scale.

A checkpoint is compressed in three steps. `openvino_model.convert` gives its network to OpenVINO, `quantize` puts the
roundings in, and `read` takes what was decided back to PyTorch as a `Quantization`: a scale for each place, named by
the module it belongs to. From then on nothing needs NNCF. A finished file is quantised by `quantize_file`, which needs
no PyTorch.
"""

from __future__ import annotations

import importlib.util
import io
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from multibox.compress.first_values import fit_first_values
from multibox.compress.layer_inputs import CONVOLUTIONS, constant, measure_inputs, replace_constant
from multibox.compress.means import correct_means
from multibox.compress.rounding import round_weights, stored_weights
from multibox.compress.smoothing import SMOOTHED, smooth
from multibox.errors import CheckpointError, DataError, DependencyError
from multibox.runtime import contract
from multibox.runtime.contract import ExportInfo
from multibox.structures import FloatArray

if TYPE_CHECKING:
    from torch import Tensor

    from multibox.model.detector import Detector
    from multibox.model.quantized import Place, Quantization, Scale

INSIDE = 0.49
"""How far from an integer a weight may lie, in steps, to be rounded to it in every engine."""

SUFFIXES: dict[str, Place] = {"fq_input_0": "input", "fq_output_0": "output"}
"""Place by the end of the name that NNCF gives to a node that it puts in."""


def quantize(converted: Any, images: Iterable[FloatArray], *, count: int, thorough: bool) -> Any:
    """The `openvino.Model` of a converted network (`openvino_model.convert`) with 8-bit weights and values.

    The first `count` of the images (1, 3, S, S), as the model takes them, say how large values get. `thorough` corrects
    the biases layer by layer, at twice the cost, but not those of a network with SiLU: its channels are evened out
    before (`smoothing`), its weights chosen after (`rounding`), as are the ranges of its first layer (`first_values`)
    and its biases (`means`). Equal input gives equal results.

    Raises:
        DataError: there is no image.
        DependencyError: NNCF is not installed.
    """
    return _quantize(converted, images, count=count, thorough=thorough)


def quantize_file(model: Any, images: Iterable[FloatArray], *, count: int, thorough: bool) -> Any:
    """The `openvino.Model` of a file with 8-bit weights and values: one of ours, or another SSD that takes raw images.

    Images, `count` and `thorough` are as for `quantize`. What follows the convolutions stays in floating point. What
    the file says of itself is kept.

    Raises:
        CheckpointError: the model computes in 8 bits already.
        DataError: there is no image.
        DependencyError: NNCF is not installed.
    """
    if any(node.get_type_name() == "FakeQuantize" for node in model.get_ops()):
        raise CheckpointError("This model computes in 8 bits already. Take the one that it was made from.")
    result = _quantize(model, images, count=count, thorough=thorough)
    info = contract.read_from_ir(model, source=model.get_friendly_name())
    if info is not None:
        contract.write_to_ir(result, msgspec.structs.replace(info, precision="INT8"))
    return result


def read_scales(quantized: Any, folded: Detector, info: ExportInfo) -> tuple[Detector, Quantization]:
    """What `quantize` decided: a copy of the folded network with rounded weights and corrected biases, and the scales.

    `info` is that of the converted network; results are for the folded one, whose images are in 0..1. The weights of a
    network with SiLU stay as near to those given as they can and be rounded to the chosen integers. Others are
    whole multiples of their steps. NNCF's own: it gives the largest ones of the first convolution 63.5 steps, where the
    next engine would round the other way, and a quarter of that layer's values would be other integers (BCCD at 256).
    """
    import torch
    from torch import nn

    from multibox.export.input_layer import name_of_first_convolution, take_raw_images, take_scaled_images

    order, maximum = info.channel_order, info.input_maximum
    raw = take_raw_images(folded, channel_order=order, input_maximum=maximum)
    first = name_of_first_convolution(folded)
    is_silu = has_silu(quantized)
    scales = {
        _place_of(node, first): _scale(node) for node in quantized.get_ops() if node.get_type_name() == "FakeQuantize"
    }
    for name, module in raw.named_modules():
        if isinstance(module, nn.Conv2d):
            convolution, bias = _convolution(quantized, name)
            module.bias = nn.Parameter(torch.from_numpy(bias.copy()).flatten(), requires_grad=False)
            integers, scale = _integers_and_scale(convolution)
            scales[name, "weight"] = scale
            integers = integers.reshape(module.weight.shape)
            near = module.weight if is_silu else None
            module.weight = nn.Parameter(_weights(integers, scale, near=near), requires_grad=False)
    corrected = take_scaled_images(raw, channel_order=order, input_maximum=maximum)
    return corrected, _for_input(scales, first, 1 / maximum)


def _quantize(model: Any, images: Iterable[FloatArray], *, count: int, thorough: bool) -> Any:
    graph = model.clone()
    batches = _batches(images, count, model.input(0).get_partial_shape()[0])
    if not has_silu(graph):
        result = _find_scales(graph, batches, "PERFORMANCE", fast_bias_correction=not thorough)
    else:
        inputs = smooth(graph, measure_inputs(graph, batches))
        result = _find_scales(graph, batches, "MIXED", disable_bias_correction=True)
        round_weights(result, graph, inputs)
        fit_first_values(result, batches)
        correct_means(result, batches)
    _take_whole_bytes(result)
    return result


def has_silu(model: Any) -> bool:
    """Whether an `openvino.Model` has SiLU, whose biases `thorough` does not correct layer by layer."""
    return any(node.get_type_name() == "Swish" for node in model.get_ops())


def _find_scales(
    model: Any,
    batches: list[FloatArray],
    preset: str,
    *,
    fast_bias_correction: bool = True,
    disable_bias_correction: bool = False,
) -> Any:
    """What NNCF makes of a model, by one of its presets.

    PERFORMANCE is symmetric where values can be below 0: zero points cost depthwise convolutions of an SSD their fast
    kernel and gain no AP. SiLU gives no value below -0.28, so that half of the integers would be for what is not there:
    that cost YOLOX-Nano 1.7 AP points on COCO, MIXED, which has zero points, 0.3.
    """
    nncf = _import_nncf()
    left_alone = [node.get_friendly_name() for node in nodes_after_convolutions(model)]
    with _silence(nncf):
        return nncf.quantize(
            model,
            nncf.Dataset(batches),
            preset=nncf.QuantizationPreset[preset],
            subset_size=len(batches),
            fast_bias_correction=fast_bias_correction,
            ignored_scope=nncf.IgnoredScope(names=left_alone, validate=False),
            # By default NNCF takes the mean over images of the largest value, which cuts off what only images with rare
            # or large objects cause: 0.9 AP points on BCCD at 256, against 0.0 with the largest of all.
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                disable_bias_correction=disable_bias_correction,
                activations_range_estimator_params=nncf.quantization.range_estimator.RangeEstimatorParametersSet.MINMAX,
            ),
        )


def require_nncf() -> None:
    """Say at once that NNCF is missing, not after minutes of measuring.

    Raises:
        DependencyError: it is not installed.
    """
    if importlib.util.find_spec("nncf") is None:
        raise DependencyError('INT8 needs NNCF. Install it with: pip install "multibox[int8]"')


def nodes_after_convolutions(model: Any) -> list[Any]:
    """The nodes of an `openvino.Model` that no convolution depends on; they stay in floating point."""
    waiting = [node for node in model.get_ops() if node.get_type_name() in CONVOLUTIONS]
    before = {node.get_friendly_name() for node in waiting}
    while waiting:
        for value in waiting.pop().input_values():
            node = value.get_node()
            if node.get_friendly_name() not in before:
                before.add(node.get_friendly_name())
                waiting.append(node)
    ends = {"Parameter", "Constant", "Result"}
    return [
        node
        for node in model.get_ordered_ops()
        if node.get_friendly_name() not in before and node.get_type_name() not in ends
    ]


def _import_nncf() -> Any:
    # At its first import NNCF decides whether to report its use to its makers, and by default it does. Running our
    # commands is no consent to that; this is NNCF's own switch.
    os.environ.setdefault("NNCF_CI", "1")
    require_nncf()
    import nncf
    import nncf.quantization.range_estimator

    return nncf


@contextmanager
def _silence(nncf: Any) -> Iterator[None]:
    """Nothing of NNCF's own on the console: it prints bars and a log of what is the same in every run."""
    import rich

    nncf.set_log_level(logging.ERROR)
    bars = rich.get_console()  # not ours, which is an object of its own
    before, bars.file = bars.file, io.StringIO()
    try:
        yield
    finally:
        bars.file = before


def _batches(images: Iterable[FloatArray], count: int, batch: Any) -> list[FloatArray]:
    """The first images, as many at a time as the model takes; the last ones again where a batch is not full."""
    size = 1 if batch.is_dynamic else batch.get_length()
    chosen = list(islice(images, count))
    if not chosen:
        raise DataError("There is no image to measure the ranges of values on. Compressing needs training images.")
    chosen += chosen[-1:] * (-len(chosen) % size)
    return [np.concatenate(chosen[i : i + size]) for i in range(0, len(chosen), size)]


def _take_whole_bytes(model: Any) -> None:
    """Give the image the range 0..255, in place: every value that an image can have is exact."""
    for node in model.get_ops():
        if node.get_type_name() == "FakeQuantize" and node.input_value(0).get_node().get_type_name() == "Parameter":
            for position, value in enumerate((0.0, 255.0, 0.0, 255.0), start=1):
                shape = list(node.input_value(position).get_shape())
                replace_constant(node, position, np.full(shape, value, dtype=np.float32))


def _for_input(quantization: Quantization, first: str, factor: float) -> Quantization:
    """The scales for images with values `factor` times as large, and a first convolution that makes up for it."""
    changed = dict(quantization)
    places: tuple[tuple[Place, float], ...] = (("input", factor), ("weight", 1 / factor))
    for place, by in places:
        key = (first, place)
        if key in changed:
            changed[key] = replace(changed[key], step=(changed[key].step.double() * by).float())
    return changed


def _place_of(node: Any, first: str) -> tuple[str, Place]:
    name = node.get_friendly_name()
    stem, _, end = name.rpartition("/")
    if node.input_value(0).get_node().get_type_name() == "Parameter":
        return first, "input"
    assert end in SUFFIXES, name
    place = SUFFIXES[end]
    return stem.split("/")[0], "summand" if place == "output" and _is_summand(node) else place


def _is_summand(node: Any) -> bool:
    """Whether all that becomes of a convolution's output is that it is added to another value."""
    (bias,) = (value.get_node() for value in node.input_values()[:1])
    (convolution,) = (value.get_node() for value in bias.input_values()[:1])
    consumers = [target.get_node() for target in node.output(0).get_target_inputs()]
    return convolution.get_type_name() in CONVOLUTIONS and [node.get_type_name() for node in consumers] == ["Add"]


def _scale(node: Any) -> Scale:
    """The scale of a FakeQuantize of values: 256 integers, signed only where those below and above 0 are as many."""
    import torch

    from multibox.model.quantized import Scale

    low, high = (node.input_value(i).get_node().get_data().flatten().astype(np.float64) for i in (1, 2))
    assert node.get_attributes()["levels"] == 256, node.get_friendly_name()
    steps = (high - low) / 255
    zeros = np.round(-low / steps).astype(np.int32)
    step = torch.from_numpy(steps.astype(np.float32))
    factor = _factor(node)
    if (zeros == 0).all():
        return Scale(step, 0, 255, factor=factor)
    if (zeros == 128).all():
        return Scale(step, -128, 127, factor=factor)
    return Scale(step, 0, 255, torch.from_numpy(zeros), factor)


def _factor(rounding: Any) -> Tensor | None:
    """What `smooth` multiplies the channels by that a FakeQuantize rounds, or None."""
    import torch

    node = rounding.input_value(0).get_node()
    if node.get_friendly_name().rpartition("/")[2] != SMOOTHED:
        return None
    return torch.from_numpy(node.input_value(1).get_node().get_data().flatten().copy())


def _integers_and_scale(convolution: Any) -> tuple[Tensor, Scale]:
    """The weights of a convolution as whole numbers, and their scale."""
    import torch

    from multibox.model.quantized import Scale

    stored = stored_weights(convolution)
    assert stored is not None, convolution.get_friendly_name()
    integers, steps = stored
    values = torch.from_numpy(constant(integers.input_value(0)).astype(np.float32))
    smoothed = _factor(convolution.input_value(0).get_node())
    factor = None if smoothed is None else 1 / smoothed
    return values, Scale(torch.from_numpy(steps.flatten().astype(np.float32)), -127, 127, factor=factor)


def _weights(integers: Tensor, scale: Scale, *, near: Tensor | None) -> Tensor:
    """Weights (O, I, k, k) that are rounded to these integers: those nearest to `near`, or whole multiples of the step.

    Training goes on from them. Were all of them whole multiples, each would have half a step to go before anything
    changes: they go on together without a sign that it is enough, and then change all at once.
    """
    step = scale.step.reshape(-1, 1, 1, 1)
    factor = 1 if scale.factor is None else scale.factor.reshape(1, -1, 1, 1)
    if near is not None:
        integers = (near.detach() * factor / step).clamp(integers - INSIDE, integers + INSIDE)
    return integers * step / factor


def _convolution(model: Any, name: str) -> tuple[Any, FloatArray]:
    """The node of a module, and the bias that is added to what it gives."""
    for node in model.get_ops():
        if node.get_type_name() in CONVOLUTIONS and node.get_friendly_name().startswith(f"{name}/"):
            (consumer,) = node.output(0).get_target_inputs()
            add = consumer.get_node()
            assert add.get_type_name() == "Add", add.get_type_name()
            return node, add.input_value(1).get_node().get_data()
    raise AssertionError(name)
