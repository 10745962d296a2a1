"""A runtime that keeps some of what another one finds: some classes, or one box for each object."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

import numpy as np

from multibox import boxes as geometry
from multibox.errors import OptionError
from multibox.runtime.protocol import CheckedRuntime
from multibox.structures import Detections, Image
from multibox.wording import listed

if TYPE_CHECKING:
    from multibox.runtime.protocol import Runtime

ONE_OBJECT_IOU = 0.45
"""Overlap from which detections of different classes are one object: that of non-maximum suppression in each class."""


class ChoosingRuntime(CheckedRuntime):
    """What another runtime finds, of some classes only; labels stay those of all classes.

    With `is_agnostic`, of detections of several classes on one object, the one with the best score is left.
    """

    def __init__(self, runtime: Runtime, classes: Sequence[str], *, is_agnostic: bool) -> None:
        self._runtime = runtime
        self.classes = runtime.classes
        self.input_size = runtime.input_size
        self.threshold = runtime.threshold
        self.tile_px: int | None = getattr(runtime, "tile_px", None)
        self._labels = [runtime.classes.index(name) for name in classes]
        self._is_agnostic = is_agnostic

    def detect_all(self, images: Sequence[Image]) -> list[Detections]:
        """Detections of each image."""
        return [self._chosen(detected) for detected in self._runtime(images)]

    def detect_stream(self, images: Iterable[Image]) -> Iterator[Detections]:
        """Detections of each image, in order."""
        return map(self._chosen, self._runtime.stream(images))

    def _chosen(self, detected: Detections) -> Detections:
        keep = np.ones(len(detected), dtype=np.bool_)
        if self._is_agnostic:
            # Before classes are chosen: an object that is a dog first of all is no cat.
            keep &= geometry.nms(detected.boxes, ONE_OBJECT_IOU)
        if self._labels:
            keep &= np.isin(detected.labels, self._labels)
        return detected[keep]


def chosen_only(runtime: Runtime, classes: Sequence[str], *, is_agnostic: bool) -> Runtime:
    """The runtime, showing some of its classes only, or one class for each object; as it is if neither is asked for.

    Raises:
        OptionError: it has no such class.
    """
    for name in classes:
        if name not in runtime.classes:
            near = get_close_matches(name, runtime.classes, n=1, cutoff=0.5)
            raise OptionError(
                f"--classes {name}: the model has no such class. "
                + (f"Is {near[0]} meant?" if near else f"It has {listed(runtime.classes, limit=12)}.")
            )
    is_all = set(classes) >= set(runtime.classes)
    if (is_all or not classes) and not is_agnostic:
        return runtime
    return ChoosingRuntime(runtime, () if is_all else classes, is_agnostic=is_agnostic)
