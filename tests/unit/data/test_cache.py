"""The cache of decoded images."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from multibox.data.cache import ImageCache

MIB = 1 << 20


def test_what_is_stored_comes_back() -> None:
    images = ImageCache(limit_bytes=100)
    array = np.arange(10, dtype=np.uint8)

    images.put(7, array)

    assert images.get(7) is array
    assert images.get(8) is None
    assert 7 in images and 8 not in images and len(images) == 1 and images.used_bytes == 10 and not images.is_full


def test_what_passes_the_limit_is_not_stored_and_nothing_leaves() -> None:
    images = ImageCache(limit_bytes=25)
    for index in range(3):
        images.put(index, np.zeros(10, dtype=np.uint8))

    assert [index in images for index in range(3)] == [True, True, False]
    assert images.used_bytes == 20 and images.is_full
    images.put(3, np.zeros(5, dtype=np.uint8))  # smaller ones still fit
    assert images.used_bytes == 25


def test_an_index_is_stored_once() -> None:
    images = ImageCache(limit_bytes=100)
    first = np.zeros(10, dtype=np.uint8)

    images.put(0, first)
    images.put(0, np.ones(10, dtype=np.uint8))

    assert images.get(0) is first and images.used_bytes == 10


def test_a_limit_of_zero_stores_nothing() -> None:
    images = ImageCache(limit_bytes=0)

    images.put(0, np.zeros(1, dtype=np.uint8))

    assert len(images) == 0 and images.is_full


def test_stored_images_cannot_be_written_to() -> None:
    images = ImageCache(limit_bytes=100)
    images.put(0, np.zeros(10, dtype=np.uint8))

    with pytest.raises(ValueError, match="read-only"):
        images.get(0)[0] = 1  # type: ignore[index]


def test_threads_never_pass_the_limit() -> None:
    images = ImageCache(limit_bytes=500)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda index: images.put(index % 100, np.zeros(10, dtype=np.uint8)), range(400)))

    assert images.used_bytes == 500 and len(images) == 50
