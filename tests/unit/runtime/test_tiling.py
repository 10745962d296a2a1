"""Tiles of a picture of 200 x 100 pixels and boxes typed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from multibox.runtime import tiling
from multibox.structures import Detections

WIDTH, HEIGHT = 200, 100
# The whole picture, and three tiles of 100 that share 50 with their neighbours:
#   0         50        100       150       200
#   |---------A---------|---------C---------|
#             |---------B---------|
WHOLE, A, B, C = (0, 0, 200, 100), (0, 0, 100, 100), (50, 0, 150, 100), (100, 0, 200, 100)
TILES = np.array([WHOLE, A, B, C])
Found = list[tuple[tuple[float, ...], float, int]]


def test_tiles_are_spread_evenly_after_the_whole_picture() -> None:
    # 200 px, tiles of 100 with an overlap of at least 0.4: steps of at most 60, so 1 + 100/60 -> 3 tiles in steps of 50
    assert tiling.tiles_px(200, 100, side=100, overlap=0.4).tolist() == [list(tile) for tile in (WHOLE, A, B, C)]


def test_tiles_come_row_by_row() -> None:
    # Steps of at most 40 - 0.25 * 40 = 30: 60 px take 2 columns (0, 20), 70 px take 2 rows (0, 30)
    assert tiling.tiles_px(60, 70, side=40, overlap=0.25).tolist() == [
        [0, 0, 60, 70],
        [0, 0, 40, 40],
        [20, 0, 60, 40],
        [0, 30, 40, 70],
        [20, 30, 60, 70],
    ]


@pytest.mark.parametrize("side", [200, 201, 10_000])
def test_a_picture_that_fits_into_a_tile_is_not_cut(side: int) -> None:
    assert tiling.tiles_px(200, 100, side=side, overlap=0.2).tolist() == [[0, 0, 200, 100]]


def test_a_picture_that_is_narrower_than_a_tile_is_cut_along_its_length() -> None:
    assert tiling.tiles_px(30, 100, side=60, overlap=0).tolist() == [[0, 0, 30, 100], [0, 0, 30, 60], [0, 40, 30, 100]]


@pytest.mark.parametrize(("width", "height"), [(641, 359), (1920, 1080), (1, 700), (257, 256)])
@pytest.mark.parametrize("overlap", [0, 0.2, 0.7])
def test_tiles_cover_the_picture_and_share_what_they_should(width: int, height: int, overlap: float) -> None:
    tiles = tiling.tiles_px(width, height, side=256, overlap=overlap)[1:]
    covered = np.zeros((height, width), dtype=bool)
    for x1, y1, x2, y2 in tiles:
        assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height
        assert (x2 - x1, y2 - y1) == (min(256, width), min(256, height))
        covered[y1:y2, x1:x2] = True
    assert covered.all()
    for starts in (np.unique(tiles[:, 0]), np.unique(tiles[:, 1])):
        assert (np.diff(starts) <= 256 * (1 - overlap) + 1).all()


def merged(*found: Found, iou_threshold: float = 0.5) -> Found:
    """What becomes of boxes in pixels of the picture, found in the tiles WHOLE, A, B, C, rounded to whole pixels."""
    per_tile = []
    for rows, tile in zip([*found, *[[]] * (4 - len(found))], TILES.tolist(), strict=True):
        origin, size = np.array(tile[:2] * 2), np.array([tile[2] - tile[0], tile[3] - tile[1]] * 2)
        boxes = (np.array([box for box, _, _ in rows], dtype=np.float64).reshape(-1, 4) - origin) / size
        scores = np.array([score for _, score, _ in rows], dtype=np.float32)
        labels = np.array([label for _, _, label in rows], dtype=np.int64)
        per_tile.append(Detections(boxes.astype(np.float32), scores, labels))
    result = tiling.merge(per_tile, TILES, width=WIDTH, height=HEIGHT, input_size=100, iou_threshold=iou_threshold)
    boxes_px = result.boxes_px(WIDTH, HEIGHT).round().astype(int).tolist()
    scores, labels = result.scores.astype(float).round(3).tolist(), result.labels.tolist()
    return [(tuple(box), score, label) for box, score, label in zip(boxes_px, scores, labels, strict=True)]


def test_nothing_gives_nothing() -> None:
    assert merged([]) == []


def test_a_box_of_a_tile_lies_where_it_is_in_the_picture() -> None:
    assert merged([], [], [((60, 10, 80, 30), 0.5, 1)]) == [((60, 10, 80, 30), 0.5, 1)]


def test_an_object_seen_by_three_tiles_comes_once_with_its_best_score() -> None:
    box = (60, 10, 90, 40)
    assert merged([(box, 0.25, 0)], [(box, 0.5, 0)], [((61, 10, 91, 40), 0.75, 0)]) == [((61, 10, 91, 40), 0.75, 0)]


def test_objects_of_different_classes_do_not_suppress_each_other() -> None:
    box = (60, 10, 90, 40)
    assert merged([], [(box, 0.5, 0)], [(box, 0.25, 2)]) == [(box, 0.5, 0), (box, 0.25, 2)]


def test_a_part_gives_way_to_the_whole_even_if_it_is_surer() -> None:
    # A ends at 100 and shows 90..100 of an object of 90..130, which B shows whole. IoU is 10/40 only.
    part, whole = (90, 20, 100, 40), (90, 20, 130, 40)
    assert merged([], [(part, 0.9, 0)], [(whole, 0.5, 0)]) == [(whole, 0.5, 0)]


def test_a_part_gives_way_to_the_whole_of_the_whole_picture() -> None:
    part, whole = (60, 20, 100, 40), (60, 20, 190, 40)  # larger than any overlap
    assert merged([(whole, 0.5, 0)], [(part, 0.75, 0)]) == [(whole, 0.5, 0)]


def test_a_sure_part_does_not_give_way_to_a_guess() -> None:
    part, whole = (90, 20, 100, 40), (90, 20, 130, 40)
    assert merged([], [(part, 0.9, 0)], [(whole, 0.25, 0)]) == [(part, 0.9, 0), (whole, 0.25, 0)]


def test_a_part_does_not_give_way_to_another_class() -> None:
    part, whole = (90, 20, 100, 40), (90, 20, 130, 40)
    assert merged([], [(part, 0.75, 1)], [(whole, 0.5, 0)]) == [(part, 0.75, 1), (whole, 0.5, 0)]


def test_a_small_object_at_the_border_of_the_picture_is_not_cut() -> None:
    # Both end at 200, the border of the picture and of C. The small one, though inside, is an object of its own.
    small, large = (190, 20, 200, 40), (150, 20, 200, 40)
    assert merged([(large, 0.5, 0)], [], [], [(small, 0.75, 0)]) == [(small, 0.75, 0), (large, 0.5, 0)]


def test_two_parts_of_an_object_that_nobody_saw_whole_are_joined() -> None:
    # An object of 20..180: A sees it up to 100, B from 50 to 150, C from 100 on.
    a, b, c = (20, 30, 100, 60), (50, 30, 150, 60), (100, 30, 180, 60)
    assert merged([], [(a, 0.5, 0)], [(b, 0.75, 0)]) == [((20, 30, 150, 60), 0.75, 0)]
    assert merged([], [(a, 0.5, 0)], [(b, 0.75, 0)], [(c, 0.25, 0)]) == [((20, 30, 180, 60), 0.75, 0)]


def test_two_objects_at_facing_seams_are_not_joined_if_their_extents_differ() -> None:
    a, b = (20, 10, 100, 30), (50, 25, 150, 45)  # 10..30 and 25..45: 5 of 35 in common
    assert merged([], [(a, 0.75, 0)], [(b, 0.5, 0)]) == [(a, 0.75, 0), (b, 0.5, 0)]


def test_objects_side_by_side_in_one_tile_are_not_joined() -> None:
    a, b = (20, 30, 99, 60), (98, 30, 100, 60)  # both end at the seam of A
    assert merged([], [(a, 0.75, 0), (b, 0.5, 0)]) == [(a, 0.75, 0), (b, 0.5, 0)]


def test_parts_above_each_other_are_joined_too() -> None:
    tiles = np.array([(0, 0, 60, 100), (0, 0, 60, 60), (0, 40, 60, 100)])
    boxes = [(10, 20, 30, 60), (10, 40, 30, 90)]  # an object of 20..90; each tile sees 40 of its 70 or 50 of them
    per_tile = [Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))]
    for box, tile in zip(boxes, tiles[1:], strict=True):
        fractions = (np.array([box]) - np.tile(tile[:2], 2)) / 60
        per_tile.append(Detections(fractions.astype(np.float32), np.ones(1, np.float32), np.zeros(1, np.int64)))

    result = tiling.merge(per_tile, tiles, width=60, height=100, input_size=60, iou_threshold=0.5)

    np.testing.assert_allclose(result.boxes_px(60, 100), [[10, 20, 30, 90]], atol=1e-4)


def test_of_very_many_boxes_the_best_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiling, "MAX_BOXES", 2)
    boxes = [((x, 10, x + 10, 20), score, 0) for x, score in ((10, 0.25), (30, 0.75), (60, 0.5))]
    assert merged(boxes) == [boxes[1], boxes[2]]
