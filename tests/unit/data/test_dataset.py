"""Records as training samples."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from multibox.config import AugmentConfig, CropConfig, MosaicConfig
from multibox.data.cache import ImageCache
from multibox.data.coco import Record
from multibox.data.dataset import Dataset
from multibox.errors import DataError

CROPPED = AugmentConfig(photometric=None, crop=CropConfig(min_ious=(0.0,), min_side=0.1), flip=0.5)


def record(folder: Path, width: int, height: int) -> Record:
    """An image of random pixels with one object in its middle, and a crowd."""
    path = folder / f"{width}x{height}.jpg"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))
    boxes = np.array([[0.25, 0.25, 0.75, 0.75], [0, 0, 1, 1]], dtype=np.float32)
    return Record(
        path=path,
        file_name=path.name,
        image_id=5,
        source=0,
        width=width,
        height=height,
        boxes=boxes,
        labels=np.array([1, 1], dtype=np.int64),
        is_crowd=np.array([False, True]),
        boxes_px=boxes.astype(np.float64) * [width, height, width, height],
        areas_px=np.array([1.0, 1.0]),
    )


def dataset(folder: Path, width: int, height: int, *, augment: AugmentConfig | None = None) -> Dataset:
    return Dataset([record(folder, width, height)], input_size=32, augment=augment, cache=ImageCache(10**6))


def test_without_augmentation_a_sample_is_the_resized_image_and_its_targets(tmp_path: Path) -> None:
    data = dataset(tmp_path, 60, 40)

    square, targets = data.sample(0, np.random.default_rng(0))

    expected = cv2.resize(cv2.imread(str(tmp_path / "60x40.jpg")), (32, 32))
    assert np.array_equal(square, expected)
    assert targets.boxes.tolist() == [[0.25, 0.25, 0.75, 0.75]] and targets.labels.tolist() == [1]
    assert len(data) == 1


@pytest.mark.parametrize(
    ("width", "height", "decoded"),
    [
        (60, 40, (40, 60)),
        (128, 127, (127, 128)),  # half would be 63 pixels high, less than 2 * 32
        (129, 128, (64, 65)),
        (512, 2000, (250, 64)),  # an eighth
    ],
)
def test_images_are_decoded_no_smaller_than_twice_the_network_input(
    tmp_path: Path, width: int, height: int, decoded: tuple[int, int]
) -> None:
    assert dataset(tmp_path, width, height).decoded(0).shape[:2] == decoded


def test_an_image_is_decoded_once_and_samples_leave_it_alone(tmp_path: Path) -> None:
    data = dataset(tmp_path, 60, 40, augment=CROPPED)
    first = data.decoded(0)
    before = first.copy()
    rng = np.random.default_rng(0)

    samples = [data.sample(0, rng)[0] for _ in range(20)]

    assert data.decoded(0) is first and np.array_equal(first, before)
    assert all(sample.shape == (32, 32, 3) for sample in samples)


def test_without_a_cache_images_are_read_each_time(tmp_path: Path) -> None:
    data = Dataset([record(tmp_path, 60, 40)], input_size=32, augment=None, cache=None)

    assert data.decoded(0) is not data.decoded(0)
    assert np.array_equal(data.decoded(0), data.decoded(0))


def test_a_file_that_has_gone_is_an_error_that_names_it(tmp_path: Path) -> None:
    data = dataset(tmp_path, 60, 40)
    (tmp_path / "60x40.jpg").unlink()

    with pytest.raises(DataError, match=r"60x40\.jpg: the image is missing"):
        data.sample(0, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("min_object_px", "largest_px"),
    [
        # Objects of 16 px; a place of a mosaic of 32 px is at most 23 px long.
        (0, 11.5),
        (12, 12),
        (16, 16),
        (100, 16),
    ],
)
def test_a_mosaic_does_not_shrink_objects_below_their_least_size(
    tmp_path: Path, min_object_px: float, largest_px: float
) -> None:
    config = MosaicConfig(share=1.0, until=1.0, max_images=10, min_object_px=min_object_px)
    data = dataset(tmp_path, 60, 40, augment=AugmentConfig(photometric=None, crop=None, flip=0.0, mosaic=config))

    boxes = np.concatenate([data.mosaic(0, np.random.default_rng(seed))[1].boxes for seed in range(50)])

    assert (boxes[:, 2:] - boxes[:, :2]).max() * 32 == pytest.approx(largest_px, abs=0.01)


def test_images_without_objects_are_part_of_mosaics(tmp_path: Path) -> None:
    config = MosaicConfig(share=1.0, until=1.0, max_images=10, min_object_px=32)
    some = record(tmp_path, 60, 40)
    none = replace(some, boxes=some.boxes[1:], labels=some.labels[1:], is_crowd=some.is_crowd[1:])
    augment = AugmentConfig(photometric=None, crop=None, flip=0.0, mosaic=config)
    data = Dataset([none], input_size=32, augment=augment, cache=None)

    square, targets = data.mosaic(0, np.random.default_rng(0))

    assert square.shape == (32, 32, 3) and len(targets) == 0
