"""Biases take away what rounding adds on average, and ranges of the first layer fit what most of an image is."""

from __future__ import annotations

import numpy as np
import openvino
import pytest

from multibox.compress.first_values import best_range, fit_first_values
from multibox.compress.means import correct_means

ops = openvino.opset13


def rounded(value, low, high):
    """A node that rounds a value to 256 numbers, each channel in a range of its own."""
    low, high = (np.float32(end).reshape(1, -1, 1, 1) for end in (low, high))
    return ops.fake_quantize(value, low, high, low, high, 256)


def convolution(value, integers, steps, bias, *, is_depthwise=False):
    """A convolution with weights as a compressed graph has them, and its bias."""
    integers, steps = np.int8(integers), np.float32(steps)
    weights = ops.multiply(ops.convert(ops.constant(integers), "f32"), ops.constant(steps))
    kind = ops.group_convolution if is_depthwise else ops.convolution
    result = kind(value, weights, [1, 1], [0, 0], [0, 0], [1, 1])
    return ops.add(result, ops.constant(np.float32(bias).reshape(1, -1, 1, 1)))


def answer(graph, image):
    return openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(image)[0]


IMAGE = np.float32([0.3, 1.45]).reshape(1, 2, 1, 1) * np.ones((1, 2, 4, 4), np.float32)
"""Of one colour: every value of a channel is rounded the same way."""

STEPS_1_AND_2 = ([0.0, 0.0], [255.0, 510.0])


def test_an_image_of_one_colour_gives_what_it_gave_before_its_values_were_rounded():
    image = ops.parameter([1, 2, 4, 4], np.float32)
    # 0.3 and 1.45 become 0 and 2; the weights are 3 x 0.1 and -1 x 0.1, then 2 x 0.5 and 0.
    weights = np.array([[3, -1], [2, 0]]).reshape(2, 2, 1, 1)
    node = convolution(rounded(image, *STEPS_1_AND_2), weights, np.reshape([0.1, 0.5], (2, 1, 1, 1)), [10, 20])
    graph = openvino.Model([node], [image], "graph")
    assert answer(graph, IMAGE)[0, :, 0, 0] == pytest.approx([10 - 0.2, 20], abs=1e-5)

    correct_means(graph, [IMAGE])

    assert answer(graph, IMAGE)[0, :, 0, 0] == pytest.approx([10 + 0.09 - 0.145, 20 + 0.3], abs=1e-5)


def test_a_depthwise_convolution_has_the_error_of_each_channel_alone():
    image = ops.parameter([1, 2, 4, 4], np.float32)
    weights = np.ones((2, 1, 1, 3, 3)) * np.reshape([1, 2], (2, 1, 1, 1, 1))
    steps = np.full((2, 1, 1, 1, 1), 0.1)
    node = convolution(rounded(image, *STEPS_1_AND_2), weights, steps, [0, 0], is_depthwise=True)
    graph = openvino.Model([node], [image], "graph")

    correct_means(graph, [IMAGE])

    assert answer(graph, IMAGE)[0, :, 0, 0] == pytest.approx([9 * 0.1 * 0.3, 9 * 0.2 * 1.45], abs=1e-5)


def test_errors_pass_through_what_joins_and_what_takes_the_largest():
    image = ops.parameter([1, 2, 4, 4], np.float32)
    first, second = rounded(image, *STEPS_1_AND_2), rounded(image, [0.0, 0.0], [255.0, 255.0])
    largest = ops.max_pool(first, [1, 1], [1, 1], [1, 1], [1, 1], [3, 3]).output(0)
    joined = ops.concat([largest, second.output(0), image.output(0)], 1)
    # The last two channels are not rounded.
    weights = np.array([[1, 2, 3, 4, 5, 6]]).reshape(1, 6, 1, 1)
    node = convolution(joined, weights, np.full((1, 1, 1, 1), 1.0), [0])
    graph = openvino.Model([node], [image], "graph")

    correct_means(graph, [IMAGE])

    exact = 0.3 * (1 + 3 + 5) + 1.45 * (2 + 4 + 6)
    assert answer(graph, IMAGE)[0, 0, 1, 1] == pytest.approx(exact, abs=1e-4)


def test_the_mean_is_over_all_images():
    image = ops.parameter([1, 2, 4, 4], np.float32)
    node = convolution(rounded(image, *STEPS_1_AND_2), [[[[1]], [[0]]]], np.ones((1, 1, 1, 1)), [0])
    graph = openvino.Model([node], [image], "graph")

    # 0.3 loses 0.3, 0.9 gains 0.1: 0.1 is lost on average.
    correct_means(graph, [IMAGE, 3 * IMAGE])

    assert answer(graph, IMAGE)[0, 0, 0, 0] == pytest.approx(0.1, abs=1e-5)


def test_a_range_is_chosen_in_which_the_most_frequent_value_is_nearly_exact():
    rng = np.random.default_rng(0)
    values = np.concatenate([np.full(90000, 0.37), rng.uniform(-0.2, 5, 1000)]).astype(np.float32)
    low, high = best_range(values, -0.2, 20)
    step = (high - low) / 255
    assert abs(0.37 / step - round(0.37 / step)) < 0.1
    # Ends of the first range are not such that 0.37 is.
    assert abs(0.37 / (20.2 / 255) - round(0.37 / (20.2 / 255))) > 0.3


@pytest.mark.parametrize("seed", range(5))
def test_no_range_that_was_tried_leaves_less_error_and_0_is_exact(seed):
    rng = np.random.default_rng(seed)
    values = (rng.gamma(0.5, 3.0, 3000) - 0.27).astype(np.float32)
    low, high = best_range(values, float(values.min()), float(values.max()))

    def error(low, high):
        step = (high - low) / 255
        zero = round(-low / step)
        return float(((np.clip(np.round(values / step) + zero, 0, 255) - zero) * step - values).__pow__(2).mean())

    assert error(low, high) <= error(float(values.min()), float(values.max())) * (1 + 1e-6)
    assert low / ((high - low) / 255) == pytest.approx(round(low / ((high - low) / 255)), abs=1e-6)


def test_a_channel_that_is_always_0_keeps_its_range():
    assert best_range(np.zeros(100, np.float32), 0.0, 0.0) == (0.0, 0.0)


def test_only_the_first_layers_values_get_other_ranges():
    image = ops.parameter([1, 2, 4, 4], np.float32)
    first = rounded(ops.swish(rounded(image, [0.0, 0.0], [255.0, 255.0])), [-0.3, -0.3], [100.0, 200.0])
    second = rounded(ops.swish(first), [-0.3, -0.3], [100.0, 200.0])
    first.set_friendly_name("first")
    second.set_friendly_name("second")
    graph = openvino.Model([second], [image], "graph")
    ranges = {node.get_friendly_name(): node.input_value(2).get_node().get_data().copy() for node in (first, second)}
    images = [np.random.default_rng(seed).uniform(0, 3, (1, 2, 4, 4)).astype(np.float32) for seed in range(4)]

    fit_first_values(graph, images)

    after = {
        node.get_friendly_name(): node.input_value(2).get_node().get_data()
        for node in graph.get_ops()
        if node.get_friendly_name() in ranges
    }
    assert (after["first"] < ranges["first"]).all()
    assert (after["second"] == ranges["second"]).all()
