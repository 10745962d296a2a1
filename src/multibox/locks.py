"""Lock files: the system takes a lock back when the process that holds it dies, however it dies."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

POLL_S = 0.05
"""Seconds between two looks whether a lock is free."""


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock file that is held until `release`. `is_known`: False on a file system that has no locks."""

    path: Path
    descriptor: int
    is_known: bool

    def release(self) -> None:
        """Give the lock back and remove its file."""
        if sys.platform == "win32":  # where a file that is open stays, so nobody can have taken it over meanwhile
            os.close(self.descriptor)
        with contextlib.suppress(OSError):
            self.path.unlink()
        if sys.platform != "win32":
            os.close(self.descriptor)


@contextmanager
def held(path: Path, *, patience_s: float = 0) -> Iterator[bool]:
    """Whether this process holds the lock file `path` until the context ends; False where another process does.

    It waits for the other one for up to `patience_s` seconds. The file is made, and is gone in the end. On a file
    system that has no locks, everybody holds it.

    Raises:
        OSError: the file cannot be made.
    """
    given_up_at = time.monotonic() + patience_s
    while (lock := acquire(path)) is None and time.monotonic() < given_up_at:
        time.sleep(POLL_S)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            lock.release()


def acquire(path: Path) -> Lock | None:
    """The lock of a file, which is made if need be; None where another process has it.

    Raises:
        OSError: the file cannot be made.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        is_locked = _lock(descriptor)
        # Whoever held it removes it in the end: what is locked now may have this name no more.
        if is_locked is None or (is_locked and _has_name(path, descriptor)):
            return Lock(path, descriptor, is_known=is_locked is True)
        os.close(descriptor)
        if not is_locked:
            return None


def _has_name(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except OSError:
        return False


if sys.platform == "win32":
    import errno
    import msvcrt

    def _lock(descriptor: int) -> bool | None:
        """Whether the lock is ours now; None where there are no locks."""
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            return False if error.errno in {errno.EACCES, errno.EDEADLK} else None
        return True

else:
    import fcntl

    def _lock(descriptor: int) -> bool | None:
        """Whether the lock is ours now; None where there are no locks."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return None
        return True
