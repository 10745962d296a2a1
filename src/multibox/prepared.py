"""Types that msgspec reads in several threads at once."""

from __future__ import annotations

from threading import Lock
from typing import TypeVar

Kind = TypeVar("Kind")

_LOCK = Lock()
_PREPARED: set[object] = set()


def prepared(kind: type[Kind]) -> type[Kind]:
    """`kind` itself, after msgspec has worked out what it holds.

    msgspec does so when it first meets a type, by running Python. Another thread that meets the type meanwhile takes
    what is half worked out, and the process crashes (msgspec 0.22). Here, one thread does so, and others wait.
    """
    if kind not in _PREPARED:
        from msgspec.json import Decoder  # here: `--help` needs none of it

        with _LOCK:
            Decoder(kind)
            _PREPARED.add(kind)
    return kind
