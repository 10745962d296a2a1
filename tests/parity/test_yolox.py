"""YOLOX-Nano of multibox beside the public file (.onnx of YOLOX 0.1.1), on images of COCO.

The file is run by ONNX Runtime, in float32, and node by node in float64: in float32 its output is only known to 2e-4,
by which ONNX Runtime differs from itself with and without its graph optimisations.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from onnx import numpy_helper
from tools.convert_yolox_weights import load

from multibox.boxes import iou
from multibox.config import PostprocessConfig
from multibox.data.images import read_image, to_input
from multibox.model.anchors import make_anchors
from multibox.model.folding import fold
from multibox.model.postprocess import select
from multibox.model.yolox import YOLOX
from multibox.structures import Detections
from multibox.weights import bundled
from multibox.weights.coco_classes import COCO_CLASSES

SIZE = 416
STRIDES = (8, 16, 32)
SETTINGS = PostprocessConfig(score_threshold=0.01, iou_threshold=0.65, max_per_class=3549, max_detections=1000)


@pytest.fixture(scope="module")
def public_file(shared: Path) -> Path:
    return shared / "pretrained/yolox_nano_coco/yolox_nano.onnx"


@pytest.fixture(scope="module")
def squares(shared: Path) -> list[np.ndarray]:
    """Ten images, letterboxed at the top left with 114."""
    files = sorted((shared / "data/coco_val128/val").glob("*.jpg"))[:10]
    assert len(files) == 10
    return [letterboxed(read_image(file)) for file in files]


@pytest.fixture(scope="module")
def expected(public_file: Path, squares: list[np.ndarray]) -> list[np.ndarray]:
    """The public output (3549, 85) of each: centre offsets, log sizes, objectness, classes."""
    session = onnxruntime.InferenceSession(str(public_file))
    batches = [square.transpose(2, 0, 1)[None].astype(np.float32) for square in squares]
    return [session.run(None, {"images": batch})[0][0] for batch in batches]


@pytest.fixture(scope="module")
def converted(public_file: Path) -> YOLOX:
    return load(public_file)


@pytest.fixture(scope="module")
def shipped() -> YOLOX:
    network = YOLOX(num_classes=80).eval()
    network.load_state_dict(dict(bundled.read_bundled(bundled.coco_detector()).weights))
    return network


def letterboxed(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    ratio = min(SIZE / height, SIZE / width)
    part = cv2.resize(image, (int(width * ratio), int(height * ratio)), interpolation=cv2.INTER_LINEAR)
    square = np.full((SIZE, SIZE, 3), 114, dtype=np.uint8)
    square[: part.shape[0], : part.shape[1]] = part
    return square


@torch.no_grad()
def outputs(network: YOLOX, squares: list[np.ndarray]) -> Iterator[np.ndarray]:
    """What the network makes of each, in the form of the public output."""
    for square in squares:
        deltas, logits = network(torch.from_numpy(to_input([square])))
        probabilities = logits[0].sigmoid()
        yield torch.cat([deltas[0], probabilities[:, -1:], probabilities[:, :-1]], dim=1).numpy()


def run_in_double(path: Path, images: torch.Tensor) -> np.ndarray:
    """The output (B, 3549, 85) of the public graph, one node after another in float64."""
    graph = onnx.load(str(path)).graph
    values = {item.name: torch.from_numpy(numpy_helper.to_array(item).copy()) for item in graph.initializer}
    values = {name: value.double() if value.is_floating_point() else value for name, value in values.items()}
    values[graph.input[0].name] = images.double()
    for node in graph.node:
        inputs = [values.get(name) for name in node.input]
        attributes = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
        values[node.output[0]] = OPERATORS[node.op_type](inputs, attributes)
    return values[graph.output[0].name].numpy()


def cut_out(inputs: list[torch.Tensor], _: dict) -> torch.Tensor:
    x, starts, ends, axes, steps = inputs
    for start, end, axis, step in zip(*(part.tolist() for part in (starts, ends, axes, steps)), strict=True):
        x = x[(slice(None),) * axis + (slice(start, end, step),)]
    return x


OPERATORS = {
    "Conv": lambda x, a: F.conv2d(*x, stride=a["strides"], padding=a["pads"][:2], groups=a["group"]),
    "Sigmoid": lambda x, a: x[0].sigmoid(),
    "Mul": lambda x, a: x[0] * x[1],
    "Add": lambda x, a: x[0] + x[1],
    "Concat": lambda x, a: torch.cat(x, dim=a["axis"]),
    "MaxPool": lambda x, a: F.max_pool2d(x[0], a["kernel_shape"], stride=1, padding=a["pads"][:2]),
    "Resize": lambda x, a: x[0].repeat_interleave(2, dim=2).repeat_interleave(2, dim=3),
    "Reshape": lambda x, a: x[0].reshape(x[1].tolist()),
    "Transpose": lambda x, a: x[0].permute(a["perm"]),
    "Slice": cut_out,
}


def slow_detections(output: np.ndarray) -> list[tuple[int, float, tuple[float, ...]]]:
    """(label, score, box as fractions) of one public output, as the paper and its NMS have it, one box at a time."""
    places = [(x, y, s) for s in STRIDES for y in range(SIZE // s) for x in range(SIZE // s)]
    rows = [
        (label, float(row[5 + label] * row[4]), paper_box(row, *place))
        for row, place in zip(output, places, strict=True)
        for label in np.flatnonzero(row[5:] * row[4] > SETTINGS.score_threshold)
    ]
    kept: list[tuple[int, float, tuple[float, ...]]] = []
    for label, score, box in sorted(rows, key=lambda row: -row[1]):
        rivals = [other for other_label, _, other in kept if other_label == label]
        if all(iou(np.array([box]), np.array([other]))[0, 0] < SETTINGS.iou_threshold for other in rivals):
            kept.append((int(label), score, box))
    return kept


def paper_box(row: np.ndarray, x: int, y: int, stride: int) -> tuple[float, ...]:
    centre_x, centre_y = (x + row[0]) * stride, (y + row[1]) * stride
    width, height = np.exp(row[2]) * stride, np.exp(row[3]) * stride
    corners = (centre_x - width / 2, centre_y - height / 2, centre_x + width / 2, centre_y + height / 2)
    return tuple(float(np.clip(corner / SIZE, 0, 1)) for corner in corners)


def detections(network: YOLOX, square: np.ndarray) -> Detections:
    with torch.no_grad():
        deltas, logits = network(torch.from_numpy(to_input([square])))
    anchors_px = [[(float(stride), float(stride))] for stride in STRIDES]
    anchors = make_anchors(anchors_px, STRIDES, SIZE, offset=0)
    scores = network.scores(logits).numpy()
    return select(deltas.numpy(), scores, anchors, variances=(1, 1), config=SETTINGS)[0]


def test_every_output_is_the_public_one_in_double_precision(public_file, converted, squares):
    network = copy.deepcopy(converted).double()
    for square in squares:
        images = torch.from_numpy(square.transpose(2, 0, 1)[None].copy())
        with torch.no_grad():
            deltas, logits = network(images.double().flip(1) / 255)
        probabilities = logits.sigmoid()
        given = torch.cat([deltas, probabilities[..., -1:], probabilities[..., :-1]], dim=2).numpy()
        # Not closer, because the ready-made weights are 255 times the public ones, rounded to float32.
        np.testing.assert_allclose(given, run_in_double(public_file, images), atol=1e-4, rtol=0)


@pytest.mark.parametrize("prepare", [copy.deepcopy, fold], ids=["as it is", "folded"])
def test_every_output_is_the_public_one_in_single_precision(converted, squares, expected, prepare):
    for given, public in zip(outputs(prepare(converted), squares), expected, strict=True):
        np.testing.assert_allclose(given, public, atol=3e-4, rtol=0)
        assert (np.abs(given - public) < 1e-4).mean() > 0.9999


def test_detections_are_the_public_ones(converted, squares, expected):
    for square, public in zip(squares, expected, strict=True):
        given, wanted = detections(converted, square), slow_detections(public)
        assert len(given) == len(wanted) > 0
        rows = zip(given.labels.tolist(), given.scores.tolist(), given.boxes.tolist(), strict=True)
        # Two with the same score may change places.
        for (label, score, box), (other, other_score, other_box) in zip(
            sorted(rows, key=lambda row: (row[0], row[1], row[2])), sorted(wanted), strict=True
        ):
            assert label == other
            assert score == pytest.approx(other_score, abs=1e-4)
            assert box == pytest.approx(other_box, abs=1e-4)


def test_the_shipped_file_differs_by_its_half_precision_only(shipped, squares, expected):
    for given, public in zip(outputs(shipped, squares), expected, strict=True):
        likely = public[:, 4] > 0.1
        # A unit of the deltas is a stride, or a logarithm of a size; half precision has 11 bits.
        np.testing.assert_allclose(given[likely], public[likely], atol=0.03, rtol=0)
        assert np.abs(given - public).mean() < 0.01


def test_the_shipped_file_is_the_converted_one(shipped, converted):
    # Statistics and the size of the weights are others; what both compute before rounding is the same.
    for (name, given), (_, wanted) in zip(
        fold(shipped).named_parameters(), fold(converted).named_parameters(), strict=True
    ):
        scale = wanted.abs().max()
        assert (given - wanted).abs().max() < 2e-3 * scale, name


def test_the_shipped_classes_are_those_of_coco(shipped):
    assert shipped.num_classes == len(COCO_CLASSES) == 80
