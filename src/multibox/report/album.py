"""Whole images inside of a page: what is annotated beside what is found, each stored once."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from multibox.data import images
from multibox.data.coco import Record
from multibox.errors import DataError
from multibox.evaluate.hits import IOU_50
from multibox.report.figures import Figures
from multibox.structures import Image
from multibox.wording import counted

SIDES_PX = (1024, 800, 640, 480)
"""Longest sides of images in a page: the largest with which all stay within their budget."""

QUALITY = 78
MAX_BYTES = 2_000_000
"""Number of bytes of all whole images of a page together, as text, at most."""

MOST_UNREADABLE = 12
"""Number of images that cannot be read after which no further is tried: a data set that has moved is not looked for
image by image."""

EACH = 2
"""Number of the best, of the median and of the worst images in the strip: two, so that one odd image is not all."""

Kind = Literal["Best", "Median", "Worst"]


@dataclass(frozen=True, slots=True)
class SceneBox:
    """A box in an image, in pixels of the scene; `row` is its position in the record or among the detections.

    `is_right`: of an object, that it is found; of a detection, that it hits an object.
    """

    row: int
    x: float
    y: float
    width: float
    height: float
    text: str
    is_right: bool


@dataclass(frozen=True, slots=True)
class Scene:
    """An image, `width` x `height` pixels in the page, what is annotated on it and what is found at the threshold."""

    image: int
    kind: Kind | None
    address: str
    width: int
    height: int
    truth: tuple[SceneBox, ...]
    found: tuple[SceneBox, ...]
    verdict: str
    file_name: str

    @property
    def shape(self) -> str:
        """Width by height, as a style sheet has it."""
        return f"{self.width} / {self.height}"


@dataclass(frozen=True, slots=True)
class ImageScore:
    """How one image fares at the threshold: numbers of objects and of boxes shown, and which of both are right."""

    image: int
    objects: tuple[int, ...]
    shown: tuple[int, ...]
    found_objects: frozenset[int]
    right_rows: frozenset[int]

    @property
    def f1(self) -> float:
        """Harmonic mean of the share of objects found and the share of boxes that are right; 1 if there is neither."""
        total = len(self.objects) + len(self.shown)
        return 2 * len(self.right_rows) / total if total else 1.0

    @property
    def words(self) -> str:
        """What is right and wrong, in a few words."""
        wrong = len(self.shown) - len(self.right_rows)
        return f"{len(self.found_objects)} of {counted(len(self.objects), 'object')} found, " + (
            counted(wrong, "wrong box", "wrong boxes") if wrong else "no wrong box"
        )


class Album:
    """Reads images for a page, keeps the ones that are shown, small, and makes scenes of them within the budget."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        self._small: dict[int, Image] = {}
        self.unreadable: set[int] = set()

    def read(self, index: int) -> Image | None:
        """The image of a record at full size; None if it cannot be read. It will be among the scenes."""
        record = self._figures.evaluation.data.records[index]
        if index in self.unreadable or len(self.unreadable) >= MOST_UNREADABLE:
            return None
        image = _read(record)
        if image is None:
            self.unreadable.add(index)
            return None
        self._small.setdefault(index, _at_most(image, SIDES_PX[0]))
        return image

    def scenes(self, chosen: Sequence[tuple[Kind, ImageScore]], scores: Sequence[ImageScore]) -> tuple[Scene, ...]:
        """The chosen images, then all others that were read; `scores` has one for each record."""
        kinds = {score.image: kind for kind, score in chosen}
        for image in kinds:
            if image not in self._small:
                self.read(image)
        order = [image for image in (*kinds, *sorted(set(self._small) - set(kinds))) if image in self._small]
        return tuple(
            self._scene(kinds.get(image), scores[image], *shown) for image, shown in self._encoded(order).items()
        )

    def _encoded(self, order: Sequence[int]) -> dict[int, tuple[str, int, int]]:
        """Address, width and height of each image, at the largest size with which all are within the budget."""
        for side in SIDES_PX:
            encoded = {image: jpeg_address(_at_most(self._small[image], side), QUALITY) for image in order}
            if sum(len(address) for address, _, _ in encoded.values()) <= MAX_BYTES:
                break
        kept: dict[int, tuple[str, int, int]] = {}
        left = MAX_BYTES
        for image, shown in encoded.items() if order else ():
            left -= len(shown[0])
            if left >= 0:
                kept[image] = shown
        return kept

    def _scene(self, kind: Kind | None, score: ImageScore, address: str, width: int, height: int) -> Scene:
        evaluation = self._figures.evaluation
        record, detections = evaluation.data.records[score.image], evaluation.detections[score.image]
        names, scale = self._figures.classes, np.array([width, height, width, height], dtype=np.float64)
        truth = [
            _box(row, record.boxes[row] * scale, names[int(record.labels[row])], row in score.found_objects)
            for row in score.objects
        ]
        found = [
            _box(
                row,
                detections.boxes[row].clip(0, 1) * scale,
                f"{names[int(detections.labels[row])]} {detections.scores[row]:.2f}",
                row in score.right_rows,
            )
            for row in score.shown
        ]
        verdict = f"F1 {score.f1:.2f}: {score.words}"
        return Scene(score.image, kind, address, width, height, tuple(truth), tuple(found), verdict, record.file_name)


def image_scores(figures: Figures) -> tuple[ImageScore, ...]:
    """How each image fares at the threshold of the figures, in the order of the records."""
    evaluation = figures.evaluation
    found: list[set[int]] = [set() for _ in evaluation.data.records]
    right: list[set[int]] = [set() for _ in evaluation.data.records]
    aside: list[set[int]] = [set() for _ in evaluation.data.records]
    for of_class in figures.hits.classes:
        for place in np.flatnonzero(of_class.scores >= figures.threshold - 1e-7).tolist():
            image, row = int(of_class.images[place]), int(of_class.rows[place])
            if of_class.is_hit[IOU_50, place]:
                right[image].add(row)
                found[image].add(int(of_class.objects[IOU_50, place]))
            elif not of_class.is_counted[IOU_50, place]:
                aside[image].add(row)
    scores = []
    for image, (record, detections) in enumerate(zip(evaluation.data.records, evaluation.detections, strict=True)):
        shown = np.flatnonzero(detections.scores >= figures.threshold - 1e-7).tolist()
        scores.append(
            ImageScore(
                image,
                objects=tuple(np.flatnonzero(~record.is_crowd).tolist()),
                shown=tuple(row for row in shown if row not in aside[image]),
                found_objects=frozenset(found[image]),
                right_rows=frozenset(right[image]),
            )
        )
    return tuple(scores)


def choose_images(scores: Iterable[ImageScore]) -> tuple[tuple[Kind, ImageScore], ...]:
    """The best, median and worst images by F1, two of each where there are six; of equals, those that show most."""
    telling = [score for score in scores if score.objects or score.shown]
    ranked = sorted(telling, key=lambda score: (-score.f1, -len(score.objects), score.image))
    worst_first = sorted(telling, key=lambda score: (score.f1, -len(score.objects) - len(score.shown), score.image))
    chosen: dict[int, tuple[Kind, ImageScore]] = {}

    def take(kind: Kind, candidates: Iterable[ImageScore]) -> None:
        for score in candidates:
            if sum(taken == kind for taken, _ in chosen.values()) < min(EACH, -(-len(telling) // 3)):
                chosen.setdefault(score.image, (kind, score))

    take("Best", ranked)
    take("Worst", [score for score in worst_first if score.image not in chosen])
    middle = (len(ranked) - 1) / 2
    by_distance = sorted(range(len(ranked)), key=lambda place: abs(place - middle))
    take("Median", [ranked[place] for place in by_distance if ranked[place].image not in chosen])
    order = ("Best", "Median", "Worst")
    return tuple(sorted(chosen.values(), key=lambda pair: (order.index(pair[0]), -pair[1].f1)))


def jpeg_address(image: Image, quality: int) -> tuple[str, int, int]:
    """An image as the address of a JPEG inside of a page, with its width and height."""
    _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    address = f"data:image/jpeg;base64,{base64.b64encode(encoded.tobytes()).decode()}"
    return address, image.shape[1], image.shape[0]


def _read(record: Record) -> Image | None:
    try:
        image = images.read_image(record.path, expected_size=(record.width, record.height))
    except DataError:
        return None
    return image if image.shape[:2] == (record.height, record.width) else None


def _at_most(image: Image, side: int) -> Image:
    scale = side / max(image.shape[:2])
    if scale >= 1:
        return image
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    small: Image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return small


def _box(row: int, corners: np.ndarray, text: str, is_right: bool) -> SceneBox:
    x1, y1, x2, y2 = (round(float(value), 1) for value in corners)
    return SceneBox(row, x1, y1, round(max(x2 - x1, 1), 1), round(max(y2 - y1, 1), 1), text, is_right)
