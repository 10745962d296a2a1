"""Random changes of images: geometry that boxes follow, colours that stay colours."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from multibox import config
from multibox.config import AugmentConfig, CropConfig, PhotometricConfig
from multibox.data import augment as augmentation
from multibox.data.augment import augment, crop, flip, mosaic, photometric
from multibox.structures import Targets

ANY_CROP = CropConfig(min_ious=(0.0,), min_side=0.1)
NO_COLOUR = PhotometricConfig(
    brightness=0, contrast=(1.0, 1.0), saturation=(1.0, 1.0), hue_degrees=0, permute_channels=0
)
ALL_COLOUR = PhotometricConfig(
    brightness=32, contrast=(0.5, 1.5), saturation=(0.5, 1.5), hue_degrees=18, permute_channels=0.5
)
NOTHING = AugmentConfig(photometric=None, crop=None, flip=0)
EVERYTHING = AugmentConfig(
    photometric=ALL_COLOUR, crop=CropConfig(min_ious=(1.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.0), min_side=0.1), flip=0.5
)


def boxes_of(*rows: tuple[float, float, float, float]) -> np.ndarray:
    return np.array(rows, dtype=np.float32).reshape(-1, 4)


def labels_of(*labels: int) -> np.ndarray:
    return np.array(labels, dtype=np.int64)


def places(width: int, height: int) -> np.ndarray:
    """An image whose pixels say where they are: (x, y, 0)."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x, y, np.zeros_like(x)], axis=-1)


def patch_of(part: np.ndarray, width: int, height: int) -> tuple[float, float, float, float]:
    """Where in an image of `places` a part was cut out, as fractions."""
    (x1, y1, _), (x2, y2, _) = part[0, 0].tolist(), part[-1, -1].tolist()
    return x1 / width, y1 / height, (x2 + 1) / width, (y2 + 1) / height


def iou(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    def area(box: tuple[float, ...]) -> float:
        return (box[2] - box[0]) * (box[3] - box[1])

    sides = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    overlap = max(sides[0], 0) * max(sides[1], 0)
    return overlap / (area(a) + area(b) - overlap)


def test_flip_mirrors_image_and_boxes() -> None:
    image = np.array([[[1, 1, 1], [2, 2, 2], [3, 3, 3]]], dtype=np.uint8)

    mirrored, boxes = flip(image, boxes_of((0, 0.1, 0.25, 0.5)))

    assert mirrored[0, :, 0].tolist() == [3, 2, 1]
    assert boxes.tolist() == boxes_of((0.75, 0.1, 1, 0.5)).tolist()


def test_flip_of_an_image_without_boxes_has_none() -> None:
    assert flip(np.zeros((2, 2, 3), dtype=np.uint8), boxes_of())[1].shape == (0, 4)


def test_a_crop_is_a_part_of_the_image_and_boxes_follow_it() -> None:
    image, rng = places(200, 100), np.random.default_rng(0)
    box = (0.25, 0.5, 0.5, 0.75)
    for _ in range(200):
        part, boxes, labels = crop(image, boxes_of(box), labels_of(4), ANY_CROP, rng)

        x1, y1, x2, y2 = patch_of(part, 200, 100)
        expected = [  # the box inside the part, relative to it
            max((box[0] - x1) / (x2 - x1), 0),
            max((box[1] - y1) / (y2 - y1), 0),
            min((box[2] - x1) / (x2 - x1), 1),
            min((box[3] - y1) / (y2 - y1), 1),
        ]
        assert boxes.dtype == np.float32 and labels.tolist() == [4]
        assert np.allclose(boxes, [expected], atol=1e-5)
        assert x1 < 0.375 < x2 and y1 < 0.625 < y2  # the box's centre


@pytest.mark.parametrize("min_iou", [0.1, 0.3, 0.5, 0.7])
def test_a_crop_covers_each_object_as_much_as_was_asked_for(min_iou: float) -> None:
    image, rng = places(200, 200), np.random.default_rng(1)
    objects = [(0.1, 0.1, 0.9, 0.8), (0.2, 0.1, 1.0, 0.9)]  # large, so that crops can reach a high IoU with both
    config = CropConfig(min_ious=(min_iou,), min_side=0.1)
    parts = [crop(image, boxes_of(*objects), labels_of(0, 1), config, rng)[0] for _ in range(100)]

    cropped = [patch_of(part, 200, 200) for part in parts if part is not image]

    assert len(cropped) > 50
    assert min(iou(patch, box) for patch in cropped for box in objects) >= min_iou - 1e-6


def test_crops_have_sides_and_aspects_within_their_limits() -> None:
    image, rng = places(300, 200), np.random.default_rng(2)
    sizes = np.array([crop(image, boxes_of(), labels_of(), ANY_CROP, rng)[0].shape[:2] for _ in range(500)])

    # A pixel of tolerance: corners are rounded down.
    assert sizes[:, 1].min() >= 29 and sizes[:, 0].min() >= 19
    assert (sizes[:, 0] <= 2 * sizes[:, 1] + 2).all() and (sizes[:, 1] <= 2 * sizes[:, 0] + 2).all()
    assert sizes[:, 1].max() > 250 and sizes[:, 1].min() < 60


def test_objects_whose_centre_is_outside_of_the_crop_go() -> None:
    image, rng = places(200, 200), np.random.default_rng(3)
    objects = boxes_of((0.0, 0.0, 0.2, 0.2), (0.8, 0.8, 1.0, 1.0))
    for _ in range(100):
        part, _, labels = crop(image, objects, labels_of(0, 1), ANY_CROP, rng)

        x1, y1, x2, y2 = patch_of(part, 200, 200)
        expected = [label for label, place in ((0, 0.1), (1, 0.9)) if x1 < place < x2 and y1 < place < y2]
        assert labels.tolist() == expected and len(labels) >= 1


def test_a_smallest_iou_of_one_means_the_whole_image() -> None:
    image, boxes, labels = places(20, 20), boxes_of((0, 0, 1, 1)), labels_of(0)

    result = crop(image, boxes, labels, CropConfig(min_ious=(1.0,), min_side=0.1), np.random.default_rng(0))

    assert result == (image, boxes, labels)


def test_what_no_crop_can_satisfy_ends_with_the_whole_image() -> None:
    image, boxes, labels = places(20, 20), boxes_of((0, 0, 0.1, 0.1), (0.9, 0.9, 1, 1)), labels_of(0, 1)

    result = crop(image, boxes, labels, CropConfig(min_ious=(0.9,), min_side=0.1), np.random.default_rng(0))

    assert result == (image, boxes, labels)


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (2, 3)])
def test_tiny_and_narrow_images_can_be_cropped(shape: tuple[int, int]) -> None:
    image, rng = np.zeros((*shape, 3), dtype=np.uint8), np.random.default_rng(0)
    for _ in range(50):
        part, boxes, _ = crop(image, boxes_of((0, 0, 1, 1)), labels_of(0), ANY_CROP, rng)

        assert part.size > 0 and len(boxes) == 1


def test_no_colour_change_gives_the_same_values() -> None:
    image = places(16, 16).astype(np.uint8)

    changed = photometric(image, NO_COLOUR, np.random.default_rng(0))

    assert changed.dtype == np.uint8 and np.array_equal(changed, image)


def test_colour_changes_leave_the_input_alone_and_give_bytes_in_order() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    before = image.copy()
    for _ in range(100):
        changed = photometric(image, ALL_COLOUR, rng)

        assert changed.dtype == np.uint8 and changed.shape == image.shape and changed.flags.c_contiguous
    assert np.array_equal(image, before)


def colours(**changes: Any) -> PhotometricConfig:
    """A configuration in which nothing changes but what is named."""
    return config.replace(NO_COLOUR, **changes)


def changed_by(image: np.ndarray, changes: PhotometricConfig) -> np.ndarray:
    """The first result that differs from the image: each change happens every other time."""
    results = (photometric(image, changes, np.random.default_rng(seed)) for seed in range(40))
    return next(result for result in results if not np.array_equal(result, image))


@pytest.mark.parametrize("changes", [{"hue_degrees": 18}, {"saturation": (0.5, 0.5)}, {"saturation": (1.5, 1.5)}])
def test_grey_stays_grey_whatever_happens_to_colours(changes: dict[str, Any]) -> None:
    grey = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)

    for seed in range(20):
        assert np.array_equal(photometric(grey, colours(**changes), np.random.default_rng(seed)), grey)


def test_hue_turns_about_the_grey_axis() -> None:
    image = np.array([[[60, 120, 180]]], dtype=np.uint8)
    results = [photometric(image, colours(hue_degrees=18), np.random.default_rng(seed))[0, 0] for seed in range(60)]

    # The sum and the distance from grey stay, up to rounding.
    assert all(abs(int(found.sum()) - 360) <= 2 for found in results)
    assert all(abs(np.linalg.norm(found - 120.0) - 60 * np.sqrt(2)) <= 1.5 for found in results)
    # At right angles to the grey axis, the three channels are 120 degrees apart: 120 + 69.28 * cos(angle). Blue has its
    # 60 at 150 degrees, so 18 degrees either way end at 132 (73.6) and at 168 (52.2).
    blue = [int(found[0]) for found in results]
    assert 52 <= min(blue) < 55 and 70 < max(blue) <= 74
    assert 20 <= blue.count(60) <= 45  # every other time, hue stays


def test_half_the_saturation_halves_the_distance_from_grey_and_keeps_the_brightness() -> None:
    image = np.array([[[200, 100, 50]]], dtype=np.uint8)

    changed = changed_by(image, colours(saturation=(0.5, 0.5)))

    grey = 0.114 * 200 + 0.587 * 100 + 0.299 * 50  # 96.45
    assert changed[0, 0].tolist() == [round((value + grey) / 2) for value in (200, 100, 50)] == [148, 98, 73]


def test_contrast_multiplies_and_cuts() -> None:
    image = np.array([[[10, 100, 200]]], dtype=np.uint8)

    assert changed_by(image, colours(contrast=(1.5, 1.5)))[0, 0].tolist() == [15, 150, 255]


def test_brightness_adds_the_same_to_all_and_cuts_at_black() -> None:
    image = np.array([[[5, 100, 200]]], dtype=np.uint8)
    results = [photometric(image, colours(brightness=32), np.random.default_rng(seed))[0, 0] for seed in range(60)]

    added = [int(found[1]) - 100 for found in results]
    assert all(
        found.tolist() == [max(0, 5 + more), 100 + more, 200 + more] for found, more in zip(results, added, strict=True)
    )
    assert -32 <= min(added) < -20 and 20 < max(added) <= 32


def test_permuted_channels_hold_the_same_values_in_another_order() -> None:
    image = np.zeros((2, 2, 3), dtype=np.uint8)
    image[:] = (10, 20, 30)
    config = PhotometricConfig(
        brightness=0, contrast=(1.0, 1.0), saturation=(1.0, 1.0), hue_degrees=0, permute_channels=1
    )
    rng = np.random.default_rng(0)

    orders = {tuple(photometric(image, config, rng)[0, 0].tolist()) for _ in range(100)}

    assert len(orders) == 6 and {tuple(sorted(order)) for order in orders} == {(10, 20, 30)}


def test_with_everything_off_the_image_is_resized_only() -> None:
    image = np.full((30, 40, 3), 7, dtype=np.uint8)
    targets = Targets(boxes_of((0.1, 0.2, 0.3, 0.4)), labels_of(2))

    square, kept = augment(image, targets, NOTHING, 16, np.random.default_rng(0))

    assert square.dtype == np.uint8 and np.array_equal(square, np.full((16, 16, 3), 7))
    assert kept.boxes.tolist() == targets.boxes.tolist() and kept.labels.tolist() == [2]


def test_images_without_objects_are_changed_like_others() -> None:
    image, rng = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8), np.random.default_rng(0)
    for _ in range(50):
        square, targets = augment(image, Targets(boxes_of(), labels_of()), EVERYTHING, 32, rng)

        assert square.shape == (32, 32, 3) and targets.boxes.shape == (0, 4)


def test_equal_seeds_give_equal_samples_and_others_do_not() -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    targets = Targets(boxes_of((0.2, 0.2, 0.8, 0.8)), labels_of(0))

    first, again, other = (augment(image, targets, EVERYTHING, 32, np.random.default_rng(seed)) for seed in (1, 1, 2))

    assert np.array_equal(first[0], again[0]) and np.array_equal(first[1].boxes, again[1].boxes)
    assert not np.array_equal(first[0], other[0])


def test_an_object_is_where_its_box_is_after_all_changes() -> None:
    image = np.zeros((120, 160, 3), dtype=np.uint8)
    image[30:90, 40:120] = 255  # a white rectangle
    targets = Targets(boxes_of((0.25, 0.25, 0.75, 0.75)), labels_of(0))
    rng = np.random.default_rng(0)
    for _ in range(100):
        square, kept = augment(image, targets, EVERYTHING, 64, rng)

        x1, y1, x2, y2 = (kept.boxes[0] * 64).round().astype(int).tolist()
        inside = np.zeros((64, 64), dtype=bool)
        inside[y1:y2, x1:x2] = True
        middle = (float(square.min()) + float(square.max())) / 2
        white = square.mean(axis=2) > middle
        # A row of pixels on each side may go either way when the crop is enlarged.
        assert inside.all() or (white != inside).mean() < 0.12


def test_boxes_that_a_crop_makes_thinner_than_a_pixel_go_unless_none_would_be_left() -> None:
    boxes = boxes_of((0, 0, 0.5, 0.5), (0, 0, 0.01, 0.5))  # 0.01 * 64 = 0.64 pixels

    kept, labels = augmentation._drop_thin(boxes, labels_of(3, 4), 64)
    assert labels.tolist() == [3] and len(kept) == 1
    assert augmentation._drop_thin(boxes[1:], labels_of(4), 64)[1].tolist() == [4]
    assert augmentation._drop_thin(boxes_of(), labels_of(), 64)[0].shape == (0, 4)


def plain(number: int, side: int) -> tuple[np.ndarray, Targets]:
    """A square of one colour, with an object of class i in the middle and one of class 10 + i in a corner."""
    targets = Targets(boxes_of((0.4, 0.4, 0.6, 0.6), (0, 0, 0.01, 0.01)), labels_of(number, 10 + number))
    return np.full((side, side, 3), 50 * number, np.uint8), targets


@pytest.mark.parametrize("seed", range(20))
def test_a_mosaic_shows_four_samples_with_their_objects_in_their_places(seed: int) -> None:
    whole, targets = mosaic([partial(plain, number) for number in range(4)], 64, np.random.default_rng(seed))

    colours = whole[:, :, 0] // 50
    assert [colours[0, 0], colours[0, -1], colours[-1, 0], colours[-1, -1]] == [0, 1, 2, 3]
    # Corners are smaller than a pixel; the middle may be out of sight where a place is long and narrow.
    assert targets.labels.tolist() == sorted(set(targets.labels.tolist()) & {0, 1, 2, 3})
    assert len(targets) >= 2
    for (x1, y1, x2, y2), label in zip(targets.boxes * 64, targets.labels, strict=True):
        assert (colours[round(y1) : round(y2), round(x1) : round(x2)] == label).all()
        # A fifth of a square that is shrunk to 0.3 to 0.7 of its side.
        assert 0.2 * 0.3 * 64 - 1 <= max(x2 - x1, y2 - y1) <= 0.2 * 0.7 * 64 + 1


def test_a_part_of_a_mosaic_is_no_smaller_than_its_least_side() -> None:
    sides: list[int] = []

    def part(side: int) -> tuple[np.ndarray, Targets]:
        sides.append(side)
        return plain(0, side)

    mosaic([part] * 4, 64, np.random.default_rng(0), least_sides=(0, 40, 64, 50))
    mosaic([part] * 4, 64, np.random.default_rng(0))

    assert sides[:4] == [max(side, least) for side, least in zip(sides[4:], (0, 40, 64, 50), strict=True)]
    assert sides[1:4] != sides[5:]


def test_boxes_of_a_mosaic_follow_what_they_frame() -> None:
    size = 128

    def bright_middle(side: int) -> tuple[np.ndarray, Targets]:
        square = np.zeros((side, side, 3), np.uint8)
        x1, y1, x2, y2 = (round(share * side) for share in (0.4, 0.25, 0.6, 0.75))
        square[y1:y2, x1:x2] = 255
        return square, Targets(boxes_of((x1 / side, y1 / side, x2 / side, y2 / side)), labels_of(0))

    for seed in range(20):
        whole, found = mosaic([bright_middle] * 4, size, np.random.default_rng(seed))
        if len(found) < 4:
            continue  # the middle of one is out of sight
        bright = whole[:, :, 0] > 127
        framed = np.zeros_like(bright)
        for x1, y1, x2, y2 in np.rint(found.boxes * size).astype(int):
            framed[y1:y2, x1:x2] = True
        assert np.array_equal(framed, bright)


def test_four_samples_without_objects_are_a_mosaic_without_objects() -> None:
    def empty(side: int) -> tuple[np.ndarray, Targets]:
        return np.zeros((side, side, 3), np.uint8), Targets(boxes_of(), labels_of())

    _, targets = mosaic([empty] * 4, 32, np.random.default_rng(0))
    assert targets.boxes.shape == (0, 4) and targets.labels.shape == (0,)
