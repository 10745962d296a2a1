"""Boxes around what is no box: polygons, masks, turned rectangles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

Box = tuple[float, float, float, float]
"""x, y of the upper left corner, width and height."""


def box_around(xs: Sequence[float], ys: Sequence[float]) -> Box:
    """The box around points."""
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


def box_around_turned(box: Box, degrees: float) -> Box:
    """The upright box around a box that is turned about its centre."""
    x, y, width, height = box
    sine, cosine = abs(math.sin(math.radians(degrees))), abs(math.cos(math.radians(degrees)))
    wide, high = width * cosine + height * sine, width * sine + height * cosine
    return x + (width - wide) / 2, y + (height - high) / 2, wide, high


def box_around_ellipse(x: float, y: float, wide: float, high: float, degrees: float) -> Box:
    """The upright box around an ellipse about (x, y) with half axes `wide` and `high`, turned by an angle."""
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    half_width, half_height = math.hypot(wide * cosine, high * sine), math.hypot(wide * sine, high * cosine)
    return x - half_width, y - half_height, 2 * half_width, 2 * half_height


def box_around_segmentation(segmentation: Any) -> Box | None:
    """The box around COCO's `segmentation`: polygons [[x, y, x, y, ...], ...] or an uncompressed mask; None for others.

    Source of the masks: pycocotools, `annToRLE`: counts of background and object in turn, column by column.
    """
    if isinstance(segmentation, dict):
        return _box_around_mask(segmentation)
    if not isinstance(segmentation, list) or not segmentation:
        return None
    polygons = segmentation if isinstance(segmentation[0], list) else [segmentation]
    xs = [value for polygon in polygons if isinstance(polygon, list) for value in polygon[0::2]]
    ys = [value for polygon in polygons if isinstance(polygon, list) for value in polygon[1::2]]
    if len(ys) < 3 or len(xs) != len(ys) or not all(isinstance(value, int | float) for value in [*xs, *ys]):
        return None
    return box_around(xs, ys)


def _box_around_mask(mask: dict[str, Any]) -> Box | None:
    counts, size = mask.get("counts"), mask.get("size")
    if not isinstance(counts, list) or not isinstance(size, list) or len(size) != 2:
        return None
    if not all(isinstance(value, int) and value >= 0 for value in [*counts, *size]) or not size[0]:
        return None
    height = size[0]
    xs, ys = [], []
    position = 0
    for index, count in enumerate(counts):
        if index % 2 and count:
            first, last = position, position + count - 1
            xs += [first // height, last // height]
            # A run over the end of a column covers its last row, and the first of the next.
            ys += [first % height, last % height] if xs[-2] == xs[-1] else [0, height - 1]
        position += count
    return (min(xs), min(ys), max(xs) - min(xs) + 1, max(ys) - min(ys) + 1) if xs else None
