"""Which detection hits which object, by COCO's rules; average precision and its curve follow from that.

The hits in an image do not depend on the other images: with them, the AP of any draw of images is quick.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from multibox import boxes as geometry
from multibox.data.coco import CocoData, Record
from multibox.evaluate.run import IOU_50, MAX_DETECTIONS_PER_CLASS
from multibox.structures import Detections

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
"""COCO's, where precision is read."""

NO_OBJECT = -1


@dataclass(frozen=True, eq=False)
class ClassMatches:
    """The detections D of one class in all images, best first, and what each of them hits.

    `images` (D,): the position of its image. `rows` (D,): its position among the detections of that image. `objects`
    (10, D): per IoU threshold, the position in the image's record of the object that it hits, or `NO_OBJECT`.
    `is_counted` (10, D): false where it lies in a crowd and counts neither for nor against. `num_objects` (images,).
    """

    label: int
    scores: NDArray[np.float32]
    images: NDArray[np.int64]
    rows: NDArray[np.int64]
    objects: NDArray[np.int64]
    is_counted: NDArray[np.bool_]
    num_objects: NDArray[np.int64]

    @cached_property
    def is_hit(self) -> NDArray[np.bool_]:
        """(10, D): whether it hits an object."""
        hit: NDArray[np.bool_] = self.objects != NO_OBJECT
        return hit

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
        found: NDArray[np.float64] = np.take_along_axis(precision, places, axis=1)
        return found


@dataclass(frozen=True, slots=True)
class Matches:
    """The hits of all classes; `measured` are the labels of those that have objects, the only ones with an AP."""

    classes: tuple[ClassMatches, ...]

    @property
    def measured(self) -> tuple[int, ...]:
        """The labels of the classes that have objects."""
        return tuple(one.label for one in self.classes if one.num_objects.any())

    def class_aps(self, weights: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """AP and AP50 (K, 2), 0..1, of each class; NaN for one without objects. `weights`: how often images are there.

        The mean over the classes that are not NaN is COCO's AP.
        """
        found = np.full((len(self.classes), 2), np.nan)
        for one in self.classes:
            if (one.num_objects.any() if weights is None else one.num_objects @ weights) == 0:
                continue
            precision = one.precision(weights)
            found[one.label] = precision.mean(), precision[IOU_50].mean()
        return found


def match(detections: Sequence[Detections], data: CocoData) -> Matches:
    """The hits of detections that pair up with the records of a data set."""
    assert len(detections) == len(data.records), f"{len(detections)} results for {len(data.records)} images"
    num_objects = np.zeros((len(data.classes), len(data.records)), dtype=np.int64)
    parts: list[list[_ImageMatches]] = [[] for _ in data.classes]
    for index, (found, record) in enumerate(zip(detections, data.records, strict=True)):
        np.add.at(num_objects[:, index], record.labels[~record.is_crowd], 1)
        corners = corners_px(found, record)
        for label in np.unique(found.labels).tolist():
            parts[label].append(_match_image(index, found, corners, record, label))
    return Matches(tuple(_joined(some, label, num_objects[label]) for label, some in enumerate(parts)))


def overlaps(
    boxes_px: NDArray[np.float64], objects_px: NDArray[np.float64], is_crowd: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """IoU (D, N); with a crowd, the share of the box that lies in it."""
    inside = geometry.intersection(boxes_px, objects_px)
    areas, of_objects = geometry.area(boxes_px)[:, None], geometry.area(objects_px)
    base = np.where(is_crowd, areas, areas + of_objects - inside)
    found: NDArray[np.float64] = np.divide(inside, base, out=np.zeros_like(inside), where=base > 0)
    return found


def corners_px(found: Detections, record: Record) -> NDArray[np.float64]:
    """The boxes (D, 4) in pixels of the image, in double precision, as overlaps are measured."""
    scale = np.array([record.width, record.height, record.width, record.height], dtype=np.float64)
    corners: NDArray[np.float64] = found.boxes.astype(np.float64) * scale
    return corners


class _ImageMatches(NamedTuple):
    """The columns of `ClassMatches`, of one image."""

    scores: NDArray[np.float32]
    images: NDArray[np.int64]
    rows: NDArray[np.int64]
    objects: NDArray[np.int64]
    is_counted: NDArray[np.bool_]


def _joined(parts: Sequence[_ImageMatches], label: int, num_objects: NDArray[np.int64]) -> ClassMatches:
    if not parts:
        none, levels = np.zeros(0, dtype=np.int64), (len(IOU_THRESHOLDS), 0)
        nothing = np.zeros(levels, dtype=np.int64), np.zeros(levels, dtype=bool)
        return ClassMatches(label, np.zeros(0, dtype=np.float32), none, none, *nothing, num_objects)
    scores, images, rows, objects, is_counted = (np.concatenate(column, axis=-1) for column in zip(*parts, strict=True))
    order = np.argsort(-scores, kind="stable")
    return ClassMatches(
        label=label,
        scores=scores[order],
        images=images[order],
        rows=rows[order],
        objects=objects[:, order],
        is_counted=is_counted[:, order],
        num_objects=num_objects,
    )


def _match_image(
    index: int, found: Detections, corners: NDArray[np.float64], record: Record, label: int
) -> _ImageMatches:
    rows = np.flatnonzero(found.labels == label)
    rows = rows[np.argsort(-found.scores[rows], kind="stable")][:MAX_DETECTIONS_PER_CLASS]
    objects, is_counted = _match_boxes(corners[rows], record, record.labels == label)
    return _ImageMatches(found.scores[rows], np.full(len(rows), index), rows, objects, is_counted)


def _match_boxes(
    boxes_px: NDArray[np.float64], record: Record, is_own: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Which object each box D of an image, best first, hits, and which count at all, per IoU threshold: (10, D) each.

    Each box takes, of the objects that are left, the one that it overlaps most, crowds only if there is no other; what
    lies in a crowd counts neither for nor against. As pycocotools does it.
    """
    shape = (len(IOU_THRESHOLDS), len(boxes_px))
    hit, is_counted = np.full(shape, NO_OBJECT, dtype=np.int64), np.ones(shape, dtype=bool)
    if not is_own.any():
        return hit, is_counted
    # Crowds last. Reversed, because of equal overlaps the last object wins and argmax takes the first.
    objects = np.flatnonzero(is_own)[::-1]
    is_crowd = record.is_crowd[objects]
    shared = overlaps(boxes_px, record.boxes_px[objects], is_crowd)
    is_free = np.ones((shape[0], len(objects)), dtype=bool)
    thresholds = np.minimum(IOU_THRESHOLDS, 1 - 1e-10)[:, None]
    for i in np.flatnonzero((shared >= IOU_THRESHOLDS[0]).any(axis=1)):
        possible = is_free & (shared[i] >= thresholds)
        plain = possible & ~is_crowd
        levels = np.flatnonzero(plain.any(axis=1))
        taken = np.where(plain, shared[i], -1).argmax(axis=1)[levels]
        hit[levels, i] = objects[taken]
        is_free[levels, taken] = False
        is_counted[:, i] = (hit[:, i] != NO_OBJECT) | ~possible.any(axis=1)
    return hit, is_counted
