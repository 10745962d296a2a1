"""Cutting a large image into overlapping tiles, and the detections of the tiles into one list. numpy only.

A network sees an image at the size of its input; of 4000 pixels shown at 256, an object of 60 pixels has 4 left. Tiles
are shown larger. What they cost: a network run for each, and an object on a seam is seen in parts by two of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multibox import boxes as geometry
from multibox.structures import Detections, FloatArray, IntArray

CUT_PX = 2.0
"""Distance from a seam, in pixels of the network's input, up to which a box is taken for cut by it: boxes are not more
exact than that."""

SEEN_WHOLE = 0.7
"""Share of a cut box that must lie in a whole one to be taken for a part of it."""

AS_SURE = 0.5
"""Share of the score of a cut box that a whole one must have to take its place: a guess of a whole is no reason to drop
a sure part."""

SAME_EXTENT = 0.5
"""IoU, along the seam, from which two cut boxes on either side are taken for the two parts of one object."""

MAX_BOXES = 2000
"""Number of boxes of all tiles together that are compared, each with each, the best: a matrix of them has 32 MB."""


def tiles_px(width: int, height: int, *, side: int, overlap: float) -> IntArray:
    """The tiles (T, 4) of an image, x1 y1 x2 y2 in whole pixels: first the image as a whole, then row by row.

    Tiles are squares of `side` pixels, narrower only where the image is. Neighbours share at least the part `overlap`
    of a side, and all of them share the same within 1 pixel. An image that is no larger than a tile is the only one.
    """
    assert side > 0 and 0 <= overlap < 1
    whole = np.array([[0, 0, width, height]])
    lefts, tops = _starts(width, side, overlap), _starts(height, side, overlap)
    if len(lefts) == len(tops) == 1:
        return whole
    corners = np.array([(x, y) for y in tops for x in lefts])
    return np.concatenate([whole, np.concatenate([corners, np.minimum(corners + side, [width, height])], axis=1)])


def merge(
    of_tiles: Sequence[Detections], tiles: IntArray, *, width: int, height: int, input_size: int, iou_threshold: float
) -> Detections:
    """The detections of an image from those of its tiles (T, 4), which pair up; the first tile is the whole image.

    A box that is cut by a seam gives way to one that shows its object whole, be it of another tile or of the whole
    image. Two boxes that are cut by facing seams, with the same extent along them, are one object that is larger than
    the overlap: they are joined. Of what is left and overlaps by `iou_threshold`, the best of a class is kept.
    """
    pieces = _in_pixels(of_tiles, tiles, (width, height), input_size)
    pieces = pieces.take(np.argsort(-pieces.scores, kind="stable")[:MAX_BOXES])
    boxes, scores, labels = _join(pieces.take(~_is_part_of_a_whole(pieces)))
    order = np.argsort(-scores, kind="stable")
    boxes, scores, labels = boxes[order], scores[order], labels[order]
    fractions = geometry.clip(boxes / [width, height, width, height]).astype(np.float32)
    # Boxes of different classes are moved apart, so that one suppression does for all of them.
    kept = geometry.nms(fractions + 2 * labels[:, None].astype(np.float32), iou_threshold)
    return Detections(fractions[kept], scores[kept], labels[kept])


def _starts(length: int, side: int, overlap: float) -> list[int]:
    """Where tiles start along an axis, evenly."""
    if length <= side:
        return [0]
    count = math.ceil((length - side) / (side * (1 - overlap))) + 1
    return [round(number * (length - side) / (count - 1)) for number in range(count)]


@dataclass(frozen=True, slots=True)
class _Pieces:
    """What all tiles found: boxes (N, 4) in pixels of the image, the tile (N,) of each, and which of its sides (N, 4)
    lie on a border of the tile that is not one of the image.
    """

    boxes: NDArray[np.float64]
    scores: FloatArray
    labels: IntArray
    owners: IntArray
    cut: NDArray[np.bool_]

    def take(self, which: NDArray[Any]) -> _Pieces:
        """Some of them, by their positions or by truth values."""
        return _Pieces(self.boxes[which], self.scores[which], self.labels[which], self.owners[which], self.cut[which])

    def may_be_one(self) -> NDArray[np.bool_]:
        """Which pairs (N, N) have the same class and come from different tiles."""
        pairs: NDArray[np.bool_] = (self.labels[:, None] == self.labels) & (self.owners[:, None] != self.owners)
        return pairs


def _in_pixels(of_tiles: Sequence[Detections], tiles: IntArray, size: tuple[int, int], input_size: int) -> _Pieces:
    owners = np.repeat(np.arange(len(tiles)), [len(each) for each in of_tiles])
    own = tiles[owners]
    sides = np.tile(own[:, 2:] - own[:, :2], (1, 2))
    boxes = np.concatenate([each.boxes for each in of_tiles]).astype(np.float64) * sides + np.tile(own[:, :2], (1, 2))
    is_near = np.abs(boxes - own) <= CUT_PX * sides / input_size
    return _Pieces(
        boxes=boxes,
        scores=np.concatenate([each.scores for each in of_tiles]),
        labels=np.concatenate([each.labels for each in of_tiles]),
        owners=owners,
        cut=is_near & (own != [0, 0, *size]),
    )


def _is_part_of_a_whole(pieces: _Pieces) -> NDArray[np.bool_]:
    """Which boxes (N,) are cut and lie mostly in an uncut one that is about as sure."""
    is_cut = pieces.cut.any(axis=1)
    inside = geometry.intersection(pieces.boxes, pieces.boxes) / geometry.area(pieces.boxes).clip(min=1e-9)[:, None]
    is_as_sure = pieces.scores >= AS_SURE * pieces.scores[:, None]
    shows_whole = pieces.may_be_one() & ~is_cut & is_as_sure & (inside >= SEEN_WHOLE)
    is_part: NDArray[np.bool_] = is_cut & shows_whole.any(axis=1)
    return is_part


def _join(pieces: _Pieces) -> tuple[NDArray[np.float64], FloatArray, IntArray]:
    """Boxes, scores, labels; parts of one object have become the box around them, with the best of their scores."""
    groups = np.arange(len(pieces.boxes))
    for first, second in np.argwhere(_are_parts_of_one(pieces)):
        groups[groups == groups[second]] = groups[first]
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    around = [np.concatenate([pieces.boxes[own, :2].min(0), pieces.boxes[own, 2:].max(0)]) for own in members]
    best = np.array([own[pieces.scores[own].argmax()] for own in members], dtype=np.int64)
    return np.array(around).reshape(-1, 4), pieces.scores[best], pieces.labels[best]


def _are_parts_of_one(pieces: _Pieces) -> NDArray[np.bool_]:
    """Which pairs (N, N) overlap, the first cut at its right or lower side, the second at the facing one, with the same
    extent along the seam.
    """
    is_possible = pieces.may_be_one() & (geometry.intersection(pieces.boxes, pieces.boxes) > 0)
    result: NDArray[np.bool_] = np.zeros_like(is_possible)
    for axis in (0, 1):
        faces = pieces.cut[:, None, axis + 2] & pieces.cut[None, :, axis]
        result |= is_possible & faces & (_extent_iou(pieces.boxes, 1 - axis) >= SAME_EXTENT)
    return result


def _extent_iou(boxes: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """IoU (N, N) of the intervals that boxes cover along an axis."""
    low, high = boxes[:, axis], boxes[:, axis + 2]
    shared = (np.minimum(high[:, None], high) - np.maximum(low[:, None], low)).clip(min=0)
    together = np.maximum(high[:, None], high) - np.minimum(low[:, None], low)
    quotient: NDArray[np.float64] = shared / together.clip(min=1e-9)
    return quotient
