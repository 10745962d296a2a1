"""What a detector that is ready to run offers, whatever engine runs it. No engine, and no torch, is imported here."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol, overload

import numpy as np

from multibox.runtime.inputs import ImageLike, Input, PilImage, inputs_of, is_one
from multibox.structures import Detections, Image


class Runtime(Protocol):
    """A detector that is ready to run, as `multibox.load` gives it: label i of a detection is `classes[i]`.

    Those of this package may be used by any number of threads at the same time.

    >>> detector.classes, detector.input_size
    (('red, tiny triangle', 'square'), 96)
    """

    classes: tuple[str, ...]
    input_size: int

    @property
    def threshold(self) -> float | None:
        """The score from which a detection is worth showing, if the file recommends one."""
        ...

    @overload
    def __call__(self, images: Image | PilImage) -> Detections: ...

    @overload
    def __call__(self, images: str | os.PathLike[str]) -> Any: ...

    @overload
    def __call__(self, images: Sequence[ImageLike]) -> list[Detections]: ...

    def __call__(self, images: Any) -> Detections | list[Detections]:
        """Detections of one image, or a list of those of each of several.

        An image is an array (H, W, 3), uint8 BGR, of any size; the path of a file; an address (`https://...`); or an
        image of PIL. Several are a list of these, the path of a folder or of a .zip, or an array with an axis more.
        """
        ...

    def stream(self, images: Iterable[ImageLike]) -> Iterator[Detections]:
        """Detections of each of any number of images, in order.

        Images are taken as they are needed, and a few are under way at any time: reading them and using the results can
        go on while the network runs.
        """
        ...


class CheckedRuntime(ABC):
    """Makes a class with `detect_all` callable, as `Runtime` has it; every image is checked, every result complete."""

    classes: tuple[str, ...] = ()
    threshold: float | None = None

    @overload
    def __call__(self, images: Image | PilImage) -> Detections: ...

    @overload
    def __call__(self, images: str | os.PathLike[str]) -> Any: ...

    @overload
    def __call__(self, images: Sequence[ImageLike]) -> list[Detections]: ...

    def __call__(self, images: Any) -> Detections | list[Detections]:
        """Detections of one image, or a list of those of each of several.

        An image is an array (H, W, 3), uint8 BGR, of any size; the path of a file; an address (`https://...`); or an
        image of PIL. Several are a list of these, the path of a folder or of a .zip, or an array with an axis more.

        Raises:
            ValueError: an image is something else.
            DataError: a file cannot be read, or a folder has no image.

        >>> detector("photo.jpg").size
        (160, 120)
        >>> [found.source for found in detector("photos")]
        ['photos/1.jpg', 'photos/2.jpg']
        """
        if is_one(images):
            return self._answer(list(inputs_of(images)))[0]
        given = list(inputs_of(images))
        if all(one.source == "" for one in given):
            return self._answer(given)
        return list(self.stream(images))  # files are read one by one: a folder may be larger than the memory

    def stream(self, images: Iterable[ImageLike]) -> Iterator[Detections]:
        """Detections of each of any number of images, in order; see `Runtime`.

        >>> [len(found.classes) for found in detector.stream(["photo.jpg", "photo.jpg"])]
        [2, 2]
        """
        taken: deque[tuple[Input, tuple[int, int]]] = deque()

        def read() -> Iterator[Image]:
            for one in inputs_of(images):
                image = one.load()
                taken.append((one, image.shape[1::-1]))
                yield image

        results = self.detect_stream(read())
        try:
            for found in results:
                yield self._completed(found, *taken.popleft())
        finally:
            close = getattr(results, "close", None)
            if close is not None:
                close()

    @abstractmethod
    def detect_all(self, images: Sequence[Image]) -> list[Detections]:
        """Detections of each of any number of images, all at once if that is faster."""

    def detect_stream(self, images: Iterable[Image]) -> Iterator[Detections]:
        """Detections of each of any number of images, which are taken as they are needed."""
        for image in images:
            yield from self.detect_all([image])

    def _answer(self, given: Sequence[Input]) -> list[Detections]:
        images = [one.load() for one in given]
        for image in images:
            _check(image)
        rows = zip(self.detect_all(images), given, images, strict=True)
        return [self._completed(found, one, image.shape[1::-1]) for found, one, image in rows]

    def _completed(self, found: Detections, one: Input, size: tuple[int, int]) -> Detections:
        return replace(
            found,
            size=size,
            classes=self.classes or None,
            threshold=self.threshold,
            source=one.source,
            pixels=one.pixels,
        )


def _check(image: Any) -> None:
    if not isinstance(image, np.ndarray):
        raise ValueError(f"an image must be a numpy array (H, W, 3) of uint8, not {type(image).__name__}")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(f"an image must be (H, W, 3) of uint8, BGR, not {image.shape} of {image.dtype}")
