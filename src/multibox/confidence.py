"""How sure a difference in AP is: a paired bootstrap over the images of a data set.

On few images, AP hangs on which images they happen to be. How much, is seen by drawing as many images from them, with
repetition, over and over, and measuring both models on each draw. The pairing matters: two models that fail on the same
images differ far less than either varies.

Source: Efron, "Bootstrap methods: another look at the jackknife", 1979; percentile intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multibox import boxes as geometry
from multibox.data.coco import CocoData, Record
from multibox.evaluate import MAX_DETECTIONS_PER_CLASS
from multibox.structures import Detections

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
"""COCO's, where precision is read."""

COVERED = (2.5, 97.5)
"""Percentiles between which 95 % of the draws lie."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A difference in AP points (of 100), and between what 95 % of the draws of images put it."""

    value: float
    low: float
    high: float

    def __neg__(self) -> Interval:
        """The same difference seen from the other side."""
        return Interval(-self.value, -self.high, -self.low)

    def __str__(self) -> str:
        return f"{self.value:+.2f} [{self.low:+.2f} {self.high:+.2f}]"


def ap_difference(
    reference: Sequence[Detections],
    other: Sequence[Detections],
    data: CocoData,
    *,
    resamples: int = 200,
    seed: int = 0,
) -> Interval:
    """The AP of `other` less that of `reference` on the same images, in points; above 0, `other` is better.

    Detections pair up with the records of the data set, which has an object. 200 draws place the ends of the interval
    to about a tenth of its width.
    """
    assert len(reference) == len(other) == len(data.records)
    assert sum(data.objects_per_class), "without objects there is no AP"
    before, after = _Matches(reference, data), _Matches(other, data)
    count = len(data.records)

    def difference(weights: NDArray[np.int64]) -> float:
        return 100 * (after.ap(weights) - before.ap(weights))

    value = difference(np.ones(count, dtype=np.int64))
    rng = np.random.default_rng(seed)
    draws = (np.bincount(rng.integers(0, count, count), minlength=count) for _ in range(resamples))
    differences = [difference(draw) for draw in draws]
    # A draw that has no object at all says nothing.
    low, high = np.percentile([one for one in differences if not np.isnan(one)] or [value], COVERED)
    return Interval(value, float(low), float(high))


class _Matches:
    """Detections of a data set with their hits, which do not depend on the other images: AP of any draw is quick."""

    def __init__(self, detections: Sequence[Detections], data: CocoData) -> None:
        self._classes = [
            _ClassMatches(detections, data.records, label) for label in np.flatnonzero(data.objects_per_class).tolist()
        ]

    def ap(self, weights: NDArray[np.int64]) -> float:
        """COCO's AP, 0..1, if each image were there as often as `weights` (images,) says; NaN without any object."""
        found = [one.ap(weights) for one in self._classes if one.num_objects @ weights]
        return float(np.mean(found)) if found else float("nan")


class _ClassMatches:
    """All detections D of one class, best first: `is_hit` and `counts` (10, D), and of which image each is."""

    def __init__(self, detections: Sequence[Detections], records: Sequence[Record], label: int) -> None:
        scores, images, hits, counts = [], [], [], []
        for index, (found, record) in enumerate(zip(detections, records, strict=True)):
            own = np.flatnonzero(found.labels == label)
            own = own[np.argsort(-found.scores[own], kind="stable")][:MAX_DETECTIONS_PER_CLASS]
            is_hit, is_counted = _match(_corners_px(found, own, record), record, record.labels == label)
            scores.append(found.scores[own])
            images.append(np.full(len(own), index))
            hits.append(is_hit)
            counts.append(is_counted)
        order = np.argsort(-np.concatenate(scores), kind="stable")
        self._images = np.concatenate(images)[order]
        self._is_hit = np.concatenate(hits, axis=1)[:, order]
        self._is_counted = np.concatenate(counts, axis=1)[:, order]
        self.num_objects = np.array([((one.labels == label) & ~one.is_crowd).sum() for one in records])

    def ap(self, weights: NDArray[np.int64]) -> float:
        """Mean over IoU thresholds and recalls of the interpolated precision."""
        often = weights[self._images]
        # An image that is drawn twice has each of its detections twice, one after the other: that is a larger step.
        hits = np.cumsum(self._is_hit * often, axis=1)
        counted = np.cumsum(self._is_counted * often, axis=1)
        precision = np.zeros((len(IOU_THRESHOLDS), len(often) + 1))  # beyond the last detection: 0
        np.divide(hits, counted, out=precision[:, :-1], where=counted > 0)
        precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        recalls = hits / (self.num_objects @ weights)
        places = np.stack([np.searchsorted(row, RECALLS, side="left") for row in recalls])
        return float(np.take_along_axis(precision, places, axis=1).mean())


def _corners_px(found: Detections, own: NDArray[np.int64], record: Record) -> NDArray[np.float64]:
    scale = np.array([record.width, record.height, record.width, record.height], dtype=np.float64)
    corners: NDArray[np.float64] = found.boxes[own].astype(np.float64) * scale
    return corners


def _match(
    boxes_px: NDArray[np.float64], record: Record, is_own: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which boxes D of an image, best first, hit an object, and which count at all, per IoU threshold: (10, D) each.

    Each box takes, of the objects that are left, the one that it overlaps most, crowds only if there is no other; what
    lies in a crowd counts neither for nor against. As pycocotools does it.
    """
    shape = (len(IOU_THRESHOLDS), len(boxes_px))
    is_hit, is_counted = np.zeros(shape, dtype=bool), np.ones(shape, dtype=bool)
    # Crowds last. Reversed, because of equal overlaps the last object wins and argmax takes the first.
    objects = np.flatnonzero(is_own)[::-1]
    is_crowd = record.is_crowd[objects]
    overlaps = _overlaps(boxes_px, record.boxes_px[objects], is_crowd)
    is_free = np.ones((shape[0], len(objects)), dtype=bool)
    thresholds = np.minimum(IOU_THRESHOLDS, 1 - 1e-10)[:, None]
    for i in np.flatnonzero((overlaps >= IOU_THRESHOLDS[0]).any(axis=1)):
        possible = is_free & (overlaps[i] >= thresholds)
        plain = possible & ~is_crowd
        rows = np.flatnonzero(plain.any(axis=1))
        taken = np.where(plain, overlaps[i], -1).argmax(axis=1)[rows]
        is_hit[rows, i] = True
        is_free[rows, taken] = False
        is_counted[:, i] = is_hit[:, i] | ~possible.any(axis=1)
    return is_hit, is_counted


def _overlaps(
    boxes_px: NDArray[np.float64], objects_px: NDArray[np.float64], is_crowd: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """IoU (D, N); with a crowd, the share of the box that lies in it."""
    inside = geometry.intersection(boxes_px, objects_px)
    areas, of_objects = geometry.area(boxes_px)[:, None], geometry.area(objects_px)
    base = np.where(is_crowd, areas, areas + of_objects - inside)
    overlaps: NDArray[np.float64] = np.divide(inside, base, out=np.zeros_like(inside), where=base > 0)
    return overlaps
