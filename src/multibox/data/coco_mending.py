"""COCO files that are not quite what the format asks for: mended where it is certain what is meant, else named.

Tools write ids as text or as whole floats, sizes of -1, polygons without boxes, the angle of a turned box apart.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from multibox.data.shapes import Box, box_around_segmentation, box_around_turned
from multibox.errors import DataError
from multibox.plain_yaml import is_unicode
from multibox.wording import quoted, shortened

Faults = dict[str, list[str]]
"""Lines by what they are about, a plural."""

AROUND_POLYGONS = "objects without a box, read as the box around their polygon"
AROUND_TURNED = "turned boxes, read as the box around the turned rectangle"

KEYS = ("images", "annotations", "categories")


def mend(file: Path, plain: Any) -> tuple[Faults, Faults]:
    """Correct a file's content in place; what could not be read of it and was taken out, and notes on boxes.

    Raises:
        DataError: it is no content of an annotation file.
    """
    if not isinstance(plain, dict) or not any(key in plain for key in KEYS):
        raise DataError(
            f"{file}: this is no annotation file in COCO's format: it has no list of images. Correct the path."
        )
    for key in KEYS:
        if not isinstance(plain.get(key), list):
            what = "no" if plain.get(key) is None else "something else than a list as"
            raise DataError(
                f"{file}: there is {what} `{key}` in it. A COCO file lists images, annotations, categories."
            )
    faults: Faults = {}
    notes: Faults = {}
    plain["categories"] = _kept(plain["categories"], "category", "categories that cannot be read", _category, faults)
    plain["images"] = _kept(plain["images"], "image", "images that cannot be read", _image, faults)
    plain["annotations"] = _kept(
        plain["annotations"], "annotation", "annotations that cannot be read", _annotation, faults
    )
    for position, annotation in enumerate(plain["annotations"]):
        box, kind = box_of(annotation.get("bbox"), annotation.get("segmentation"), annotation.get("attributes"))
        if kind:
            annotation["bbox"] = box
            notes.setdefault(kind, []).append(title(annotation.get("id"), position))
            if kind == AROUND_TURNED:  # or it would be turned again when it is read again
                annotation["attributes"] = {**annotation["attributes"], "rotation": 0.0}
    return faults, notes


def box_of(bbox: Any, segmentation: Any, attributes: Any) -> tuple[list[float] | None, str]:
    """The box of an object, and what it was made from, empty if it stands in the file as it is."""
    if is_empty(bbox):
        around = box_around_segmentation(segmentation)
        return (list(around), AROUND_POLYGONS) if around is not None else (bbox, "")
    degrees = rotation(attributes)
    if degrees and len(bbox) == 4 and all(math.isfinite(value) for value in bbox):
        return list(box_around_turned(_box(bbox), degrees)), AROUND_TURNED
    return bbox, ""


def is_empty(bbox: Any) -> bool:
    """Whether an object has no box to speak of: none, or only zeros."""
    return not bbox or (isinstance(bbox, list) and len(bbox) == 4 and bbox[2] == 0 and bbox[3] == 0)


def rotation(attributes: Any) -> float:
    """The angle in degrees that CVAT notes beside an unturned box; 0 if there is none."""
    value = attributes.get("rotation") if isinstance(attributes, dict) else None
    try:
        degrees = float(value) if value is not None else 0.0
    except (TypeError, ValueError):
        return 0.0
    return degrees % 360 if math.isfinite(degrees) else 0.0


def title(annotation_id: Any, position: int) -> str:
    """How messages name an annotation."""
    return (
        f"annotation at position {position}" if annotation_id is None else f"annotation {shortened(str(annotation_id))}"
    )


def _kept(entries: list[Any], what: str, kind: str, correct: Any, faults: Faults) -> list[dict[str, Any]]:
    kept = []
    for position, entry in enumerate(entries):
        if not isinstance(entry, dict):
            faults.setdefault(kind, []).append(f"{what} at position {position} is no object with keys")
            continue
        fault = correct(entry)
        if fault is None:
            kept.append(entry)
            continue
        name = entry.get("file_name", entry.get("name")) if what != "annotation" else None
        entry_id = entry.get("id")
        named = (
            quoted(name)
            if isinstance(name, str)
            else f"at position {position}"
            if entry_id is None
            else shortened(str(entry_id))
        )
        faults.setdefault(kind, []).append(f"{what} {named} {fault}")
    return kept


def _category(entry: dict[str, Any]) -> str | None:
    entry["id"] = _number(entry.get("id"))
    if entry["id"] is None:
        return "has no id that is a number"
    name = entry.get("name")
    if isinstance(name, int | float) and not isinstance(name, bool) and abs(name) < math.inf:
        entry["name"] = f"{name}"
    if not isinstance(entry.get("name"), str):
        return "has no name"
    return None if is_unicode(entry["name"]) else "has half a letter in its name"


def _image(entry: dict[str, Any]) -> str | None:
    entry["id"] = _id(entry.get("id"))
    if entry["id"] is None:
        return "has no id"
    if not isinstance(entry.get("file_name"), str) or not entry["file_name"]:
        return "has no file name"
    if not is_unicode(entry["file_name"]):
        return "has half a letter in its file name"
    for side in ("width", "height"):
        entry[side] = _number(entry.get(side))
    return None


def _annotation(entry: dict[str, Any]) -> str | None:
    if "id" in entry:
        entry["id"] = _id(entry["id"])
    entry["image_id"] = _id(entry.get("image_id"))
    if entry["image_id"] is None:
        return "has no image_id"
    given = entry.get("category_id")
    entry["category_id"] = _number(given)
    if entry["category_id"] is None:
        return (
            f"has the category_id {quoted(given)}, which is no number"
            if isinstance(given, str)
            else ("has no category_id that is a number")
        )
    entry["area"] = _float(entry.get("area"))
    for flag in ("iscrowd", "ignore"):
        given = entry.get(flag)
        entry[flag] = _number(given)
        if given is not None and entry[flag] is None:
            return f"has `{flag}` that is no number"
    box = entry.get("bbox")
    if box is None:
        return None
    numbers = [_float(value) for value in box] if isinstance(box, list) else [None]
    if None in numbers:
        return "has a box that is no list of numbers"
    entry["bbox"] = numbers
    return None


def _id(value: Any) -> int | str | None:
    """An id as it is, whole floats as integers; None for what is none, or has half a letter in it."""
    if isinstance(value, str):
        return value if is_unicode(value) else None
    return _number(value)


def _number(value: Any) -> int | None:
    """A whole number, be it written as a float or as text; None for anything else."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        return value
    number = _float(value)
    return int(number) if number is not None and math.isfinite(number) and number == int(number) else None


def _float(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _box(bbox: list[float]) -> Box:
    x, y, width, height = bbox
    return x, y, width, height
