"""What goes into each convolution of an OpenVINO graph: means, how values vary together, and the largest ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multibox.openvino_graph import values_at
from multibox.structures import FloatArray

ORDINARY, DEPTHWISE = "Convolution", "GroupConvolution"
CONVOLUTIONS = {ORDINARY, DEPTHWISE}

PLACES = 64
"""Number of places in each image at which the inputs of a convolution are looked at."""

Float64s = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LayerInputs:
    """What a convolution reads to compute one output value: K values for each of G groups (G is 1 but for depthwise).

    `mean` (G, K) and `covariance` (G, K, K) are over places and images; `low` and `high` (C,) the smallest and the
    largest value of each channel anywhere.
    """

    mean: Float64s
    covariance: Float64s
    low: Float64s
    high: Float64s

    def times(self, factor: Float64s) -> LayerInputs:
        """The inputs with each channel multiplied by its factor (C,), of an ordinary convolution."""
        by_value = np.repeat(factor, self.mean.shape[1] // len(factor))
        covariance = self.covariance * by_value[:, None] * by_value
        return LayerInputs(self.mean * by_value, covariance, self.low * factor, self.high * factor)


def convolutions(graph: Any) -> dict[str, Any]:
    """The convolutions of an `openvino.Model` whose weights and bias are constants, by their names."""
    return {
        node.get_friendly_name(): node
        for node in graph.get_ordered_ops()
        if node.get_type_name() in CONVOLUTIONS and constant(node.input_value(1)) is not None and bias_of(node)
    }


def weights_of(convolution: Any) -> Float64s:
    """The weights (G, O, K) of one of the `convolutions` for its G groups."""
    values = constant(convolution.input_value(1))
    groups = values.shape[0] if convolution.get_type_name() == DEPTHWISE else 1
    weights: Float64s = values.astype(np.float64)
    return weights.reshape(groups, values.shape[values.ndim - 4], -1)


def bias_of(convolution: Any) -> Any:
    """The node that alone adds a constant to what a convolution gives, or None."""
    adds = [target.get_node() for target in convolution.output(0).get_target_inputs()]
    is_bias = len(adds) == 1 and adds[0].get_type_name() == "Add" and constant(adds[0].input_value(1)) is not None
    return adds[0] if is_bias else None


def constant(output: Any) -> Any:
    """The array of a constant, also of one that is stored in half precision; None for anything else."""
    node = output.get_node()
    if node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    return node.get_data() if node.get_type_name() == "Constant" else None


def replace_constant(node: Any, position: int, values: NDArray[Any]) -> None:
    """Give a node other values to read at an input, in place."""
    import openvino

    new = openvino.opset13.constant(np.ascontiguousarray(values))
    node.input(position).replace_source_output(new.output(0))


def measure_inputs(graph: Any, images: Iterable[FloatArray]) -> Mapping[str, LayerInputs]:
    """The inputs of all `convolutions` of a graph on these images, each as the graph takes it.

    Equal images give equal results: the places are drawn from a fixed seed.
    """
    copy = graph.clone()
    found = convolutions(copy)
    sums = [_Sums(node) for node in found.values()]
    rng = np.random.default_rng(0)
    for answers in values_at([node.input_value(0) for node in found.values()], copy.get_parameters(), images):
        for of_layer, answer in zip(sums, answers, strict=True):
            for values in answer:
                of_layer.add(values, rng)
    return {name: of_layer.result() for name, of_layer in zip(found, sums, strict=True)}


class _Sums:
    """Sums over places and images of what a convolution reads."""

    def __init__(self, convolution: Any) -> None:
        *_, self._side, _ = convolution.input_value(1).get_shape()
        self._stride = convolution.get_strides()[0]
        self._padding = convolution.get_pads_begin()[0]
        self._is_depthwise = convolution.get_type_name() == DEPTHWISE
        self._count = 0
        self._sum: Any = 0
        self._products: Any = 0
        self._low: Any = np.inf
        self._high: Any = -np.inf

    def add(self, values: FloatArray, rng: np.random.Generator) -> None:
        """Take in the input (C, H, W) of one image."""
        self._low = np.minimum(self._low, values.min(axis=(1, 2)))
        self._high = np.maximum(self._high, values.max(axis=(1, 2)))
        read = self._drawn(values, rng).astype(np.float64)
        self._count += len(read)
        self._sum += read.sum(axis=0)
        self._products += read.transpose(1, 2, 0) @ read.transpose(1, 0, 2)

    def result(self) -> LayerInputs:
        """Means and covariances of all that was taken in."""
        mean = self._sum / self._count
        covariance = self._products / self._count - mean[:, :, None] * mean[:, None, :]
        return LayerInputs(mean, covariance, self._low.astype(np.float64), self._high.astype(np.float64))

    def _drawn(self, values: FloatArray, rng: np.random.Generator) -> FloatArray:
        """What is read at some places: (PLACES, G, K)."""
        padded = np.pad(values, ((0, 0), *[(self._padding, self._padding)] * 2))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (self._side, self._side), axis=(1, 2))
        windows = windows[:, :: self._stride, :: self._stride]
        rows, columns = (rng.integers(0, count, PLACES) for count in windows.shape[1:3])
        read: FloatArray = windows[:, rows, columns].transpose(1, 0, 2, 3)
        return read.reshape(PLACES, len(values) if self._is_depthwise else 1, -1)
