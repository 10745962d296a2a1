"""The steps in which what the first layer gives is rounded, chosen where most of an image is of one or two colours.

A drawing has two colours, and nearly all of what the first layer makes of it are two numbers for each channel, beside
large ones at edges. Steps that end at the largest value put these two where they happen to fall: on drawings of boards,
it was the larger part of what 8 bits cost. Deeper layers see more of the image, and gained nothing.

Source of the criterion: Banner et al., "Post training 4-bit quantization of convolutional networks for
rapid-deployment", 2019, section 3, here by trying steps on measured values.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from multibox.compress.layer_inputs import replace_constant
from multibox.openvino_graph import values_at
from multibox.structures import FloatArray

SMALLEST_SHARE, TRIES = 0.4, 201
"""Of the largest value: how much of it the range keeps at least, and how many ranges from there on are tried."""

PLACES = 400
"""Number of places in each image whose values decide."""

LEVELS = 255


def fit_first_values(quantised: Any, images: Iterable[FloatArray]) -> None:
    """Give the channels of the first layer the ranges that leave least squared error, in place.

    Only if each channel has a range of its own. The smallest value stays in the range. Equal images give equal results.
    """
    node = _first_rounding(quantised)
    if node is None:
        return
    low, high = (node.input_value(position).get_node().get_data() for position in (1, 2))
    if low.size == 1:
        return
    values = _values(quantised, node.get_friendly_name(), images)
    ranges = np.array(
        [best_range(*of_channel) for of_channel in zip(values, low.flatten(), high.flatten(), strict=True)]
    )
    for position, column in ((1, 0), (2, 1), (3, 0), (4, 1)):
        replace_constant(node, position, ranges[:, column].reshape(low.shape).astype(np.float32))
    quantised.validate_nodes_and_infer_types()


def best_range(values: FloatArray, low: float, high: float) -> tuple[float, float]:
    """The range, from `low` to `high` or narrower, in which 256 numbers with 0 among them leave least squared error.

    `values` (N,) are to be rounded; those above the range become its end. A range of one number stays as it is.
    """
    if high <= low:
        return low, high
    steps = (high - low) / LEVELS * np.linspace(1, SMALLEST_SHARE, TRIES)
    zeros = np.clip(np.round(-low / steps), 0, LEVELS)
    errors = [_squared_error(values, step, zero) for step, zero in zip(steps, zeros, strict=True)]
    best = int(np.argmin(errors))
    return -zeros[best] * steps[best], (LEVELS - zeros[best]) * steps[best]


def _squared_error(values: FloatArray, step: float, zero: float) -> float:
    rounded = (np.clip(np.round(values / step), -zero, LEVELS - zero)) * step
    return float(((rounded - values) ** 2).mean(dtype=np.float64))


def _first_rounding(quantised: Any) -> Any:
    """The node that rounds what the first layer gives, or None."""
    for node in quantised.get_ordered_ops():
        if node.get_type_name() == "FakeQuantize" and node.input_value(0).get_node().get_type_name() == "Swish":
            return node
    return None


def _values(quantised: Any, name: str, images: Iterable[FloatArray]) -> FloatArray:
    """Values (C, N) that the node of this name rounds, at random places of each image."""
    copy = quantised.clone()
    (node,) = (node for node in copy.get_ops() if node.get_friendly_name() == name)
    rng = np.random.default_rng(0)
    drawn = []
    for (answer,) in values_at([node.input_value(0)], copy.get_parameters(), images):
        for of_image in answer:
            flat = of_image.reshape(len(of_image), -1)
            drawn.append(flat[:, rng.integers(0, flat.shape[1], PLACES)])
    values: FloatArray = np.concatenate(drawn, axis=1)
    return values
