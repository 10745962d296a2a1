from __future__ import annotations

from collections.abc import Iterable, Iterator

import cv2
import numpy as np
import pytest

from multibox.data.images import resize
from multibox.runtime.tiling_runtime import TilingRuntime
from multibox.structures import Detections, Image


class FindsBlue:
    """Finds what is blue and large enough to be seen at 32 pixels: an area of at least 16 pixels there."""

    classes = ("blue",)
    input_size = 32
    threshold = None

    def __init__(self) -> None:
        self.num_seen = 0

    def __call__(self, images: Iterable[Image]) -> list[Detections]:
        return list(self.stream(images))

    def stream(self, images: Iterable[Image]) -> Iterator[Detections]:
        for image in images:
            self.num_seen += 1
            seen = cv2.threshold(resize(image, 32)[:, :, 0], 127, 1, cv2.THRESH_BINARY)[1]
            _, _, facts, _ = cv2.connectedComponentsWithStats(seen)
            rows = [(x, y, x + w, y + h) for x, y, w, h, area in facts[1:].tolist() if area >= 16]
            boxes = np.array(rows, dtype=np.float32).reshape(-1, 4) / 32
            yield Detections(boxes, np.full(len(rows), 0.75, np.float32), np.zeros(len(rows), np.int64))


def picture(*squares: tuple[int, int, int], size: int = 128) -> Image:
    """A black picture with blue squares: left, top, side."""
    image = np.zeros((size, size, 3), dtype=np.uint8)
    for x, y, side in squares:
        image[y : y + side, x : x + side, 0] = 255
    return image


def boxes_px(found: Detections, size: int = 128) -> list[tuple[int, ...]]:
    return sorted(tuple(row) for row in found.boxes_px(size, size).round().astype(int).tolist())


SMALL, LARGE = (40, 40, 8), (64, 0, 64)
BOXES = [(40, 40, 48, 48), (64, 0, 128, 64)]


def test_small_objects_are_found_in_tiles_and_large_ones_in_the_whole() -> None:
    image = picture(SMALL, LARGE)
    # At 32 of 128 pixels, the small square has 2 x 2 pixels, in a tile of 32 it has 8 x 8.
    assert boxes_px(TilingRuntime(FindsBlue(), tile_px=10**6)(image)) == BOXES[1:]
    assert boxes_px(TilingRuntime(FindsBlue(), tile_px=32, overlap=0.25)(image)) == BOXES


def test_a_stream_of_images_of_any_size_gives_one_result_for_each() -> None:
    inner = FindsBlue()
    images = [picture(SMALL), picture(size=32), picture(), picture(LARGE), picture((8, 8, 8), size=32)]

    found = list(TilingRuntime(inner, tile_px=64, overlap=0.5).stream(iter(images)))

    assert [boxes_px(one, image.shape[0]) for one, image in zip(found, images, strict=True)] == [
        *([BOXES[0]], [], [], [BOXES[1]], [(8, 8, 16, 16)])
    ]
    # 128 px: the whole and 3 x 3 tiles of 64 in steps of 32; 32 px: the whole only
    assert inner.num_seen == 3 * 10 + 2


def test_a_stream_of_nothing_gives_nothing() -> None:
    assert list(TilingRuntime(FindsBlue()).stream([])) == []
    assert TilingRuntime(FindsBlue())([]) == []


@pytest.mark.parametrize(("tile_px", "expected"), [(None, 48), (100, 100)])
def test_a_tile_is_one_and_a_half_inputs_unless_told(tile_px: int | None, expected: int) -> None:
    runtime = TilingRuntime(FindsBlue(), tile_px=tile_px)
    assert (runtime.tile_px, runtime.classes, runtime.input_size) == (expected, ("blue",), 32)
