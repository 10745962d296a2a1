"""Hugging Face's `imagefolder` for detection: a metadata.jsonl beside the images of each split, with the boxes of each.

Boxes are as COCO has them: x, y, width and height in pixels.

Source: huggingface.co/docs/datasets, "Create an image dataset", object detection.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from multibox.data.labels import Labels
from multibox.data.layouts import CLASSES_FILE, Layout
from multibox.data.listed_images import Entry, Region, to_labels
from multibox.data.text_files import parse_json, read_text

CATEGORY_KEYS = ("categories", "category", "labels", "label")
"""What the classes of the boxes may be called: the documentation has the first, its own examples the second."""

NAMELESS = "classes that have a number and no name"


def read_hf_folder(layout: Layout) -> tuple[dict[str, Labels], dict[int, str]]:
    """The labels of each split of such a folder, and the names of its classes in order.

    Classes are names, or numbers of lines of a classes.txt in the folder; without that, a number is its own name.

    Raises:
        DataError: a file cannot be read, or there is no object.
    """
    file = layout.folder / CLASSES_FILE
    classes = [name for name in read_text(file, "the list of classes").split("\n") if name] if file.is_file() else []
    parts = {split: Labels((layout.folder / word).parent) for split, word in layout.words.items()}
    entries = {split: list(_entries(layout, word, classes, parts[split])) for split, word in layout.words.items()}
    return parts, to_labels(layout, entries, parts, classes)


def _entries(layout: Layout, word: str, classes: list[str], part: Labels) -> Iterator[Entry]:
    lines = read_text(layout.folder / word, "the annotations").split("\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{word}:{number}"
        try:
            content = parse_json(line)
        except (ValueError, RecursionError):
            content = None
        name = content.get("file_name") if isinstance(content, dict) else None
        if not isinstance(name, str):
            part.lose("lines that cannot be read", [f"{where}: this is no JSON with a `file_name`"])
            continue
        regions = tuple(_regions(content, where, classes, part))
        yield Entry([name], _side(content, "width"), _side(content, "height"), regions)


def _regions(content: dict[str, Any], where: str, classes: list[str], part: Labels) -> Iterator[Region]:
    objects = content.get("objects")
    if not objects:
        return
    given = objects if isinstance(objects, dict) else {}
    boxes, labels = given.get("bbox"), next((given[key] for key in CATEGORY_KEYS if key in given), None)
    if not isinstance(boxes, list) or not isinstance(labels, list) or len(boxes) != len(labels):
        part.lose("objects that cannot be read", [f"{where}: `bbox` and `categories` are no lists of the same length"])
        return
    for box, label in zip(boxes, labels, strict=True):
        is_box = isinstance(box, list) and len(box) == 4 and all(_is_number(value) for value in box)
        fault = "" if is_box else "has a box that is no four numbers"
        corners = (float(box[0]), float(box[1]), float(box[2]), float(box[3])) if is_box else None
        yield Region(_name(label, where, classes, part), corners, fault)


def _name(label: Any, where: str, classes: list[str], part: Labels) -> str:
    """The name of a class; empty for what is none."""
    if isinstance(label, str):
        return label
    if isinstance(label, bool) or not isinstance(label, int) or label < 0:
        return ""
    if label < len(classes):
        return classes[label]
    part.doubt(NAMELESS, [f"{where}: {label}; write their names into {CLASSES_FILE}, one a line"])
    return str(label)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _side(content: dict[str, Any], key: str) -> int | None:
    """A side of the image in pixels; None where it is not said."""
    value = content.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
