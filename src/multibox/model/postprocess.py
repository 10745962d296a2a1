"""From raw network output to detections. numpy only: every runtime ends here, with or without torch."""

from __future__ import annotations

import numpy as np

from multibox import boxes as box
from multibox.config import PostprocessConfig
from multibox.structures import Detections, FloatArray, IntArray


def postprocess(
    deltas: FloatArray,
    logits: FloatArray,
    anchors: FloatArray,
    *,
    variances: tuple[float, float],
    config: PostprocessConfig,
) -> list[Detections]:
    """Detections of B images from deltas (B, A, 4), logits (B, A, K + 1) and anchors (A, 4): softmax, then `select`."""
    return select(deltas, softmax(logits), anchors, variances=variances, config=config)


def select(
    deltas: FloatArray,
    scores: FloatArray,
    anchors: FloatArray,
    *,
    variances: tuple[float, float],
    config: PostprocessConfig,
) -> list[Detections]:
    """Detections of B images from deltas (B, A, 4), scores (B, A, K + 1) after softmax and anchors (A, 4).

    Per class the `max_per_class` best anchors with a score above the threshold; class-wise non-maximum suppression; the
    `max_detections` best of all classes. Boxes are clipped to the image.
    """
    return [_one_image(d, s, anchors, variances, config) for d, s in zip(deltas, scores, strict=True)]


def softmax(logits: FloatArray) -> FloatArray:
    """Probabilities along the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: FloatArray = powers / powers.sum(axis=-1, keepdims=True)
    return probabilities


def _one_image(
    deltas: FloatArray,
    scores: FloatArray,
    anchors: FloatArray,
    variances: tuple[float, float],
    config: PostprocessConfig,
) -> Detections:
    chosen, labels = _candidates(scores[:, :-1], config)
    boxes = box.clip(box.decode(deltas[chosen], anchors[chosen], variances))
    # A padded cell is a box without area, which neither suppresses nor is suppressed, with the score of nothing.
    is_candidate = chosen >= 0
    boxes[~is_candidate] = 0
    kept = box.nms(boxes, config.iou_threshold) & is_candidate
    row, column = kept.nonzero()
    best_scores = scores[chosen[row, column], labels[row]]
    order = np.argsort(-best_scores, kind="stable")[: config.max_detections]
    return Detections(boxes[row, column][order], best_scores[order], labels[row][order])


def _candidates(scores: FloatArray, config: PostprocessConfig) -> tuple[IntArray, IntArray]:
    """The classes (K',) that have candidates, and their anchors (K', M), best first, padded with -1."""
    is_candidate = scores > config.score_threshold
    counts = np.minimum(is_candidate.sum(axis=0), config.max_per_class)
    labels = counts.nonzero()[0]
    longest = int(counts.max(initial=0))
    columns = scores[:, labels]
    order = np.argsort(-columns, axis=0, kind="stable")[:longest].T
    padding = np.arange(longest)[None, :] >= counts[labels][:, None]
    return np.where(padding, -1, order), labels
