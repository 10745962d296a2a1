"""Boxes around polygons, masks and turned rectangles, by hand and against drawn pixels."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from multibox.data.shapes import box_around_segmentation, box_around_turned


@pytest.mark.parametrize(
    ("degrees", "expected"),
    [
        (0, (10, 20, 40, 20)),
        (90, (20, 10, 20, 40)),  # about its centre (30, 30)
        (180, (10, 20, 40, 20)),
        (45, (30 - 30 / 2**0.5, 30 - 30 / 2**0.5, 60 / 2**0.5, 60 / 2**0.5)),  # (40 + 20) / sqrt(2) on both sides
        (-90, (20, 10, 20, 40)),
    ],
)
def test_a_turned_rectangle_fits_into_its_box(degrees: float, expected: tuple[float, ...]) -> None:
    assert box_around_turned((10, 20, 40, 20), degrees) == pytest.approx(expected)


def test_the_box_around_a_turned_rectangle_is_that_of_its_corners() -> None:
    for degrees in range(0, 360, 7):
        corners = cv2.boxPoints(((70.0, 50.0), (30.0, 12.0), float(degrees)))
        low, high = corners.min(axis=0), corners.max(axis=0)
        assert box_around_turned((55, 44, 30, 12), degrees) == pytest.approx((*low, *(high - low)), abs=1e-3)


@pytest.mark.parametrize(
    ("segmentation", "expected"),
    [
        ([[10, 10, 60, 10, 60, 50, 10, 50]], (10, 10, 50, 40)),
        ([10, 10, 60, 10, 60, 50], (10, 10, 50, 40)),  # one polygon without its list
        ([[0, 0, 5, 0, 5, 5], [20, 30, 25, 30, 25, 40]], (0, 0, 25, 40)),  # two parts of one object
        ([], None),
        ([[1, 2, 3, 4]], None),  # two points are no polygon
        ([["a", 1, 2, 3, 4, 5]], None),
        (None, None),
        ({"counts": "compressed", "size": [4, 5]}, None),
    ],
)
def test_polygons_have_the_box_of_their_points(segmentation: object, expected: object) -> None:
    assert box_around_segmentation(segmentation) == expected


def test_masks_have_the_box_of_their_pixels() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        mask = (rng.random((7, 9)) < 0.15).astype(np.uint8)
        column_by_column = mask.T.ravel().tolist()
        counts, value = [0], 0
        for pixel in column_by_column:
            if pixel != value:
                counts.append(0)
                value = pixel
            counts[-1] += 1
        ys, xs = np.nonzero(mask)
        expected = None
        if len(xs):
            expected = (xs.min(), ys.min(), xs.max() - xs.min() + 1, ys.max() - ys.min() + 1)
        assert box_around_segmentation({"counts": counts, "size": [7, 9]}) == expected
