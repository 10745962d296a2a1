"""COCO's average precision of detections, in total, per class and per object size. numpy only.

The figures are what pycocotools computes: at most 100 detections per image and class, mean over the IoU thresholds 0.50
to 0.95, and over the classes that have objects.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multibox.data.coco import CocoData
from multibox.evaluate.hits import EVERY_AREA, IOU_50, IOU_75, IOU_THRESHOLDS, RECALLS, Hits, find_hits_by_area
from multibox.structures import Detections

SMALL, MEDIUM, LARGE = (0.0, 32.0**2), (32.0**2, 96.0**2), (96.0**2, np.inf)
"""COCO's ranges of object area in pixels of the image; an area at a limit belongs to both ranges."""


@dataclass(frozen=True, slots=True)
class ClassMetrics:
    """Metrics of one class, fractions in 0..1; None where the data set has no object of it."""

    ap: float | None
    ap50: float | None
    recall: float | None
    num_objects: int


@dataclass(frozen=True, slots=True)
class Metrics:
    """COCO metrics of a data set, fractions in 0..1; None where no object could be found.

    `ap` is the mean over IoU thresholds 0.50 to 0.95, `ap50` and `ap75` at one threshold, `ap_small`, `ap_medium` and
    `ap_large` on objects of an area below 32², up to 96² and above; `recall` is COCO's AR@100. `per_class` follows the
    order of the classes. `num_objects` does not count crowds.
    """

    ap: float | None
    ap50: float | None
    ap75: float | None
    ap_small: float | None
    ap_medium: float | None
    ap_large: float | None
    recall: float | None
    per_class: Mapping[str, ClassMetrics]
    num_images: int
    num_objects: int

    def to_plain(self) -> dict[str, Any]:
        """The metrics as dictionaries and numbers, ready for JSON: a missing value is None, never NaN."""
        return dataclasses.asdict(self)


def measure(detections: Sequence[Detections], data: CocoData) -> Metrics:
    """COCO metrics of detections that pair up with the records of a data set.

    A class without objects has no metrics and does not count in the means. Objects without any detection give 0.
    """
    curves = [_curves(hits) for hits in find_hits_by_area(detections, data, (EVERY_AREA, SMALL, MEDIUM, LARGE))]
    (precision, recall), *by_size = curves
    num_objects = data.objects_per_class
    per_class = {
        name: ClassMetrics(
            ap=_mean(precision[label]),
            ap50=_mean(precision[label, IOU_50]),
            recall=_mean(recall[label]),
            num_objects=num_objects[label],
        )
        for label, name in enumerate(data.classes)
    }
    ap_small, ap_medium, ap_large = (_mean(of_size) for of_size, _ in by_size)
    return Metrics(
        ap=_mean(precision),
        ap50=_mean(precision[:, IOU_50]),
        ap75=_mean(precision[:, IOU_75]),
        ap_small=ap_small,
        ap_medium=ap_medium,
        ap_large=ap_large,
        recall=_mean(recall),
        per_class=per_class,
        num_images=len(data.records),
        num_objects=sum(num_objects),
    )


def ap_by_area(
    detections: Sequence[Detections], data: CocoData, ranges_px: Sequence[tuple[float, float]]
) -> tuple[tuple[float | None, float | None], ...]:
    """AP and AP50 on objects of each range of area, as COCO measures small, medium and large ones; None without any."""
    curves = (_curves(hits) for hits in find_hits_by_area(detections, data, ranges_px))
    return tuple((_mean(precision), _mean(precision[:, IOU_50])) for precision, _ in curves)


def _curves(hits: Hits) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Interpolated precision (K, 10, 101) and recall (K, 10) of each class; NaN for one without objects."""
    precision = np.full((len(hits.classes), len(IOU_THRESHOLDS), len(RECALLS)), np.nan)
    recall = np.full(precision.shape[:2], np.nan)
    for label in hits.measured:
        precision[label], recall[label] = hits.classes[label].precision(), hits.classes[label].recall
    return precision, recall


def _mean(values: NDArray[np.float64]) -> float | None:
    """The mean of what was measured; None where nothing was."""
    measured = values[~np.isnan(values)]
    return float(measured.mean()) if measured.size else None
