"""The cache of decoded images, and how much memory there is."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from multibox.data import cache
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


def test_this_machine_has_free_memory() -> None:
    assert cache.free_memory_bytes() > 16 * MIB


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A made-up machine with 8 GiB available; its files are in the returned folder."""
    (tmp_path / "meminfo").write_text("MemTotal:       16777216 kB\nMemAvailable:    8388608 kB\n")
    (tmp_path / "fs").mkdir()
    monkeypatch.setattr(cache, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(cache, "OWN_CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(cache, "CGROUP_ROOT", tmp_path / "fs")
    return tmp_path


def test_without_a_container_all_available_memory_is_free(system: Path) -> None:
    assert cache.free_memory_bytes() == 8192 * MIB


def test_a_container_limit_counts_with_cached_files_as_free(system: Path) -> None:
    (system / "cgroup").write_text("0::/job/one\n")
    folder = system / "fs" / "job" / "one"
    folder.mkdir(parents=True)
    (folder / "memory.max").write_text(f"{1000 * MIB}\n")
    (folder / "memory.current").write_text(f"{700 * MIB}\n")
    (folder / "memory.stat").write_text(f"anon {500 * MIB}\ninactive_file {200 * MIB}\n")

    assert cache.free_memory_bytes() == 500 * MIB  # 1000 - 700 + 200


def test_the_tightest_limit_around_a_container_counts(system: Path) -> None:
    (system / "cgroup").write_text("0::/job/one\n")
    (system / "fs" / "job" / "one").mkdir(parents=True)
    for folder, limit in ((system / "fs" / "job" / "one", "max"), (system / "fs" / "job", str(300 * MIB))):
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text(f"{100 * MIB}\n")

    assert cache.free_memory_bytes() == 200 * MIB


def test_containers_of_the_older_kind_are_understood_even_under_another_path(system: Path) -> None:
    (system / "cgroup").write_text("9:name=systemd:/\n4:cpu,memory:/host/path/unknown/here\n")
    folder = system / "fs" / "memory"
    folder.mkdir()
    (folder / "memory.limit_in_bytes").write_text(f"{400 * MIB}\n")
    (folder / "memory.usage_in_bytes").write_text(f"{150 * MIB}\n")

    assert cache.free_memory_bytes() == 250 * MIB


def test_a_full_container_has_no_free_memory(system: Path) -> None:
    (system / "cgroup").write_text("0::/\n")
    (system / "fs" / "memory.max").write_text("100\n")
    (system / "fs" / "memory.current").write_text("150\n")

    assert cache.free_memory_bytes() == 0


def test_a_system_that_tells_nothing_gets_a_modest_guess(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (system / "meminfo").unlink()
    monkeypatch.setitem(sys.modules, "psutil", None)  # as if it were not installed

    assert cache.free_memory_bytes() == 1024 * MIB
