"""AP against the size of objects as the network sees them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from multibox.data.coco import CocoData, Record
from multibox.evaluate.average_precision import ap_by_area
from multibox.structures import Detections

EDGES_PX = (0.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 100000.0)
"""Sides in pixels of the network input; the finest level of the network has a cell every 16 pixels."""


@dataclass(frozen=True, slots=True)
class SizeRange:
    """Objects from `low_px` to below `high_px`: how many there are, and their AP and AP50, None without any."""

    low_px: float
    high_px: float
    num_objects: int
    ap: float | None
    ap50: float | None


def ap_by_size(detections: Sequence[Detections], data: CocoData, *, input_size: int) -> tuple[SizeRange, ...]:
    """AP per range of object size, of the ranges from the smallest to the largest that has objects.

    The side of an object is the square root of its area in pixels of the network input, to which an image is resized
    whatever its aspect ratio. As for COCO's small, medium and large: objects of other sizes, what hits them, and what
    hits nothing and has another size itself, count neither for nor against.
    """
    resized = dataclasses.replace(data, records=tuple(_resized(record, input_size) for record in data.records))
    areas = np.concatenate([record.areas_px[~record.is_crowd] for record in resized.records])
    # COCO's ranges have both of their ends; ours end just before the next begins.
    ranges = [(low**2, float(np.nextafter(high**2, 0))) for low, high in pairwise(EDGES_PX)]
    sizes = [
        SizeRange(low, high, int(((areas >= start) & (areas <= end)).sum()), *aps)
        for (low, high), (start, end), aps in zip(
            pairwise(EDGES_PX), ranges, ap_by_area(detections, resized, ranges), strict=True
        )
    ]
    occupied = [place for place, size in enumerate(sizes) if size.num_objects]
    return tuple(sizes[occupied[0] : occupied[-1] + 1]) if occupied else ()


def sides_px(data: CocoData, *, input_size: int) -> NDArray[np.float64]:
    """The square root of the area of each object that is no crowd, in pixels of the network input."""
    areas = [_areas(record, input_size)[~record.is_crowd] for record in data.records]
    return np.sqrt(np.concatenate(areas)) if areas else np.zeros(0)


def _areas(record: Record, input_size: int) -> NDArray[np.float64]:
    areas: NDArray[np.float64] = record.areas_px * input_size**2 / (record.width * record.height)
    return areas


def _resized(record: Record, input_size: int) -> Record:
    """As if the image had been resized on disk. Overlaps do not change when an axis is scaled."""
    scale = np.array([input_size / record.width, input_size / record.height] * 2)
    return dataclasses.replace(
        record,
        width=input_size,
        height=input_size,
        boxes_px=record.boxes_px * scale,
        areas_px=_areas(record, input_size),
    )
