"""Random changes of training images: crop, resize, colours, mirror, mosaic. Pure functions of a random generator.

The original distorts colours first, on the whole image, in float32 and in HSV. Here the image is cropped and shrunk
first, and stays in bytes: colours are changed pixel by pixel, so the order makes no difference but for interpolation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from multibox import boxes as geometry
from multibox.config import AugmentConfig, CropConfig, PhotometricConfig
from multibox.data.images import resize
from multibox.structures import FloatArray, Image, IntArray, Targets

TRIES_PER_DRAW = 50  # SSD's and the original's number
MAX_DRAWS = 20  # the original has no limit; it is for sets of `min_ious` that no crop of an image can satisfy
MAX_ASPECT = 2.0  # a crop's longer side is at most twice the shorter, in pixels; SSD's and the original's number
MOSAIC_CENTRE = (0.3, 0.7)  # of each side
GREY_OF_BGR = np.array([0.114, 0.587, 0.299])  # ITU-R BT.601


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
        patch = (np.array([left, top, left + width, top + height]) / side).astype(np.float32)
        keep = _centres_inside(targets.boxes, patch[None])[0]
        moved = _relative(targets.boxes[keep], patch) * (width, height, width, height) + (x1, y1, x1, y1)
        boxes.append((moved / size).astype(np.float32))
        labels.append(targets.labels[keep])
    return whole, Targets(*_drop_thin(np.concatenate(boxes), np.concatenate(labels), size))


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
    channels = rng.permutation(3) if rng.random() < config.permute_channels else np.arange(3)

    # Saturation and hue leave grey as it is, so brightness, the same for all channels, need not go through them.
    colours = contrast * _turned_about_grey(hue) @ _saturated(saturation)
    matrix = np.column_stack([colours, np.full(3, contrast * brightness)])[channels]
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
    within_reach = _largest_smallest_iou(boxes, config.min_side)
    for _ in range(MAX_DRAWS):
        min_iou = config.min_ious[rng.integers(len(config.min_ious))]
        if min_iou == 1:
            break
        if min_iou > within_reach:
            continue
        patches_px = _draw_patches(width, height, config.min_side, rng)
        patches = (patches_px / (width, height, width, height)).astype(np.float32)
        fits: NDArray[np.bool_] = np.ones(len(patches), dtype=np.bool_)
        if len(boxes):
            fits = np.logical_or.reduce(_centres_inside(boxes, patches), axis=1)
            if min_iou > 0:
                fits = fits & (geometry.iou(patches, boxes).min(axis=1) >= min_iou)
        if fits.any():
            choice = int(fits.argmax())
            x1, y1, x2, y2 = patches_px[choice].tolist()
            keep = _centres_inside(boxes, patches[choice : choice + 1])[0]
            return image[y1:y2, x1:x2], _relative(boxes[keep], patches[choice]), labels[keep]
    return image, boxes, labels


def flip(image: NDArray[Any], boxes: FloatArray) -> tuple[NDArray[Any], FloatArray]:
    """Image and boxes as a mirror shows them: left is right."""
    mirrored = boxes.copy()
    mirrored[:, 0], mirrored[:, 2] = 1 - boxes[:, 2], 1 - boxes[:, 0]
    return cv2.flip(image, 1), mirrored


def _saturated(factor: float) -> NDArray[np.float64]:
    """The matrix (3, 3) that moves BGR colours away from the grey of the same brightness, or towards it.

    Source: Haeberli, "Matrix Operations for Image Processing", 1993.
    """
    return factor * np.eye(3) + (1 - factor) * GREY_OF_BGR


def _turned_about_grey(degrees: float) -> NDArray[np.float64]:
    """The rotation (3, 3) of colours about the axis from black to white (Rodrigues' formula)."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees)) / math.sqrt(3)
    across = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    turned: NDArray[np.float64] = cosine * np.eye(3) + sine * across + (1 - cosine) / 3
    return turned


def _draw_patches(width: int, height: int, min_side: float, rng: Generator) -> NDArray[np.int64]:
    """Up to `TRIES_PER_DRAW` crops (N, 4) in whole pixels, none empty, none too elongated."""
    shares, places = rng.uniform(min_side, 1, (TRIES_PER_DRAW, 2)), rng.random((TRIES_PER_DRAW, 2))
    image_sides = np.array([width, height])
    sides = shares * image_sides
    top_left = places * (image_sides - sides)
    patches = np.concatenate([top_left, top_left + sides], axis=1).astype(np.int64)
    aspect = sides[:, 1] / sides[:, 0]
    is_usable = (aspect >= 1 / MAX_ASPECT) & (aspect <= MAX_ASPECT) & (patches[:, 2:] > patches[:, :2]).all(axis=1)
    usable: NDArray[np.int64] = patches[is_usable]
    return usable


def _largest_smallest_iou(boxes: FloatArray, min_side: float) -> float:
    """What the smallest IoU of a crop with any box (N, 4) can be at most: most draws that cannot succeed need no tries.

    An IoU is at most the smaller area over the larger one, for the smallest box and for the largest.
    """
    if not len(boxes):
        return 1.0
    areas = geometry.area(boxes)
    smallest, largest = float(areas.min()), float(areas.max())
    # A crop is rounded down to pixels: a margin keeps the bound on the safe side.
    return 1.01 * min(math.sqrt(smallest / largest), smallest / min_side**2 if min_side else 1.0) + 0.01


def _centres_inside(boxes: FloatArray, patches: FloatArray) -> NDArray[np.bool_]:
    """Whether each patch (P, 4) holds the centre of each box (N, 4), as (P, N)."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside: NDArray[np.bool_] = (centres > patches[:, None, :2]) & (centres < patches[:, None, 2:])
    return np.logical_and(inside[..., 0], inside[..., 1])


def _relative(boxes: FloatArray, patch: FloatArray) -> FloatArray:
    """Boxes as fractions of a patch of the image instead of the image."""
    origin, sides = np.tile(patch[:2], 2), np.tile(patch[2:] - patch[:2], 2)
    moved: FloatArray = ((boxes - origin) / sides).astype(np.float32)
    inside: FloatArray = geometry.clip(moved)
    return inside


def _drop_thin(boxes: FloatArray, labels: IntArray, size: int) -> tuple[FloatArray, IntArray]:
    keep = ((boxes[:, 2:] - boxes[:, :2]) * size >= 1).all(axis=1)
    return (boxes[keep], labels[keep]) if keep.any() else (boxes, labels)
