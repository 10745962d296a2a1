"""How sure an AP is, or a difference of two: a bootstrap over the images of a data set, paired for a difference.

On few images, AP hangs on which images they happen to be. How much, is seen by drawing as many images from them, with
repetition, over and over, and measuring on each draw. Of two models, both are measured on the same draws: two that
fail on the same images differ far less than either varies.

Source: Efron, "Bootstrap methods: another look at the jackknife", 1979; percentile intervals.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multibox.data.coco import CocoData
from multibox.evaluate.hits import AP, AP50, Hits, find_hits
from multibox.structures import Detections

COVERED = (2.5, 97.5)
"""Percentiles between which 95 % of the draws lie."""

DEVIATIONS_COVERED = 1.96
"""Number of standard deviations to either side of the mean that hold 95 % of a normal distribution."""

RESAMPLES = 200
"""Number of draws of images; so many place the ends of an interval to about a tenth of its width."""


@dataclass(frozen=True, slots=True)
class Interval:
    """AP points (of 100), or a difference in them, and between what 95 % of the draws of images put it."""

    value: float
    low: float
    high: float

    @property
    def deviation(self) -> float:
        """Standard deviation in points, if the draws are normal.

        It reaches farther than the draws: 200 of them do not say where the last one in two thousand would lie.
        """
        return (self.high - self.low) / (2 * DEVIATIONS_COVERED)

    def __neg__(self) -> Interval:
        """The difference seen from the other side: of the first to the second."""
        return Interval(-self.value, -self.high, -self.low)

    def __str__(self) -> str:
        return f"{self.value:+.2f} [{self.low:+.2f} {self.high:+.2f}]"


@dataclass(frozen=True, slots=True)
class Intervals:
    """The intervals of AP and AP50 over all classes, and of each class; None for one without objects."""

    ap: Interval
    ap50: Interval
    ap_per_class: tuple[Interval | None, ...]
    ap50_per_class: tuple[Interval | None, ...]


def ap_difference(
    reference: Sequence[Detections],
    other: Sequence[Detections],
    data: CocoData,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """The AP of `other` less that of `reference` on the same images, in points; above 0, `other` is better.

    Detections pair up with the records of the data set, which has an object.
    """
    return ap_differences(reference, other, data, resamples=resamples, seed=seed).ap


def ap_differences(
    reference: Sequence[Detections],
    other: Sequence[Detections],
    data: CocoData,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Intervals:
    """The differences in AP and AP50 of `other` to `reference`, over all classes and for each, in points.

    Detections pair up with the records of the data set, which has an object.
    """
    before = _drawn(find_hits(reference, data), data, resamples, seed)
    after = _drawn(find_hits(other, data), data, resamples, seed)
    return _intervals(100 * (_with_mean(after) - _with_mean(before)))


def ap_intervals(
    detections: Sequence[Detections], data: CocoData, *, resamples: int = RESAMPLES, seed: int = 0
) -> Intervals:
    """AP and AP50 of detections, over all classes and for each, in points.

    Detections pair up with the records of the data set, which has an object. A draw has fewer different images, on
    which AP is a little higher: the intervals are moved by what the mean of the draws is above the figure, else they
    might not even hold it.
    """
    values = 100 * _with_mean(_drawn(find_hits(detections, data), data, resamples, seed))
    return _intervals(np.concatenate([values[:1], _without_bias(values)]))


def _drawn(hits: Hits, data: CocoData, resamples: int, seed: int) -> NDArray[np.float64]:
    """AP and AP50 of each class (1 + draws, K, 2); first on all images as they are, then on each draw."""
    assert sum(data.objects_per_class), "without objects there is no AP"
    draws = _draws(len(data.records), resamples, seed)
    return np.stack([hits.class_aps(), *(hits.class_aps(weights) for weights in draws)])


def _draws(count: int, resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """How often each of `count` images is in each draw."""
    rng = np.random.default_rng(seed)
    for _ in range(resamples):
        yield np.bincount(rng.integers(0, count, count), minlength=count)


def _with_mean(per_class: NDArray[np.float64]) -> NDArray[np.float64]:
    """With the mean over the classes that have objects (draws, K + 1, 2) behind them; NaN where no class has."""
    is_there = ~np.isnan(per_class)
    count = is_there.sum(axis=1)
    mean = np.divide(np.nansum(per_class, axis=1), count, out=np.full(count.shape, np.nan), where=count > 0)
    return np.concatenate([per_class, mean[:, None]], axis=1)


def _without_bias(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The draws, moved so that their mean is the first value, and cut where there is no AP."""
    draws = values[1:]
    is_there = ~np.isnan(draws)
    count = is_there.sum(axis=0)
    mean = np.divide(np.nansum(draws, axis=0), count, out=np.zeros(count.shape), where=count > 0)
    moved: NDArray[np.float64] = np.clip(draws - (mean - values[0]), 0, 100)
    return moved


def _intervals(values: NDArray[np.float64]) -> Intervals:
    by_kind = [[_interval(column) for column in values[..., kind].T] for kind in (AP, AP50)]
    ap, ap50 = by_kind[AP][-1], by_kind[AP50][-1]
    assert ap is not None and ap50 is not None
    return Intervals(ap, ap50, tuple(by_kind[AP][:-1]), tuple(by_kind[AP50][:-1]))


def _interval(values: NDArray[np.float64]) -> Interval | None:
    """That of the first value, from the others."""
    if np.isnan(values[0]):
        return None
    # A draw that has no object at all says nothing.
    draws = values[1:][~np.isnan(values[1:])]
    low, high = np.percentile(draws if draws.size else values[:1], COVERED)
    return Interval(float(values[0]), float(low), float(high))
