"""Files: what kind of model one holds, its hash, and writing so that nobody, whatever happens, meets half a file."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from multibox.errors import OptionError
from multibox.unfinished import flush, is_unfinished, unfinished

ModelKind = Literal["checkpoint", "openvino", "onnx"]
"""Who runs a model's file: PyTorch, OpenVINO or ONNX Runtime."""

MODEL_ENDINGS: dict[str, ModelKind] = {".pth": "checkpoint", ".xml": "openvino", ".bin": "openvino", ".onnx": "onnx"}
"""The kind of model behind each file ending, in lower case."""


NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a system says where a file has no room: a full disk, a quota, a limit on the size of files."""


def kind_of(path: str | os.PathLike[str]) -> ModelKind | None:
    """The kind of model that a file holds, by the ending of its name; None for any other file."""
    return MODEL_ENDINGS.get(Path(path).suffix.lower())


def model_files(path: str | os.PathLike[str]) -> tuple[Path, ...]:
    """The files that a model consists of: of OpenVINO's the .bin and then the .xml, whichever is named; else the file.

    The file to open is the last: whoever waits for it finds the weights there already.
    """
    file = Path(path)
    return (file.with_suffix(".bin"), file.with_suffix(".xml")) if kind_of(file) == "openvino" else (file,)


def check_regular(path: object) -> None:
    """Refuse what is there under a path and is no file, before it is opened: a pipe would wait, a device never end.

    Paths of other machines (see `data.addresses`) pass; so do folders, which nothing can read by mistake.

    Raises:
        OSError: it is a pipe, a socket or a device, or it is not there. `strerror` is half a sentence.
    """
    if not isinstance(path, str | os.PathLike):
        return
    try:
        mode = (path if isinstance(path, Path) else Path(path)).stat().st_mode
    except ValueError as error:  # a null character or half a surrogate pair in the name
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(path)) from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "this is a pipe, a socket or a device, no file", os.fspath(path))


def read_limited(path: str | os.PathLike[str], limit: int) -> bytes:
    """The bytes of a file that has at most `limit` of them.

    Raises:
        OSError: it cannot be read, is no file, or is larger. `strerror` is half a sentence.
    """
    check_regular(path)
    with Path(path).open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"it has more than {limit:,} bytes", os.fspath(path))
    return data


def write_atomically(path: str | os.PathLike[str], data: bytes | memoryview | str) -> None:
    """Make `path` a file with this content; text becomes UTF-8, line ends as given.

    Either the whole content is there in the end or whatever was there before.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path in the folder of `path` to write to: it takes the place of `path` on success, and goes on failure.

    The temporary name keeps the ending of `path`, because some writers choose a format by it. What processes that were
    killed have left in the folder is removed.

    Raises:
        OSError: it cannot be written; `filename` is `path`.
    """
    target = Path(path)
    try:
        with unfinished(target.parent, target.suffix) as temporary:
            yield temporary
            flush(temporary)
            temporary.replace(target)
    except OSError as error:
        # A full disk names no file, and the temporary name says nothing to anybody.
        if error.errno not in NO_ROOM if error.filename is None else not is_unfinished(error.filename):
            raise
        raise OSError(error.errno, error.strerror, str(target)) from error


def sha256(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    check_regular(path)
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_folder(path: Path) -> None:
    """Make a folder to write into, early: before hours of work that would be lost.

    Raises:
        OptionError: it cannot be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        writable = os.access(path, os.W_OK)
    except OSError as error:
        raise OptionError(f"{path}: cannot make this folder: {error.strerror}.") from error
    if not writable:
        raise OptionError(f"{path}: this folder cannot be written to. Name another one.")
