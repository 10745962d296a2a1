"""What rounding adds to values on average, and biases that take it away again.

Rounding a value adds nothing on average only where values are spread over many steps. Where most of an image is one
colour, as paper or a sky is, most values of a channel are one number, and all of them are rounded the same way: the
convolution that reads them gives another mean, everywhere.

Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019, section 4.2, with
errors that are measured on images, not computed from weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from multibox.compress.layer_inputs import DEPTHWISE, Float64s, bias_of, constant, replace_constant
from multibox.compress.rounding import stored_weights
from multibox.openvino_graph import values_at
from multibox.structures import FloatArray

PASSED_ON = {"Interpolate", "MaxPool"}
"""Operations behind which the mean of each channel's error is about the one before."""


def correct_means(quantised: Any, images: Iterable[FloatArray]) -> None:
    """Take from the biases of a quantised graph, in place, what the rounding of each convolution's input adds to it.

    The means are over all places of these images, as the graph takes them.
    """
    errors = _mean_errors(quantised, images)
    for node in quantised.get_ordered_ops():
        stored = stored_weights(node)
        bias = bias_of(node) if stored is not None else None
        if stored is None or bias is None:
            continue
        integers, steps = stored
        values = constant(integers.input_value(0)).astype(np.float64)
        outputs = values.shape[0]
        # Over the window: what all of its values have in common.
        by_channel = (values * steps).reshape(outputs, -1, values.shape[-2] * values.shape[-1]).sum(axis=2)
        of_input = _error_at(node.input_value(0), errors)
        is_depthwise = node.get_type_name() == DEPTHWISE
        added = by_channel[:, 0] * of_input if is_depthwise else by_channel @ of_input
        corrected = constant(bias.input_value(1)) - added.reshape(1, -1, 1, 1)
        replace_constant(bias, 1, corrected.astype(np.float32))
    quantised.validate_nodes_and_infer_types()


def _mean_errors(quantised: Any, images: Iterable[FloatArray]) -> Mapping[str, Float64s]:
    """The mean difference (C,) that each rounding of values makes, by the names of their nodes."""
    import openvino

    copy = quantised.clone()
    opset = openvino.opset13
    names, means = [], []
    for node in copy.get_ordered_ops():
        if node.get_type_name() == "FakeQuantize" and len(node.output(0).get_partial_shape()) == 4:
            difference = opset.subtract(node.output(0), node.input_value(0))
            mean = opset.reduce_mean(difference, opset.constant(np.array([0, 2, 3])), keep_dims=False)
            names.append(node.get_friendly_name())
            means.append(mean.output(0))
    sums: dict[str, Any] = dict.fromkeys(names, 0.0)
    count = 0
    for answers in values_at(means, copy.get_parameters(), images):
        count += 1
        for name, answer in zip(names, answers, strict=True):
            sums[name] = sums[name] + answer.astype(np.float64)
    return {name: total / count for name, total in sums.items()}


def _error_at(output: Any, errors: Mapping[str, Float64s]) -> Float64s:
    """The mean error (C,) of a value, by the roundings that it comes from directly."""
    node = output.get_node()
    kind, name = node.get_type_name(), node.get_friendly_name()
    if kind == "FakeQuantize" and name in errors:
        return errors[name]
    if kind == "Concat" and node.get_attributes()["axis"] in (1, -3):
        return np.concatenate([_error_at(part, errors) for part in node.input_values()])
    if kind in PASSED_ON:
        return _error_at(node.input_value(0), errors)
    return np.zeros(output.get_partial_shape()[1].get_length())
