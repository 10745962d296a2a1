"""Files and folders under hidden names until they are complete, and their way from there to where people look.

    .0a1b2c3d4e5f.lock      held while somebody writes
    .0a1b2c3d4e5f.tmp.pth   a file or folder that is not finished, beside where it will lie
    .../publishing.json     in such a folder: it is complete, and its files are on their way

What no living process holds is what the dead have left. It goes; but what was on its way arrives.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from multibox.locks import Lock, acquire
from multibox.prepared import prepared

UNFINISHED = re.compile(r"\.([0-9a-f]{12})\.(?:lock|tmp(?:\..*)?)", re.DOTALL)
"""The names of what is not finished, and of its lock."""

PLAN, BEFORE = "publishing.json", "before"
"""In a folder that is being published: what goes where, and what was there before."""

_tidied: set[str] = set()
"""Folders from which this process has removed what the dead have left: once is enough."""


@contextmanager
def unfinished(folder: Path, ending: str = "") -> Iterator[Path]:
    """A free hidden path in `folder` for a file or folder that nobody is to see yet; what is there in the end, goes.

    As long as the context lasts, no other process takes it for rubbish. What others left there and died goes first.

    Raises:
        OSError: the folder is not there or cannot be written to.
    """
    tidy(folder)
    name, lock = "", None
    while lock is None:
        name = f".{secrets.token_hex(6)}"
        lock = acquire(folder / f"{name}.lock")
    path = folder / f"{name}.tmp{ending}"
    try:
        yield path
    finally:
        _remove(path)
        lock.release()


@contextmanager
def unfinished_folder(folder: Path) -> Iterator[Path]:
    """A new hidden folder in `folder`, which is made if need be; see `unfinished`.

    Raises:
        OSError: it cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with unfinished(folder) as path:
        path.mkdir()
        yield path


def is_unfinished(path: str | bytes) -> bool:
    """Whether this is the path of what is not finished, or of its lock."""
    return UNFINISHED.fullmatch(Path(os.fsdecode(path)).name) is not None


def tidy(folder: Path, *, again: bool = False) -> None:
    """Remove from a folder what processes that are dead did not finish, and bring home what they were publishing.

    Once in the life of this process, unless `again`. Nothing is done where the folder cannot be written to.
    """
    key = os.path.abspath(folder)  # noqa: PTH100 - a key, for which links need not be followed
    if key in _tidied and not again:
        return
    _tidied.add(key)
    with contextlib.suppress(OSError):
        for name in {match[1] for entry in os.scandir(folder) if (match := UNFINISHED.fullmatch(entry.name))}:
            lock = acquire(folder / f".{name}.lock")
            if lock is not None:
                _clear(folder, name, lock)


def publish(staging: Path, files: Sequence[tuple[Path, Path]], *, outdated: Iterable[Path] = ()) -> None:
    """Move (new file in `staging`, its place beside or below `staging`), and take away what is there, and `outdated`.

    The file to open comes after those that it depends on, such as an .xml after its .bin. What was there goes first, in
    the reverse order: at any moment, an .xml has its own .bin beside it. If a file cannot be moved, all is as before;
    if the process dies on the way, `tidy` does the rest, or undoes what was done.

    Raises:
        OSError: a file cannot be moved.
    """
    import msgspec

    home, before = staging.parent, staging / BEFORE
    old = [path for path in (*outdated, *(place for _, place in reversed(files))) if path.exists()]
    plan = _Plan(
        away=[path.relative_to(home).as_posix() for path in old],
        files=[(new.relative_to(staging).as_posix(), place.relative_to(home).as_posix()) for new, place in files],
    )
    written = staging / f"{PLAN}.part"
    written.write_bytes(msgspec.json.encode(plan))
    for path in [written, *(new for new, _ in files)]:
        flush(path)
    before.mkdir()
    written.replace(staging / PLAN)
    done: list[tuple[Path, Path]] = []
    try:
        for path, place in [*((path, before / str(number)) for number, path in enumerate(old)), *files]:
            if path.is_dir():  # which may hold anything
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
            place.parent.mkdir(parents=True, exist_ok=True)
            path.replace(place)
            done.append((path, place))
    except BaseException:
        (staging / PLAN).unlink()
        for path, place in reversed(done):
            with contextlib.suppress(OSError):
                place.replace(path)
        raise


def flush(path: Path) -> None:
    """Wait until what is in a file is on the disk."""
    # Without this, a power cut after a renaming can leave the new name with no content.
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is taken away from where it lies, and files below the folder that is not finished, each with its place."""

    away: list[str]
    files: list[tuple[str, str]]


def _clear(folder: Path, name: str, lock: Lock) -> None:
    try:
        for path in folder.glob(f".{name}.tmp*") if lock.is_known else ():
            with contextlib.suppress(OSError, ValueError):
                _finish(path)
            _remove(path)
    finally:
        lock.release()


def _finish(staging: Path) -> None:
    """Go on with the plan in a folder if all that it takes away is away, or else put that back.

    The folder may be from anybody, so nothing that is there is replaced, and nothing moves into it or out of its home.
    """
    if staging.is_symlink() or not (staging / PLAN).is_file():
        return
    import msgspec

    try:
        plan = msgspec.json.decode((staging / PLAN).read_bytes(), type=prepared(_Plan))
    except (msgspec.DecodeError, RecursionError):
        return
    home, inner = staging.parent.resolve(), staging.resolve()
    old = [(_inside(inner, f"{BEFORE}/{number}"), _inside(home, name)) for number, name in enumerate(plan.away)]
    new = [(_inside(inner, name), _inside(home, place)) for name, place in plan.files]
    for path, place in new if all(path.is_file() for path, _ in old) else old:
        if path.is_file() and not path.is_symlink() and not os.path.lexists(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            path.rename(place)


def _inside(folder: Path, name: str) -> Path:
    """A path below a folder.

    Raises:
        ValueError: it leads elsewhere.
    """
    path = folder / name
    if path == folder or path.name == ".." or not path.parent.resolve().is_relative_to(folder):
        raise ValueError(name)
    return path


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
