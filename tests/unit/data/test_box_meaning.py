"""What the numbers of boxes mean, told by all of a set: random boxes are written in every way and read back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from multibox.data.box_meaning import (
    COCO,
    PASCAL_VOC,
    READINGS,
    YOLO,
    Reading,
    Values,
    corners_of,
    find_meaning,
    numbers_as,
)


def drawn(count: int, seed: int = 0) -> tuple[Values, Values]:
    """Corners of boxes in images of several sizes, of 5 to 50 % of a side, anywhere in the image."""
    rng = np.random.default_rng(seed)
    sizes = rng.choice([[640, 480], [480, 640], [1920, 1080]], size=count).astype(np.float64)
    sides = rng.uniform(0.05, 0.5, (count, 2)) * sizes
    first = rng.uniform(0, 1, (count, 2)) * (sizes - sides)
    return np.concatenate([first, first + sides], axis=1), sizes


def test_corners_by_hand() -> None:
    sizes = np.array([[100.0, 50.0]])
    box = [[40.0, 10.0, 60.0, 30.0]]  # of 100 x 50 px: 20 x 20 px about (50, 20)
    numbers = {
        Reading("corner and size", is_fraction=False): [40, 10, 20, 20],
        Reading("corner and size", is_fraction=True): [0.4, 0.2, 0.2, 0.4],
        Reading("centre and size", is_fraction=False): [50, 20, 20, 20],
        Reading("centre and size", is_fraction=True): [0.5, 0.4, 0.2, 0.4],
        Reading("two corners", is_fraction=False): [40, 10, 60, 30],
        Reading("two corners", is_fraction=True): [0.4, 0.2, 0.6, 0.6],
    }
    assert set(numbers) == set(READINGS)
    for reading, values in numbers.items():
        assert corners_of(np.array([values], dtype=np.float64), sizes, reading) == pytest.approx(np.array(box))
        assert numbers_as(np.array(box), sizes, reading) == pytest.approx(np.array([values]))


@pytest.mark.parametrize("declared", [COCO, YOLO, PASCAL_VOC])
@pytest.mark.parametrize("written", READINGS)
@pytest.mark.parametrize("seed", range(5))
def test_boxes_written_in_any_way_are_read_as_they_were_meant(declared: Reading, written: Reading, seed: int) -> None:
    corners, sizes = drawn(60, seed)

    meaning = find_meaning(numbers_as(corners, sizes, written), sizes, declared)

    if written == declared:
        assert meaning is None
    else:
        assert meaning is not None
        assert (meaning.reading, meaning.is_certain, meaning.total) == (written, True, 60)


@pytest.mark.parametrize("declared", [COCO, YOLO, PASCAL_VOC])
def test_a_few_boxes_that_leave_their_images_mean_nothing(declared: Reading) -> None:
    corners, sizes = drawn(60)
    corners[:6] += 0.4 * np.concatenate([sizes, sizes], axis=1)[:6]

    assert find_meaning(numbers_as(corners, sizes, declared), sizes, declared) is None


def test_a_part_that_is_written_otherwise_is_told_but_not_certain() -> None:
    corners, sizes = drawn(200)
    values = numbers_as(corners, sizes, COCO)
    values[:40] = corners[:40]

    meaning = find_meaning(values, sizes, COCO)

    assert meaning is not None and not meaning.is_certain
    assert meaning.reading == replace(COCO, shape="two corners")
    assert 15 < meaning.count <= 40  # of 40 pairs of corners, some fit as a corner and a size


def test_three_boxes_over_the_border_are_no_proof_but_three_fractions_are() -> None:
    sizes = np.full((3, 2), 100.0)
    over = np.array([[60.0, 60, 70, 70]] * 3)

    assert find_meaning(over, sizes, COCO) is None
    fractions = find_meaning(over / 100, sizes, COCO)
    assert fractions is not None and fractions.reading.is_fraction


def test_numbers_that_are_not_finite_do_not_count() -> None:
    corners, sizes = drawn(20)
    values = numbers_as(corners, sizes, YOLO)
    values[3] = np.nan

    assert find_meaning(values, sizes, YOLO) is None
    assert find_meaning(np.full((2, 4), np.nan), sizes[:2], YOLO) is None
    assert find_meaning(np.zeros((0, 4)), np.zeros((0, 2)), YOLO) is None


def test_of_two_readings_that_fit_as_well_the_usual_one_is_taken_and_both_are_told() -> None:
    sizes = np.full((6, 2), (100.0, 50.0))
    # About the middle: as two corners, and as a centre and a size, they stay inside; as corner and size none does.
    values = np.array([[50.0 + i, 20 + i, 70 + i, 40 + i] for i in range(6)])

    meaning = find_meaning(values, sizes, COCO)

    assert meaning is not None and meaning.reading.shape == "two corners"
    assert meaning.rival is not None and meaning.rival.shape == "centre and size"
    assert "(they fit as centre and size" in meaning.text
