"""Precision, recall and F1 against the score from which a detection counts, and which score to choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multibox.data.coco import CocoData
from multibox.evaluate.hits import IOU_50, Hits, find_hits
from multibox.structures import Detections

THRESHOLDS = np.round(np.arange(2, 100) / 100, 2)
"""Scores from which detections may count, 0.02 to 0.99; below, the postprocessing of the templates keeps nothing."""

PLATEAU = 0.02
"""Loss of F1 that counts as none: on a hundred images F1 varies by about as much, and the very best is an accident."""


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """Per class K and threshold T of `THRESHOLDS`: `hits` (K, T), and `shown` (K, T), all detections of that score.

    An object is hit at IoU 0.5. `num_objects` (K,).
    """

    hits: NDArray[np.int64]
    shown: NDArray[np.int64]
    num_objects: NDArray[np.int64]

    @property
    def precision(self) -> NDArray[np.float64]:
        """The share (K, T) of detections that hit an object; 1 where there are none, as none is wrong."""
        return _divided(self.hits, self.shown, default=1.0)

    @property
    def recall(self) -> NDArray[np.float64]:
        """The share (K, T) of objects that are hit; 0 for a class without objects."""
        return _divided(self.hits, np.broadcast_to(self.num_objects[:, None], self.hits.shape), default=0.0)

    @property
    def f1(self) -> NDArray[np.float64]:
        """The harmonic mean (K, T) of precision and recall."""
        return _divided(2 * self.hits, self.shown + self.num_objects[:, None], default=0.0)


def count(hits: Hits) -> Counts:
    """How many detections hit, and how many there are, from each threshold on."""
    num_hits = np.stack([_from_each(of_class.scores, of_class.is_hit[IOU_50]) for of_class in hits.classes])
    shown = np.stack([_from_each(of_class.scores, of_class.is_counted[IOU_50]) for of_class in hits.classes])
    num_objects = np.array([of_class.num_objects.sum() for of_class in hits.classes], dtype=np.int64)
    return Counts(num_hits, shown, num_objects)


def suggest(counts: Counts) -> float | None:
    """The threshold of the best mean F1 over the classes that have objects; None where nothing is ever hit.

    Every class counts the same, as in AP. It is the middle of the thresholds around the best that are as good.
    """
    has_objects = counts.num_objects > 0
    return _middle_of_best(counts.f1[has_objects].mean(axis=0)) if has_objects.any() else None


def suggest_per_class(counts: Counts) -> tuple[float | None, ...]:
    """The threshold of the best F1 of each class alone; None for a class of which nothing is ever hit."""
    return tuple(_middle_of_best(values) for values in counts.f1)


def suggested(detections: Sequence[Detections], data: CocoData) -> float | None:
    """The threshold to choose for detections that pair up with the records of a data set."""
    return suggest(count(find_hits(detections, data)))


def _from_each(scores: NDArray[np.float32], values: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many values are true from each threshold on; scores come best first."""
    # A score of 0.3 is 0.30000001 or 0.29999998 in float32: both reach 0.3.
    places = np.searchsorted(-scores.astype(np.float64), -THRESHOLDS + 1e-7, side="right")
    sums: NDArray[np.int64] = np.concatenate([[0], np.cumsum(values, dtype=np.int64)])[places]
    return sums


def _middle_of_best(f1: NDArray[np.float64]) -> float | None:
    best = int(f1.argmax())
    if f1[best] <= 0:
        return None
    is_worse = f1 < f1[best] - PLATEAU
    before, after = np.flatnonzero(is_worse[:best]), np.flatnonzero(is_worse[best:])
    first = int(before[-1]) + 1 if before.size else 0
    last = best + int(after[0]) - 1 if after.size else len(f1) - 1
    return float(THRESHOLDS[(first + last) // 2])


def _divided(part: NDArray[np.int64], whole: NDArray[np.int64], *, default: float) -> NDArray[np.float64]:
    shares = np.full(part.shape, default)
    np.divide(part, whole, out=shares, where=whole > 0)
    return shares
