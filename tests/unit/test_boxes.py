from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from multibox import boxes as box

Array = Any


@pytest.fixture(params=["numpy", "torch"])
def array(request) -> Callable[[Any], Array]:
    """Makes a float32 array of either kind."""
    if request.param == "numpy":
        return lambda values: np.array(values, dtype=np.float32)
    return lambda values: torch.tensor(np.array(values), dtype=torch.float32)


def close(actual: Array, expected: Any) -> None:
    np.testing.assert_allclose(np.asarray(actual), np.asarray(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("corners", "expected"),
    [
        ((0, 0, 1, 1), 1),
        ((0.25, 0.5, 0.75, 0.75), 0.125),  # 0.5 * 0.25
        ((0.5, 0.2, 0.5, 0.9), 0),  # no width
        ((0.6, 0.2, 0.5, 0.9), 0),  # inside out in x
        ((0.6, 0.9, 0.5, 0.2), 0),  # inside out in both: not a positive product of two negatives
    ],
)
def test_area(array, corners, expected):
    close(box.area(array([corners])), [expected])


#       0   .25  .5  .75
#   0   A----+---+
#       |    |   |            A and B share a square of side 0.25
#  .25  +    B---+----+
#       |    |   |    |
#  .5   +----+---+    |
#  .75       +--------+
A, B = (0, 0, 0.5, 0.5), (0.25, 0.25, 0.75, 0.75)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (A, A, 1),
        (A, B, 1 / 7),  # 0.0625 / (0.25 + 0.25 - 0.0625)
        (A, (0, 0, 0.5, 0.25), 0.5),  # inside: 0.125 / 0.25
        (A, (0.5, 0, 1, 0.5), 0),  # a common side
        (A, (0.5, 0.5, 1, 1), 0),  # a common corner
        (A, (0.75, 0.75, 1, 1), 0),  # apart in both axes: not a positive product of two negatives
        (A, (0.25, 0, 0.25, 0.5), 0),  # a line inside
        ((0.3, 0.3, 0.3, 0.3), (0.3, 0.3, 0.3, 0.3), 0),  # two equal points: 0 / 0
    ],
)
def test_iou(array, first, second, expected):
    close(box.iou(array([first]), array([second])), [[expected]])


def test_iou_has_a_row_for_each_box_and_a_column_for_each_other(array):
    close(box.iou(array([A, B]), array([A, B, (0.75, 0.75, 1, 1)])), [[1, 1 / 7, 0], [1 / 7, 1, 0]])


def test_iou_of_a_batch_is_that_of_its_images(array):
    first, second = [A, B], [B, B]
    others = [A, (0, 0, 0.5, 0.25), B]
    batch = box.iou(array([first, second]), array([others, others]))
    close(batch, np.stack([box.iou(array(first), array(others)), box.iou(array(second), array(others))]))


def test_iou_without_boxes_is_empty(array):
    nothing = array(np.zeros((0, 4)))
    assert tuple(box.iou(nothing, array([A, B])).shape) == (0, 2)
    assert tuple(box.iou(array([A, B]), nothing).shape) == (2, 0)


def test_clip_cuts_each_side_at_the_border(array):
    close(box.clip(array([(-0.5, -0.1, 1.5, 1.1), (0.1, 0.2, 0.3, 0.4)])), [(0, 0, 1, 1), (0.1, 0.2, 0.3, 0.4)])


ANCHOR = (0.2, 0.2, 0.6, 0.4)  # centre (0.4, 0.3), size 0.4 x 0.2
CODES = [
    (ANCHOR, (0, 0, 0, 0)),
    # centre (0.5, 0.4), size 0.4 x 0.4: 0.1 / 0.4 / 0.1, 0.1 / 0.2 / 0.1, ln(1) / 0.2, ln(2) / 0.2
    ((0.3, 0.2, 0.7, 0.6), (2.5, 5, 0, 3.4657359)),
    # centre (0.3, 0.1), size 0.2 x 0.2: -0.1 / 0.4 / 0.1, -0.2 / 0.2 / 0.1, ln(1 / 2) / 0.2, ln(1) / 0.2
    ((0.2, 0.0, 0.4, 0.2), (-2.5, -10, -3.4657359, 0)),
]


@pytest.mark.parametrize(("corners", "deltas"), CODES)
def test_encode(array, corners, deltas):
    close(box.encode(array([corners]), array([ANCHOR]), (0.1, 0.2)), [deltas])


@pytest.mark.parametrize(("corners", "deltas"), CODES)
def test_decode(array, corners, deltas):
    close(box.decode(array([deltas]), array([ANCHOR]), (0.1, 0.2)), [corners])


def test_decode_of_a_batch_uses_the_same_anchors_for_each_image(array):
    corners, deltas = zip(*CODES, strict=True)
    close(box.decode(array([deltas, deltas]), array([ANCHOR] * 3), (0.1, 0.2)), [corners, corners])


@pytest.mark.parametrize(
    ("delta", "ratio"),
    [
        (10, 7.3890561),  # exp(10 * 0.2): the limit counts after the variance, else it would be exp(4.135 * 0.2)
        (1000, 62.5),  # 1000 / 16
        (-1000, 0.016),  # 16 / 1000
    ],
)
def test_decoded_sides_are_limited(array, delta, ratio):
    decoded = box.decode(array([(0, 0, delta, delta)]), array([ANCHOR]), (0.1, 0.2))
    close(decoded[:, 2:] - decoded[:, :2], [(0.4 * ratio, 0.2 * ratio)])
    close((decoded[:, 2:] + decoded[:, :2]) / 2, [(0.4, 0.3)])


def test_decoded_centres_are_not_limited(array):
    # 0.4 + 100 * 0.1 * 0.4
    close(box.decode(array([(100, 0, 0, 0)]), array([ANCHOR]), (0.1, 0.2)), [(4.2, 0.2, 4.6, 0.4)])


def test_every_function_gives_the_kind_it_takes(array):
    boxes = array([A, B])
    kind = type(boxes)
    results = [
        box.area(boxes),
        box.iou(boxes, boxes),
        box.clip(boxes),
        box.encode(boxes, boxes, (0.1, 0.2)),
        box.decode(boxes, boxes, (0.1, 0.2)),
        box.nms(boxes, 0.5),
    ]
    assert [type(result) for result in results] == [kind] * 6
    assert all(str(result.dtype).removeprefix("torch.") == "float32" for result in results[:5])
    assert str(results[5].dtype).removeprefix("torch.") == "bool"


def overlap_of(a: list[float], b: list[float]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return width * height / (both - width * height)


def slow_nms(boxes: list[list[float]], threshold: float) -> list[bool]:
    keep: list[bool] = []
    for i, candidate in enumerate(boxes):
        keep.append(not any(keep[j] and overlap_of(boxes[j], candidate) >= threshold for j in range(i)))
    return keep


def crowded_boxes(seed: int, *shape: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    corner, size = rng.uniform(0, 0.6, (*shape, 2)), rng.uniform(0.05, 0.4, (*shape, 2))
    return np.concatenate([corner, corner + size], axis=-1).astype(np.float32)


@pytest.mark.parametrize("threshold", [0.2, 0.45, 0.6])
def test_nms_keeps_what_a_loop_keeps(array, threshold):
    boxes = crowded_boxes(1, 120)
    expected = slow_nms(boxes.tolist(), threshold)
    assert 5 < sum(expected) < 115
    assert box.nms(array(boxes), threshold).tolist() == expected


def test_a_threshold_that_no_iou_reaches_keeps_all(array):
    boxes = np.concatenate([crowded_boxes(4, 2, 9)] * 2, axis=1)  # each box twice
    for threshold in (1.0, 1.5):
        expected = [slow_nms(problem.tolist(), threshold) for problem in boxes]
        assert box.nms(array(boxes), threshold).tolist() == expected
    assert all(map(all, expected))


def test_nms_solves_leading_axes_apart(array):
    boxes = crowded_boxes(2, 2, 3, 40)
    expected = [[slow_nms(problem.tolist(), 0.45) for problem in row] for row in boxes]
    assert box.nms(array(boxes), 0.45).tolist() == expected


def test_nms_drops_at_the_threshold_and_keeps_below(array):
    boxes = array([A, (0, 0, 0.5, 0.25)])  # IoU exactly 0.5
    assert box.nms(boxes, 0.5).tolist() == [True, False]
    assert box.nms(boxes, 0.5001).tolist() == [True, True]


def test_a_dropped_box_drops_no_other(array):
    # Neighbours share 0.06 of 0.14 (0.43), next neighbours 0.02 of 0.18 (0.11): every second one stays.
    strips = [(0.04 * i, 0, 0.04 * i + 0.1, 1) for i in range(20)]
    assert box.nms(array(strips), 0.4).tolist() == [True, False] * 10


def test_of_equal_boxes_the_first_stays(array):
    assert box.nms(array([A, A, A]), 0.45).tolist() == [True, False, False]


def test_boxes_without_area_neither_drop_nor_are_dropped(array):
    point = (0.25, 0.25, 0.25, 0.25)
    assert box.nms(array([point, A, point, (0, 0.1, 0.5, 0.1)]), 0.45).tolist() == [True] * 4


@pytest.mark.parametrize(("boxes", "expected"), [(np.zeros((0, 4)), []), ([A], [True])])
def test_nms_of_none_and_of_one(array, boxes, expected):
    assert box.nms(array(boxes), 0.45).tolist() == expected
