"""Data sets as they are downloaded: a .zip, unpacked to where it is asked for."""

from __future__ import annotations

import zipfile
from pathlib import Path

from multibox.errors import DataError


def is_archive(source: Path) -> bool:
    """Whether a file is a .zip, by its name."""
    return source.suffix.lower() == ".zip" and source.is_file()


def unpack(source: Path, folder: Path) -> Path:
    """Put what is in a .zip into a folder of its name below `folder`, and return that.

    Names that lead outside stay inside, as Python's zipfile sees to it.

    Raises:
        DataError: it is no .zip, is broken, or needs a password.
    """
    target = folder / source.stem
    target.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(source) as archive:
            archive.extractall(target)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise DataError(f"{source}: cannot be unpacked: {error}. Download it again, or unpack it yourself.") from error
    return target
