"""Batches for training and images for evaluation, prepared ahead by threads.

Threads, not processes: OpenCV and large numpy operations run without Python's global lock, decoded images are shared,
and nothing has to be copied or started anew each epoch.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import CancelledError
from typing import TypeVar

import cv2
import numpy as np
from numpy.random import SeedSequence
from numpy.typing import NDArray

from multibox.data import images
from multibox.data.addresses import is_remote
from multibox.data.coco import Record
from multibox.data.dataset import Batch, Dataset
from multibox.structures import Image
from multibox.threads import ahead

Finished = TypeVar("Finished")

MAX_PIXELS_PER_BATCH = 64_000_000
"""Images of one evaluation batch, in pixels (192 MB): a batch of large photographs is cut short."""

MAX_IMAGES_AHEAD = 16
"""Images that are read before they are asked for: enough for a runtime that takes eight at a time."""


class TrainLoader:
    """Batches of randomly changed samples, the same for the same seed whatever the number of threads.

    An epoch visits all images `repeat` times, each time in a new order, and is filled up to whole batches from one more
    order. With `world_size` processes, step by step each gets its part of one common batch of
    `batch_size * world_size` samples. `num_workers` threads prepare up to `prefetch` batches ahead; without threads,
    batches are made when they are asked for.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        batch_size: int,
        repeat: int,
        seed: int,
        num_workers: int,
        rank: int = 0,
        world_size: int = 1,
        prefetch: int | None = None,
    ) -> None:
        assert len(dataset) > 0 and batch_size > 0 and repeat > 0 and 0 <= rank < world_size
        self.dataset = dataset
        self.batch_size = batch_size
        self.repeat = repeat
        self.seed = seed
        self.num_workers = num_workers
        self.rank = rank
        self.world_size = world_size
        self.prefetch = num_workers if prefetch is None else prefetch

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch."""
        return -(-len(self.dataset) * self.repeat // (self.batch_size * self.world_size))

    def epoch(self, number: int, first_step: int = 0, mosaic_steps: int = 0) -> Generator[Batch, None, None]:
        """The batches of an epoch, or those that are left of it from `first_step` on.

        Those before step `mosaic_steps` of the epoch have mosaics among them, `share` of the dataset's configuration.

        Raises:
            DataError: an image cannot be read any more.
        """
        return self.finished_epoch(lambda batch: batch, number, first_step, mosaic_steps)

    def finished_epoch(
        self, finish: Callable[[Batch], Finished], number: int, first_step: int = 0, mosaic_steps: int = 0
    ) -> Generator[Finished, None, None]:
        """What `finish` makes of each batch of `epoch`, in the threads that prepare them.

        Raises:
            DataError: an image cannot be read any more.
        """
        order = self._order(number)
        stop = threading.Event()
        mosaic_share = self.dataset.mosaic_share

        def make(step: int) -> Finished:
            start = (step * self.world_size + self.rank) * self.batch_size
            positions = range(start, start + self.batch_size)
            return finish(self._batch(number, positions, order, stop, mosaic_share if step < mosaic_steps else 0.0))

        steps = range(first_step, self.steps_per_epoch)
        return ahead(make, steps, num_threads=self.num_workers, num_ahead=self.prefetch, stop=stop)

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """Record indices of all samples of an epoch, over all processes."""
        rng = np.random.default_rng(SeedSequence([self.seed, epoch]))
        num_samples = self.steps_per_epoch * self.batch_size * self.world_size
        num_rounds = -(-num_samples // len(self.dataset))
        return np.concatenate([rng.permutation(len(self.dataset)) for _ in range(num_rounds)])[:num_samples]

    def _batch(
        self, epoch: int, positions: range, order: NDArray[np.int64], stop: threading.Event, mosaic_share: float
    ) -> Batch:
        size = self.dataset.input_size
        batch = np.empty((len(positions), size, size, 3), np.uint8)
        targets = []
        indices = order[positions.start : positions.stop].tolist()
        for image, position, index in zip(batch, positions, indices, strict=True):
            if stop.is_set():
                raise CancelledError
            # The sample's place in the epoch decides its random numbers, whoever prepares it. A spawn key, because
            # a number added to the list of seeds would give place 0 the numbers of the order itself.
            rng = np.random.default_rng(SeedSequence([self.seed, epoch], spawn_key=(position,)))
            is_mosaic = mosaic_share > 0 and rng.random() < mosaic_share
            square, target = self.dataset.mosaic(index, rng) if is_mosaic else self.dataset.sample(index, rng)
            cv2.cvtColor(square, cv2.COLOR_BGR2RGB, dst=image)
            targets.append(target)
        return Batch(batch, targets, indices)


def evaluation_images(records: Sequence[Record], *, num_workers: int) -> Generator[Image, None, None]:
    """The full-size BGR image of each record, in order; never decoded smaller, since that would change results.

    `num_workers` threads read `MAX_IMAGES_AHEAD` images ahead, or fewer large ones, of `MAX_PIXELS_PER_BATCH`. Over a
    network, where each waits most of the time, there are as many as images ahead.

    Raises:
        DataError: an image cannot be read any more.
    """
    if records and is_remote(records[0].path):
        num_workers = max(num_workers, MAX_IMAGES_AHEAD)
    stop = threading.Event()
    least = MAX_PIXELS_PER_BATCH // MAX_IMAGES_AHEAD
    return ahead(
        lambda record: _read_full(record, stop),
        records,
        num_threads=num_workers,
        num_ahead=MAX_PIXELS_PER_BATCH,
        stop=stop,
        weigh=lambda record: max(least, record.width * record.height),
    )


def evaluation_batches(
    records: Sequence[Record], *, batch_size: int, num_workers: int
) -> Iterator[tuple[list[int], list[Image]]]:
    """Record indices and full-size BGR images in batches, see `evaluation_images` and `cut`.

    Raises:
        DataError: an image cannot be read any more.
    """
    with contextlib.closing(evaluation_images(records, num_workers=num_workers)) as read:
        for indices in cut(records, batch_size):
            yield indices, list(itertools.islice(read, len(indices)))


def cut(records: Sequence[Record], batch_size: int | None = None) -> Iterator[list[int]]:
    """Indices in batches, in order; a batch whose images are more than `MAX_PIXELS_PER_BATCH` together is cut short."""
    batch: list[int] = []
    num_pixels = 0
    for index, record in enumerate(records):
        pixels = record.width * record.height
        if batch and (len(batch) == batch_size or num_pixels + pixels > MAX_PIXELS_PER_BATCH):
            yield batch
            batch, num_pixels = [], 0
        batch.append(index)
        num_pixels += pixels
    if batch:
        yield batch


def _read_full(record: Record, stop: threading.Event) -> Image:
    if stop.is_set():
        raise CancelledError
    return images.read_image(record.path, expected_size=(record.width, record.height))
