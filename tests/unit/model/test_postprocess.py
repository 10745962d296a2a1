from __future__ import annotations

import math

import numpy as np
import pytest

from multibox import config as configuration
from multibox.boxes import encode, iou
from multibox.config import PostprocessConfig, bundled_templates
from multibox.model.anchors import make_anchors
from multibox.model.postprocess import postprocess, select, softmax
from multibox.structures import Detections

VARIANCES = (0.1, 0.2)

#   +---+---+      A fills the upper left quarter, NEAR_A nine tenths of A from above (IoU 0.9),
#   | A | B |      B the upper right quarter, OUT reaches over the lower right corner.
#   +---+---+
#   |   |  OUT
#   +---+---
A, NEAR_A, B, OUT = (0, 0, 0.5, 0.5), (0, 0, 0.5, 0.45), (0.5, 0, 1, 0.5), (0.75, 0.75, 1.25, 1.25)


def config(**changes: float) -> PostprocessConfig:
    values = {"score_threshold": 0.02, "iou_threshold": 0.45, "max_per_class": 200, "max_detections": 200}
    return PostprocessConfig(**(values | changes))


def detect(anchors: list[tuple[float, ...]], scores: list[list[float]], **changes: float) -> Detections:
    """Detections for anchors that are their own boxes and scores by class without background, which has the rest."""
    rows = [[*row, 1 - sum(row)] for row in scores]
    logits = np.log(np.array([rows], dtype=np.float64)).astype(np.float32)
    deltas = np.zeros((1, len(anchors), 4), dtype=np.float32)
    boxes = np.array(anchors, dtype=np.float32)
    (found,) = postprocess(deltas, logits, boxes, variances=VARIANCES, config=config(**changes))
    return found


def assert_found(found: Detections, *expected: tuple[tuple[float, ...], float, int]) -> None:
    assert found.labels.tolist() == [label for _, _, label in expected]
    np.testing.assert_allclose(found.scores, [score for _, score, _ in expected], atol=1e-6)
    np.testing.assert_allclose(found.boxes, np.array([box for box, _, _ in expected]).reshape(-1, 4), atol=1e-6)
    assert (found.boxes.dtype, found.scores.dtype, found.labels.dtype) == (np.float32, np.float32, np.int64)


@pytest.mark.parametrize("shift", [0, 1000, -1000])
def test_softmax(shift):
    # 1 / (1 + 3), 3 / (1 + 3)
    logits = np.array([[0 + shift, math.log(3) + shift]], dtype=np.float32)
    np.testing.assert_allclose(softmax(logits), [[0.25, 0.75]], rtol=1e-4)


def test_detections_are_sorted_over_all_classes():
    found = detect([A, B], [[0.3, 0.05], [0.1, 0.6]])
    assert_found(found, (B, 0.6, 1), (A, 0.3, 0), (B, 0.1, 0), (A, 0.05, 1))


def test_the_last_column_is_background_and_never_detected():
    assert_found(detect([A], [[0.1, 0.1]], score_threshold=0.2))


def test_a_score_at_the_threshold_is_not_enough():
    # Equal logits of one class and background: exactly one half.
    arguments = np.zeros((1, 1, 4), np.float32), np.zeros((1, 1, 2), np.float32), np.array([A], np.float32)
    at, below = (
        postprocess(*arguments, variances=VARIANCES, config=config(score_threshold=threshold))[0]
        for threshold in (0.5, 0.499)
    )
    assert_found(at)
    assert_found(below, (A, 0.5, 0))


def test_one_anchor_can_be_of_several_classes():
    assert_found(detect([A], [[0.4, 0.35]]), (A, 0.4, 0), (A, 0.35, 1))


def test_boxes_of_one_class_suppress_each_other_and_those_of_two_do_not():
    found = detect([A, NEAR_A], [[0.5, 0.01], [0.4, 0.45]])
    assert_found(found, (A, 0.5, 0), (NEAR_A, 0.45, 1))


def test_an_overlap_at_the_threshold_is_suppressed():
    half = (0, 0, 0.5, 0.25)  # IoU with A is exactly one half
    assert_found(detect([A, half], [[0.6], [0.5]], iou_threshold=0.5), (A, 0.6, 0))
    assert_found(detect([A, half], [[0.6], [0.5]], iou_threshold=0.51), (A, 0.6, 0), (half, 0.5, 0))


def test_max_per_class_counts_before_suppression():
    # Of the two that enter, the second is suppressed; B, third, never enters.
    scores = [[0.5], [0.4], [0.3]]
    assert_found(detect([A, NEAR_A, B], scores, max_per_class=2), (A, 0.5, 0))
    assert_found(detect([A, NEAR_A, B], scores, max_per_class=3), (A, 0.5, 0), (B, 0.3, 0))


def test_max_per_class_counts_each_class_apart():
    found = detect([A, B], [[0.5, 0.1], [0.4, 0.2]], max_per_class=1)
    assert_found(found, (A, 0.5, 0), (B, 0.2, 1))


def test_max_detections_keeps_the_best_of_all_classes():
    found = detect([A, B], [[0.3, 0.05], [0.1, 0.6]], max_detections=2)
    assert_found(found, (B, 0.6, 1), (A, 0.3, 0))


def test_classes_with_fewer_candidates_than_others_get_no_more():
    # Class 0 has three candidates, class 1 one, class 2 none.
    found = detect([A, B, OUT], [[0.5, 0.3, 0.01], [0.4, 0.01, 0.01], [0.3, 0.01, 0.01]])
    inside = (0.75, 0.75, 1, 1)
    assert_found(found, (A, 0.5, 0), (B, 0.4, 0), (A, 0.3, 1), (inside, 0.3, 0))


def test_boxes_are_clipped_before_they_suppress():
    # OUT has IoU 1/4 with its visible part but is that part once it is cut: 0.25^2 / 0.5^2.
    visible = (0.75, 0.75, 1, 1)
    assert_found(detect([OUT, visible], [[0.5], [0.4]]), (visible, 0.5, 0))


def test_deltas_move_the_boxes():
    deltas = np.array([[[2.5, 5, 0, math.log(2) / 0.2]]], np.float32)
    logits = np.array([[[5, 0]]], np.float32)
    anchors = np.array([(0.2, 0.2, 0.6, 0.4)], np.float32)
    (found,) = postprocess(deltas, logits, anchors, variances=VARIANCES, config=config())
    # centre (0.4, 0.3) + (2.5 * 0.1 * 0.4, 5 * 0.1 * 0.2), size 0.4 x (0.2 * 2); 1 / (1 + exp(-5))
    assert_found(found, ((0.3, 0.2, 0.7, 0.6), 0.9933071, 0))


def test_no_candidate_gives_no_detection():
    assert_found(detect([A, B], [[0.01, 0.01], [0.02, 0.01]], score_threshold=0.5))


def test_scores_that_are_there_already_give_the_same():
    deltas, anchors = np.zeros((1, 2, 4), np.float32), np.array([A, B], np.float32)
    scores = np.array([[[0.3, 0.05, 0.65], [0.1, 0.6, 0.3]]], np.float32)
    (found,) = select(deltas, scores, anchors, variances=VARIANCES, config=config())
    assert_found(found, (B, 0.6, 1), (A, 0.3, 0), (B, 0.1, 0), (A, 0.05, 1))


def test_no_image_gives_nothing():
    nothing = np.zeros((0, 1, 4), np.float32), np.zeros((0, 1, 2), np.float32)
    assert postprocess(*nothing, np.array([A], np.float32), variances=VARIANCES, config=config()) == []


def slow_iou(a: list[float], b: list[float]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height)


def slow_boxes(deltas: list[list[float]], anchors: list[list[float]]) -> list[list[float]]:
    result = []
    for (dx, dy, dw, dh), (x1, y1, x2, y2) in zip(deltas, anchors, strict=True):
        width, height = x2 - x1, y2 - y1
        x, y = (x1 + x2) / 2 + dx * 0.1 * width, (y1 + y2) / 2 + dy * 0.1 * height
        width, height = width * math.exp(dw * 0.2), height * math.exp(dh * 0.2)
        corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        result.append([min(1.0, max(0.0, side)) for side in corners])
    return result


def slow_image(boxes: list[list[float]], logits: list[list[float]], settings: PostprocessConfig) -> list[tuple]:
    found = []
    for label in range(len(logits[0]) - 1):
        candidates = []
        for box, row in zip(boxes, logits, strict=True):
            score = math.exp(row[label]) / sum(math.exp(logit) for logit in row)
            if score > settings.score_threshold:
                candidates.append((score, box))
        kept: list[tuple[float, list[float]]] = []
        for score, box in sorted(candidates, reverse=True)[: settings.max_per_class]:
            if all(slow_iou(box, other) < settings.iou_threshold for _, other in kept):
                kept.append((score, box))
        found += [(score, label, box) for score, box in kept]
    return sorted(found, reverse=True)[: settings.max_detections]


@pytest.mark.parametrize(
    "changes",
    [{}, {"max_per_class": 10}, {"max_detections": 15}, {"score_threshold": 0.3}, {"iou_threshold": 0.1}],
)
def test_detections_are_those_of_a_loop_over_classes_and_anchors(changes):
    rng = np.random.default_rng(3)
    corner = rng.uniform(-0.1, 0.7, (60, 2))
    anchors = np.concatenate([corner, corner + rng.uniform(0.1, 0.5, (60, 2))], axis=1).astype(np.float32)
    deltas = rng.normal(0, 1, (3, 60, 4)).astype(np.float32)
    logits = rng.normal(0, 2, (3, 60, 5)).astype(np.float32)
    settings = config(**changes)
    images = postprocess(deltas, logits, anchors, variances=VARIANCES, config=settings)
    for i, found in enumerate(images):
        expected = slow_image(slow_boxes(deltas[i].tolist(), anchors.tolist()), logits[i].tolist(), settings)
        assert found.labels.tolist() == [label for _, label, _ in expected]
        np.testing.assert_allclose(found.scores, [score for score, _, _ in expected], atol=1e-5)
        np.testing.assert_allclose(found.boxes, [box for _, _, box in expected], atol=1e-5)


@pytest.mark.parametrize("size", [256, 384, 512])
def test_a_dozen_large_objects_are_all_found_though_each_is_met_by_many_anchors(size):
    template = configuration.load_template(bundled_templates()[f"mobilenet_v2-2s_ssd-{size}x{size}"])
    anchors = make_anchors(template.model.anchors_px, (16, 32), size)
    corner = np.stack(np.meshgrid(np.arange(4) / 4 + 0.02, np.arange(3) / 3 + 0.02), axis=-1).reshape(-1, 2)
    objects = np.concatenate([corner, corner + np.array([0.21, 0.29])], axis=1).astype(np.float32)
    overlap = iou(anchors, objects)
    nearest = overlap.argmax(axis=1)
    is_met = overlap.max(axis=1) > 0.3  # such anchors, though not taught to, often say yes
    scores = np.where(is_met, 0.95 - 0.05 * nearest, 0.001)  # of the first object best, of the twelfth worst
    logits = np.log(np.stack([scores, 1 - scores], axis=1)).astype(np.float32)
    deltas = encode(objects[nearest], anchors, VARIANCES)
    settings = template.postprocess
    (found,) = postprocess(deltas[None], logits[None], anchors, variances=VARIANCES, config=settings)
    best = [other[found.scores > 0.3].max() for other in iou(objects, found.boxes)]
    assert min(best) > 0.9
    # The original's number does not do.
    settings = configuration.replace(settings, max_per_class=200)
    (found,) = postprocess(deltas[None], logits[None], anchors, variances=VARIANCES, config=settings)
    assert iou(objects, found.boxes).max(axis=1).min() < 0.5
