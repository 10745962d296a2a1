"""COCO annotation files as they are written: the fields that are read, and how bytes become them. Whether the content
makes sense is checked elsewhere.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import Struct

from multibox.data.addresses import is_remote
from multibox.errors import DataError

Id = int | str


@dataclass(frozen=True)
class Source:
    """An annotation file, the folder of its images, and its position among the files."""

    file: Path
    root: Path
    index: int


# The fields that are read; others may be there and are passed over.


class Category(Struct, gc=False):
    """A class of objects."""

    id: int
    name: str


class Image(Struct, gc=False):
    """An image; a file need not say its size."""

    id: Id
    file_name: str
    width: int | None = None
    height: int | None = None


class Annotation(Struct):
    """One object of an image; `bbox` is x, y, width and height in pixels, if it is in order."""

    image_id: Id
    category_id: int
    id: Id | None = None
    bbox: list[float] | None = None
    area: float | None = None
    iscrowd: int | bool | None = 0
    ignore: int | bool | None = 0


class Content(Struct):
    """What an annotation file holds."""

    images: list[Image]
    annotations: list[Annotation]
    categories: list[Category]


def read_content(source: Source) -> Content:
    """The content of an annotation file, of the right types but else unchecked.

    Raises:
        DataError: there is no folder of images, no such file, or the file is not in COCO's format.
    """
    file = source.file
    # A web server has no folders, and a store none that are empty: there, the images themselves are looked for.
    if not is_remote(source.root) and not source.root.is_dir():
        raise DataError(f"{source.root}: there is no such folder of images. Correct the data root of {file}.")
    try:
        data = file.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DataError(f"{file}: cannot read the annotations: {reason}. Correct the path.") from error
    except Exception as error:
        if not is_remote(file):
            raise
        raise DataError(f"{file}: cannot read the annotations: {error}. Correct the address.") from error
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file}: the annotations are no UTF-8 text (byte {error.start}). Save the file as UTF-8."
        ) from error
    return _decode(file, data.removeprefix(b"\xef\xbb\xbf"))


def _decode(file: Path, data: bytes) -> Content:
    try:
        return msgspec.json.decode(data, type=Content)
    except msgspec.ValidationError as error:
        if "out of range" in str(error):  # 1e999
            return _decode_lenient(file, data)
        raise _not_coco(file, error) from error
    except RecursionError as error:
        raise DataError(f"{file}: this is no annotation file: it is nested too deeply. Correct the path.") from error
    except msgspec.DecodeError as error:
        if re.search(rb"\b(NaN|Infinity)\b", data):
            return _decode_lenient(file, data)
        if "truncated" in str(error):
            raise DataError(
                f"{file}: the annotations break off: this is no complete JSON. Make the file again."
            ) from error
        raise DataError(f"{file}: this is no JSON ({_reason(error)}). Correct the file or make it again.") from error


def _decode_lenient(file: Path, data: bytes) -> Content:
    """The content with numbers that are no JSON (NaN, Infinity), so that the check can name the boxes they are in."""
    try:
        return msgspec.convert(json.loads(data), Content)
    except msgspec.ValidationError as error:
        raise _not_coco(file, error) from error
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{file}: this is no JSON; it has NaN or Infinity, which JSON does not know, and more faults. "
            "Correct the file or make it again."
        ) from error


def _not_coco(file: Path, error: msgspec.ValidationError) -> DataError:
    return DataError(f"{file}: {error}. Correct it; annotations must be in COCO's format for object detection.")


def _reason(error: msgspec.DecodeError) -> str:
    return str(error).removeprefix("JSON is malformed: ").replace("(byte", "at (byte").replace("(", "").replace(")", "")
