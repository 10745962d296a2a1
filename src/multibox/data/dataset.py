"""Records as training samples: decoded once where memory allows, then changed at random each time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from multibox import boxes as geometry
from multibox.config import AugmentConfig
from multibox.data import images
from multibox.data.addresses import is_remote
from multibox.data.augment import augment, mosaic
from multibox.data.cache import ImageCache
from multibox.data.coco import Record
from multibox.errors import DataError
from multibox.structures import Image, Targets

DECODED_PER_INPUT_SIDE = 2
"""Images are decoded to at least so many times the network input on either side, because crops enlarge a part of them.

Measured with the templates' crops at 256 pixels, on photographs 820 to 1920 pixels wide: against samples from the full
images, those decoded to 1, 1.5 or 2 times the input are 28, 12 or 6 % less sharp (deviation of the Laplacian). More
would cost memory: an image at 3 times the input takes more than twice the bytes, so that fewer fit into the cache.
"""


class Batch(NamedTuple):
    """B samples: `images` (B, S, S, 3) RGB, and the targets and record index of each.

    Bytes: a quarter of the memory traffic of float32, also to a graphics card. They become numbers in 0..1 where the
    network runs.
    """

    images: NDArray[np.uint8]
    targets: list[Targets]
    indices: list[int]


class Dataset:
    """Training samples of `input_size` pixels from records.

    Without `augment`, images are only resized. Without `cache`, every image is decoded each time.
    """

    def __init__(
        self,
        records: Sequence[Record],
        *,
        input_size: int,
        augment: AugmentConfig | None,
        cache: ImageCache | None,
    ) -> None:
        self.records = records
        self.input_size = input_size
        self.augment = augment
        self.cache = cache
        self._least_sides: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self.records)

    @property
    def is_remote(self) -> bool:
        """Whether images come over a network."""
        return is_remote(self.records[0].path)

    @property
    def mosaic_share(self) -> float:
        """The share of mosaics among samples, while there are to be any; 0 for a set that is large enough without."""
        config = self.augment.mosaic if self.augment is not None else None
        return config.share if config is not None and len(self) <= config.max_images else 0.0

    @property
    def bytes_in_cache(self) -> int:
        """Memory that the decoded images will take once all have been seen."""
        if self.cache is None:
            return 0
        min_size = (self._min_side, self._min_side)
        sizes = (images.decoded_size((record.width, record.height), min_size) for record in self.records)
        return min(self.cache.limit_bytes, sum(3 * width * height for width, height in sizes))

    @property
    def _min_side(self) -> int:
        return DECODED_PER_INPUT_SIDE * self.input_size

    def decoded(self, index: int) -> Image:
        """The image of a record, decoded smaller if it is much larger than the network input. Do not write to it.

        Raises:
            DataError: the file has gone or changed since it was checked.
        """
        stored = self.cache.get(index) if self.cache is not None else None
        if stored is not None:
            return stored
        record = self.records[index]
        image = images.read_image(
            record.path, expected_size=(record.width, record.height), min_size=(self._min_side, self._min_side)
        )
        if self.cache is not None:
            self.cache.put(index, image)
        return image

    def sample(self, index: int, rng: Generator, size: int | None = None) -> tuple[Image, Targets]:
        """The BGR square (S, S, 3) of a record, and its targets; S is the input's side, or `size`."""
        record = self.records[index]
        image = self.decoded(index)
        size = self.input_size if size is None else size
        try:
            if self.augment is None:
                return images.resize(image, size), record.targets
            return augment(image, record.targets, self.augment, size, rng)
        except cv2.error as error:
            raise DataError(f"{record.path}: OpenCV cannot process the image: {error.err}.") from error

    def mosaic(self, index: int, rng: Generator) -> tuple[Image, Targets]:
        """The BGR square and the targets of a mosaic of this record and three that are drawn with repetition."""
        chosen = (index, *rng.integers(len(self), size=3).tolist())
        parts = [partial(self.sample, place, rng) for place in chosen]
        return mosaic(parts, self.input_size, rng, least_sides=[self._least_side(place) for place in chosen])

    def _least_side(self, index: int) -> int:
        """Least side in pixels of a record's square in a mosaic: below, half of its objects are too small."""
        known = self._least_sides.get(index)
        if known is None:
            known = self._least_sides[index] = self._computed_least_side(index)
        return known

    def _computed_least_side(self, index: int) -> int:
        assert self.augment is not None and self.augment.mosaic is not None
        boxes = self.records[index].targets.boxes
        if not len(boxes):
            return 0
        side = self.augment.mosaic.min_object_px / float(np.median(np.sqrt(geometry.area(boxes))))
        return min(self.input_size, round(side))
