"""What a detector that is ready to run offers, whatever engine runs it. No engine, and no torch, is imported here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol, overload

import numpy as np

from multibox.structures import Detections, Image


class Runtime(Protocol):
    """A detector that is ready to run: label i of a detection is `classes[i]`.

    Those of this package may be used by any number of threads at the same time.
    """

    classes: tuple[str, ...]
    input_size: int

    @property
    def threshold(self) -> float | None:
        """The score from which a detection is worth showing, if the file recommends one."""
        ...

    @overload
    def __call__(self, images: Image) -> Detections: ...

    @overload
    def __call__(self, images: Sequence[Image]) -> list[Detections]: ...

    def __call__(self, images: Image | Sequence[Image]) -> Detections | list[Detections]:
        """Detections of one image (H, W, 3), uint8 BGR, of any size, or a list of those of each of several."""
        ...

    def stream(self, images: Iterable[Image]) -> Iterator[Detections]:
        """Detections of each of any number of images, in order.

        Images are taken as they are needed, and a few are under way at any time: reading them and using the results can
        go on while the network runs.
        """
        ...


class CheckedRuntime(ABC):
    """Makes a class with `detect_all` callable, `detector(image)` and `detector(images)`, and checks every image."""

    @overload
    def __call__(self, images: Image) -> Detections: ...

    @overload
    def __call__(self, images: Sequence[Image]) -> list[Detections]: ...

    def __call__(self, images: Image | Sequence[Image]) -> Detections | list[Detections]:
        """Detections of one image (H, W, 3), uint8 BGR, of any size, or a list of those of each of several.

        Raises:
            ValueError: an image is something else.
        """
        if isinstance(images, np.ndarray):
            if images.ndim < 4:
                _check(images)
                return self.detect_all([images])[0]
            images = list(images)  # an axis more than an image has
        for image in images:
            _check(image)
        return self.detect_all(images)

    @abstractmethod
    def detect_all(self, images: Sequence[Image]) -> list[Detections]:
        """Detections of each of any number of images, all at once if that is faster."""


def _check(image: Any) -> None:
    if not isinstance(image, np.ndarray):
        raise ValueError(f"an image must be a numpy array (H, W, 3) of uint8, not {type(image).__name__}")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(f"an image must be (H, W, 3) of uint8, BGR, not {image.shape} of {image.dtype}")
