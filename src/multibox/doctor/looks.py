"""One look at each image of a data set, by threads: each file is read and decoded once, for all checks of pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from multibox.data import images
from multibox.data.addresses import is_remote
from multibox.data.coco import CocoData, Record
from multibox.data.coco_images import REMOTE_THREADS, UnusableImage
from multibox.data.jpeg_header import JpegHeader, UnusableError
from multibox.machine import usable_cores
from multibox.threads import ahead

HASH_SIDE = 16
"""Rows and columns of differences in a hash, 256 bits in all. With 8 x 8, scenes of one camera could not be told
apart."""

LEAST_SIZE = (64, 64)
"""Width and height in pixels below which no image is decoded. Brightness, colour and hashes need no more."""


@dataclass(frozen=True, slots=True)
class Look:
    """What is kept of an image: 300 bytes instead of its pixels.

    `grey` (16, 17): grey values of the image made small. `brightness`: mean value of its pixels, `colour`: mean
    difference of the channels of a pixel, both of 255. `used_bits`: of 16, None for an image of 8 bits. `header`: that
    of a JPEG. `file_hash`: SHA-256 of the file.
    """

    name: str
    grey: NDArray[np.uint8]
    brightness: float
    colour: float
    used_bits: int | None
    header: JpegHeader | None
    file_hash: bytes


@dataclass(frozen=True, slots=True)
class Seen:
    """The images of a split after all were looked at: `data` without those that cannot be used, which `unusable` names.

    `looks` has one for each record of `data`, in their order. `data` is None if no image is left.
    """

    data: CocoData | None
    looks: tuple[Look, ...]
    unusable: tuple[UnusableImage, ...]


def see(splits: Mapping[str, CocoData], *, report: Callable[[int], None] = lambda _: None) -> dict[str, Seen]:
    """Look at all images of the splits. `report` hears after each image how many are done."""
    records = [record for data in splits.values() for record in data.records]
    num_threads = REMOTE_THREADS if any(is_remote(record.path) for record in records[:1]) else usable_cores()
    results = []
    for result in ahead(_look, records, num_threads=num_threads):
        results.append(result)
        report(len(results))
    seen = {}
    position = 0
    for name, data in splits.items():
        of_split = results[position : position + len(data.records)]
        position += len(data.records)
        kept = tuple(record for record, look in zip(data.records, of_split, strict=True) if isinstance(look, Look))
        seen[name] = Seen(
            data=replace(data, records=kept) if kept else None,
            looks=tuple(look for look in of_split if isinstance(look, Look)),
            unusable=tuple(look for look in of_split if isinstance(look, UnusableImage)),
        )
    return seen


def _look(record: Record) -> Look | UnusableImage:
    size = record.width, record.height
    try:
        inspected = images.inspect(record.path, expected_size=size, min_size=LEAST_SIZE)
    except UnusableError as error:
        return UnusableImage(record.file_name, size, str(error))
    image = inspected.image
    sample = image[:: max(1, image.shape[0] // 64), :: max(1, image.shape[1] // 64)].astype(np.int16)
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    small: NDArray[np.uint8] = cv2.resize(grey, (HASH_SIDE + 1, HASH_SIDE), interpolation=cv2.INTER_AREA)
    return Look(
        name=record.file_name,
        grey=small,
        brightness=float(sample.mean()),
        colour=float(np.abs(np.diff(sample, axis=2)).mean()),
        used_bits=inspected.used_bits,
        header=inspected.header,
        file_hash=inspected.file_hash,
    )
