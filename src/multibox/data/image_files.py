"""Image files by the names that annotations have for them: found as they lie on disk, or told what lies near."""

from __future__ import annotations

import ntpath
import os
import posixpath
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from multibox.data.addresses import is_remote
from multibox.data.archives import ArchivedPath, names_in, walk

SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".bmp",
        ".dib",
        ".tif",
        ".tiff",
        ".webp",
        ".ppm",
        ".pgm",
        ".pbm",
        ".avif",
        ".jp2",
        ".gif",
    ]
)
"""Endings of the images that are looked for in folders, in lower case."""

UNREAD_SUFFIXES = {
    ".heic": "HEIC is not read: save it as JPEG",
    ".heif": "HEIF is not read: save it as JPEG",
    ".dcm": "DICOM is not read: save it as PNG",
}
"""Endings of images that are not read, and what to do."""


def leads_outside(file_name: str) -> bool:
    """Whether a name is absolute or climbs out of its folder, by the rules of any system."""
    if "\\" in file_name and leads_outside(file_name.replace("\\", "/")):
        return True
    plain = posixpath.normpath(file_name)
    return plain.startswith("/") or plain == ".." or plain.startswith("../") or bool(ntpath.splitdrive(file_name)[0])


def spellings(file_name: str) -> Iterator[str]:
    """Other spellings of a name: with slashes, without percent signs, with letters composed and decomposed."""
    plain = file_name.replace("\\", "/")
    for name in dict.fromkeys((plain, unquote(plain))):
        yield name
        yield unicodedata.normalize("NFC", name)
        yield unicodedata.normalize("NFD", name)


def name_below(root: Path, file_name: str) -> str | None:
    """An absolute name relative to the folder that it lies in, or None if it is not absolute or lies elsewhere."""
    if not file_name.startswith("/") or is_remote(root):
        return None
    for top in (os.path.abspath(root), os.path.realpath(root)):  # noqa: PTH100 - a link may be part of the name
        if os.path.commonpath([top, posixpath.normpath(file_name)]) == top:
            return os.path.relpath(file_name, top)
    return None


def tails(file_name: str) -> Iterator[str]:
    """The name, then without its first folder, and so on, down to the file alone; slashes, no `.` and `..`."""
    parts = [part for part in PurePosixPath(file_name.replace("\\", "/")).parts if part not in {"/", ".", ".."}]
    for start in range(len(parts)):
        yield "/".join(parts[start:])


def hint(root: Path, file_name: str) -> str:
    """What lies near a name that is missing from a folder, as the end of a sentence: `; there is a.jpg`; or nothing."""
    suffix = PurePosixPath(file_name.lower()).suffix
    if suffix in UNREAD_SUFFIXES:
        return f"; {UNREAD_SUFFIXES[suffix]}"
    candidates = list(tails(file_name))
    for name in candidates:
        parent, base = posixpath.split(name)
        near = _near(_listing(root / parent), base)
        if near is not None:
            return f"; there is {posixpath.join(parent, near)}"
    top = root
    for _ in range(2):
        top = top.parent
        if candidates and _is_file(top / candidates[0]):
            return f"; it would fit the data root {top}"
    return ""


def image_names(folder: Path) -> list[str]:
    """Names below the folder of all images in it and its subfolders, with slashes, in order."""
    return sorted(name for name in _walk(folder) if name[name.rfind(".") :].lower() in SUFFIXES)


def unread_names(folder: Path) -> list[str]:
    """Names below the folder of all images in it that are of kinds that are not read."""
    return sorted(name for name in _walk(folder) if name[name.rfind(".") :].lower() in UNREAD_SUFFIXES)


def by_stem(names: Iterable[str]) -> dict[str, list[str]]:
    """Names without their endings, composed, each with the names that have it."""
    stems: dict[str, list[str]] = defaultdict(list)
    for name in names:
        stems[stem_key(name)].append(name)
    return dict(stems)


def stem_key(name: str) -> str:
    """A name without its ending, its letters composed: systems differ in how they store an ä."""
    dot = name.rfind(".")
    stem = name[:dot] if dot > name.rfind("/") + 1 else name
    return stem if stem.isascii() else unicodedata.normalize("NFC", stem)


def _walk(folder: Path) -> Iterator[str]:
    return (relative + name for relative, files in walk(folder) for name in files if not name.startswith("."))


def _is_file(path: Path) -> bool:
    # Some names are too long for a path.
    return path.is_file() if isinstance(path, ArchivedPath) else os.path.isfile(path)  # noqa: PTH113


def _near(listed: list[str], base: str) -> str | None:
    """The entry of a folder that a name probably means: in other capitals, else of another ending."""
    folded = _folded(base)
    for same in (_folded, lambda name: stem_key(_folded(name))):
        for name in listed:
            if name[name.rfind(".") :].lower() in SUFFIXES and same(name) == same(folded):
                return name
    return None


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unquote(name)).casefold()


def _listing(folder: Path) -> list[str]:
    try:
        return names_in(folder)
    except (OSError, ValueError):  # ValueError: a null character in the name
        return []
