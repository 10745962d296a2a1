"""Box geometry as pure functions: area, IoU, clipping, coding, non-maximum suppression.

A box is (x1, y1, x2, y2) along the last axis, fractions of image width and height unless a name says `_px`.
Every function takes numpy arrays or torch tensors and returns the same kind, so that training, evaluation and
torch-free prediction share one implementation of the numbers.
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

NMS_PAIRS = 1_000_000
"""Pairs of boxes of which `nms` computes the IoU at a time: some 30 MB."""

Array = TypeVar("Array", NDArray[np.float32], NDArray[np.float64], NDArray[np.floating[Any]], "Tensor")
"""Type of the boxes of a call, which its result has too: an array of numpy of one precision, or a tensor of torch."""

MAX_LOG_RATIO = abs(math.log(16 / 1000))
"""Largest log size ratio that is decoded: a side is at most 62.5 times its anchor's, so exp stays finite.

Source: Detectron's constant, which the original kept.
"""


def area(boxes: Array) -> Array:
    """Areas (...) of boxes (..., 4); 0 for a box turned inside out."""
    width = (boxes[..., 2] - boxes[..., 0]).clip(min=0)
    height = (boxes[..., 3] - boxes[..., 1]).clip(min=0)
    areas: Array = width * height
    return areas


def intersection(boxes: Array, others: Array) -> Array:
    """Intersection areas (..., N, M) of boxes (..., N, 4) with others (..., M, 4)."""
    xp = _library(boxes)
    # One axis after the other: arrays whose last axis has two numbers take numpy four times as long.
    width, height = (
        (
            xp.minimum(boxes[..., :, None, axis + 2], others[..., None, :, axis + 2])
            - xp.maximum(boxes[..., :, None, axis], others[..., None, :, axis])
        ).clip(min=0)
        for axis in (0, 1)
    )
    areas: Array = width * height
    return areas


def iou(boxes: Array, others: Array) -> Array:
    """Intersection over union (..., N, M), in [0, 1]; 0 where neither box has an area."""
    overlap = intersection(boxes, others)
    union = area(boxes)[..., :, None] + area(others)[..., None, :] - overlap
    ratio: Array = overlap / union.clip(min=1e-12)
    return ratio


def clip(boxes: Array) -> Array:
    """Boxes cut at the border of the image."""
    return boxes.clip(0, 1)


def encode(boxes: Array, anchors: Array, variances: tuple[float, float]) -> Array:
    """Deltas (..., 4) that move each anchor onto its box; boxes and anchors pair up row by row.

    Deltas are (dx, dy, dw, dh): centre shift in anchor sizes, then log size ratio, each divided by its variance.
    `decode` undoes this. Boxes and anchors must have a width and a height.

    Source: Liu et al., "SSD: Single Shot MultiBox Detector", 2016, eq. 2; the variances follow the authors' Caffe code.
    """
    xp = _library(boxes)
    anchor_centres, anchor_sizes = _centres_and_sizes(anchors)
    centres, sizes = _centres_and_sizes(boxes)
    shift = (centres - anchor_centres) / anchor_sizes / variances[0]
    ratio = xp.log(sizes / anchor_sizes) / variances[1]
    deltas: Array = xp.concatenate([shift, ratio], -1)
    return deltas


def decode(deltas: Array, anchors: Array, variances: tuple[float, float]) -> Array:
    """Boxes (..., 4) that the deltas (..., 4) make of the anchors; not clipped to the image.

    The log size ratio is limited to ±`MAX_LOG_RATIO` after multiplication by its variance.
    """
    xp = _library(deltas)
    anchor_centres, anchor_sizes = _centres_and_sizes(anchors)
    centres = anchor_centres + anchor_sizes * (deltas[..., :2] * variances[0])
    ratio = (deltas[..., 2:] * variances[1]).clip(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    half_sizes = anchor_sizes * xp.exp(ratio) / 2
    boxes: Array = xp.concatenate([centres - half_sizes, centres + half_sizes], -1)
    return boxes


@overload
def nms(boxes: NDArray[np.floating[Any]], iou_threshold: float) -> NDArray[np.bool_]: ...


@overload
def nms(boxes: Tensor, iou_threshold: float) -> Tensor: ...


def nms(boxes: Any, iou_threshold: float) -> Any:
    """Greedy non-maximum suppression: truth values (..., N), True for each box that is kept.

    Boxes (..., N, 4) come best first; a box is dropped when its IoU with a kept, better one is >= `iou_threshold`.
    Boxes without area drop none and are kept. Leading axes are independent problems (one per class, say).
    """
    problems = boxes.reshape(math.prod(boxes.shape[:-2]), *boxes.shape[-2:])
    num_problems, length = problems.shape[:2]
    xp = _library(boxes)
    has_area = area(problems) > 0
    keep = xp.ones_like(has_area)
    if iou_threshold > 1:  # no IoU is: nobody is compared with anybody
        return keep.reshape(boxes.shape[:-1])
    # Few and large steps, since each costs more than its arithmetic: all pairs at once, if they are not too many.
    step = max(1, NMS_PAIRS // max(1, num_problems * length))
    for start in range(0, length, step):
        block = slice(start, start + step)
        drops = iou(problems[:, block], problems[:, start:]) >= iou_threshold
        drops = xp.triu(drops, 1) & has_area[:, block, None] & has_area[:, None, start:]
        for row, drops_any in enumerate(drops.any(-1).any(0).tolist()):
            if drops_any:
                keep[:, start:] &= ~(drops[:, row] & keep[:, start + row, None])
    return keep.reshape(boxes.shape[:-1])


def _centres_and_sizes(boxes: Array) -> tuple[Array, Array]:
    top_left, bottom_right = boxes[..., :2], boxes[..., 2:]
    centres: Any = (top_left + bottom_right) / 2  # by the types of numpy, half of a float32 would be a float64
    return centres, bottom_right - top_left


def _library(boxes: object) -> Any:
    """The library of these boxes, numpy or torch; what is used here has the same names in both."""
    if isinstance(boxes, np.ndarray):
        return np
    # Nothing here imports torch, so that predicting needs none; whoever has a tensor has imported it.
    return sys.modules["torch"]
