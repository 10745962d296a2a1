"""Images that show what the numbers mean: crops around the worst mistakes and the best finds, inside of the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from multibox.evaluate.hits import IOU_50, NO_OBJECT
from multibox.evaluate.overlaps import corners_px, overlaps
from multibox.report.album import MOST_UNREADABLE, Album, jpeg_address
from multibox.report.figures import Figures
from multibox.report.plots import KIND_NAMES
from multibox.structures import Image

CROPS = 12
"""Largest number of crops of a gallery: three rows on a desk."""

PER_IMAGE = 3
"""Largest number of crops of one image: one bad image must not fill a gallery."""

CONTEXT = 2.0
"""Side of a crop in sides of what it shows; less hides what surrounds it, more makes it small."""

LEAST_SIDE_PX = 48
"""Least side of a crop in pixels of its image."""

SIDE_PX = 240
"""Largest side of a crop in pixels of the page: twice the size of the thumbnails on a phone."""

JPEG_QUALITY = 72
MAX_BYTES = 1_400_000
"""Number of bytes of all crops of a page together, as text, at most; whole images have `album.MAX_BYTES`."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Crop:
    """A part of an image, `width` x `height` pixels, as the address of a JPEG inside of the page.

    `truth` and `detected` are the box of the object and of the detection in it, corners in pixels of the crop. `image`
    is the position of the image in the data, `row` and `item` those of the detection and of the object in it.
    `is_right`: the detection hits the object.
    """

    image: int
    row: int | None
    item: int | None
    is_right: bool
    address: str
    width: int
    height: int
    truth: Box | None
    detected: Box | None
    title: str
    details: str
    file_name: str


@dataclass(frozen=True, slots=True)
class Gallery:
    """Crops with a heading and a sentence; `total`: how many such cases there are."""

    name: str
    sentence: str
    total: int
    crops: tuple[Crop, ...]


@dataclass(frozen=True, slots=True)
class _Case:
    image: int
    row: int | None
    item: int | None
    title: str
    details: str
    is_right: bool = False


def galleries(figures: Figures, album: Album) -> tuple[Gallery, ...]:
    """Build the galleries that have something to show, of images that the album reads."""
    wanted = (
        (
            "Worst false positives",
            "Boxes that hit no object, the surest first. Is there really nothing? Then the training needs more such "
            "images; else the annotations lack an object.",
            _false_positives(figures),
        ),
        (
            "Misses",
            f"Objects without a detection of a score of {figures.threshold:g} or more, the largest first.",
            _misses(figures),
        ),
        (
            "Confusions",
            "Objects that were found and taken for another class, the surest first.",
            _confusions(figures),
        ),
        ("Best", "Hits with the highest score, all classes in turn.", _best(figures)),
    )
    scissors = _Scissors(figures, album)
    shown = [
        Gallery(name, sentence, len(cases), tuple(scissors.crops(cases))) for name, sentence, cases in wanted if cases
    ]
    return tuple(gallery for gallery in shown if gallery.crops)


class _Scissors:
    """Cuts crops out of images until the budget of bytes is used up; each image is read once for a gallery."""

    def __init__(self, figures: Figures, album: Album) -> None:
        self._figures = figures
        self._album = album
        self._left = MAX_BYTES

    def crops(self, cases: Sequence[_Case]) -> Iterator[Crop]:
        seen: Counter[int] = Counter()
        kept: dict[int, Image | None] = {}
        count = 0
        for case in cases:
            if count == CROPS or self._left <= 0:
                return
            if seen[case.image] == PER_IMAGE:
                continue
            if case.image not in kept:
                kept[case.image] = self._album.read(case.image)
                if kept[case.image] is None and len(self._album.unreadable) >= MOST_UNREADABLE:
                    return
            image = kept[case.image]
            if image is None:
                continue
            seen[case.image] += 1
            crop = _crop(self._figures, case, image)
            self._left -= len(crop.address)
            count += 1
            yield crop


def _false_positives(figures: Figures) -> list[_Case]:
    names = figures.classes
    detections = figures.evaluation.detections
    wrong = [mistake for mistake in figures.mistakes if mistake.score >= figures.threshold and mistake.kind != "class"]
    return [
        _Case(
            mistake.image,
            mistake.row,
            mistake.item,
            f"{names[int(detections[mistake.image].labels[mistake.row])]} {mistake.score:.2f}",
            "nothing annotated" if mistake.kind == "background" else KIND_NAMES[mistake.kind],
        )
        for mistake in sorted(wrong, key=lambda mistake: -mistake.score)
        if mistake.row is not None
    ]


def _misses(figures: Figures) -> list[_Case]:
    data, size = figures.evaluation.data, figures.evaluation.input_size
    best = [np.full(len(record.labels), -1.0) for record in data.records]
    for of_class in figures.hits.classes:
        for place in np.flatnonzero(of_class.is_hit[IOU_50]).tolist():
            best[int(of_class.images[place])][int(of_class.objects[IOU_50, place])] = float(of_class.scores[place])
    cases = []
    for image, record in enumerate(data.records):
        sides = np.sqrt(record.areas_px * size**2 / (record.width * record.height))
        for item in np.flatnonzero((best[image] < figures.threshold) & ~record.is_crowd).tolist():
            score = best[image][item]
            details = "not found at all" if score < 0 else f"score only {score:.2f}"
            title = f"{figures.classes[int(record.labels[item])]}, {sides[item]:.0f} px"
            cases.append((-float(sides[item]), _Case(image, None, item, title, details)))
    return [case for _, case in sorted(cases, key=lambda pair: pair[0])]


def _confusions(figures: Figures) -> list[_Case]:
    names, data = figures.classes, figures.evaluation.data
    detections = figures.evaluation.detections
    wrong = [mistake for mistake in figures.mistakes if mistake.score >= figures.threshold and mistake.kind == "class"]
    return [
        _Case(
            mistake.image,
            mistake.row,
            mistake.item,
            f"{names[int(data.records[mistake.image].labels[mistake.item])]}",
            f"taken for {names[int(detections[mistake.image].labels[mistake.row])]} {mistake.score:.2f}",
        )
        for mistake in sorted(wrong, key=lambda mistake: -mistake.score)
        if mistake.row is not None and mistake.item is not None
    ]


def _best(figures: Figures) -> list[_Case]:
    """Hits, a class after the other in turn, the surest first."""
    ranked: list[tuple[int, int, _Case]] = []
    for of_class in figures.hits.classes:
        hits = [place for place in range(len(of_class.scores)) if of_class.objects[IOU_50, place] != NO_OBJECT]
        for rank, place in enumerate(hits):
            title = f"{figures.classes[of_class.label]} {of_class.scores[place]:.2f}"
            case = _Case(
                int(of_class.images[place]),
                int(of_class.rows[place]),
                int(of_class.objects[IOU_50, place]),
                title,
                "",
                True,
            )
            ranked.append((rank, of_class.label, case))
    return [case for _, _, case in sorted(ranked, key=lambda row: row[:2])]


def _crop(figures: Figures, case: _Case, image: Image) -> Crop:
    record = figures.evaluation.data.records[case.image]
    detections = figures.evaluation.detections[case.image]
    truth = None if case.item is None else record.boxes_px[case.item]
    detected = None if case.row is None else corners_px(detections, record)[case.row]
    shown = [box for box in (truth, detected) if box is not None]
    corners = np.concatenate([np.min(shown, axis=0)[:2], np.max(shown, axis=0)[2:]])
    left, top, right, bottom = _window(corners, record.width, record.height)
    part = image[top:bottom, left:right]
    scale = min(SIDE_PX / max(part.shape[:2]), 4.0)
    width, height = max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    address, *_ = jpeg_address(cv2.resize(part, (width, height), interpolation=how), JPEG_QUALITY)
    details = case.details
    if truth is not None and detected is not None:
        iou = float(overlaps(detected[None], truth[None], np.zeros(1, dtype=bool))[0, 0])
        details = f"{details}, IoU {iou:.2f}" if details else f"IoU {iou:.2f}"
    return Crop(
        image=case.image,
        row=case.row,
        item=case.item,
        is_right=case.is_right,
        address=address,
        width=width,
        height=height,
        truth=_inside(truth, left, top, scale),
        detected=_inside(detected, left, top, scale),
        title=case.title,
        details=details,
        file_name=record.file_name,
    )


def _window(box_px: NDArray[np.float64], width: int, height: int) -> tuple[int, int, int, int]:
    """A square around a box, moved into the image, and cut where that is narrower."""
    x1, y1, x2, y2 = box_px.tolist()
    side = max(CONTEXT * max(x2 - x1, y2 - y1), LEAST_SIDE_PX)
    spans = []
    for low, high, limit in ((x1, x2, width), (y1, y2, height)):
        length = min(side, limit)
        start = min(max((low + high) / 2 - length / 2, 0), limit - length)
        spans.append((int(start), min(limit, int(start + length) + 1)))
    (left, right), (top, bottom) = spans
    return left, top, right, bottom


def _inside(box_px: NDArray[np.float64] | None, left: int, top: int, scale: float) -> Box | None:
    if box_px is None:
        return None
    x1, y1, x2, y2 = ((box_px - [left, top, left, top]) * scale).round(1).tolist()
    return x1, y1, x2, y2
