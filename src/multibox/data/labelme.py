"""labelme's files: a .json beside each image, with rectangles, circles and polygons in pixels."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from multibox.data.coco_checks import box_fault
from multibox.data.coco_images import find_file
from multibox.data.image_files import by_stem, hint, image_names, stem_key, tails
from multibox.data.labels import LabelledImage, LabelledObject, Labels
from multibox.data.layouts import Layout
from multibox.data.shapes import box_around
from multibox.data.text_files import decode_text, parse_json
from multibox.errors import DataError
from multibox.files import check_regular
from multibox.wording import quoted

NO_BOXES = frozenset(("line", "linestrip", "point", "points"))
"""Kinds of shapes that have no box to speak of."""


def read_labelme(layout: Layout) -> tuple[dict[str, Labels], dict[int, str]]:
    """The labels of each split of a set of labelme's files, and the names of its classes in order.

    Raises:
        DataError: no file has an object.
    """
    parts: dict[str, Labels] = {}
    named: dict[str, list[str]] = {}
    for split, word in layout.words.items():
        folder = layout.description / word
        part = parts[split] = Labels(folder)
        labels: list[str] = []
        stems = by_stem(image_names(folder))
        for file in sorted(folder.glob("**/*.json")):
            _read_file(file, part, stems, labels)
        annotated = {stem_key(image.file_name) for image in part.images}
        without = [names[0] for stem, names in stems.items() if stem not in annotated]
        part.remark("images without an annotation file, left out", [f"image {quoted(name)}" for name in without])
        named[split] = labels
    classes = sorted({name for labels in named.values() for name in labels})
    if not classes:
        raise DataError(f"{layout.folder}: no file of labelme has an object.")
    numbers = {name: number for number, name in enumerate(classes)}
    for split, part in parts.items():
        names = iter(named[split])
        part.images = [
            image._replace(objects=[item._replace(number=numbers[next(names)]) for item in image.objects])
            for image in part.images
        ]
    return parts, dict(enumerate(classes))


def _read_file(file: Path, part: Labels, stems: dict[str, list[str]], labels: list[str]) -> None:
    """Add the image of a file to `part`, and the class of each of its objects to `labels`."""
    where = file.relative_to(part.root).as_posix()
    try:
        check_regular(file)
        content = parse_json(decode_text(file.read_bytes()))
    except (OSError, ValueError, RecursionError) as error:
        part.lose("annotation files that cannot be read", [f"{where} is no JSON: {error}"])
        return
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        return  # of another program
    name = _image_name(file, str(content.get("imagePath") or ""), part.root, stems)
    if name is None:
        wanted = str(content.get("imagePath") or f"{file.stem}.jpg")
        part.lose(
            "annotation files without an image",
            [f"{where}: image {quoted(wanted)} is missing{hint(part.root, wanted)}"],
        )
        return
    width, height = (_side(content.get(key)) for key in ("imageWidth", "imageHeight"))
    objects = []
    for position, shape in enumerate(content["shapes"], start=1):
        label, box, fault = _read_shape(shape)
        if not fault and box is not None:
            fault = box_fault(list(box), width, height) or ""
        if fault or box is None:
            part.lose("objects that cannot be read", [f"{where}, shape {position} {fault}"])
            continue
        x, y, wide, high = box
        objects.append(LabelledObject(0, x, y, x + wide, y + high))
        labels.append(label)
    part.images.append(LabelledImage(name, width, height, objects))


def _image_name(file: Path, given: str, root: Path, stems: dict[str, list[str]]) -> str | None:
    """The image below the root that a file is of: the one it names, beside it, or of its own stem."""
    folder = file.parent.relative_to(root)
    for name in [given, *list(tails(given))[-1:]]:
        path = file.parent / name.replace("\\", "/")
        if name and path.is_file() and path.resolve().is_relative_to(root.resolve()):
            return path.resolve().relative_to(root.resolve()).as_posix()
    for tail in tails(given):
        if find_file(root, tail)[1] is not None:
            return tail
    own = stems.get(stem_key((folder / file.name).as_posix()), [])
    return own[0] if len(own) == 1 else None


def _read_shape(shape: Any) -> tuple[str, tuple[float, float, float, float] | None, str]:
    """The class and the box of a shape, or what is wrong with it."""
    if not isinstance(shape, dict):
        return "", None, "is no object with keys"
    label = str(shape.get("label") or "").strip()
    if not label:
        return "", None, "has no label"
    kind = shape.get("shape_type") or "polygon"
    if kind in NO_BOXES:
        return label, None, f"({label}) is a {kind}, which has no box"
    try:
        xs, ys = zip(*((float(x), float(y)) for x, y in shape["points"]), strict=True)
    except (KeyError, TypeError, ValueError):
        return label, None, f"({label}) has no points"
    if not all(map(math.isfinite, [*xs, *ys])):
        return label, None, f"({label}) has points that are not finite"
    if kind == "circle":  # its centre, and a point on it
        radius = math.hypot(xs[-1] - xs[0], ys[-1] - ys[0])
        return label, (xs[0] - radius, ys[0] - radius, 2 * radius, 2 * radius), ""
    return label, box_around(xs, ys), ""


def _side(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and value > 0 else None
