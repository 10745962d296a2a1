"""CVAT's own XML, "CVAT for images 1.1" and "CVAT for video 1.1": one file for all images of a split, or for the frames
of a video; corners in pixels.

Source: docs.cvat.ai, "XML annotation format".
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from xml.etree import ElementTree

from multibox.data.coco_checks import box_fault
from multibox.data.coco_images import find_file
from multibox.data.coco_mending import AROUND_POLYGONS, AROUND_TURNED
from multibox.data.image_files import hint, image_names
from multibox.data.labels import LabelledImage, LabelledObject, Labels
from multibox.data.layouts import Layout
from multibox.data.shapes import Box, box_around, box_around_turned
from multibox.data.text_files import read_text
from multibox.data.yolo_places import shown_path
from multibox.errors import DataError
from multibox.wording import quoted

FRAME = re.compile(r"(\d+)\.\w+$")
"""The number of a frame at the end of its name."""

CORNERS = ("xtl", "ytl", "xbr", "ybr")
ELLIPSE = ("cx", "cy", "rx", "ry")

SHAPES = frozenset(("box", "polygon", "ellipse", "polyline", "points", "mask", "cuboid", "skeleton"))
"""Elements of an image that are objects; of these, the first three have a box to speak of."""


def read_cvat(layout: Layout) -> tuple[dict[str, Labels], dict[int, str]]:
    """The labels of each split of a set with CVAT's XML, and the names of its classes in the order of the first file.

    Raises:
        DataError: a file cannot be read, or names no class.
    """
    trees = {split: _parse(layout.folder / name) for split, name in layout.words.items()}
    classes: dict[str, int] = {}
    for tree in trees.values():
        shapes = [shape.get("label", "") for image in tree.iterfind("image") for shape in image if shape.tag in SHAPES]
        shapes += [track.get("label", "") for track in tree.iterfind("track")]
        for name in [*(label.text or "" for label in tree.iterfind("meta/*/labels/label/name")), *shapes]:
            if name:
                classes.setdefault(name, len(classes))
    if not classes:
        raise DataError(f"{layout.folder}: {', '.join(layout.words.values())} names no class.")
    parts = {split: _read_part(layout, split, tree, classes) for split, tree in trees.items()}
    return parts, {number: name for name, number in classes.items()}


def _parse(file: Path) -> ElementTree.Element:
    try:
        tree = ElementTree.fromstring(read_text(file, "the annotations of CVAT"))
    except (ElementTree.ParseError, ValueError) as error:
        raise DataError(f"{file}: this is no XML: {error}. Export it again.") from error
    return tree


def _read_part(layout: Layout, split: str, tree: ElementTree.Element, classes: dict[str, int]) -> Labels:
    entries = tree.findall("image") if tree.find("track") is None else _frames(layout, split, tree)
    part = Labels(_image_folder(layout, split, [entry.get("name", "") for entry in entries]))
    for entry in entries:
        name = entry.get("name", "")
        path, size = find_file(part.root, name)
        if size is None:
            where = f"{layout.words[split]}: image {quoted(name)}"
            part.lose("annotated images that are missing", [f"{where} is missing{hint(part.root, name)}"])
            continue
        width, height = _side(entry.get("width")), _side(entry.get("height"))
        objects = []
        shapes = (shape for shape in entry if shape.tag in SHAPES)
        for position, shape in enumerate(shapes, start=1):
            where = f"{layout.words[split]}: image {quoted(name)}, object {position} ({shape.get('label', '')})"
            item = _read_shape(shape, where, part, classes, (width, height))
            if item is not None:
                objects.append(item)
        part.images.append(LabelledImage(shown_path(path, part.root), width, height, objects))
    return part


def _frames(layout: Layout, split: str, tree: ElementTree.Element) -> list[ElementTree.Element]:
    """The frames of a video as images, with the shapes of all tracks that are seen on them (`outside` is 0).

    CVAT saves frames as `images/frame_000000.PNG`. What is saved and has no shape is a frame without objects.

    Raises:
        DataError: the frames were not saved.
    """
    folder = layout.folder / "images"
    folder = folder if folder.is_dir() else layout.folder
    frames = {int(match[1]): name for name in image_names(folder) if (match := FRAME.search(name))}
    if not frames:
        raise DataError(
            f"{layout.folder / layout.words[split]}: the frames of this video are missing. Export the task with its "
            "images (Save images)."
        )
    size = tree.find("meta/*/original_size")
    sides = {side: (size.findtext(side) or "0").strip() for side in ("width", "height")} if size is not None else {}
    shapes: dict[int, list[ElementTree.Element]] = {number: [] for number in frames}
    for track in tree.iterfind("track"):
        for shape in track:
            if shape.tag in SHAPES and shape.get("outside") != "1" and (shape.get("frame") or "").isdigit():
                shape.set("label", track.get("label", ""))
                shapes.setdefault(int(shape.get("frame", "")), []).append(shape)
    entries = []
    for number, of_frame in sorted(shapes.items()):
        entry = ElementTree.Element("image", {"name": frames.get(number, f"frame_{number:06d}.PNG"), **sides})
        entry.extend(of_frame)
        entries.append(entry)
    return entries


def _read_shape(
    shape: ElementTree.Element, where: str, part: Labels, classes: dict[str, int], size: tuple[int | None, int | None]
) -> LabelledObject | None:
    """An object, or None if it cannot be read, which is noted."""
    try:
        box = _box(shape, where, part)
    except (KeyError, ValueError):
        box, fault = None, f"is a {shape.tag} whose numbers cannot be read"
    else:
        fault = f"is a {shape.tag}, which has no box" if box is None else box_fault(list(box), *size) or ""
    if shape.get("label") not in classes:
        fault = "has no class"
    if fault or box is None:
        part.lose("objects that cannot be read", [f"{where} {fault}"])
        return None
    x, y, width, height = box
    return LabelledObject(classes[shape.get("label", "")], x, y, x + width, y + height)


def _box(shape: ElementTree.Element, where: str, part: Labels) -> Box | None:
    """The upright box around a shape; None for one that has none.

    Raises:
        KeyError, ValueError: its numbers are missing or no numbers.
    """
    if shape.tag == "polygon":
        points = [tuple(map(float, pair.split(","))) for pair in shape.attrib["points"].split(";")]
        xs, ys = zip(*points, strict=True)
        part.doubt(AROUND_POLYGONS, [where])
        return _finite(box_around(xs, ys))
    if shape.tag == "box":
        x1, y1, x2, y2 = (float(shape.attrib[side]) for side in CORNERS)
        box = x1, y1, x2 - x1, y2 - y1
    elif shape.tag == "ellipse":
        x, y, wide, high = (float(shape.attrib[side]) for side in ELLIPSE)
        box = x - wide, y - high, 2 * wide, 2 * high
    else:
        return None
    degrees = float(shape.get("rotation", 0)) % 360
    if degrees:
        part.doubt(AROUND_TURNED, [where])
        box = box_around_turned(box, degrees)
    return _finite(box)


def _finite(box: Box) -> Box:
    if not all(map(math.isfinite, box)):
        raise ValueError("not finite")
    return box


def _image_folder(layout: Layout, split: str, names: list[str]) -> Path:
    """The folder that has most of the images: the split's own before common ones, never another split's."""
    kinds = ("train",) if split == "train" else ("val", "valid", "validation", "test")
    own = [layout.folder / place for word in kinds for place in (f"images/{word}", word)]
    common = [layout.folder / place for place in ("images", "images/default", ".")]
    hits = {place: sum(find_file(place, name)[1] is not None for name in names) for place in [*own, *common]}
    return max(hits, key=lambda place: (hits[place], place.is_dir()))


def _side(text: str | None) -> int | None:
    """A side of an image in pixels; None where it is not said."""
    return int(text) if text is not None and text.isdigit() and int(text) > 0 else None
