"""The layers of a network as OpenVINO nodes. Each node's name begins with that of its module and a slash."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from multibox.model.depthwise import DepthwiseConv2d
from multibox.model.detector import Detector
from multibox.model.layer_writer import LayerWriter
from multibox.model.layers import flatten_level
from multibox.model.quantized import QuantizedConv2d, Quantizer
from multibox.model.ssd import SSD
from multibox.model.yolox import YOLOX
from multibox.structures import RawOutput


def build_layers(network: nn.Module, image: Any) -> Any:
    """What `network` gives for the images, as OpenVINO nodes: of a detector the `RawOutput` of its deltas and logits.

    `network`, or some of its first stages, is folded; it may be quantised. `image` is the OpenVINO node of the images
    (N, 3, S, S), or a value made of it.
    """
    return LayerWriter(network, _Names(), layers=LAYERS, functions=FUNCTIONS).run(image)


def build_scores(network: Detector, logits: Any) -> Any:
    """The OpenVINO node of the scores (N, A, K + 1) that a detector makes of its logits."""
    return SCORES[type(network)](logits)


class _Names:
    """Gives each node a name of its own that begins with that of its module: "backbone.stem.conv/Convolution"."""

    def __init__(self) -> None:
        self._given: Counter[str] = Counter()

    def name(self, node: Any, module: str) -> Any:
        """The node, named after its module and its kind."""
        name = f"{module}/{node.get_type_name()}"
        number = self._given[name]
        self._given[name] += 1
        node.set_friendly_name(f"{name}_{number}" if number else name)
        return node


def _convolution(names: _Names, name: str, layer: nn.Conv2d, x: Any) -> Any:
    from openvino import opset13 as ops

    weight = ops.constant(_by_group(layer, layer.weight.detach()).cpu().numpy())
    return _convolve(names, name, layer, x, weight)


def _quantized_convolution(names: _Names, name: str, layer: QuantizedConv2d, x: Any) -> Any:
    """Weights as whole numbers of one byte, with their steps beside them, as NNCF leaves such a layer too."""
    from openvino import opset13 as ops

    steps = layer.quantizer.step.reshape(-1, 1, 1, 1)
    with torch.no_grad():
        integers = (layer.quantizer(layer.weight) / steps).round().to(torch.int8)
    steps = steps.expand(len(integers), 1, 1, 1)
    converted = ops.convert(ops.constant(integers.cpu().numpy()), "f32")
    weight = names.name(ops.multiply(converted, ops.constant(steps.cpu().numpy())), f"{name}.weight")
    if layer.groups > 1:
        shape = list(_by_group(layer, layer.weight).shape)
        weight = ops.reshape(weight, ops.constant(np.array(shape, dtype=np.int64)), special_zero=False)
    return _convolve(names, name, layer, x, weight)


def _by_group(layer: nn.Conv2d, weight: Tensor) -> Tensor:
    """(O, I, k, k) as it is, or (G, O / G, I, k, k) if there are several groups."""
    return weight if layer.groups == 1 else weight.reshape(layer.groups, -1, *weight.shape[1:])


def _convolve(names: _Names, name: str, layer: nn.Conv2d, x: Any, weight: Any) -> Any:
    from openvino import opset13 as ops

    assert isinstance(layer.padding, tuple) and layer.padding_mode == "zeros", f"{name}: padding {layer.padding}"
    convolve = ops.convolution if layer.groups == 1 else ops.group_convolution
    y = names.name(
        convolve(x, weight, list(layer.stride), list(layer.padding), list(layer.padding), list(layer.dilation)), name
    )
    if layer.bias is None:
        return y
    return names.name(ops.add(y, ops.constant(layer.bias.detach().reshape(1, -1, 1, 1).cpu().numpy())), name)


def _quantizer(names: _Names, name: str, layer: Quantizer, x: Any) -> Any:
    from openvino import opset13 as ops

    if layer.factor is not None:
        x = names.name(ops.multiply(x, ops.constant(layer.factor.cpu().numpy())), name)
    shape = [1] * 4
    shape[layer.axis] = len(layer.step)
    low, high = (
        ops.constant(((limit - layer.zero) * layer.step).reshape(shape).cpu().numpy())
        for limit in (layer.low, layer.high)
    )
    return names.name(ops.fake_quantize(x, low, high, low, high, layer.high - layer.low + 1), name)


def _max_pool(names: _Names, name: str, layer: nn.MaxPool2d, x: Any) -> Any:
    from openvino import opset8 as ops

    side, stride, padding = layer.kernel_size, layer.stride, layer.padding
    assert isinstance(side, int) and isinstance(stride, int) and isinstance(padding, int), f"{name}: {layer}"
    pooled = ops.max_pool(x, [stride] * 2, [1, 1], [padding] * 2, [padding] * 2, [side] * 2)
    return names.name(pooled, name).output(0)  # the second output has the places of the largest values


def _upsample(names: _Names, name: str, layer: nn.Upsample, x: Any) -> Any:
    from openvino import opset11 as ops

    assert layer.mode == "nearest" and layer.size is None, f"{name}: no node is known here for {layer}"
    factors = ops.constant(np.full(2, layer.scale_factor, dtype=np.float32))
    attributes = {
        "mode": "nearest",
        "shape_calculation_mode": "scales",
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
    }
    return names.name(
        ops.interpolate(x, factors, axes=ops.constant(np.array([2, 3], dtype=np.int64)), **attributes), name
    )


def _activation(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """The writer of a layer without weights; `function` takes OpenVINO's operators and the layer's input."""

    def write(names: _Names, name: str, __: nn.Module, x: Any) -> Any:
        from openvino import opset13

        return names.name(function(opset13, x), name)

    return write


LAYERS: dict[type[nn.Module], Callable[..., Any]] = {
    nn.Conv2d: _convolution,
    DepthwiseConv2d: _convolution,
    QuantizedConv2d: _quantized_convolution,
    Quantizer: _quantizer,
    nn.ReLU: _activation(lambda ops, x: ops.relu(x)),
    nn.ReLU6: _activation(lambda ops, x: ops.clamp(x, 0.0, 6.0)),
    nn.SiLU: _activation(lambda ops, x: ops.swish(x)),
    nn.MaxPool2d: _max_pool,
    nn.Upsample: _upsample,
    nn.Identity: lambda _, __, ___, x: x,
}


def _add(names: _Names, name: str, a: Any, b: Any) -> Any:
    from openvino import opset13 as ops

    return names.name(ops.add(a, b), name)


def _concatenate(names: _Names, name: str, values: Any, dim: int) -> Any:
    from openvino import opset13 as ops

    return names.name(ops.concat(list(values), dim), name)


def _flatten_level(names: _Names, name: str, level: Any, last: int) -> Any:
    from openvino import opset13 as ops

    rows = names.name(ops.transpose(level, ops.constant(np.array([0, 2, 3, 1], dtype=np.int64))), name)
    # In the shape, 0 means "as it is": any number of images.
    return names.name(ops.reshape(rows, ops.constant(np.array([0, -1, last], dtype=np.int64)), special_zero=True), name)


FUNCTIONS: dict[Any, Callable[..., Any]] = {
    operator.add: _add,
    torch.cat: _concatenate,
    flatten_level: _flatten_level,
    RawOutput: lambda _, __, deltas, logits: RawOutput(deltas, logits),
}


def _softmax(logits: Any) -> Any:
    from openvino import opset13 as ops

    return ops.softmax(logits, -1)


def _class_times_objectness(logits: Any) -> Any:
    from openvino import opset13 as ops

    def columns(start: int, stop: int) -> Any:
        return ops.slice(logits, *(ops.constant(np.array([number], dtype=np.int64)) for number in (start, stop, 1, 2)))

    of_classes, objectness = ops.sigmoid(columns(0, -1)), ops.sigmoid(columns(-1, np.iinfo(np.int64).max))
    rest = ops.subtract(ops.constant(np.ones((1, 1, 1), dtype=np.float32)), objectness)
    return ops.concat([ops.multiply(of_classes, objectness), rest], -1)


SCORES: dict[type[nn.Module], Callable[[Any], Any]] = {SSD: _softmax, YOLOX: _class_times_objectness}
