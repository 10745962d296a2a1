"""Which class is taken for which: a matrix with background, at one score threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multibox.data.coco import CocoData, Record
from multibox.evaluate.hits import IOU_50, NO_OBJECT, Hits
from multibox.evaluate.overlaps import corners_px, overlaps
from multibox.structures import Detections

IOU = 0.5


@dataclass(frozen=True, slots=True)
class Confusion:
    """A detection on an object of another class: of the image `image`, row `row`, the object `item` of its record."""

    image: int
    row: int
    item: int


def confusion_matrix(
    detections: Sequence[Detections], data: CocoData, hits: Hits, *, threshold: float
) -> tuple[NDArray[np.int64], tuple[Confusion, ...]]:
    """Counts (K + 1, K + 1): row, what an object is; column, what it is taken for; the last of each is background.

    Only detections of at least `threshold` are looked at. First, each takes an object of its own class, as for AP: the
    diagonal is what recall counts. What is left over pairs up regardless of class, best score first, with the object
    that it overlaps most, from IoU 0.5: a free one if there is any, else one of another class that is taken already. So
    an object that is found, and called something else too, counts in both cells. An object that nothing is on is missed
    (last column); a detection that is on none, or on one of its class that is taken, is on background (last row). What
    lies in a crowd of its class counts nowhere.
    """
    num_classes = len(data.classes)
    table = np.zeros((num_classes + 1, num_classes + 1), dtype=np.int64)
    left_over: list[list[tuple[float, int]]] = [[] for _ in data.records]
    is_hit = [np.zeros(len(record.labels), dtype=bool) for record in data.records]
    for of_class in hits.classes:
        for place in np.flatnonzero(of_class.scores >= threshold).tolist():
            image, item = int(of_class.images[place]), int(of_class.objects[IOU_50, place])
            if item != NO_OBJECT:
                is_hit[image][item] = True
                table[of_class.label, of_class.label] += 1
            elif of_class.is_counted[IOU_50, place]:
                left_over[image].append((-float(of_class.scores[place]), int(of_class.rows[place])))
    confusions: list[Confusion] = []
    for image, (detected, record) in enumerate(zip(detections, data.records, strict=True)):
        rows = [row for _, row in sorted(left_over[image])]
        pairs = _pairs(detected, rows, record, is_hit[image])
        for row in rows:
            item = pairs.get(row, NO_OBJECT)
            truth = num_classes if item == NO_OBJECT else int(record.labels[item])
            table[truth, detected.labels[row]] += 1
            if item != NO_OBJECT:
                is_hit[image][item] = True
                confusions.append(Confusion(image, row, item))
        missed = record.labels[~is_hit[image] & ~record.is_crowd]
        np.add.at(table[:, num_classes], missed, 1)
    return table, tuple(confusions)


def _pairs(detected: Detections, rows: Sequence[int], record: Record, is_hit: NDArray[np.bool_]) -> dict[int, int]:
    """The object of each detection in `rows` that has one."""
    is_taken = is_hit.copy()
    shared = overlaps(corners_px(detected, record)[list(rows)], record.boxes_px, np.zeros(len(is_hit), dtype=bool))
    shared = np.where(record.is_crowd, -1.0, shared)
    pairs: dict[int, int] = {}
    for place, row in enumerate(rows):
        is_other = record.labels != detected.labels[row]
        for allowed in (~is_taken & ~record.is_crowd, is_taken & is_other):
            rated = np.where(allowed, shared[place], -1.0)
            if rated.max(initial=-1.0) >= IOU:
                pairs[row] = int(rated.argmax())
                is_taken[pairs[row]] = True
                break
    return pairs
