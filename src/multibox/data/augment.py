"""Random changes of training images: crop, resize, colours, mirror, mosaic. Pure functions of a random generator.

Threads change images side by side, and Python runs one of them at a time outside of OpenCV: there, numbers of few
objects are plain numbers, because an array of so few costs ten times as long as what is done with it.

The original distorts colours first, on the whole image, in float32 and in HSV. Here the image is cropped and shrunk
first, and stays in bytes: colours are changed pixel by pixel, so the order makes no difference but for interpolation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from struct import Struct
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from multibox.config import AugmentConfig, CropConfig, PhotometricConfig
from multibox.data.images import resize
from multibox.structures import FloatArray, Image, IntArray, Targets

TRIES_PER_DRAW = 50  # SSD's and the original's number
MAX_DRAWS = 20  # the original has no limit; it is for sets of `min_ious` that no crop of an image can satisfy
MAX_ASPECT = 2.0  # a crop's longer side is at most twice the shorter, in pixels; SSD's and the original's number
MOSAIC_CENTRE = (0.3, 0.7)  # of each side
GREY_OF_BGR = (0.114, 0.587, 0.299)  # ITU-R BT.601

Row = Sequence[float]
"""One box (x1, y1, x2, y2) in fractions of the image."""

_FOUR_FLOATS = Struct("=4f")


def augment(image: Image, targets: Targets, config: AugmentConfig, size: int, rng: Generator) -> tuple[Image, Targets]:
    """A randomly changed BGR square (size, size, 3) of an image, and its targets.

    If the image has objects, so has the result; boxes are inside it. Boxes that the crop left less than a pixel wide or
    high are dropped, unless none would remain.
    """
    boxes, labels = targets.boxes, targets.labels
    if config.crop is not None:
        whole = image
        image, boxes, labels = crop(image, boxes, labels, config.crop, rng)
        if image is not whole:
            boxes, labels = _drop_thin(boxes, labels, size)
    square = resize(image, size)
    if config.photometric is not None:
        square = photometric(square, config.photometric, rng)
    if rng.random() < config.flip:
        square, boxes = flip(square, boxes)
    return square, Targets(boxes, labels)


def mosaic(
    parts: Sequence[Callable[[int], tuple[Image, Targets]]],
    size: int,
    rng: Generator,
    *,
    least_sides: Sequence[int] = (0, 0, 0, 0),
) -> tuple[Image, Targets]:
    """A BGR square (size, size, 3) out of four samples, and its targets; each fills a quarter, more or less.

    They meet in a random point. Each of `parts` makes its square of the side that it is called with, the longer one of
    its place or its one of `least_sides` if that is more, and a random part of it fills the place; boxes whose centre
    is outside are dropped, others end where it ends, and must be a pixel wide and high. Large objects are best shrunk,
    because otherwise they are cut to pieces, small ones best left as they are (decision 11).

    Source: Bochkovskiy et al., "YOLOv4", 2020, section 3.3.
    """
    x, y = (int(size * share) for share in rng.uniform(*MOSAIC_CENTRE, 2))
    places = ((0, 0, x, y), (x, 0, size, y), (0, y, x, size), (x, y, size, size))
    whole = np.empty((size, size, 3), np.uint8)
    boxes, labels = [], []
    for part, (x1, y1, x2, y2), least_side in zip(parts, places, least_sides, strict=True):
        width, height = x2 - x1, y2 - y1
        side = max(width, height, least_side)
        square, targets = part(side)
        left, top = int(rng.integers(side - width + 1)), int(rng.integers(side - height + 1))
        whole[y1:y2, x1:x2] = square[top : top + height, left : left + width]
        patch = _single((left / side, top / side, (left + width) / side, (top + height) / side))
        keep = _inside(_centres(targets.boxes), patch)
        sides, corner = np.array(((width, height, width, height), (x1, y1, x1, y1)))
        boxes.append(_relative(targets.boxes[keep], patch) * sides + corner)
        labels.append(targets.labels[keep])
    all_boxes = (np.concatenate(boxes) / size).astype(np.float32)
    return whole, Targets(*_drop_thin(all_boxes, np.concatenate(labels), size))


def photometric(image: Image, config: PhotometricConfig, rng: Generator) -> Image:
    """A BGR image (H, W, 3) with other colours.

    Brightness, contrast, saturation and hue change with probability one half each; then channels may swap places. All
    of it is one product of each pixel with a matrix, rounded and cut to 0..255 once: saturation and hue change about
    the grey axis of the colour cube, where the original went to HSV and back.

    Source: Liu et al., "SSD", 2016, section 3.6, after Howard, "Some Improvements on Deep CNN Based Image
    Classification", 2013; ranges as in the original.
    """
    brightness = rng.uniform(-config.brightness, config.brightness) if rng.random() < 0.5 else 0.0
    contrast = rng.uniform(*config.contrast) if rng.random() < 0.5 else 1.0
    saturation = rng.uniform(*config.saturation) if rng.random() < 0.5 else 1.0
    hue = rng.uniform(-config.hue_degrees, config.hue_degrees) if rng.random() < 0.5 else 0.0
    channels = rng.permutation(3).tolist() if rng.random() < config.permute_channels else range(3)

    colours = _colour_matrix(hue, saturation)
    # Saturation and hue leave grey as it is, so brightness, the same for all channels, need not go through them.
    matrix = np.array([[*(contrast * factor for factor in colours[row]), contrast * brightness] for row in channels])
    changed: Image = cv2.transform(image, matrix)
    return changed


def crop(
    image: NDArray[Any], boxes: FloatArray, labels: IntArray, config: CropConfig, rng: Generator
) -> tuple[NDArray[Any], FloatArray, IntArray]:
    """A random part of the image, a view of it, with the boxes whose centre is inside, cut at its border.

    A draw asks for a smallest IoU of the crop with any box, then tries crops with sides of `min_side` to 1 of the
    image's; without success another draw follows. Where there are objects, at least one stays.

    Source: Liu et al., "SSD", 2016, section 2.2; IoU and rounding as in the original.
    """
    height, width = image.shape[:2]
    rows = boxes.tolist()
    centres = _centres(boxes)
    areas = [max(0.0, x2 - x1) * max(0.0, y2 - y1) for x1, y1, x2, y2 in rows]
    within_reach = _largest_smallest_iou(areas, config.min_side)
    for _ in range(MAX_DRAWS):
        min_iou = config.min_ious[rng.integers(len(config.min_ious))]
        if min_iou == 1:
            break
        if min_iou > within_reach:
            continue
        for x1, y1, x2, y2 in _draw_patches(width, height, config.min_side, rng):
            patch = _single((x1 / width, y1 / height, x2 / width, y2 / height))
            keep = _inside(centres, patch)
            if rows and not (keep and _overlaps_all(patch, rows, areas, min_iou)):
                continue
            return image[y1:y2, x1:x2], _relative(boxes[keep], patch), labels[keep]
    return image, boxes, labels


def flip(image: NDArray[Any], boxes: FloatArray) -> tuple[NDArray[Any], FloatArray]:
    """Image and boxes as a mirror shows them: left is right."""
    mirrored = boxes.copy()
    mirrored[:, 0], mirrored[:, 2] = 1 - boxes[:, 2], 1 - boxes[:, 0]
    return cv2.flip(image, 1), mirrored


def _colour_matrix(hue_degrees: float, saturation: float) -> list[list[float]]:
    """The rows (3, 3) of a matrix that turns BGR colours about grey and moves them away from it, or towards it.

    The turn about the axis from black to white is Rodrigues' formula, whose rows are one row shifted, with a sum of 1.
    It comes after the saturation, which leaves the grey of the same brightness as it is.

    Source: Haeberli, "Matrix Operations for Image Processing", 1993.
    """
    cosine, sine = math.cos(math.radians(hue_degrees)), math.sin(math.radians(hue_degrees)) / math.sqrt(3)
    rest = (1 - cosine) / 3
    same, next_one, last = cosine + rest, rest - sine, rest + sine
    turned = ((same, next_one, last), (last, same, next_one), (next_one, last, same))
    return [
        [saturation * factor + (1 - saturation) * grey for factor, grey in zip(row, GREY_OF_BGR, strict=True)]
        for row in turned
    ]


def _draw_patches(width: int, height: int, min_side: float, rng: Generator) -> Iterator[tuple[int, int, int, int]]:
    """Up to `TRIES_PER_DRAW` crops in whole pixels, none empty, none too elongated.

    All random numbers are drawn at once, so that those after them do not hang on how many crops are looked at.
    """
    shares, places = rng.uniform(min_side, 1, (TRIES_PER_DRAW, 2)), rng.random((TRIES_PER_DRAW, 2))
    for (across, down), (x, y) in zip(shares.tolist(), places.tolist(), strict=True):
        crop_width, crop_height = across * width, down * height
        if not 1 / MAX_ASPECT <= crop_height / crop_width <= MAX_ASPECT:
            continue
        left, top = x * (width - crop_width), y * (height - crop_height)
        x1, y1, x2, y2 = int(left), int(top), int(left + crop_width), int(top + crop_height)
        if x2 > x1 and y2 > y1:
            yield x1, y1, x2, y2


def _largest_smallest_iou(areas: Sequence[float], min_side: float) -> float:
    """What the smallest IoU of a crop with any box can be at most: most draws that cannot succeed need no tries.

    An IoU is at most the smaller area over the larger one, for the smallest box and for the largest.
    """
    if not areas:
        return 1.0
    smallest, largest = min(areas), max(areas)
    # A crop is rounded down to pixels: a margin keeps the bound on the safe side.
    share = smallest / largest if largest else 0.0
    return 1.01 * min(math.sqrt(share), smallest / min_side**2 if min_side else 1.0) + 0.01


def _single(patch: Row) -> Row:
    """The numbers in single precision, as boxes are: a centre on the border of a patch is on it then, not beside it."""
    return _FOUR_FLOATS.unpack(_FOUR_FLOATS.pack(*patch))


def _centres(boxes: FloatArray) -> list[list[float]]:
    centres: list[list[float]] = ((boxes[:, :2] + boxes[:, 2:]) / 2).tolist()
    return centres


def _inside(centres: Sequence[Sequence[float]], patch: Row) -> list[int]:
    """The places of those centres that a patch holds."""
    x1, y1, x2, y2 = patch
    return [place for place, (x, y) in enumerate(centres) if x1 < x < x2 and y1 < y < y2]


def _overlaps_all(patch: Row, rows: Sequence[Row], areas: Sequence[float], min_iou: float) -> bool:
    """Whether the IoU of a patch with each box is at least so much."""
    if min_iou <= 0:
        return True
    x1, y1, x2, y2 = patch
    patch_area = (x2 - x1) * (y2 - y1)
    for (left, top, right, bottom), area in zip(rows, areas, strict=True):
        width, height = min(x2, right) - max(x1, left), min(y2, bottom) - max(y1, top)
        if width <= 0 or height <= 0:
            return False
        common = width * height
        if common < min_iou * (patch_area + area - common):
            return False
    return True


def _relative(boxes: FloatArray, patch: Row) -> FloatArray:
    """Boxes as fractions of a patch of the image instead of the image."""
    x1, y1, x2, y2 = patch
    origin, end = np.array(((x1, y1, x1, y1), (x2, y2, x2, y2)), np.float32)
    moved: FloatArray = (boxes - origin) / (end - origin)
    return np.minimum(np.maximum(moved, 0), 1)


def _drop_thin(boxes: FloatArray, labels: IntArray, size: int) -> tuple[FloatArray, IntArray]:
    sides = (boxes[:, 2:] - boxes[:, :2]) * size
    if not len(sides) or sides.min() >= 1:
        return boxes, labels
    keep = (sides >= 1).all(axis=1)
    return (boxes[keep], labels[keep]) if keep.any() else (boxes, labels)
