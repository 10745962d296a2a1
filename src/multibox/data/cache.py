"""Decoded images kept in memory up to a limit."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray


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
