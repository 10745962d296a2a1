"""Batches: which samples are in them, and threads that make them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from multibox import config
from multibox.config import AugmentConfig, CropConfig, MosaicConfig, PhotometricConfig
from multibox.data import loader
from multibox.data.cache import ImageCache
from multibox.data.coco import Record
from multibox.data.dataset import Batch, Dataset
from multibox.data.loader import TrainLoader, evaluation_batches, evaluation_images
from multibox.errors import DataError

EVERYTHING = AugmentConfig(
    photometric=PhotometricConfig(
        brightness=32, contrast=(0.5, 1.5), saturation=(0.5, 1.5), hue_degrees=18, permute_channels=0.5
    ),
    crop=CropConfig(min_ious=(1.0, 0.5, 0.0), min_side=0.1),
    flip=0.5,
)
MOSAICS = AugmentConfig(photometric=None, crop=None, flip=0.0, mosaic=MosaicConfig(share=0.5, until=0.7, max_images=10))


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    """Ten images of 40x30 pixels, image number i all of the value 20 * i, each with an object of class i."""
    return [make_record(tmp_path, number) for number in range(10)]


def make_record(folder: Path, number: int, width: int = 40, height: int = 30) -> Record:
    path = folder / f"{number}.png"
    cv2.imwrite(str(path), np.full((height, width, 3), 20 * number, dtype=np.uint8))
    box = np.array([[0.25, 0.25, 0.75, 0.75]])
    return Record(
        path=path,
        file_name=path.name,
        image_id=number,
        source=0,
        width=width,
        height=height,
        boxes=box.astype(np.float32),
        labels=np.array([number], dtype=np.int64),
        is_crowd=np.array([False]),
        boxes_px=box * [width, height, width, height],
        areas_px=np.array([1.0]),
    )


def train_loader(records: Sequence[Record], *, augment: AugmentConfig | None = None, **options: Any) -> TrainLoader:
    dataset = Dataset(records, input_size=32, augment=augment, cache=ImageCache(10**7))
    settings: dict[str, Any] = {"batch_size": 4, "repeat": 1, "seed": 0, "num_workers": 0}
    return TrainLoader(dataset, **(settings | options))


def indices(batches: Sequence[Batch]) -> list[int]:
    return [index for batch in batches for index in batch.indices]


def assert_equal(batches: Sequence[Batch], others: Sequence[Batch]) -> None:
    assert indices(batches) == indices(others)
    for batch, other in zip(batches, others, strict=True):
        assert np.array_equal(batch.images, other.images)
        for targets, other_targets in zip(batch.targets, other.targets, strict=True):
            assert np.array_equal(targets.boxes, other_targets.boxes)
            assert np.array_equal(targets.labels, other_targets.labels)


def loader_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("multibox-loader")]


def test_a_batch_pairs_images_targets_and_indices(records: list[Record]) -> None:
    for batch in train_loader(records).epoch(0):
        assert batch.images.shape == (4, 32, 32, 3) and batch.images.dtype == np.uint8
        values = [round(float(image.mean())) for image in batch.images]
        assert values == [20 * index for index in batch.indices]
        assert [targets.labels.tolist() for targets in batch.targets] == [[index] for index in batch.indices]


def test_each_repeat_visits_every_image_once(records: list[Record]) -> None:
    order = indices(list(train_loader(records, repeat=3, batch_size=5).epoch(0)))

    assert [sorted(order[start : start + 10]) for start in (0, 10, 20)] == [list(range(10))] * 3
    assert len({tuple(order[start : start + 10]) for start in (0, 10, 20)}) == 3


@pytest.mark.parametrize(
    ("batch_size", "repeat", "steps"),
    [(4, 1, 3), (5, 1, 2), (5, 3, 6), (16, 1, 1), (64, 2, 1)],  # 10 * repeat / batch_size, rounded up
)
def test_all_steps_have_the_same_size(records: list[Record], batch_size: int, repeat: int, steps: int) -> None:
    made = train_loader(records, batch_size=batch_size, repeat=repeat)
    batches = list(made.epoch(0))

    assert made.steps_per_epoch == len(batches) == steps
    assert all(len(batch.indices) == len(batch.images) == batch_size for batch in batches)
    counts = Counter(indices(batches))
    assert max(counts.values()) - min(counts[index] for index in range(10)) <= 1


def test_orders_differ_between_epochs_and_between_seeds(records: list[Record]) -> None:
    first, second = (indices(list(train_loader(records).epoch(number))) for number in (0, 1))
    other_seed = indices(list(train_loader(records, seed=1).epoch(0)))

    assert first not in (second, other_seed)


@pytest.mark.parametrize("num_workers", [1, 2, 5])
def test_results_do_not_depend_on_the_number_of_threads(records: list[Record], num_workers: int) -> None:
    alone = list(train_loader(records, augment=EVERYTHING, repeat=2).epoch(3))

    together = list(train_loader(records, augment=EVERYTHING, repeat=2, num_workers=num_workers).epoch(3))

    assert_equal(alone, together)


def test_two_processes_share_the_batches_of_one(records: list[Record]) -> None:
    alone = list(train_loader(records, augment=EVERYTHING, batch_size=4, repeat=2).epoch(1))
    parts = [
        list(train_loader(records, augment=EVERYTHING, batch_size=2, repeat=2, rank=rank, world_size=2).epoch(1))
        for rank in (0, 1)
    ]

    assert len(parts[0]) == len(parts[1]) == len(alone) == 5
    for whole, first, second in zip(alone, *parts, strict=True):
        assert whole.indices == first.indices + second.indices
        assert np.array_equal(whole.images, np.concatenate([first.images, second.images]))


def test_an_epoch_goes_on_from_any_step(records: list[Record]) -> None:
    made = train_loader(records, augment=EVERYTHING, repeat=2, num_workers=2)

    assert_equal(list(made.epoch(2, first_step=3)), list(made.epoch(2))[3:])
    assert list(made.epoch(2, first_step=made.steps_per_epoch)) == []


def test_the_same_image_is_changed_anew_each_time(records: list[Record]) -> None:
    made = train_loader(records[5:6], augment=EVERYTHING, batch_size=8)

    (batch,) = made.epoch(0)

    assert len({image.tobytes() for image in batch.images}) > 4


def num_mosaics(batches: Sequence[Batch]) -> int:
    """Plain samples of these records have one colour."""
    return sum(int(image.min()) != int(image.max()) for batch in batches for image in batch.images)


def test_mosaics_come_up_to_their_step_and_in_their_share(records: list[Record]) -> None:
    batches = list(train_loader(records, augment=MOSAICS, repeat=100).epoch(0, mosaic_steps=200))

    # 800 samples with a chance of one half, of which one in a thousand mixes four equal images: 5 standard deviations.
    assert abs(num_mosaics(batches[:200]) - 400) < 71
    assert num_mosaics(batches[200:]) == 0
    assert max(len(targets) for batch in batches for targets in batch.targets) == 4
    # Whatever it is mixed with, an image is visited as often as the others.
    assert set(Counter(indices(batches)).values()) == {100}


def test_mosaics_are_the_same_wherever_an_epoch_goes_on(records: list[Record]) -> None:
    made = train_loader(records, augment=MOSAICS, repeat=4)
    assert_equal(list(made.epoch(3, 0, 6))[4:], list(made.epoch(3, 4, 6)))


def test_a_set_that_is_large_enough_has_no_mosaics(records: list[Record]) -> None:
    few = config.replace(MOSAICS, mosaic=MosaicConfig(share=1.0, until=0.7, max_images=9))
    assert num_mosaics(list(train_loader(records, augment=few).epoch(0, mosaic_steps=3))) == 0


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_image_that_has_gone_stops_the_epoch_with_its_name(records: list[Record], num_workers: int) -> None:
    records[7].path.unlink()

    with pytest.raises(DataError, match=r"7\.png: the image is missing"):
        list(train_loader(records, num_workers=num_workers).epoch(0))
    assert loader_threads() == []


def test_stopping_early_leaves_no_threads(records: list[Record]) -> None:
    batches = train_loader(records, repeat=20, num_workers=3).epoch(0)
    next(batches)
    assert loader_threads()

    batches.close()  # type: ignore[attr-defined]

    assert loader_threads() == []


def test_a_finished_epoch_leaves_no_threads(records: list[Record]) -> None:
    list(train_loader(records, num_workers=3).epoch(0))

    assert loader_threads() == []


@pytest.mark.parametrize("prefetch", [0, 1, 10])
def test_how_much_is_prepared_ahead_does_not_change_results(records: list[Record], prefetch: int) -> None:
    ahead = list(train_loader(records, augment=EVERYTHING, num_workers=2, prefetch=prefetch).epoch(0))

    assert_equal(ahead, list(train_loader(records, augment=EVERYTHING).epoch(0)))


@pytest.mark.parametrize("num_workers", [0, 1, 3])
@pytest.mark.parametrize("max_pixels", [100, 3000, 10**6])
def test_evaluation_images_come_in_order(
    records: list[Record], num_workers: int, max_pixels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "MAX_PIXELS_PER_BATCH", max_pixels)
    images = list(evaluation_images(records, num_workers=num_workers))

    assert [image.shape for image in images] == [(30, 40, 3)] * 10
    assert [int(image[0, 0, 0]) for image in images] == [20 * number for number in range(10)]
    assert loader_threads() == []


@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_evaluation_gives_full_images_in_order(records: list[Record], num_workers: int) -> None:
    batches = list(evaluation_batches(records, batch_size=4, num_workers=num_workers))

    assert [numbers for numbers, _ in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    for numbers, images in batches:
        assert [image.shape for image in images] == [(30, 40, 3)] * len(numbers)
        assert [int(image[0, 0, 0]) for image in images] == [20 * number for number in numbers]


def test_evaluation_of_nothing_gives_nothing() -> None:
    assert list(evaluation_batches([], batch_size=4, num_workers=2)) == []


def test_evaluation_of_large_images_takes_fewer_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "MAX_PIXELS_PER_BATCH", 2500)
    sizes = [(40, 30), (40, 30), (40, 30), (100, 50), (10, 10)]  # 1200, 1200, 1200, 5000, 100 pixels
    records = [make_record(tmp_path, number, *size) for number, size in enumerate(sizes)]

    batches = evaluation_batches(records, batch_size=4, num_workers=1)

    assert [numbers for numbers, _ in batches] == [[0, 1], [2], [3], [4]]


def test_evaluation_stopped_early_leaves_no_threads(records: list[Record]) -> None:
    batches = evaluation_batches(records, batch_size=1, num_workers=2)
    next(batches)

    batches.close()  # type: ignore[attr-defined]

    assert loader_threads() == []


def test_evaluation_names_an_image_that_has_gone(records: list[Record]) -> None:
    records[3].path.unlink()

    with pytest.raises(DataError, match=r"3\.png: the image is missing"):
        list(evaluation_batches(records, batch_size=2, num_workers=2))
