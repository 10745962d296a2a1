"""Channels of very different size get one size before they are rounded with one step, and weights make up for it.

An ordinary convolution in 8 bits reads all channels with one step: one large channel leaves few integers to the others.
Multiplied by a factor for each channel, with weights divided by it, a network computes the same and rounds less. The
multiplication is part of the rounding in the kernel before it, so it costs no time.

Source: Xiao et al., "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language Models", 2022;
how far to go is chosen here for each place by the error that both roundings leave.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from multibox.compress.layer_inputs import ORDINARY, Float64s, LayerInputs, constant, replace_constant, weights_of

SMOOTHED = "smoothed"
"""Last part of the name of a node that multiplies by factors."""

STRENGTHS = (0.25, 0.5, 0.75, 0.9)
"""How far the size of a channel's values is evened out, as an exponent; the rest evens out the size of its weights."""

MIN_GAIN = 0.1
"""Share of the error that must go, else the values stay as they are."""

SMALLEST = 1e-3
"""Share of the largest channel's size that every channel counts as at least: other images may have more in it."""


def smooth(graph: Any, inputs: Mapping[str, LayerInputs]) -> dict[str, LayerInputs]:
    """Even out, in place, what only ordinary convolutions read of a SiLU; the inputs of all convolutions after that.

    `inputs` are those of the graph as it is.
    """
    changed = dict(inputs)
    for activation, readers in _places(graph, inputs):
        names = [reader.get_friendly_name() for reader in readers]
        weights = [constant(reader.input_value(1)) for reader in readers]
        factor = best_factor(inputs[names[0]], np.concatenate([weights_of(reader)[0] for reader in readers]))
        if factor is None:
            continue
        _multiply(activation, factor)
        for reader, name, given in zip(readers, names, weights, strict=True):
            replace_constant(reader, 1, (given / factor[:, None, None]).astype(np.float32))
            changed[name] = inputs[name].times(factor)
    graph.validate_nodes_and_infer_types()
    return changed


def best_factor(inputs: LayerInputs, weights: Float64s) -> Float64s | None:
    """The factor (C,) of each channel that leaves least error with weights (O, K); None if none gains enough.

    The largest value stays as large as it is.
    """
    channels = len(inputs.high)
    size = _not_too_small(np.maximum(inputs.high, -inputs.low))
    of_weights = _not_too_small(np.abs(weights).reshape(len(weights), channels, -1).max(axis=(0, 2)))
    best, least = None, (1 - MIN_GAIN) * _error(inputs, weights)
    for strength in STRENGTHS:
        factor = size**-strength * of_weights ** (1 - strength)
        factor *= size.max() / (factor * size).max()
        by_value = np.repeat(factor, weights.shape[1] // channels)
        error = _error(inputs.times(factor), weights / by_value)
        if error < least:
            best, least = factor, error
    return best


def _error(inputs: LayerInputs, weights: Float64s) -> float:
    """The mean square error of outputs when values get 256 integers, and the weights of an output 255."""
    step = (inputs.high.max() - inputs.low.min()) / 255
    of_values = float(step**2 / 12 * (weights**2).sum())
    steps = np.abs(weights).max(axis=1, keepdims=True).clip(np.finfo(np.float32).tiny) / 127
    off = np.round(weights / steps) * steps - weights
    return (of_values + float(((off @ inputs.covariance[0]) * off).sum())) / len(weights)


def _not_too_small(sizes: Float64s) -> Float64s:
    floor: float = SMALLEST * sizes.max()
    return sizes.clip(max(floor, float(np.finfo(np.float32).tiny)))


def _places(graph: Any, inputs: Mapping[str, LayerInputs]) -> Iterator[tuple[Any, list[Any]]]:
    """Each SiLU that only ordinary convolutions read whose inputs are known, and those."""
    for node in graph.get_ordered_ops():
        if node.get_type_name() == "Swish":
            readers = [target.get_node() for target in node.output(0).get_target_inputs()]
            readers.sort(key=lambda reader: reader.get_friendly_name())
            kinds = {reader.get_type_name() for reader in readers}
            if kinds == {ORDINARY} and all(reader.get_friendly_name() in inputs for reader in readers):
                yield node, readers


def _multiply(activation: Any, factor: Float64s) -> None:
    import openvino

    targets = list(activation.output(0).get_target_inputs())
    by = openvino.opset13.constant(factor.reshape(1, -1, 1, 1).astype(np.float32))
    smoothed = openvino.opset13.multiply(activation.output(0), by)
    module = activation.get_friendly_name().split("/")[0]
    smoothed.set_friendly_name(f"{module}/{SMOOTHED}")
    for target in targets:
        target.replace_source_output(smoothed.output(0))
