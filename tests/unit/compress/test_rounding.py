"""Weights are rounded so that outputs change least, channels are evened out so that one step fits all."""

from __future__ import annotations

from itertools import product

import numpy as np
import openvino
import pytest

from multibox.compress.layer_inputs import LayerInputs, bias_of, convolutions, measure_inputs, weights_of
from multibox.compress.rounding import INDEPENDENT, best_integers
from multibox.compress.smoothing import SMOOTHED, best_factor, smooth

ops = openvino.opset13


def inputs_of(values):
    """Of a 1x1 convolution that reads the columns of `values` (C, N)."""
    return LayerInputs(values.mean(1)[None], np.cov(values, bias=True)[None], values.min(axis=1), values.max(axis=1))


def error(weights, integers, steps, covariance):
    off = integers * steps[..., None] - weights
    return float(np.einsum("gok,gkl,gol->", off, covariance, off))


def test_errors_of_neighbours_cancel_out():
    # Three inputs that are always equal: 0.4 three times is 1.2, which the nearest integers would make 0.
    weights = np.array([[[0.4, 0.4, 0.4, 3.0]]])
    together = np.zeros((1, 4, 4))
    together[0, :3, :3] = 1
    together[0, 3, 3] = 1
    found = best_integers(weights, weights.round(), np.ones((1, 1)), together)
    assert found[0, 0, :3].sum() == 1 and found[0, 0, 3] == 3


def test_inputs_that_vary_alone_get_the_nearest_integers():
    weights = np.random.default_rng(0).uniform(-9, 9, (2, 3, 5))
    alone = np.stack([np.eye(5), 4 * np.eye(5)])
    found = best_integers(weights, weights.round(), np.ones((2, 3)), alone)
    assert (found == weights.round()).all()


def test_rounding_is_near_the_best_of_all_roundings():
    rng = np.random.default_rng(1)
    weights = rng.uniform(-3, 3, (1, 4, 5))
    values = rng.normal(size=(5, 2)) @ rng.normal(size=(2, 50)) + 0.2 * rng.normal(size=(5, 50))
    covariance = np.cov(values, bias=True)[None]
    steps = np.ones((1, 4))
    found = best_integers(weights, weights.round(), steps, covariance)
    covariance = covariance + INDEPENDENT * np.trace(covariance[0]) / 5 * np.eye(5)
    for row in range(4):
        of_row = weights[:, row : row + 1]
        up_or_down = [np.floor(of_row) + np.array(ups) for ups in product((0, 1), repeat=5)]
        best = min(error(of_row, one, steps[:, :1], covariance) for one in up_or_down)
        nearest = error(of_row, of_row.round(), steps[:, :1], covariance)
        reached = error(of_row, found[:, row : row + 1], steps[:, :1], covariance)
        assert reached <= nearest and reached <= best + 0.5 * (nearest - best) + 1e-9


def test_no_integer_gets_larger_than_the_largest():
    rng = np.random.default_rng(2)
    weights = rng.normal(size=(1, 8, 6))
    steps = np.abs(weights).max(axis=2) / 127
    covariance = np.ones((1, 6, 6)) + 0.01 * np.eye(6)
    start = (weights / steps[..., None]).round()
    found = best_integers(weights, start, steps, covariance)
    assert np.abs(found).max() <= 127 and not (found == start).all()


def test_one_large_channel_is_made_smaller_and_small_ones_larger():
    values = np.random.default_rng(3).normal(size=(4, 500)) * np.array([[40], [1], [1], [0.1]])
    factor = best_factor(inputs_of(values), np.random.default_rng(4).normal(size=(8, 4)))
    assert factor is not None and factor[0] < factor[1] < factor[3]
    largest = np.abs(values).max(axis=1)
    assert (factor * largest).max() == pytest.approx(largest.max())


def test_channels_of_one_size_stay_as_they_are():
    values = np.random.default_rng(5).uniform(-1, 1, size=(4, 2000))
    assert best_factor(inputs_of(values), np.random.default_rng(6).uniform(-1, 1, size=(8, 4))) is None


def test_channels_without_any_value_have_a_factor_too():
    values = np.random.default_rng(7).normal(size=(4, 200)) * np.array([[40], [1], [1], [0]])
    factor = best_factor(inputs_of(values), np.random.default_rng(8).normal(size=(8, 4)) * np.array([1, 0, 1, 1]))
    assert factor is not None and np.isfinite(factor).all() and (factor > 0).all()


@pytest.fixture
def graph():
    """A 3x3 convolution of stride 2, SiLU, a depthwise and two 1x1 convolutions, all with a bias."""
    rng = np.random.default_rng(9)

    def convolve(x, weights, name, stride=1):
        side, is_depthwise = weights.shape[-1], weights.ndim == 5
        kind = ops.group_convolution if is_depthwise else ops.convolution
        node = kind(x, ops.constant(weights.astype(np.float32)), [stride] * 2, [side // 2] * 2, [side // 2] * 2, [1, 1])
        node.set_friendly_name(f"{name}/node")
        bias = rng.normal(size=(1, weights.shape[0], 1, 1)).astype(np.float32)
        return ops.add(node, ops.constant(bias))

    image = ops.parameter([1, 3, 12, 12], np.float32)
    large = np.array([30, 1, 1, 0.1]).reshape(-1, 1, 1, 1)
    x = ops.swish(convolve(image, rng.normal(size=(4, 3, 3, 3)) * large, "first", stride=2))
    x = ops.swish(convolve(x, rng.normal(size=(4, 1, 1, 3, 3)), "depthwise"))
    x.set_friendly_name("depthwise.activ/node")
    ends = [convolve(x, rng.normal(size=(2, 4, 1, 1)), name) for name in ("boxes", "objects")]
    return openvino.Model([ops.result(end) for end in ends], [image], "small")


@pytest.fixture
def images():
    return list(np.random.default_rng(10).normal(size=(6, 1, 3, 12, 12)).astype(np.float32))


def run(model, image):
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return [np.array(value) for value in compiled(image).values()]


def test_what_a_convolution_reads_gives_its_outputs(graph, images):
    measured = measure_inputs(graph, images)
    assert set(measured) == {"first/node", "depthwise/node", "boxes/node", "objects/node"}
    shapes = {name: inputs.covariance.shape for name, inputs in measured.items()}
    assert shapes == {"first/node": (1, 27, 27), "depthwise/node": (4, 9, 9)} | dict.fromkeys(
        ("boxes/node", "objects/node"), (1, 4, 4)
    )
    boxes = convolutions(graph)["boxes/node"]
    bias = bias_of(boxes).input_value(1).get_node().get_data().flatten()
    mean = (weights_of(boxes)[0] @ measured["boxes/node"].mean[0]) + bias
    expected = np.mean([run(graph, image)[0].mean(axis=(0, 2, 3)) for image in images], axis=0)
    spread = np.std([run(graph, image)[0] for image in images])
    assert mean == pytest.approx(expected, abs=float(0.2 * spread))


def test_smoothing_changes_nothing_but_sizes(graph, images):
    before = run(graph, images[0])
    measured = measure_inputs(graph, images)
    after = smooth(graph, measured)
    (smoothed,) = (node for node in graph.get_ops() if node.get_friendly_name().endswith(f"/{SMOOTHED}"))
    assert smoothed.get_friendly_name() == f"depthwise.activ/{SMOOTHED}"
    for found, expected in zip(run(graph, images[0]), before, strict=True):
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-4)
    # What is known of the inputs afterwards is what would be measured.
    for name, inputs in measure_inputs(graph, images).items():
        assert inputs.covariance == pytest.approx(after[name].covariance, rel=1e-4, abs=1e-6)
        assert inputs.high == pytest.approx(after[name].high, rel=1e-4)
