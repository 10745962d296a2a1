"""What is in a data set: images, objects of each class, and how large they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multibox.data.coco import CocoData


@dataclass(frozen=True, slots=True)
class ClassContents:
    """Objects of one class: how many, in how many images, and their side (square root of the area) in percent of the
    image's, at the 10th, 50th and 90th percentile; None where there is none.
    """

    name: str
    num_objects: int
    num_images: int
    sides: tuple[float, float, float] | None


@dataclass(frozen=True, slots=True)
class Contents:
    """What a split holds.

    `commonest_size` is the (width, height) of `num_of_commonest` images, one of `num_sizes` different sizes.
    """

    num_images: int
    num_objects: int
    num_empty: int
    commonest_size: tuple[int, int]
    num_of_commonest: int
    num_sizes: int
    classes: tuple[ClassContents, ...]


def contents(data: CocoData) -> Contents:
    """Count what a split holds; crowds do not count."""
    sizes: dict[tuple[int, int], int] = {}
    for record in data.records:
        sizes[record.width, record.height] = sizes.get((record.width, record.height), 0) + 1
    commonest = max(sizes, key=lambda size: (sizes[size], size))
    targets = [record.targets for record in data.records]
    return Contents(
        num_images=len(data.records),
        num_objects=sum(map(len, targets)),
        num_empty=sum(not len(target) for target in targets),
        commonest_size=commonest,
        num_of_commonest=sizes[commonest],
        num_sizes=len(sizes),
        classes=tuple(_of_class(data, label) for label in range(len(data.classes))),
    )


def sides(boxes: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N,): side of the square of the same area, as a fraction of the image's, of boxes (N, 4)."""
    wide: NDArray[np.float64] = np.sqrt(np.prod((boxes[:, 2:] - boxes[:, :2]).astype(np.float64), axis=1))
    return wide


def _of_class(data: CocoData, label: int) -> ClassContents:
    boxes_of_images = [record.targets.boxes[record.targets.labels == label] for record in data.records]
    boxes = np.concatenate(boxes_of_images)
    percent = None
    if len(boxes):
        low, middle, high = (100 * np.percentile(sides(boxes), (10, 50, 90))).tolist()
        percent = (low, middle, high)
    return ClassContents(data.classes[label], len(boxes), sum(map(bool, map(len, boxes_of_images))), percent)
