"""COCO annotation files as they are written: the fields that are read, and how bytes become them. Whether the content
makes sense is checked elsewhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from multibox.data import coco_mending
from multibox.data.addresses import is_remote
from multibox.data.coco_mending import Faults
from multibox.data.text_files import encoding_of
from multibox.errors import DataError
from multibox.files import check_regular
from multibox.prepared import prepared

Id = int | str

IMAGE_FOLDER = "image_folder"
"""Key in `info` of the folder that the images stayed in when another format was converted, relative to the file."""


@dataclass(frozen=True)
class AnnotationFile:
    """An annotation file, the folder of its images, and its position among the files.

    `title`: what messages call it, if not by its path, because it was made from files of another format.
    """

    file: Path
    root: Path
    index: int
    title: str = ""

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.title or str(self.file)


# The fields that are read; others may be there and are passed over.


class Category(Struct, gc=False):
    """A class of objects."""

    id: int
    name: str
    supercategory: Any = None


class ImageEntry(Struct, gc=False):
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


class _Shape(Struct):
    """What an object has beside its box."""

    segmentation: Any = None
    attributes: Any = None


class _File(Struct):
    images: list[ImageEntry]
    annotations: list[Annotation]
    categories: list[Category]


class _Shapes(Struct):
    annotations: list[_Shape]


class _Outline(Struct):
    images: list[ImageEntry]
    info: Any = None


@dataclass(frozen=True)
class Content:
    """What an annotation file holds.

    `faults`: what cannot be read of it, lines by kind. `notes`: boxes that were made from something else, likewise.
    """

    images: list[ImageEntry]
    annotations: list[Annotation]
    categories: list[Category]
    faults: Faults = field(default_factory=dict)
    notes: Faults = field(default_factory=dict)


def read_content(source: AnnotationFile) -> Content:
    """The content of an annotation file, of the right types but else unchecked.

    Objects without a box have the one around their polygon, and turned ones the one around the turned rectangle.

    Raises:
        DataError: there is no folder of images, no such file, or the file is not in COCO's format.
    """
    # A web server has no folders, and a store none that are empty: there, the images themselves are looked for.
    if not is_remote(source.root) and not source.root.is_dir():
        raise DataError(f"{source.root}: there is no such folder of images. Correct the data root of {source.name}.")
    data = _read_bytes(source.file)
    try:
        file = msgspec.json.decode(data, type=prepared(_File))
    except (msgspec.DecodeError, RecursionError) as error:
        return _mended(source.file, data, error)
    notes = _fill_boxes(file.annotations, data)
    return Content(file.images, file.annotations, file.categories, notes=notes)


def read_outline(file: Path) -> tuple[list[ImageEntry], Path | None]:
    """The images that a COCO file names, none if it cannot be read, and the folder that it says they are in.

    Only what `multibox convert` writes says so.
    """
    try:
        outline = msgspec.json.decode(_read_bytes(file), type=prepared(_Outline))
    except (msgspec.DecodeError, RecursionError, DataError):
        pass
    else:
        said = outline.info.get(IMAGE_FOLDER) if isinstance(outline.info, dict) else None
        return outline.images, file.parent / said if isinstance(said, str) and said else None
    try:
        return read_content(AnnotationFile(file, file.parent, 0)).images, None
    except DataError:  # told when the set is read
        return [], None


def read_plain(file: Path) -> tuple[dict[str, Any], Faults, Faults]:
    """An annotation file as dictionaries, with all their keys, mended where that is certain; its faults and notes.

    Raises:
        DataError: the file cannot be read, or is not in COCO's format.
    """
    plain = _plain(file, _read_bytes(file))
    faults, notes = coco_mending.mend(file, plain)
    return plain, faults, notes


def _read_bytes(file: Path) -> bytes:
    """The file as UTF-8 without a byte order mark."""
    try:
        check_regular(file)
        data = file.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DataError(f"{file}: cannot read the annotations: {reason}. Correct the path.") from error
    except Exception as error:
        if not is_remote(file):
            raise
        raise DataError(f"{file}: cannot read the annotations: {error}. Correct the address.") from error
    if data.isascii():
        return data
    encoding = encoding_of(data)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file}: the annotations are no UTF-8 text (byte {error.start}). Save the file as UTF-8."
        ) from error
    return data if encoding == "utf-8" else text.encode()


def _fill_boxes(annotations: Sequence[Annotation], data: bytes) -> Faults:
    """Give objects the box around their polygon or turned rectangle; a line for each, by kind.

    Polygons are many times the rest of a file, so they are read only if they are needed.
    """
    is_turned = re.search(rb'"rotation"\s*:\s*-?(?!0(\.0*)?\s*[,}])', data) is not None
    if not is_turned and not any(coco_mending.is_empty(annotation.bbox) for annotation in annotations):
        return {}
    notes: Faults = {}
    shapes = msgspec.json.decode(data, type=prepared(_Shapes)).annotations
    for position, (annotation, shape) in enumerate(zip(annotations, shapes, strict=True)):
        box, kind = coco_mending.box_of(annotation.bbox, shape.segmentation, shape.attributes)
        if kind:
            annotation.bbox = box
            notes.setdefault(kind, []).append(coco_mending.title(annotation.id, position))
    return notes


def _mended(file: Path, data: bytes, error: Exception) -> Content:
    """The content of a file that is not quite as the format has it.

    Raises:
        DataError: it is no JSON, or cannot be mended.
    """
    plain = _plain(file, data, error)
    faults, notes = coco_mending.mend(file, plain)
    try:
        parts = msgspec.convert(plain, prepared(_File))
    except msgspec.ValidationError as left:  # no kind that is known
        raise DataError(
            f"{file}: {str(left).split(' - at')[0]}. Correct it; annotations must be in COCO's format for object "
            "detection."
        ) from left
    return Content(parts.images, parts.annotations, parts.categories, faults, notes)


def _plain(file: Path, data: bytes, error: Exception | None = None) -> Any:
    """The JSON in a file, with numbers that are none (NaN, Infinity), so that the boxes they are in can be named."""
    try:
        return json.loads(data)
    except RecursionError as deep:
        raise DataError(f"{file}: this is no annotation file: it is nested too deeply. Correct the path.") from deep
    except ValueError as broken:
        if error is None:
            try:
                msgspec.json.decode(data)
            except msgspec.DecodeError as same:
                error = same
        if "truncated" in str(error):
            raise DataError(
                f"{file}: the annotations break off: this is no complete JSON. Make the file again."
            ) from broken
        reason = _reason(error) if isinstance(error, msgspec.DecodeError) else str(broken)
        raise DataError(f"{file}: this is no JSON ({reason}). Correct the file or make it again.") from broken


def _reason(error: msgspec.DecodeError) -> str:
    return str(error).removeprefix("JSON is malformed: ").replace("(byte", "at (byte").replace("(", "").replace(")", "")
