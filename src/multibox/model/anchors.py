"""Anchors: the reference boxes of every cell, and fitting them to the boxes of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multibox.boxes import iou
from multibox.structures import FloatArray

Sizes = Sequence[tuple[float, float]]
LevelSizes = tuple[tuple[tuple[float, float], ...], ...]

MAX_BOXES = 4000
"""Number of boxes on which anchors are judged; the mean over so many is known to about 0.003."""


def make_anchors(
    anchors_px: Sequence[Sizes], strides: Sequence[int], input_size: int, *, offset: float = 0.5
) -> FloatArray:
    """Anchors (A, 4) as fractions of the image, in the order of the network's output.

    `anchors_px` holds for each level the (width, height) of the anchors of a cell, in pixels of the square input of
    `input_size` pixels; those of cell (x, y) have their centre at ((x + offset) * stride, (y + offset) * stride): 0.5
    is the middle of the cell, 0 its top left corner. Anchors may reach over the border; nothing is rounded or clipped.
    """
    levels = []
    for sizes, stride in zip(anchors_px, strides, strict=True):
        centres = (np.arange(input_size // stride, dtype=np.float32) + np.float32(offset)) * stride
        y, x = np.meshgrid(centres, centres, indexing="ij")
        centre = np.stack([x, y], axis=-1)[:, :, None, :]
        half = np.asarray(sizes, dtype=np.float32)[None, None, :, :] / 2
        levels.append(np.concatenate([centre - half, centre + half], axis=-1).reshape(-1, 4))
    return (np.concatenate(levels) / np.float32(input_size)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class AnchorFit:
    """How well anchors meet boxes, over boxes, each with the best of all anchors where they stand.

    `mean_iou`: mean best IoU. `recall`: share of boxes whose best IoU reaches the matching threshold.
    """

    mean_iou: float
    recall: float


def measure_fit(boxes: FloatArray, anchors: FloatArray, *, iou_threshold: float) -> AnchorFit:
    """How well `anchors` (A, 4) meet `boxes` (N, 4), N > 0."""
    # Few boxes at a time: their IoU with all anchors stay in the processor's cache, which takes a third of the time.
    best = np.concatenate([iou(part, anchors).max(axis=1) for part in np.array_split(boxes, len(boxes) // 64 + 1)])
    return AnchorFit(float(best.mean()), float((best >= iou_threshold).mean()))


def fit_anchors(
    boxes: FloatArray, given_px: LevelSizes, strides: Sequence[int], input_size: int, *, iou_threshold: float, seed: int
) -> tuple[LevelSizes, AnchorFit, AnchorFit]:
    """Anchor sizes fitted to boxes (N, 4) with as many on each level as `given_px`; the fit before and after.

    Several divisions of the boxes between the levels are clustered and the anchors that fit best, measured where they
    stand, are taken. A division by size matters: a coarse level has too few cells for small boxes, however well the
    shape of its anchors suits them. A level that gets too few boxes keeps its given anchors.
    """
    random = np.random.default_rng(seed)
    boxes = _at_most(boxes, MAX_BOXES, random)
    sizes_px = ((boxes[:, 2:] - boxes[:, :2]) * input_size).astype(np.float64)
    candidates = [given_px, _cluster_by_rank(sizes_px, given_px, random)]
    candidates += [_cluster_by_size(sizes_px, given_px, limit, random) for limit in _limits(strides)]
    fits = [
        measure_fit(boxes, make_anchors(sizes, strides, input_size), iou_threshold=iou_threshold)
        for sizes in candidates
    ]
    # Recall is what limits a detector; among equals to a hundredth, the closer anchors are easier to learn from.
    best = max(range(len(fits)), key=lambda i: (round(fits[i].recall, 2), fits[i].mean_iou))
    return candidates[best], fits[0], fits[best]


@dataclass(frozen=True, slots=True)
class Choice:
    """Anchors for a data set. `known` is their place among those offered, None for fitted ones.

    `fits` are those of the offered anchors, in their order, and `fitted` that of the fitted ones.
    """

    anchors_px: LevelSizes
    known: int | None
    fits: tuple[AnchorFit, ...]
    fitted: AnchorFit


def choose_anchors(
    boxes: FloatArray,
    offered: Sequence[LevelSizes],
    strides: Sequence[int],
    input_size: int,
    *,
    iou_threshold: float,
    min_gain: float,
    seed: int,
) -> Choice:
    """The first of the `offered` anchors that fitted ones do not beat by `min_gain` in recall; else the fitted ones.

    Anchors that were made for many kinds of objects come before fitted ones, because fitted ones are all of the sizes
    in the data, whereas crops and mosaics show objects at other sizes.
    """
    fitted_px, first, fitted = fit_anchors(
        boxes, offered[0], strides, input_size, iou_threshold=iou_threshold, seed=seed
    )
    boxes = _at_most(boxes, MAX_BOXES, np.random.default_rng(seed))  # the same as in the fit, whose first draw it is
    others = [make_anchors(sizes, strides, input_size) for sizes in offered[1:]]
    fits = (first, *(measure_fit(boxes, anchors, iou_threshold=iou_threshold) for anchors in others))
    known = next((i for i, fit in enumerate(fits) if fitted.recall - fit.recall < min_gain), None)
    return Choice(fitted_px if known is None else offered[known], known, fits, fitted)


def cluster(sizes: NDArray[np.float64], count: int, random: np.random.Generator) -> list[tuple[float, float]]:
    """`count` (width, height) pairs that represent sizes (N, 2), N >= count, smallest area first.

    k-means with 1 - IoU of boxes with a common centre as distance, the centres being medians.
    Source: Redmon and Farhadi, "YOLO9000: Better, Faster, Stronger", 2017, section 2, "Dimension Clusters".
    """
    centres = sizes[_spread_out(sizes, count, random)]
    assigned = np.full(len(sizes), -1)
    for _ in range(100):
        nearest = _size_iou(sizes, centres).argmax(axis=1)
        if (nearest == assigned).all():
            break
        assigned = nearest
        for i in range(count):
            if (assigned == i).any():
                centres[i] = np.median(sizes[assigned == i], axis=0)
    centres = centres[np.argsort(centres.prod(axis=1), kind="stable")]
    return [(round(float(width), 3), round(float(height), 3)) for width, height in centres]


def _at_most(boxes: FloatArray, count: int, random: np.random.Generator) -> FloatArray:
    return boxes if len(boxes) <= count else boxes[random.choice(len(boxes), count, replace=False)]


def _cluster_by_rank(sizes: NDArray[np.float64], given: LevelSizes, random: np.random.Generator) -> LevelSizes:
    counts = [len(level) for level in given]
    if len(sizes) < sum(counts):
        return given
    ordered = cluster(sizes, sum(counts), random)
    ends = np.cumsum(counts)
    return tuple(tuple(ordered[end - count : end]) for count, end in zip(counts, ends, strict=True))


def _cluster_by_size(
    sizes: NDArray[np.float64], given: LevelSizes, limits: Sequence[float], random: np.random.Generator
) -> LevelSizes:
    level_of = np.searchsorted(np.asarray(limits), np.sqrt(sizes.prod(axis=1)))
    levels = []
    for level, anchors in enumerate(given):
        members = sizes[level_of == level]
        levels.append(tuple(cluster(members, len(anchors), random)) if len(members) >= 4 * len(anchors) else anchors)
    return tuple(levels)


def _limits(strides: Sequence[int]) -> list[list[float]]:
    """Sides (square root of area, px) at which boxes pass from one level to the next, several proposals."""
    return [[factor * stride for stride in strides[:-1]] for factor in (2.0, 3.0, 4.0, 6.0)]


def _spread_out(sizes: NDArray[np.float64], count: int, random: np.random.Generator) -> list[int]:
    """Rows to start from, each drawn with a chance that grows with its distance to those before (k-means++)."""
    chosen = [int(random.integers(len(sizes)))]
    while len(chosen) < count:
        distance = 1 - _size_iou(sizes, sizes[chosen]).max(axis=1)
        total = distance.sum()
        chances = distance / total if total > 0 else None
        chosen.append(int(random.choice(len(sizes), p=chances)))
    return chosen


def _size_iou(sizes: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    overlap = np.minimum(sizes[:, None], others[None]).prod(axis=2)
    union = sizes.prod(axis=1)[:, None] + others.prod(axis=1)[None] - overlap
    result: NDArray[np.float64] = overlap / union
    return result
