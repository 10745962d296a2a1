"""A runtime that looks at large images tile by tile, made of one that does not."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Literal

from multibox.errors import OptionError
from multibox.runtime import tiling
from multibox.runtime.protocol import CheckedRuntime
from multibox.structures import Detections, Image, IntArray

if TYPE_CHECKING:
    from multibox.runtime.protocol import Runtime

DEFAULT_OVERLAP = 0.2
"""Share of a tile's side that neighbours have in common: objects up to this size are whole in one of them."""

AUTO_SCALE = 1.5
"""Side of a tile in sides of the network's input where nobody chose it; docs/predict.md has the measurements."""

IOU_THRESHOLD = 0.45
"""Overlap from which detections of the same class in different tiles are the same object; the network's own value."""


class TilingRuntime(CheckedRuntime):
    """Detections of each image as a whole and of its tiles, merged; otherwise as the runtime that it is made of.

    `tile_px`: the side of a tile in pixels of the image, by default one and a half of the network's input.
    """

    def __init__(self, runtime: Runtime, *, tile_px: int | None = None, overlap: float = DEFAULT_OVERLAP) -> None:
        self._runtime = runtime
        self.classes = runtime.classes
        self.input_size = runtime.input_size
        self.threshold = runtime.threshold
        self.tile_px = round(AUTO_SCALE * runtime.input_size) if tile_px is None else tile_px
        self.overlap = overlap

    def detect_all(self, images: Sequence[Image]) -> list[Detections]:
        """Detections of each image; the tiles of all of them run side by side."""
        return list(self.detect_stream(images))

    def detect_stream(self, images: Iterable[Image]) -> Iterator[Detections]:
        """Detections of each image, in order. The tiles of one image follow those of another without a pause."""
        plans: deque[tuple[IntArray, int, int]] = deque()

        def pieces() -> Iterator[Image]:
            for image in images:
                height, width = image.shape[:2]
                tiles = tiling.tiles_px(width, height, side=self.tile_px, overlap=self.overlap)
                plans.append((tiles, width, height))
                for x1, y1, x2, y2 in tiles.tolist():
                    yield image[y1:y2, x1:x2]

        results = iter(self._runtime.stream(pieces()))
        for first in results:
            tiles, width, height = plans.popleft()
            of_tiles = [first, *islice(results, len(tiles) - 1)]
            yield tiling.merge(
                of_tiles,
                tiles,
                width=width,
                height=height,
                input_size=self.input_size,
                iou_threshold=IOU_THRESHOLD,
            )


def with_tiles(runtime: Runtime, tile: int | Literal["auto"] | None, overlap: float | None) -> Runtime:
    """The runtime, looking at tiles of `tile` pixels if that is given.

    Raises:
        OptionError: there is an overlap of no tiles.
    """
    if tile is None:
        if overlap is not None:
            raise OptionError("--tile-overlap has no effect without --tile, which is the side of a tile or auto.")
        return runtime
    return TilingRuntime(
        runtime,
        tile_px=None if tile == "auto" else tile,
        overlap=DEFAULT_OVERLAP if overlap is None else overlap,
    )
