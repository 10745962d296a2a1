"""VIA's own JSON (VGG Image Annotator 1 and 2): a project, or its annotations; shapes in pixels, the class among their
attributes.

Source: robots.ox.ac.uk/~vgg/software/via, "Annotation file format" of VIA 2.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from multibox.data.coco_mending import AROUND_POLYGONS
from multibox.data.labels import Labels
from multibox.data.layouts import Layout
from multibox.data.listed_images import Entry, Region, read_json, to_labels
from multibox.data.shapes import Box, box_around, box_around_ellipse
from multibox.errors import DataError

USUAL_ATTRIBUTES = ("class", "label", "name", "category", "type", "object")
"""What the attribute with the class is called by most people, the likeliest first."""

ONLY_CLASS = "object"
"""The class of all objects, if none has any attribute."""


def read_via(layout: Layout) -> tuple[dict[str, Labels], dict[int, str]]:
    """The labels of each split of a set in VIA's JSON, and the names of its classes: its options in order, then others.

    Raises:
        DataError: a file cannot be read, or has no object.
    """
    contents = {split: read_json(layout.folder / word) for split, word in layout.words.items()}
    images = {split: list(_images(content, layout.folder / layout.words[split])) for split, content in contents.items()}
    attribute = _class_attribute([region for of_split in images.values() for image in of_split for region in image[1]])
    parts = {split: Labels(layout.folder) for split in layout.words}
    if not attribute:
        words = ", ".join(layout.words.values())
        next(iter(parts.values())).remark("sets whose objects have no attribute, all called object", [words])
    entries = {
        split: [Entry([name], None, None, [_region(region, attribute) for region in regions]) for name, regions in rows]
        for split, rows in images.items()
    }
    return parts, to_labels(layout, entries, parts, _options(contents, attribute))


def _images(content: Any, file: Path) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The name of each image of a file and its regions."""
    images = content.get("_via_img_metadata", content) if isinstance(content, dict) else None
    if not isinstance(images, dict):
        raise DataError(f"{file}: this is no project of VIA. Export the annotations as JSON.")
    for image in images.values():
        if not isinstance(image, dict) or not isinstance(image.get("filename"), str):
            continue
        regions = image.get("regions") or []
        rows = regions.values() if isinstance(regions, dict) else regions  # VIA 1 numbers them
        yield image["filename"], [region for region in rows if isinstance(region, dict)]


def _class_attribute(regions: list[dict[str, Any]]) -> str:
    """The attribute that says the class: one that people call so, else the one that most regions have; "" for none."""
    counts = Counter(key for region in regions for key in _attributes(region))
    for usual in USUAL_ATTRIBUTES:
        for key in counts:
            if key.lower() == usual:
                return key
    return max(counts, key=lambda key: counts[key], default="")


def _attributes(region: dict[str, Any]) -> dict[str, Any]:
    attributes = region.get("region_attributes")
    return attributes if isinstance(attributes, dict) else {}


def _options(contents: dict[str, Any], attribute: str) -> list[str]:
    """The values that a project offers for the class, in its order, as far as they are text."""
    names: list[str] = []
    for content in contents.values():
        try:
            options = content["_via_attributes"]["region"][attribute]["options"]
        except (KeyError, TypeError):
            continue
        names += [name for name in options if isinstance(name, str) and name.strip()]
    return list(dict.fromkeys(name.strip() for name in names))


def _region(region: dict[str, Any], attribute: str) -> Region:
    value = _attributes(region).get(attribute, "") if attribute else ONLY_CLASS
    if isinstance(value, dict):  # of a checkbox
        value = next((key for key, is_checked in value.items() if is_checked), "")
    label = str(value or "").strip()
    shape = region.get("shape_attributes")
    if not isinstance(shape, dict):
        return Region(label, fault="has no shape")
    kind = str(shape.get("name"))
    try:
        box = _box(shape, kind)
    except (KeyError, TypeError, ValueError):
        return Region(label, fault=f"is a {kind} whose numbers cannot be read")
    if box is None:
        return Region(label, fault=f"is a {kind}, which has no box")
    return Region(label, box, made_from=AROUND_POLYGONS if kind == "polygon" else "")


def _box(shape: dict[str, Any], kind: str) -> Box | None:
    """The upright box around a shape; None for one that has none.

    Raises:
        KeyError, TypeError, ValueError: its numbers are missing or no numbers.
    """

    def numbers(*keys: str) -> list[float]:
        return [float(shape[key]) for key in keys]

    if kind == "rect":
        x, y, width, height = numbers("x", "y", "width", "height")
        box = x, y, width, height
    elif kind == "polygon":
        box = box_around([float(x) for x in shape["all_points_x"]], [float(y) for y in shape["all_points_y"]])
    elif kind == "circle":
        x, y, radius = numbers("cx", "cy", "r")
        box = x - radius, y - radius, 2 * radius, 2 * radius
    elif kind == "ellipse":
        x, y, wide, high = numbers("cx", "cy", "rx", "ry")
        box = box_around_ellipse(x, y, wide, high, math.degrees(float(shape.get("theta") or 0)))
    else:
        return None
    if not all(map(math.isfinite, box)):
        raise ValueError("not finite")
    return box
