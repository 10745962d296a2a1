"""Boxes of all images and classes in columns, and which detections overlap which objects; `hits` makes hits of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from multibox.data.coco import CocoData, Record
from multibox.structures import Detections

MAX_PAIRS = 1_000_000
"""Number of pairs of a detection and an object that are compared at a time, which needs some 200 MB."""

Scalar = TypeVar("Scalar", bound=np.generic)


class BoxColumns(NamedTuple):
    """Boxes B of all images and classes, in the order of labels, then of images.

    `images` (B,): positions of the images; `rows` (B,): positions among the detections or the objects of the image.
    `scores` are those of detections, `is_crowd` that of objects.
    """

    labels: NDArray[np.int64]
    images: NDArray[np.int64]
    rows: NDArray[np.int64]
    boxes_px: NDArray[np.float64]
    areas_px: NDArray[np.float64]
    scores: NDArray[np.float32]
    is_crowd: NDArray[np.bool_]

    def take(self, positions: NDArray[np.int64]) -> BoxColumns:
        """Some of the boxes, in the order of these positions."""
        columns: list[Any] = [column[positions] for column in self]
        return BoxColumns(*columns)

    def groups(self, num_images: int) -> NDArray[np.int64]:
        """A number (B,) for each combination of a class and an image, ascending."""
        return self.labels * num_images + self.images


class Pairs(NamedTuple):
    """Pairs P of a detection and an object of the same class and image: their positions, and their overlap.

    The pairs of a detection follow each other, the best last; of equal overlaps, that with the last object.
    """

    boxes: NDArray[np.int64]
    objects: NDArray[np.int64]
    overlaps: NDArray[np.float64]

    def take(self, positions: NDArray[np.int64]) -> Pairs:
        """Some of the pairs, in the order of these positions."""
        columns: list[Any] = [column[positions] for column in self]
        return Pairs(*columns)


def overlaps(
    boxes_px: NDArray[np.float64], objects_px: NDArray[np.float64], is_crowd: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """IoU (D, N) of boxes (D, 4) with objects (N, 4); with a crowd, the share of the box that lies in it."""
    return _overlap(boxes_px[:, None], objects_px, is_crowd)


def corners_px(detections: Detections, record: Record) -> NDArray[np.float64]:
    """The boxes (D, 4) in pixels of the image, in double precision, as overlaps are measured."""
    scale = np.array([record.width, record.height, record.width, record.height], dtype=np.float64)
    corners: NDArray[np.float64] = detections.boxes.astype(np.float64) * scale
    return corners


def sorted_detections(detections: Sequence[Detections], data: CocoData, *, max_per_class: int) -> BoxColumns:
    """The detections by class, then image, then score, the best first; at most `max_per_class` of a class and image."""
    corners = [corners_px(each, record) for each, record in zip(detections, data.records, strict=True)]
    boxes_px = np.concatenate([np.zeros((0, 4)), *corners])
    columns = BoxColumns(
        labels=_joined([each.labels for each in detections], np.int64),
        images=np.repeat(np.arange(len(detections)), [len(each) for each in detections]),
        rows=_joined([np.arange(len(each)) for each in detections], np.int64),
        boxes_px=boxes_px,
        areas_px=np.prod(boxes_px[:, 2:] - boxes_px[:, :2], axis=1),
        scores=_joined([each.scores for each in detections], np.float32),
        is_crowd=np.zeros(len(boxes_px), dtype=bool),
    )
    columns = columns.take(np.lexsort((-columns.scores, columns.images, columns.labels)))
    return columns.take(np.flatnonzero(_ranks(columns.groups(len(detections))) < max_per_class))


def sorted_objects(data: CocoData) -> BoxColumns:
    """The objects of a data set in the order of classes, then of images, then of the record."""
    records = data.records
    boxes_px = np.concatenate([np.zeros((0, 4)), *(record.boxes_px for record in records)])
    objects = BoxColumns(
        labels=_joined([record.labels for record in records], np.int64),
        images=np.repeat(np.arange(len(records)), [len(record.labels) for record in records]),
        rows=_joined([np.arange(len(record.labels)) for record in records], np.int64),
        boxes_px=boxes_px,
        areas_px=_joined([record.areas_px for record in records], np.float64),
        scores=np.zeros(len(boxes_px), dtype=np.float32),
        is_crowd=_joined([record.is_crowd for record in records], np.bool_),
    )
    return objects.take(np.lexsort((objects.images, objects.labels)))


def overlapping_pairs(boxes: BoxColumns, objects: BoxColumns, *, num_images: int, least: float) -> Iterator[Pairs]:
    """The pairs of detections and objects that overlap by `least` or more, in rounds that follow each other.

    A round has no more than one detection of a class and image: those that come first in COCO's order come first here.
    """
    pairs = _overlapping(boxes, objects, num_images, least)
    candidates, own = np.unique(pairs.boxes, return_inverse=True)
    ranks = _ranks(boxes.groups(num_images)[candidates])[own]
    order = np.argsort(ranks, kind="stable")
    limits = np.searchsorted(ranks[order], np.arange(ranks.max(initial=-1) + 2))
    for start, stop in pairwise(limits):
        yield pairs.take(order[start:stop])


def _overlapping(boxes: BoxColumns, objects: BoxColumns, num_images: int, least: float) -> Pairs:
    groups, of_objects = boxes.groups(num_images), objects.groups(num_images)
    first = np.searchsorted(of_objects, groups, side="left")
    counts = np.searchsorted(of_objects, groups, side="right") - first
    ends = np.cumsum(counts)
    parts = []
    # Crowded images may have hundreds of millions of pairs, few of which overlap.
    for part in np.split(np.arange(len(groups)), np.flatnonzero(np.diff(ends // MAX_PAIRS)) + 1):
        of_boxes = np.repeat(part, counts[part])
        within = np.arange(len(of_boxes)) - np.repeat(np.cumsum(counts[part]) - counts[part], counts[part])
        of_pairs = first[of_boxes] + within
        shared = _overlap(boxes.boxes_px[of_boxes], objects.boxes_px[of_pairs], objects.is_crowd[of_pairs])
        parts.append(Pairs(of_boxes, of_pairs, shared).take(np.flatnonzero(shared >= least)))
    pairs = Pairs(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    return pairs.take(np.lexsort((pairs.objects, pairs.overlaps, pairs.boxes)))


def _overlap(
    boxes_px: NDArray[np.float64], objects_px: NDArray[np.float64], is_crowd: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """IoU (...) of boxes (..., 4) with objects (..., 4); with a crowd, the share of the box that lies in it."""
    sizes, of_objects = boxes_px[..., 2:] - boxes_px[..., :2], objects_px[..., 2:] - objects_px[..., :2]
    # The far corner is added up again from corner and size, as from a COCO file: else an overlap of just the threshold
    # is rounded to the other side of it.
    near = np.maximum(boxes_px[..., :2], objects_px[..., :2])
    far = np.minimum(boxes_px[..., :2] + sizes, objects_px[..., :2] + of_objects)
    inside = np.prod((far - near).clip(min=0), axis=-1)
    areas, object_areas = np.prod(sizes, axis=-1), np.prod(of_objects, axis=-1)
    base = np.where(is_crowd, areas, areas + object_areas - inside)
    shares: NDArray[np.float64] = np.divide(inside, base, out=np.zeros_like(inside), where=base > 0)
    return shares


def _ranks(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """The position of each entry within its group; groups come ascending."""
    ranks: NDArray[np.int64] = np.arange(len(groups)) - np.searchsorted(groups, groups, side="left")
    return ranks


def _joined(columns: Sequence[NDArray[Scalar]], kind: type[Scalar]) -> NDArray[Scalar]:
    return np.concatenate([np.zeros(0, dtype=kind), *columns])
