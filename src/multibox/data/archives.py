"""Data sets as they are downloaded: a .zip is read in place as if it were a folder, and nothing is unpacked to disk."""

from __future__ import annotations

import contextlib
import errno
import io
import lzma
import os
import posixpath
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from multibox.errors import DataError

MAX_FILE_BYTES = 2 << 30
"""Bytes that a file in a .zip may have unpacked. COCO's largest file of annotations has under half a GB."""

MAX_RATIO, RATIO_MATTERS_FROM_BYTES = 200, 64 << 20
"""How many times its packed size a file may have, from this many bytes on: annotations reach 30, bombs 1,000."""

LOCAL_HEADER_BYTES = 30

ENDING = re.compile(r"\.zip(?=[/\\]|$)", re.IGNORECASE)

READ_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)

if TYPE_CHECKING:
    _SystemsPath = Path
else:
    _SystemsPath = type(Path())


class ArchivedPath(_SystemsPath):
    """A .zip as a folder, or a file or folder in one: `set.zip/train/a.jpg`. It is read like any other path.

    Several threads and processes may read at once, since each reading opens the .zip anew. What lies above the .zip is
    an ordinary path.
    """

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Kind and size of the file or folder; of times, that of the .zip."""
        place = _place(self)
        if place is None:
            return super().stat(follow_symlinks=follow_symlinks)
        archive, inner = place
        if inner in archive.files:
            mode, size = stat.S_IFREG | 0o444, archive.files[inner].file_size
        elif inner in archive.folders:
            mode, size = stat.S_IFDIR | 0o555, 0
        else:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))
        seconds = archive.mtime_ns // 10**9
        return os.stat_result((mode, 0, 0, 1, 0, 0, size, seconds, seconds, seconds))

    def exists(self, **_: Any) -> bool:
        """Whether there is such a file or folder."""
        return self.is_file() or self.is_dir()

    def is_file(self, **_: Any) -> bool:
        """Whether it is a file; the .zip itself is a folder."""
        place = _place(self)
        return os.path.isfile(self) if place is None else place[1] in place[0].files  # noqa: PTH113

    def is_dir(self, **_: Any) -> bool:
        """Whether it is a folder, as the .zip itself is."""
        place = _place(self)
        return os.path.isdir(self) if place is None else place[1] in place[0].folders  # noqa: PTH112

    def iterdir(self) -> Generator[ArchivedPath]:
        """The files and folders in this folder, by name."""
        yield from [self / name for name in names_in(self)]

    def glob(self, pattern: str, **_: Any) -> Iterator[ArchivedPath]:  # type: ignore[override]
        """The files and folders below this one whose names match, part by part; `**` is any number of folders."""
        found = [self]
        for part in pattern.split("/"):
            if part == "**":
                found = [deeper for folder in found for deeper in (folder, *_folders_below(folder))]
            else:
                found = [entry for folder in found for entry in _entries(folder) if fnmatchcase(entry.name, part)]
        return iter(dict.fromkeys(found))

    def rglob(self, pattern: str, **_: Any) -> Iterator[ArchivedPath]:  # type: ignore[override]
        """`glob` at any depth."""
        return self.glob(f"**/{pattern}")

    def resolve(self, strict: bool = False) -> ArchivedPath:
        """The absolute path, with links to the .zip followed."""
        return type(self)(os.path.realpath(self, strict=False))

    def read_bytes(self) -> bytes:
        """The content of the file.

        Raises:
            OSError: there is none, or it is damaged or far larger than what is packed. `strerror` is half a sentence.
        """
        place = _place(self)
        if place is None:
            return super().read_bytes()
        with _open(place[0], _entry(place, self), str(self)) as file:
            return file.read()

    def read_text(self, encoding: str | None = None, errors: str | None = None, **_: Any) -> str:
        """The content of the file as text, UTF-8 by default."""
        return self.read_bytes().decode(encoding or "utf-8", errors or "strict")

    def open(self, mode: str = "r", *rest: Any, encoding: str | None = None, **others: Any) -> IO[Any]:  # type: ignore[override]
        """The file, to be read.

        Raises:
            OSError: it is to be written; a .zip stays as it is.
        """
        place = _place(self)
        if place is None:
            return cast("IO[Any]", super().open(mode, *rest, encoding=encoding, **others))  # type: ignore[call-overload]
        if mode not in {"r", "rt", "rb"}:
            raise OSError(errno.EROFS, "nothing is written into a .zip", str(self))
        content = cast("IO[bytes]", _open(place[0], _entry(place, self), str(self)))
        return content if mode == "rb" else io.TextIOWrapper(content, encoding=encoding or "utf-8")


@dataclass(frozen=True)
class _Archive:
    """What is in a .zip: its files by their paths, and the names in each folder, of which "" is the top."""

    file: str
    mtime_ns: int
    files: dict[str, zipfile.ZipInfo]
    folders: dict[str, list[str]]


def archived(path: Path) -> Path:
    """The path as one that can be read, if it leads to or into a .zip; else as it is."""
    return path if isinstance(path, ArchivedPath) or _split(path) is None else ArchivedPath(path)


def absolute(path: Path) -> Path:
    """The path from the root on, without `..`; links are kept, since they may lead away from what lies beside them."""
    return archived(Path(os.path.abspath(path)))  # noqa: PTH100


def names_in(folder: Path) -> list[str]:
    """The names of the files and folders in a folder, which may be in a .zip, in order.

    Raises:
        OSError: there is no such folder.
    """
    place = _place(folder) if isinstance(folder, ArchivedPath) else None
    if place is None:
        return sorted(os.listdir(folder))  # noqa: PTH208 - a hundred thousand names are no paths
    archive, inner = place
    if inner not in archive.folders:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
    return archive.folders[inner]


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, which may be in a .zip, by name.

    Raises:
        OSError: there is no such folder.
    """
    if isinstance(folder, ArchivedPath):
        return [entry for entry in folder.iterdir() if entry.is_dir()]
    with os.scandir(folder) as entries:
        return sorted(folder / entry.name for entry in entries if entry.is_dir())


def walk(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Each folder below one, by its path relative to it with a slash at its end, and the names of the files in it.

    Folders whose names begin with a dot or `__MACOSX` are passed over, with all in them.
    """
    place = _place(folder) if isinstance(folder, ArchivedPath) else None
    if place is not None:
        yield from _walk_archive(*place, "")
        return
    top = str(folder)
    for path, folders, files in os.walk(top, followlinks=True):
        folders[:] = [name for name in folders if not _is_passed_over(name)]
        yield ("" if path == top else os.path.relpath(path, top).replace(os.sep, "/") + "/"), files


def _walk_archive(archive: _Archive, folder: str, relative: str) -> Iterator[tuple[str, list[str]]]:
    places = {name: f"{folder}/{name}" if folder else name for name in archive.folders.get(folder, ())}
    yield relative, [name for name, place in places.items() if place in archive.files]
    for name, place in places.items():
        if place in archive.folders and not _is_passed_over(name):
            yield from _walk_archive(archive, place, f"{relative}{name}/")


def _is_passed_over(name: str) -> bool:
    return name.startswith((".", "__MACOSX"))


def _entries(folder: ArchivedPath) -> list[ArchivedPath]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _folders_below(folder: ArchivedPath) -> Iterator[ArchivedPath]:
    for entry in _entries(folder):
        if entry.is_dir():
            yield entry
            yield from _folders_below(entry)


def _entry(place: tuple[_Archive, str], path: Path) -> zipfile.ZipInfo:
    archive, inner = place
    if inner not in archive.files:
        code = errno.EISDIR if inner in archive.folders else errno.ENOENT
        raise OSError(code, os.strerror(code), str(path))
    return archive.files[inner]


def _split(path: Path) -> tuple[str, str] | None:
    """The .zip that a path leads to or into, and the path in it; None if it does neither."""
    text = str(path)
    for ending in ENDING.finditer(text):
        file = text[: ending.end()]
        if os.path.isfile(file):  # noqa: PTH113 - an ArchivedPath would ask here
            inner = text[ending.end() + 1 :].replace(os.sep, "/")
            inner = posixpath.normpath(inner) if ".." in inner else inner
            return None if inner == ".." or inner.startswith("../") else (file, "" if inner == "." else inner)
    return None


def _place(path: Path) -> tuple[_Archive, str] | None:
    """The .zip that a path leads to or into, read, and the path in it; None if it does neither.

    Raises:
        DataError: the .zip cannot be read.
    """
    split = _split(path)
    if split is None:
        return None
    file, inner = split
    status = os.stat(file)  # noqa: PTH116
    # By its absolute path: whoever changes the folder may find another .zip of this name.
    return _read_archive(os.path.abspath(file), file, status.st_mtime_ns, status.st_size), inner  # noqa: PTH100


@lru_cache(maxsize=8)
def _read_archive(file: str, shown: str, mtime_ns: int, _size: int) -> _Archive:
    try:
        with zipfile.ZipFile(file) as opened:
            entries = opened.infolist()
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:
        raise DataError(f"{shown}: cannot be read as a .zip: {error}. Download it again, or unpack it.") from error
    files: dict[str, zipfile.ZipInfo] = {}
    folders: dict[str, dict[str, None]] = {"": {}}
    for entry in entries:
        parts = _parts(entry)
        if not parts or stat.S_ISLNK(entry.external_attr >> 16):
            continue
        if not entry.is_dir():
            _check_method(entry, shown)
            files["/".join(parts)] = entry
        for end in range(len(parts)):
            folder = "/".join(parts[:end])
            folders.setdefault(folder, {})[parts[end]] = None
        if entry.is_dir():
            folders.setdefault("/".join(parts), {})
    return _Archive(file, mtime_ns, files, {folder: sorted(names) for folder, names in folders.items()})


def _parts(entry: zipfile.ZipInfo) -> list[str]:
    """The parts of an entry's path, without what would lead outside."""
    name = entry.filename
    if not entry.flag_bits & 0x800:  # no UTF-8 by the format, but most programs write it all the same
        with contextlib.suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return [part for part in name.replace("\\", "/").split("/") if part not in {"", ".", ".."}]


def _check_method(entry: zipfile.ZipInfo, shown: str) -> None:
    if entry.flag_bits & 0x1:
        raise DataError(f"{shown}: it needs a password, which cannot be given here. Unpack it.")
    if entry.compress_type not in READ_METHODS:
        raise DataError(f"{shown}: it is packed by the method {entry.compress_type}, which is not read. Unpack it.")


class _PackedFile(zipfile.ZipExtFile):
    """A file of an archive that is unpacked as it is read, and whose faults are those of any file."""

    def read(self, n: int | None = -1) -> bytes:
        """The next bytes, at most `n`, or all that are left."""
        try:
            return super().read(n)
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError) as error:
            raise OSError(errno.EIO, "it is damaged in the .zip", self.name) from error


def _open(archive: _Archive, entry: zipfile.ZipInfo, shown: str) -> _PackedFile:
    """A file of an archive, which is opened anew so that nobody else moves in it.

    Source: PKWARE, APPNOTE.TXT 6.3.10, section 4.3.7: 30 bytes, the last four of which are the lengths of a name and of
    extra data that the packed bytes follow.
    """
    is_bomb = entry.file_size > RATIO_MATTERS_FROM_BYTES and entry.file_size > MAX_RATIO * entry.compress_size
    if entry.file_size > MAX_FILE_BYTES or is_bomb:
        fault = f"unpacked it would have {entry.file_size:,} bytes, packed {entry.compress_size:,}"
        raise OSError(errno.EFBIG, fault, shown)
    file = open(archive.file, "rb")  # noqa: PTH123, SIM115 - by the path as it was; what is returned closes it
    file.seek(entry.header_offset)
    header = file.read(LOCAL_HEADER_BYTES)
    if len(header) < LOCAL_HEADER_BYTES or not header.startswith(b"PK\x03\x04"):
        file.close()
        raise OSError(errno.EIO, "it is damaged in the .zip", shown)
    file.seek(sum(struct.unpack_from("<HH", header, 26)), os.SEEK_CUR)
    return _PackedFile(file, "r", entry, close_fileobj=True)
