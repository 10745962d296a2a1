"""Arrays of exported detectors, typed by hand, and the detections that they mean."""

from __future__ import annotations

import numpy as np
import pytest

from multibox.config import PostprocessConfig
from multibox.model.anchors import make_anchors
from multibox.model.postprocess import postprocess, softmax
from multibox.runtime.contract import ExportInfo, Origin
from multibox.runtime.outputs import read_boxes_labels, read_detection_output, read_raw
from multibox.structures import Detections

SIDE = 200  # pixels of the network's input


def found(*rows: tuple[tuple[float, float, float, float], float, int]) -> Detections:
    """From (box in 0..1, score, label)."""
    return Detections(
        np.array([box for box, _, _ in rows], np.float32).reshape(-1, 4),
        np.array([score for _, score, _ in rows], np.float32),
        np.array([label for _, _, label in rows], np.int64),
    )


def assert_same(one: Detections, other: Detections) -> None:
    np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-7)
    np.testing.assert_array_equal(one.scores, other.scores)
    np.testing.assert_array_equal(one.labels, other.labels)
    assert (one.boxes.dtype, one.scores.dtype, one.labels.dtype) == (np.float32, np.float32, np.int64)


# boxes and labels


BOXES = np.array([[[20, 40, 100, 200, 0.9], [-2, 10, 210, 30, 0.5], [0, 0, 0, 0, 0]]], np.float32)
LABELS = np.array([[2, 0, -1]], np.int64)
FOUND = found(((0.1, 0.2, 0.5, 1.0), 0.9, 2), ((0, 0.05, 1, 0.15), 0.5, 0))  # pixels / 200, cut at the border


def test_boxes_become_fractions_inside_the_image_and_padding_goes() -> None:
    [one] = read_boxes_labels(BOXES, LABELS, input_size=SIDE)
    assert_same(one, FOUND)


def test_outputs_without_a_batch_axis_are_one_image() -> None:
    [one] = read_boxes_labels(BOXES[0], LABELS[0], input_size=SIDE)
    assert_same(one, FOUND)


def test_each_image_of_a_batch_has_its_own_boxes() -> None:
    boxes, labels = np.concatenate([BOXES, BOXES[:, ::-1]]), np.concatenate([LABELS, np.full((1, 3), -1)])
    first, second = read_boxes_labels(boxes, labels, input_size=SIDE)
    assert_same(first, FOUND)
    assert_same(second, found())


def test_boxes_in_any_order_come_out_best_first() -> None:
    [one] = read_boxes_labels(BOXES[:, ::-1], LABELS[:, ::-1], input_size=SIDE)
    assert_same(one, FOUND)


@pytest.mark.parametrize("shape", [(0,), (1, 0)])
def test_outputs_of_no_row_are_an_image_without_detections(shape: tuple[int, ...]) -> None:
    [one] = read_boxes_labels(np.zeros((*shape, 5), np.float32), np.zeros(shape, np.int64), input_size=SIDE)
    assert_same(one, found())


def test_what_was_read_stays_when_the_arrays_are_used_again() -> None:
    boxes, labels, rows = BOXES.copy(), LABELS.copy(), ROWS.copy()
    results = read_boxes_labels(boxes, labels, input_size=SIDE) + read_detection_output(rows, batch=1)
    for array in (boxes, labels, rows):
        array[:] = 7
    assert_same(results[0], FOUND)
    assert_same(results[1], FIRST)


# rows of DetectionOutput: image, label, score, x1, y1, x2, y2


ROWS = np.array(
    [
        [0, 0, 0.5, 0.1, 0.2, 0.3, 0.4],
        [0, 2, 0.9, -0.1, 0.5, 1.1, 0.6],
        [1, 1, 0.7, 0, 0, 1, 1],
        [-1, 0, 0, 0, 0, 0, 0],
        [0, 1, 0.8, 0, 0, 1, 1],  # left over from before
    ],
    np.float32,
)[None, None]
FIRST = found(((0, 0.5, 1, 0.6), 0.9, 2), ((0.1, 0.2, 0.3, 0.4), 0.5, 0))


def test_a_row_of_image_minus_1_ends_the_list() -> None:
    [one] = read_detection_output(ROWS, batch=1)
    assert_same(one, FIRST)


def test_rows_go_to_their_images() -> None:
    first, second, third = read_detection_output(ROWS, batch=3)
    assert_same(first, FIRST)
    assert_same(second, found(((0, 0, 1, 1), 0.7, 1)))
    assert_same(third, found())


def test_a_list_that_is_full_has_no_end() -> None:
    [one] = read_detection_output(ROWS[:, :, :2], batch=1)
    assert_same(one, FIRST)


def test_a_list_that_ends_at_once_is_an_image_without_detections() -> None:
    [one] = read_detection_output(ROWS[:, :, 3:], batch=1)
    assert_same(one, found())


# deltas and scores


def test_raw_outputs_are_detected_in_with_the_figures_of_the_file() -> None:
    info = ExportInfo(
        form="raw",
        classes=("a", "b"),
        input_size=64,
        channel_order="BGR",
        input_maximum=255,
        batch=0,
        precision="FP32",
        suggested_threshold=0.3,
        min_score=0.1,
        iou_threshold=0.4,
        max_per_class=9,
        max_detections=12,
        anchors_px=(((10, 20), (30, 15)), ((40, 50),)),
        strides=(16, 32),
        box_variances=(0.3, 0.5),
        origin=Origin(checkpoint="", sha256=""),
        versions={},
        template={},
    )
    rng = np.random.default_rng(0)
    num_anchors = 4 * 4 * 2 + 2 * 2 * 1
    deltas = rng.normal(0, 1, (3, num_anchors, 4)).astype(np.float32)
    logits = rng.normal(0, 2, (3, num_anchors, 3)).astype(np.float32)
    expected = postprocess(
        deltas,
        logits,
        make_anchors(info.anchors_px, info.strides, 64),
        variances=(0.3, 0.5),
        config=PostprocessConfig(score_threshold=0.1, iou_threshold=0.4, max_per_class=9, max_detections=12),
    )
    results = read_raw(deltas, softmax(logits), info)
    assert [len(one) for one in results] == [12, 12, 12]
    for one, other in zip(results, expected, strict=True):
        assert_same(one, other)
