"""What the four numbers of a box mean, told by all boxes of a set together.

A single box may lie anywhere; but if most boxes of a set leave their images as the format has them, and nearly all lie
well inside when read as something else (two corners for a corner and a size, pixels for fractions), they were written
as that. One rule serves COCO, YOLO and Pascal VOC, which differ in what they declare.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from multibox.wording import counted

Shape = Literal["corner and size", "centre and size", "two corners"]

Values = NDArray[np.float64]

TOLERANCE_PX = 2.0
"""Number of pixels that a box may leave its image by, and is still inside: rounding, or counting from 1."""

TOLERANCE = 0.01
"""Share of the image's side that a box may leave it by, for a hasty hand."""

LEAST_SIDE_PX = 1.0
"""Least width and height in pixels of a box that somebody drew. Fractions that are read as pixels are smaller."""

NEARLY_ALL = 0.95
"""Share of the boxes that must fit another reading, so that it is believed."""

MOST_THAT_FIT = 0.75
"""Share of the boxes that may fit as the format has them, while another reading is believed.

Of two corners that are read as a corner and a size, those fit whose centre is in the upper left quarter: a third or so,
and more where the objects are in one corner. Of boxes that are what they should be, nearly all do.
"""

FEWEST_BOXES = 4
"""Number of boxes below which nothing is told from their shape: three may lie anywhere."""

FEWEST_OF_A_PART = 5
"""Number of boxes of a part of a set, from which on a person should look at what they mean."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A way to read four numbers: as fractions of the image's sides or as pixels, and as which shape."""

    shape: Shape
    is_fraction: bool

    @property
    def title(self) -> str:
        """How sentences name it: "two corners (x1, y1, x2, y2) in pixels"."""
        numbers = {
            "corner and size": "x, y of a corner, width, height",
            "centre and size": "x, y of the centre, width, height",
            "two corners": "x1, y1, x2, y2",
        }[self.shape]
        return f"{self.shape} ({numbers}) in {'fractions of the image' if self.is_fraction else 'pixels'}"


COCO = Reading("corner and size", is_fraction=False)
YOLO = Reading("centre and size", is_fraction=True)
PASCAL_VOC = Reading("two corners", is_fraction=False)

READINGS = tuple(
    Reading(shape, is_fraction)
    for shape in ("corner and size", "centre and size", "two corners")
    for is_fraction in (False, True)
)


@dataclass(frozen=True, slots=True)
class Meaning:
    """That `count` of `total` boxes are to be read in another way than the format `declared`.

    `is_certain`: nearly all boxes are concerned, so that the set cannot be used as it is; else only the `count`.
    `rival`: a reading that fits as well, and is only less usual.
    """

    declared: Reading
    reading: Reading
    count: int
    total: int
    is_certain: bool
    rival: Reading | None = None

    @property
    def text(self) -> str:
        """The finding as a sentence without its end."""
        rival = f" (they fit as {self.rival.title}, too)" if self.rival is not None else ""
        if self.is_certain:
            of = "all" if self.count == self.total else f"{self.count:,} of"
            return (
                f"{of} {counted(self.total, 'box', 'boxes')} do not fit as {self.declared.title}, but as "
                f"{self.reading.title}{rival}: the numbers seem to mean that"
            )
        return (
            f"{self.count:,} of {counted(self.total, 'box', 'boxes')} leave their images by far as "
            f"{self.declared.title}, but would fit as {self.reading.title}{rival}: look at them"
        )


def corners_of(values: Values, sizes: Values, reading: Reading) -> Values:
    """Corners (N, 4) in pixels of numbers (N, 4) of images of widths and heights (N, 2)."""
    scale = np.concatenate([sizes, sizes], axis=1) if reading.is_fraction else 1.0
    first, second = np.hsplit(values * scale, 2)
    if reading.shape == "two corners":
        return np.concatenate([first, second], axis=1)
    start = first - second / 2 if reading.shape == "centre and size" else first
    return np.concatenate([start, start + second], axis=1)


def numbers_as(corners: Values, sizes: Values, reading: Reading) -> Values:
    """The numbers (N, 4) that a reading has for corners (N, 4) in pixels; `corners_px` undoes this."""
    first, second = np.hsplit(corners, 2)
    if reading.shape == "two corners":
        values = corners
    elif reading.shape == "centre and size":
        values = np.concatenate([(first + second) / 2, second - first], axis=1)
    else:
        values = np.concatenate([first, second - first], axis=1)
    return values / np.concatenate([sizes, sizes], axis=1) if reading.is_fraction else values


def fits(values: Values, sizes: Values, reading: Reading) -> NDArray[np.bool_]:
    """For each of (N, 4) numbers, whether it is a box of some size inside its image, when read so."""
    corners = corners_of(values, sizes, reading)
    slack = TOLERANCE_PX + TOLERANCE * sizes
    first, second = np.hsplit(corners, 2)
    inside = (first >= -slack) & (second <= sizes + slack) & (second - first >= LEAST_SIDE_PX)
    return np.asarray(inside.all(axis=1))


def find_meaning(values: Values, sizes: Values, declared: Reading) -> Meaning | None:
    """How the numbers (N, 4) of boxes in images of these sizes (N, 2) have to be read, or None for as declared.

    Numbers that are not finite do not count.
    """
    finite = np.isfinite(values).all(axis=1)
    values, sizes = values[finite], sizes[finite]
    if not len(values):
        return None
    fit_as_declared = fits(values, sizes, declared)
    misfits = np.flatnonzero(~fit_as_declared)
    if not len(misfits):
        return None
    others = [reading for reading in READINGS if reading != declared]
    share_of_all = {reading: float(fits(values, sizes, reading).mean()) for reading in others}
    best, rival = _best(share_of_all, declared)
    is_enough = len(values) >= FEWEST_BOXES or best.is_fraction != declared.is_fraction
    if fit_as_declared.mean() <= MOST_THAT_FIT and share_of_all[best] >= NEARLY_ALL and is_enough:
        count = round(share_of_all[best] * len(values))
        return Meaning(declared, best, count, len(values), is_certain=True, rival=rival)
    part = {reading: float(fits(values[misfits], sizes[misfits], reading).mean()) for reading in others}
    best, rival = _best(part, declared)
    if len(misfits) >= FEWEST_OF_A_PART and part[best] >= NEARLY_ALL:
        return Meaning(declared, best, len(misfits), len(values), is_certain=False, rival=rival)
    return None


def _best(shares: dict[Reading, float], declared: Reading) -> tuple[Reading, Reading | None]:
    """The reading that fits most boxes, of several the most usual; and the next one, if it fits as many."""

    def rank(reading: Reading) -> tuple[float, bool, bool, int]:
        usual = ("centre and size", "corner and size", "two corners").index(reading.shape)
        same = reading.shape == declared.shape, reading.is_fraction == declared.is_fraction
        return shares[reading], *same, usual

    first, second = sorted(shares, key=rank, reverse=True)[:2]
    return first, second if shares[second] == shares[first] else None
