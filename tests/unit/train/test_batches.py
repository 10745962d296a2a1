"""Batches as tensors: nothing of a batch is lost or mixed up on its way to the step."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from multibox.data import coco
from multibox.data.dataset import Batch, Dataset
from multibox.data.loader import TrainLoader
from multibox.structures import Targets
from multibox.train.batches import device_batches, to_tensors

CPU = torch.device("cpu")


@pytest.fixture
def loader(shapes_data) -> TrainLoader:
    data = coco.read([str(shapes_data.train_file)], [str(shapes_data.train_root)])
    dataset = Dataset(data.records, input_size=32, augment=None, cache=None)
    return TrainLoader(dataset, batch_size=4, repeat=1, seed=3, num_workers=2)


def test_images_and_objects_of_an_epoch_are_those_of_the_loader(loader):
    batches = list(device_batches(loader, CPU, 1))
    assert len(batches) == 4
    for batch, (images, targets, _) in zip(batches, loader.epoch(1), strict=True):
        np.testing.assert_array_equal(batch.images.numpy(), images)
        for row, target in enumerate(targets):
            is_object = batch.targets.is_object[row]
            np.testing.assert_array_equal(batch.targets.boxes[row][is_object].numpy(), target.boxes)
            np.testing.assert_array_equal(batch.targets.labels[row][is_object].numpy(), target.labels)


def test_what_is_left_of_an_epoch_begins_at_its_step(loader):
    whole, rest = (list(device_batches(loader, CPU, 0, first_step)) for first_step in (0, 3))
    assert len(rest) == 1
    torch.testing.assert_close(rest[0].images, whole[3].images, rtol=0, atol=0)


def test_the_images_of_a_batch_keep_their_memory():
    images = np.zeros((1, 8, 8, 3), np.uint8)
    batch = to_tensors(Batch(images, [Targets(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))], [0]))
    images[0, 1, 2, 0] = 7
    assert batch.images[0, 1, 2, 0] == 7
    assert batch.targets.is_object.tolist() == [[False]]


def test_batches_that_are_not_wanted_any_more_leave_no_thread_behind(loader):
    batches = device_batches(loader, CPU, 0)
    next(batches)
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("multibox-loader")]
