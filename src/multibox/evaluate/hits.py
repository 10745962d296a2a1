"""Which detection hits which object, by COCO's rules; average precision and its curve follow from that.

The hits in an image do not depend on the other images: with them, the AP of any draw of images is quick. All images and
classes are worked on at once, because a loop over them in Python would take minutes for a large data set.

Source: pycocotools, `cocoeval.py`, which the figures are tested to be equal to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from multibox.data.coco import CocoData
from multibox.evaluate.overlaps import BoxColumns, Pairs, overlapping_pairs, sorted_detections, sorted_objects
from multibox.structures import Detections

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""COCO's thresholds of IoU from which a detection hits an object: 0.50, 0.55, ... 0.95."""

IOU_50, IOU_75 = 0, 5
"""Positions of 0.50 and 0.75 in `IOU_THRESHOLDS`."""

RECALLS = np.linspace(0, 1, 101)
"""COCO's recalls, at which precision is read."""

AP, AP50 = range(2)
"""Columns of what `Hits.class_aps` gives."""

MAX_DETECTIONS_PER_CLASS = 100
"""Number of detections of a class that count in an image; the limit of the COCO challenge."""

NO_OBJECT = -1
"""Number in the place of an object where a detection hits none."""

EVERY_AREA = (0.0, np.inf)
"""The range that holds objects of every area."""

AreaRange = tuple[float, float]
"""The smallest and the largest area of objects, in pixels of the image; both belong to the range."""


@dataclass(frozen=True, eq=False)
class ClassHits:
    """The detections D of one class in all images, best first, and what each of them hits.

    `images` (D,): the position of its image. `rows` (D,): its position among the detections of that image. `objects`
    (10, D): per IoU threshold, the position in the image's record of the object that it hits, or `NO_OBJECT`.
    `is_counted` (10, D): false where it counts neither for nor against: in a crowd, or on an object of another area.
    `num_objects` (images,).
    """

    label: int
    scores: NDArray[np.float32]
    images: NDArray[np.int64]
    rows: NDArray[np.int64]
    objects: NDArray[np.int32]
    is_counted: NDArray[np.bool_]
    num_objects: NDArray[np.int64]

    @cached_property
    def is_hit(self) -> NDArray[np.bool_]:
        """(10, D): whether it hits an object."""
        hit: NDArray[np.bool_] = self.objects != NO_OBJECT
        return hit

    @property
    def recall(self) -> NDArray[np.float64]:
        """The share (10,) of objects that are hit, per IoU threshold; there is an object."""
        share: NDArray[np.float64] = self.is_hit.sum(axis=1) / self.num_objects.sum()
        return share

    def precision(self, weights: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """Interpolated precision (10, 101) at the IoU thresholds and recalls of COCO.

        `weights` (images,) says how often each image is there, once by default; together they have an object.
        """
        often: NDArray[np.int64] | int = 1 if weights is None else weights[self.images]
        # An image that is drawn twice has each of its detections twice, one after the other: that is a larger step.
        hits = np.cumsum(self.is_hit * often, axis=1)
        counted = np.cumsum(self.is_counted * often, axis=1)
        precision = np.zeros((len(IOU_THRESHOLDS), hits.shape[1] + 1))  # beyond the last detection: 0
        np.divide(hits, counted, out=precision[:, :-1], where=counted > 0)
        precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        recalls = hits / (self.num_objects.sum() if weights is None else self.num_objects @ weights)
        places = np.stack([np.searchsorted(row, RECALLS, side="left") for row in recalls])
        interpolated: NDArray[np.float64] = np.take_along_axis(precision, places, axis=1)
        return interpolated


@dataclass(frozen=True, slots=True)
class Hits:
    """The hits of all classes, in the order of the labels."""

    classes: tuple[ClassHits, ...]

    @property
    def measured(self) -> tuple[int, ...]:
        """The labels of the classes that have objects, the only ones with an AP."""
        return tuple(of_class.label for of_class in self.classes if of_class.num_objects.any())

    def class_aps(self, weights: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """AP and AP50 (K, 2), 0..1, of each class; NaN for one without objects. `weights`: how often images are there.

        The mean over the classes that are not NaN is COCO's AP.
        """
        aps = np.full((len(self.classes), 2), np.nan)
        for of_class in self.classes:
            if (of_class.num_objects.any() if weights is None else of_class.num_objects @ weights) == 0:
                continue
            precision = of_class.precision(weights)
            aps[of_class.label] = precision.mean(), precision[IOU_50].mean()
        return aps


def find_hits(detections: Sequence[Detections], data: CocoData) -> Hits:
    """The hits of detections that pair up with the records of a data set."""
    return next(find_hits_by_area(detections, data, [EVERY_AREA]))


def find_hits_by_area(
    detections: Sequence[Detections], data: CocoData, ranges_px: Sequence[AreaRange]
) -> Iterator[Hits]:
    """The hits on objects of each range of area, one range after the other, because each takes much memory.

    Objects of another area, what hits only these, and what hits nothing and has another area itself do not count.
    """
    assert len(detections) == len(data.records), f"{len(detections)} results for {len(data.records)} images"
    boxes = sorted_detections(detections, data, max_per_class=MAX_DETECTIONS_PER_CLASS)
    objects = sorted_objects(data)
    rounds = tuple(overlapping_pairs(boxes, objects, num_images=len(data.records), least=float(IOU_THRESHOLDS[0])))
    # Stable, so that of equal scores the first image comes first.
    order = np.lexsort((-boxes.scores, boxes.labels))
    for low, high in ranges_px:
        is_ignored = objects.is_crowd | (objects.areas_px < low) | (objects.areas_px > high)
        is_outside = (boxes.areas_px < low) | (boxes.areas_px > high)
        hit, is_counted = _assign(rounds, objects, is_ignored, is_outside)
        num_objects = _count_objects(objects, ~is_ignored, data)
        yield _by_class(boxes, order, hit[:, order], is_counted[:, order], num_objects)


def _assign(
    rounds: Sequence[Pairs], objects: BoxColumns, is_ignored: NDArray[np.bool_], is_outside: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """The row of the object that each detection hits, and which detections count, per IoU threshold: (10, D) each.

    Each detection, the best first, takes of the objects that are left the one that it overlaps most, an ignored one
    only if there is no other; a crowd is never used up. As pycocotools does it.
    """
    shape = (len(IOU_THRESHOLDS), len(is_outside))
    hit, is_counted = np.full(shape, NO_OBJECT, dtype=np.int32), np.ones(shape, dtype=bool)
    is_free = np.ones((shape[0], len(is_ignored)), dtype=bool)
    thresholds = np.minimum(IOU_THRESHOLDS, 1 - 1e-10)[:, None]
    for pairs in rounds:
        count = len(pairs.boxes)
        is_possible = is_free[:, pairs.objects] & (pairs.overlaps >= thresholds)
        # Of a detection's pairs, the last is the best; every pair with an object that is not ignored is better still.
        rated = np.where(is_possible, np.arange(count) + count * ~is_ignored[pairs.objects], -1)
        starts = np.flatnonzero(np.diff(pairs.boxes, prepend=-1))
        best = np.maximum.reduceat(rated, starts, axis=1)
        levels, places = np.nonzero(best >= 0)
        taken = pairs.objects[best[levels, places] % count]
        owners = pairs.boxes[starts[places]]
        is_hit, is_used = ~is_ignored[taken], ~objects.is_crowd[taken]
        hit[levels[is_hit], owners[is_hit]] = objects.rows[taken[is_hit]]
        is_counted[levels[~is_hit], owners[~is_hit]] = False
        is_free[levels[is_used], taken[is_used]] = False
    is_counted[:, is_outside] = hit[:, is_outside] != NO_OBJECT
    return hit, is_counted


def _count_objects(objects: BoxColumns, is_there: NDArray[np.bool_], data: CocoData) -> NDArray[np.int64]:
    """How many objects (K, images) each class has in each image."""
    shape = (len(data.classes), len(data.records))
    counts = np.bincount(objects.groups(shape[1])[is_there], minlength=shape[0] * shape[1])
    return counts.astype(np.int64).reshape(shape)


def _by_class(
    boxes: BoxColumns,
    order: NDArray[np.int64],
    hit: NDArray[np.int32],
    is_counted: NDArray[np.bool_],
    num_objects: NDArray[np.int64],
) -> Hits:
    """The hits class by class; `hit` and `is_counted` (10, D) have this order already."""
    columns = boxes.take(order)
    limits = np.searchsorted(columns.labels, np.arange(len(num_objects) + 1))
    return Hits(
        tuple(
            ClassHits(
                label=label,
                scores=columns.scores[start:stop],
                images=columns.images[start:stop],
                rows=columns.rows[start:stop],
                objects=hit[:, start:stop],
                is_counted=is_counted[:, start:stop],
                num_objects=num_objects[label],
            )
            for label, (start, stop) in enumerate(pairwise(limits))
        )
    )
