"""Data sets as they are downloaded: a .zip, unpacked to where it is asked for."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

from multibox.errors import DataError, OptionError
from multibox.unfinished import unfinished_folder
from multibox.wording import quoted


def is_archive(source: Path) -> bool:
    """Whether a file is a .zip, by its name."""
    return source.suffix.lower() == ".zip" and source.is_file()


def unpack(source: Path, folder: Path) -> Path:
    """Put what is in a .zip into a folder of its name below `folder`, and return that; it appears whole or not at all.

    A folder of that name that is there already is taken if it holds just that.

    Names that lead outside stay inside, as Python's zipfile sees to it.

    Raises:
        DataError: it is no .zip, is broken, or needs a password.
        OptionError: a folder of that name is there, and has other content.
    """
    target = folder / source.stem
    try:
        with zipfile.ZipFile(source) as archive:
            if target.exists():
                _check_same(archive, target)
                return target
            with unfinished_folder(folder) as inner:
                archive.extractall(inner)
                inner.rename(target)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise DataError(f"{source}: cannot be unpacked: {error}. Download it again, or unpack it yourself.") from error
    return target


def _check_same(archive: zipfile.ZipFile, folder: Path) -> None:
    for member in archive.infolist():
        path = folder / member.filename
        if member.is_dir():
            continue
        if not path.is_file() or path.stat().st_size != member.file_size or _crc(path) != member.CRC:
            raise OptionError(
                f"{folder}: this folder is there already, and its {quoted(member.filename)} is not that of "
                f"{archive.filename}. Move it away, or name another folder."
            )


def _crc(path: Path) -> int:
    check = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            check = zlib.crc32(block, check)
    return check
