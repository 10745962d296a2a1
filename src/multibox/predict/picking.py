"""Which images are most worth labelling next: those that a detector is unsure of, and unlike each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from multibox.predict.frames import Failure, Stop
from multibox.predict.run import FrameResult, detect_frames
from multibox.predict.sources import Source
from multibox.runtime.protocol import Runtime
from multibox.structures import Detections, FloatArray, Image

LEAST_SCORE = 0.05
"""Score below which a detection says nothing: every image has some."""

THUMBNAIL_SIDE = 16
"""Rows and columns of the small grey copies by which images are compared, as in the doctor's hashes."""


@dataclass(frozen=True, slots=True, eq=False)
class UnlabelledImage:
    """What is kept of an image that may be picked.

    `name` is shown to the user. `doubts` (N,) are those of its detections, 0 (sure) to 1, and `labels` (N,) their
    classes. `thumbnail` (256,) has mean 0 and length 1, or is all 0 for an image of one colour.
    """

    name: str
    doubts: FloatArray
    labels: NDArray[np.int64]
    thumbnail: FloatArray


def pick_sources(
    runtime: Runtime,
    sources: Sequence[Source],
    count: int,
    *,
    stop: Stop,
    on_result: Callable[[FrameResult | Failure], None],
) -> list[Source]:
    """The `count` images among the sources that are most worth labelling, the best first.

    Every image is looked at; `on_result` hears of each, and of those that cannot be read, which are not picked. When
    `stop` is set, those seen until then are chosen from.
    """
    by_name = {source.name: source for source in sources}
    candidates = []
    for result in detect_frames(runtime, sources, threshold=LEAST_SCORE, stop=stop, keep_images=True):
        on_result(result)
        if isinstance(result, FrameResult) and result.image is not None:
            candidates.append(unlabelled_image(result.frame.source.name, result.image, result.detections))
    return [by_name[picked.name] for picked in pick(candidates, count)]


def unlabelled_image(name: str, image: Image, detected: Detections) -> UnlabelledImage:
    """Keep of a BGR image (H, W, 3) and its detections, of any score, what picking needs.

    The doubt of a detection is 1 at a score of one half and 0 at 0 and 1: what is called least confidence.
    """
    keep = detected.scores >= LEAST_SCORE
    doubts = 1 - np.abs(2 * detected.scores[keep] - 1)
    return UnlabelledImage(name, doubts.astype(np.float32), detected.labels[keep], _thumbnail(image))


def pick(candidates: Sequence[UnlabelledImage], count: int) -> list[UnlabelledImage]:
    """The `count` images most worth labelling, the best first; all of them if there are no more.

    An image is worth the sum of its doubts, each divided by the root of how many doubts the class has in all images, so
    that rare classes are not lost among common ones. The next pick is the image whose worth times its difference from
    the most similar image picked so far is largest; the difference is 1 - correlation of the small copies, 0 to 1.

    Source: least confidence as in Settles, "Active Learning Literature Survey", 2009, section 3.1; difference from what
    is picked as in Sener and Savarese, "Active Learning for Convolutional Neural Networks", 2018.
    """
    worth = _worth(candidates)
    copies = np.stack([each.thumbnail for each in candidates]) if candidates else np.zeros((0, THUMBNAIL_SIDE**2))
    difference = np.ones(len(candidates))
    left = np.ones(len(candidates), dtype=bool)
    picked: list[UnlabelledImage] = []
    while len(picked) < count and left.any():
        # What is sure or a twin of a picked image comes last, in the order of the candidates.
        best = int(np.where(left, worth * difference, -1).argmax())
        left[best] = False
        picked.append(candidates[best])
        difference = np.minimum(difference, 1 - np.clip(copies @ copies[best], 0, 1))
    return picked


def _worth(candidates: Sequence[UnlabelledImage]) -> NDArray[np.float64]:
    labels = np.concatenate([each.labels for each in candidates]) if candidates else np.zeros(0, np.int64)
    doubts = np.concatenate([each.doubts for each in candidates]) if candidates else np.zeros(0)
    of_class = np.bincount(labels, weights=doubts, minlength=1)
    weights = 1 / np.sqrt(np.maximum(of_class, 1e-9))
    return np.array([float((each.doubts * weights[each.labels]).sum()) for each in candidates])


def _thumbnail(image: Image) -> FloatArray:
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (THUMBNAIL_SIDE, THUMBNAIL_SIDE), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    centred = small - small.mean()
    length = float(np.linalg.norm(centred))
    result: FloatArray = centred / length if length > 1 else np.zeros_like(centred)
    return result
