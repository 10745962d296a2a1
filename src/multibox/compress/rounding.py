"""Which way each weight is rounded: so that the outputs of its layer change least, not the weight itself.

The nearest integer is best for one weight alone. The errors of many add up where their inputs go up and down together,
as neighbouring pixels do, and rounding some the other way cancels that out.

Source: Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization", 2020, section 3, where it is shown
what is to be least. It is found here by going through the integers one by one, several times.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from multibox.compress.layer_inputs import (
    CONVOLUTIONS,
    Float64s,
    LayerInputs,
    bias_of,
    constant,
    convolutions,
    replace_constant,
    weights_of,
)

SWEEPS = 5
"""How often all integers of a layer are looked at; most stay after the second time."""

INDEPENDENT = 0.1
"""Share of the mean variance that is added to each input's own: inputs are rounded too, and few images show them."""


def round_weights(quantised: Any, graph: Any, inputs: Mapping[str, LayerInputs]) -> None:
    """Choose the integers of all weights in a quantised graph anew, in place, and its biases.

    `graph` is what it was made of, and `inputs` are those of that. A bias becomes what keeps the mean of each output.
    """
    exact = convolutions(graph)
    for node in quantised.get_ordered_ops():
        name = node.get_friendly_name()
        stored = stored_weights(node) if name in exact else None
        bias = bias_of(node)
        if stored is None or bias is None:
            continue
        integers, steps = stored
        weights, of_layer = weights_of(exact[name]), inputs[name]
        values = constant(integers.input_value(0))
        start = values.astype(np.float64).reshape(weights.shape)
        by_row = np.broadcast_to(steps.reshape(weights.shape[0], -1), weights.shape[:2])
        chosen = best_integers(weights, start, by_row, of_layer.covariance)
        replace_constant(integers, 0, chosen.reshape(values.shape).astype(np.int8))
        missing = weights - chosen * by_row[..., None]
        mean = (missing @ of_layer.mean[..., None]).reshape(1, -1, 1, 1)
        replace_constant(bias, 1, (constant(bias_of(exact[name]).input_value(1)) + mean).astype(np.float32))
    quantised.validate_nodes_and_infer_types()


def best_integers(weights: Float64s, start: Float64s, steps: Float64s, covariance: Float64s) -> Float64s:
    """Integers (G, O, K) near `weights` / `steps` that change outputs least, from those to start with.

    `steps` (G, O) are those of the rows, `covariance` (G, K, K) is that of the inputs of each group. No integer gets
    larger than the largest at the start.
    """
    integers, limit = start.copy(), np.abs(start).max()
    count = weights.shape[-1]
    own = INDEPENDENT * np.trace(covariance, axis1=1, axis2=2) / count
    together = covariance + (own[:, None, None] + np.finfo(np.float32).tiny) * np.eye(count)
    slope = (integers * steps[..., None] - weights) @ together  # of the error, halved, by each weight
    for _ in range(SWEEPS):
        before = integers.copy()
        for k in range(count):
            wanted = integers[..., k] - np.round(slope[..., k] / (together[:, None, k, k] * steps))
            moved = wanted.clip(-limit, limit) - integers[..., k]
            integers[..., k] += moved
            slope += (moved * steps)[..., None] * together[:, None, k]
        if (integers == before).all():
            break
    return integers


def stored_weights(convolution: Any) -> tuple[Any, Float64s] | None:
    """The node that turns the integers of a convolution's weights to numbers, and their steps.

    None if the weights are no integers, or the node is no convolution.
    """
    if convolution.get_type_name() not in CONVOLUTIONS:
        return None
    node = convolution.input_value(1).get_node()
    while node.get_type_name() == "Reshape":
        node = node.input_value(0).get_node()
    if node.get_type_name() != "Multiply":
        return None
    integers, steps = node.input_value(0).get_node(), constant(node.input_value(1))
    if integers.get_type_name() != "Convert" or steps is None:
        return None
    return integers, steps.astype(np.float64)
