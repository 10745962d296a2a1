"""Decoded images kept in memory up to a limit, and how much memory there is to keep them in."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

UNKNOWN_FREE_BYTES = 1 << 30
"""Assumed free where the system does not tell: enough for a small set, and harmless on any machine that can train."""

MEMINFO = Path("/proc/meminfo")
CGROUP_ROOT = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


class ImageCache:
    """Arrays by record index, for several threads, up to `limit_bytes` in all.

    What does not fit is not stored, and nothing that is stored leaves: an epoch visits every image once in a new order,
    so throwing out the oldest would throw out what comes back first, while a fixed part of the images always hits.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._arrays: dict[int, NDArray[Any]] = {}
        self._used_bytes = 0
        self._is_full = False
        self._lock = threading.Lock()

    @property
    def used_bytes(self) -> int:
        """Bytes of the stored arrays."""
        return self._used_bytes

    @property
    def is_full(self) -> bool:
        """Whether an array was turned away."""
        return self._is_full

    def get(self, index: int) -> NDArray[Any] | None:
        """The stored array, which cannot be written to, or None."""
        return self._arrays.get(index)

    def put(self, index: int, array: NDArray[np.generic]) -> None:
        """Store the array unless one is stored already or the limit would be passed."""
        with self._lock:
            if index in self._arrays:
                return
            if self._used_bytes + array.nbytes > self.limit_bytes:
                self._is_full = True
                return
            array.setflags(write=False)
            self._arrays[index] = array
            self._used_bytes += array.nbytes

    def __len__(self) -> int:
        return len(self._arrays)

    def __contains__(self, index: int) -> bool:
        return index in self._arrays


def free_memory_bytes() -> int:
    """Memory that this process may still take: what the machine has, or less where a container has a limit."""
    free = _machine_free_bytes()
    return max(0, min([free, *_container_free_bytes()]))


def _machine_free_bytes() -> int:
    for line in _text(MEMINFO).splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    try:
        import psutil
    except ImportError:
        return UNKNOWN_FREE_BYTES
    return int(psutil.virtual_memory().available)


def _container_free_bytes() -> list[int]:
    """For each control group around this process that has a memory limit, how much is left of it (versions 2 and 1)."""
    free = []
    for line in _text(OWN_CGROUP).splitlines():
        _, controllers, own_path = line.split(":", 2)
        if controllers == "":
            root, limit_name, used_name, cache_name = CGROUP_ROOT, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            root, limit_name, used_name = CGROUP_ROOT / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            cache_name = "total_inactive_file"
        else:
            continue
        # In a container the path may be the host's and mean nothing here; its parents, up to the root, do then.
        for folder in _with_parents(root, own_path):
            limit, used = _text(folder / limit_name).strip(), _text(folder / used_name).strip()
            if limit.isdigit() and used.isdigit():
                # Files that the system keeps cached count as used but are given back on demand.
                free.append(int(limit) - int(used) + _field(_text(folder / "memory.stat"), cache_name))
    return free


def _with_parents(root: Path, path: str) -> list[Path]:
    parts = [part for part in path.split("/") if part not in ("", "..")]
    return [root.joinpath(*parts[:length]) for length in range(len(parts), -1, -1)]


def _field(text: str, name: str) -> int:
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0


def _text(path: str | os.PathLike[str]) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
