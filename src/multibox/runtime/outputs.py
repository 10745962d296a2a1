"""What the outputs of an exported detector mean: from the arrays of each of its forms to detections. numpy only."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multibox import boxes as geometry
from multibox.config import PostprocessConfig
from multibox.model.anchors import LevelSizes, make_anchors
from multibox.model.postprocess import select
from multibox.runtime.contract import ExportInfo
from multibox.structures import Detections, FloatArray

Array = NDArray[Any]


def read_boxes_labels(boxes: Array, labels: Array, *, input_size: int) -> list[Detections]:
    """Detections of B images from `boxes` (B, N, 5) and `labels` (B, N); without the first axis, of one image.

    A row of `boxes` is x1, y1, x2, y2 in pixels of the network's input, then the score. A label below 0 is padding.
    """
    if boxes.ndim == 2:
        boxes, labels = boxes[None], labels[None]
    results = []
    for rows, row_labels in zip(boxes, labels, strict=True):
        is_object = row_labels >= 0
        results.append(_best_first(rows[is_object, :4] / input_size, rows[is_object, 4], row_labels[is_object]))
    return results


def read_detection_output(rows: Array, *, batch: int) -> list[Detections]:
    """Detections of `batch` images from rows (1, 1, N, 7): image, label, score, x1, y1, x2, y2 in 0..1.

    A row of image -1 ends the list; what follows is left over from before.
    """
    rows = rows.reshape(-1, 7)
    ends = (rows[:, 0] < 0).nonzero()[0]
    rows = rows[: ends[0]] if len(ends) else rows
    images = (rows[rows[:, 0] == image] for image in range(batch))
    return [_best_first(of_image[:, 3:], of_image[:, 2], of_image[:, 1]) for of_image in images]


def read_raw(deltas: FloatArray, scores: FloatArray, info: ExportInfo) -> list[Detections]:
    """Detections of B images from deltas (B, A, 4) and scores (B, A, K + 1), of which the last is of no class.

    Anchors and thresholds are those of the file's description.
    """
    config = PostprocessConfig(
        score_threshold=info.min_score,
        iou_threshold=info.iou_threshold,
        max_per_class=info.max_per_class,
        max_detections=info.max_detections,
    )
    anchors = _anchors(info.anchors_px, info.strides, info.input_size, info.anchor_offset)
    return select(deltas, scores, anchors, variances=info.box_variances, config=config)


@functools.lru_cache(maxsize=8)
def _anchors(anchors_px: LevelSizes, strides: tuple[int, ...], input_size: int, offset: float) -> FloatArray:
    return make_anchors(anchors_px, strides, input_size, offset=offset)


def _best_first(boxes: Array, scores: Array, labels: Array) -> Detections:
    order = np.argsort(-scores, kind="stable")
    inside = geometry.clip(boxes[order]).astype(np.float32)
    return Detections(inside, scores[order].astype(np.float32), labels[order].astype(np.int64))
