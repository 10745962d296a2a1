from __future__ import annotations

import numpy as np
import pytest
import torch

from multibox.model.matching import BACKGROUND, match, pad
from multibox.structures import Targets

NO = BACKGROUND


def objects(*boxes: tuple[float, float, float, float], labels: list[int] | None = None) -> Targets:
    corners = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    return Targets(corners, np.array(labels or [0] * len(corners), dtype=np.int64))


def matched(images: list[Targets], anchors: list[tuple[float, ...]], threshold: float = 0.5) -> list[list[int]]:
    return match(pad(images, "cpu"), torch.tensor(anchors, dtype=torch.float32), iou_threshold=threshold).tolist()


# Anchors of full width that hang from the top of the image: the IoU of two is the ratio of their heights.
def hanging(height: float) -> tuple[float, float, float, float]:
    return (0, 0, 1, height)


ELSEWHERE = (0, 0.75, 0.125, 0.8125)


def test_an_anchor_learns_an_object_from_the_threshold_on():
    # IoU 1, 0.75, 0.5 (exactly the threshold) and 0.25
    anchors = [hanging(0.5), hanging(0.375), hanging(0.25), hanging(0.125)]
    assert matched([objects(hanging(0.5))], anchors) == [[0, 0, 0, NO]]


def test_an_anchor_learns_the_object_that_it_overlaps_most():
    # The second anchor has IoU 0.6 with object 0 and 0.8 with object 1.
    objects_here = objects(hanging(0.3), hanging(0.625))
    assert matched([objects_here], [hanging(0.3), hanging(0.5), hanging(0.625)]) == [[0, 1, 1]]


def test_an_anchor_between_two_objects_learns_the_first():
    # The last anchor has IoU 0.5 with either, and both have a better one.
    left, right, both = (0, 0, 0.5, 0.5), (0.5, 0, 1, 0.5), (0, 0, 1, 0.5)
    assert matched([objects(left, right)], [left, right, both]) == [[0, 1, 0]]
    assert matched([objects(right, left)], [left, right, both]) == [[1, 0, 0]]


def test_an_object_below_the_threshold_has_its_best_anchor():
    # IoU 0.125 and 0.25
    assert matched([objects(hanging(0.0625))], [hanging(0.5), hanging(0.25), ELSEWHERE]) == [[NO, 0, NO]]


def test_of_two_best_anchors_an_object_has_the_first():
    anchors = [ELSEWHERE, hanging(0.5), hanging(0.5)]
    assert matched([objects(hanging(0.125))], anchors) == [[NO, 0, NO]]


def test_the_later_object_takes_the_anchor_of_the_earlier():
    # The first anchor is the best of both; object 0 has IoU 1 with it, object 1 only 0.25, and object 0 gets no other.
    objects_here = objects(hanging(0.5), hanging(0.125))
    assert matched([objects_here], [hanging(0.5), ELSEWHERE]) == [[1, NO]]


def test_the_best_anchor_goes_before_the_threshold():
    # Object 1's best anchor is the second (0.5 against 0.25) although that overlaps object 0 more (0.5 against 1).
    objects_here = objects(hanging(0.25), hanging(0.125))
    assert matched([objects_here], [hanging(0.5), hanging(0.25)]) == [[0, 1]]


def test_an_object_that_no_anchor_touches_has_the_first_anchor():
    assert matched([objects((0.5, 0.5, 1, 1))], [hanging(0.25), hanging(0.125)]) == [[0, NO]]


def test_of_two_equal_objects_the_later_has_the_best_anchor_and_the_earlier_the_rest():
    twice = objects(hanging(0.5), hanging(0.5))
    assert matched([twice], [hanging(0.375), hanging(0.5)]) == [[0, 1]]


def test_an_image_without_objects_is_all_background():
    assert matched([objects()], [hanging(0.5), ELSEWHERE]) == [[NO, NO]]


def test_padding_matches_nothing():
    # Padding is a box of zeros, and the first anchor touches it; without a threshold it must still be nobody's.
    anchors = [(0, 0, 0, 0), hanging(0.5), ELSEWHERE]
    images = [objects(), objects(hanging(0.5)), objects(hanging(0.5), ELSEWHERE, (0.5, 0.5, 1, 1))]
    assert matched(images, anchors) == [[NO, NO, NO], [NO, 0, NO], [2, 0, 1]]
    assert matched([objects(), objects(hanging(0.5), ELSEWHERE)], anchors, threshold=0)[0] == [NO, NO, NO]


def test_pad_keeps_boxes_labels_and_which_rows_are_objects():
    images = [objects(hanging(0.5), labels=[3]), objects(), objects(hanging(0.25), ELSEWHERE, labels=[2, 1])]
    padded = pad(images, "cpu")
    assert padded.boxes.shape == (3, 2, 4)
    assert padded.boxes[2].tolist() == [list(hanging(0.25)), list(ELSEWHERE)]
    assert padded.labels[0, 0] == 3 and padded.labels[2].tolist() == [2, 1]
    assert padded.is_object.tolist() == [[True, False], [False, False], [True, True]]


def test_a_batch_without_objects_has_one_row_of_padding():
    padded = pad([objects(), objects()], "cpu")
    assert padded.boxes.shape == (2, 1, 4)
    assert not padded.is_object.any()


def random_boxes(rng: np.random.Generator, count: int, side: tuple[float, float]) -> np.ndarray:
    corner = rng.uniform(0, 0.7, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(*side, (count, 2))], axis=1).astype(np.float32)


def random_images(rng: np.random.Generator) -> list[Targets]:
    """Images with 0 to 100 objects; some objects are there twice."""
    images = []
    for count in (0, 1, 2, 5, 100, 0, 3):
        boxes = random_boxes(rng, count, (0.02, 0.5))
        boxes[count // 2 : count // 2 + 1] = boxes[:1]
        images.append(Targets(boxes, np.zeros(count, dtype=np.int64)))
    return images


def slow_iou(a: np.ndarray, b: np.ndarray) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = float(width * height)
    return shared / (float((a[2] - a[0]) * (a[3] - a[1])) + float((b[2] - b[0]) * (b[3] - b[1])) - shared)


def slow_match(boxes: np.ndarray, anchors: np.ndarray, threshold: float) -> list[int]:
    result = [NO] * len(anchors)
    table = [[slow_iou(one, anchor) for anchor in anchors] for one in boxes]
    for a in range(len(anchors)):
        best, best_iou = NO, -1.0
        for n in range(len(boxes)):
            if table[n][a] > best_iou:
                best, best_iou = n, table[n][a]
        if best_iou >= threshold:
            result[a] = best
    for n, row in enumerate(table):
        result[row.index(max(row))] = n
    return result


@pytest.mark.parametrize("seed", range(3))
def test_match_gives_what_a_loop_gives(seed):
    rng = np.random.default_rng(seed)
    images, anchors = random_images(rng), random_boxes(rng, 60, (0.05, 0.5))
    expected = [slow_match(image.boxes.astype(np.float64), anchors.astype(np.float64), 0.4) for image in images]
    assert matched(images, anchors.tolist(), 0.4) == expected


def test_a_batch_is_matched_like_its_images_one_by_one():
    rng = np.random.default_rng(9)
    images, anchors = random_images(rng), random_boxes(rng, 80, (0.05, 0.5)).tolist()
    assert matched(images, anchors, 0.4) == [matched([image], anchors, 0.4)[0] for image in images]
