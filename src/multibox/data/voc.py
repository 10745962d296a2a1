"""Pascal VOC data sets: an .xml file for each image, boxes as corners in pixels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from multibox.data import box_meaning
from multibox.data.coco_checks import box_fault
from multibox.data.image_files import (
    UNREAD_SUFFIXES,
    by_stem,
    hint,
    image_names,
    spellings,
    stem_key,
    tails,
    unread_names,
)
from multibox.data.labels import LabelledImage, LabelledObject, Labels
from multibox.data.layouts import Layout, voc_list
from multibox.data.shapes import box_around, box_around_turned
from multibox.data.text_files import read_text
from multibox.errors import DataError
from multibox.files import check_regular
from multibox.wording import listed, quoted

IMAGE_FOLDERS = ("JPEGImages", "images", "Images", "imgs", "img", "Image", "image", "PNGImages", "data")
"""Folders in which Pascal VOC sets have their images, beside the folder Annotations."""

SIDES = ("xmin", "ymin", "xmax", "ymax")

AROUND_POLYGONS = "objects without a box, read as the box around their polygon"
AROUND_TURNED = "turned boxes, read as the box around the turned rectangle"
OTHER_WAY_ROUND = "boxes whose corners are the other way round, read as meant"


@dataclass(frozen=True, slots=True)
class _Object:
    """An object as it stands in its file: where, its class, and the numbers of its corners."""

    where: str
    name: str
    values: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class _Document:
    """What an annotation file says: the image, the size it gives for it, and the objects."""

    file_name: str
    size: tuple[int | None, int | None]
    objects: list[_Object]


def read_voc(layout: Layout) -> tuple[dict[str, Labels], dict[int, str]]:
    """The labels of each split of a Pascal VOC set, and the names of its classes in order.

    Pixels are counted from 1, unless a box of the set begins at 0 or between two pixels: then whoever wrote it counted
    from 0.

    Raises:
        DataError: a list cannot be read, or no annotation has an object.
    """
    documents: dict[str, tuple[Labels, list[_Document]]] = {}
    for split, word in layout.words.items():
        is_listed = layout.description.name.lower() == "annotations" and not (layout.description / word).is_dir()
        folder = layout.description if is_listed or not word else layout.description / word
        wanted = voc_list(layout.folder, word) if is_listed and word else None
        part = Labels(_image_folder(layout, folder, word))
        documents[split] = part, list(_read_documents(folder, wanted, part))
    classes = sorted({item.name for _, files in documents.values() for file in files for item in file.objects})
    if not classes:
        lost = [line for part, _ in documents.values() for lines in part.problems.values() for line in lines]
        reason = f" that can be read; the first: {lost[0]}" if lost else ""
        raise DataError(f"{layout.folder}: no annotation has an object{reason}.")
    numbers = {name: number for number, name in enumerate(classes)}
    objects = [item for _, files in documents.values() for file in files for item in file.objects]
    offset = 0 if any(min(item.values[:2]) < 1 or _is_between_pixels(item) for item in objects) else 1
    for part, files in documents.values():
        if not offset:
            part.remark(
                "of the set's images have boxes that begin at pixel 0 or between pixels: it is read as counting from 0",
                [
                    f"image {quoted(file.file_name)}"
                    for file in files
                    if any(min(item.values[:2]) < 1 or _is_between_pixels(item) for item in file.objects)
                ],
            )
        _settle_boxes(part, files, numbers, offset)
    return {split: part for split, (part, _) in documents.items()}, dict(enumerate(classes))


def _is_between_pixels(item: _Object) -> bool:
    return any(value != int(value) for value in item.values)


def _image_folder(layout: Layout, folder: Path, word: str) -> Path:
    """The folder of the images: beside a folder Annotations, else that of the .xml files or one of images beside it."""
    if layout.description.name.lower() == "annotations":
        top = layout.description.parent
        inner = folder.relative_to(layout.description)
        for name in IMAGE_FOLDERS:
            for place in (top / name / inner, top / name / word, top / name):
                if place.is_dir():
                    return place
        return next((top / word for _ in (0,) if word and (top / word).is_dir()), top)
    if not image_names(folder):
        for place in (folder / "images", folder.parent / "images" / folder.name, folder.parent / "images"):
            if place.is_dir():
                return place
    return folder


def _read_documents(folder: Path, listed_in: Path | None, part: Labels) -> Iterator[_Document]:
    """The annotations of a split; what is wrong with them is noted in `part`."""
    files = {
        stem_key(file.relative_to(folder).as_posix()): file
        for file in sorted(folder.glob("**/*"))
        if file.suffix.lower() == ".xml" and not file.name.startswith(".")  # macOS leaves ._a.xml beside a.xml
    }
    stems = by_stem(image_names(part.root))
    chosen = files if listed_in is None else _listed(listed_in, files, part)
    for stem, file in chosen.items():
        document = _read_document(stem, file, stems, part)
        if document is not None:
            yield document
    part.lose(
        "images of a kind that is not read",
        [
            f"image {quoted(name)}: {UNREAD_SUFFIXES[name[name.rfind('.') :].lower()]}"
            for name in unread_names(part.root)
            if listed_in is None or stem_key(name) in chosen
        ],
    )
    if listed_in is None:
        without = [stem for stem in stems if stem not in files]
        part.remark("images without an annotation file, left out", [f"image {quoted(stem)}" for stem in without])


def _listed(file: Path, files: dict[str, Path], part: Labels) -> dict[str, Path]:
    """The annotation files that a list names: by stems with blanks, file names, paths, a stem and a flag."""
    chosen: dict[str, Path] = {}
    without = []
    for line in read_text(file, "the list of images").splitlines():
        if not line.strip():
            continue
        stem = next((key for key in _keys(line.strip()) if key in files), None)
        if stem is None:
            without.append(f"image {quoted(line.strip())}")
        else:
            chosen[stem] = files[stem]
    part.remark("images without an annotation file, left out", without)
    return chosen


def _keys(line: str) -> Iterator[str]:
    """The stems that a line of a list may mean, the likeliest first."""
    words = line.rsplit(maxsplit=1)
    is_flagged = len(words) == 2 and words[1] in {"1", "-1", "0"}
    for text in [line, words[0]] if is_flagged else [line]:
        for tail in tails(text):
            for name in spellings(tail):
                yield name
                yield stem_key(name)


def _read_document(stem: str, file: Path, stems: dict[str, list[str]], part: Labels) -> _Document | None:
    try:
        check_regular(file)
        tree = ElementTree.fromstring(file.read_bytes())
    except (ElementTree.ParseError, OSError, ValueError, LookupError) as error:
        part.lose("annotation files that cannot be read", [f"{file.name} is no XML: {error}"])
        return None
    given = _text(tree, "filename")
    name, doubt = _image_name(stem, given, stems)
    if doubt:
        part.doubt("annotation files that name another image", [f"{file.name} {doubt}"])
    if name is None:
        wanted = given or f"{stem}.jpg"
        near = hint(part.root, wanted)
        part.lose("annotation files without an image", [f"{file.name}: image {quoted(wanted)} is missing{near}"])
        return None
    objects = [
        item
        for position, element in enumerate(tree.iterfind("object"), start=1)
        if (item := _read_object(element, f"{file.name}, object {position}", part)) is not None
    ]
    return _Document(name, (_side(tree, "width"), _side(tree, "height")), objects)


def _image_name(stem: str, given: str, stems: dict[str, list[str]]) -> tuple[str | None, str]:
    """The image of an annotation file, None if there is none; and what is odd about it, as the end of a sentence.

    The stem of the annotation file is what the format goes by; the name inside is often that of another machine.
    """
    # Some sets have a folder for the .xml files inside that of annotations.
    own = stems.get(stem, []) or stems.get(stem.rsplit("/", 1)[-1], [])
    base = next(iter(reversed(list(tails(given)))), "")
    if len(own) > 1:
        named = [name for name in own if name.rsplit("/", 1)[-1] == base]
        shown = listed([quoted(name) for name in own])
        if len(named) == 1:
            return named[0], ""
        return own[0], f"could be of {shown}: {quoted(own[0])} is taken"
    if own:
        own_base = own[0].rsplit("/", 1)[-1]
        # A name without folders is meant in the folder of the annotation file.
        named = next((stems[stem_key(tail)] for tail in tails(given) if stem_key(tail) in stems), own)
        if own[0] not in named and given != own_base:
            return own[0], f"names {quoted(given)}, which is there too: {quoted(own[0])} is taken"
        if base and stem_key(base) == stem_key(own_base) and base != own_base:
            return own[0], f"names {quoted(base)}: {quoted(own[0])} is taken"
        return own[0], ""
    for tail in tails(given):
        for name in spellings(tail):
            matches = stems.get(stem_key(name), [])
            if name in matches:
                return name, ""
            if len(matches) == 1:
                return matches[0], f"names {quoted(given)}: {quoted(matches[0])} is taken"
    return None, ""


def _read_object(element: ElementTree.Element, where: str, part: Labels) -> _Object | None:
    """An object, or None if it cannot be read, which is noted."""
    name = _text(element, "name")
    if not name:
        part.lose("objects that cannot be read", [f"{where} has no name"])
        return None
    values, fault = _corners(element, where, part)
    if values is None:
        part.lose("objects that cannot be read", [f"{where} ({name}) {fault}"])
        return None
    return _Object(f"{where} ({name})", name, values)


def _corners(
    element: ElementTree.Element, where: str, part: Labels
) -> tuple[tuple[float, float, float, float] | None, str]:
    """The corners of an object's box, or what is wrong with it."""
    box = element.find("bndbox")
    if box is None:
        around = _around_polygon(element)
        if around is None:
            is_turned = element.find("robndbox") is not None
            return None, "has a turned box (robndbox), which is not read" if is_turned else "has no box"
        part.doubt(AROUND_POLYGONS, [where])
        return around, ""
    numbers = []
    for side in SIDES:
        text = _text(box, side)
        try:
            number = float(text)
        except ValueError:
            return None, f"has a box whose {side} is {quoted(text)}"
        if not math.isfinite(number):
            return None, f"has a box whose {side} is {quoted(text)}"
        numbers.append(number)
    x1, y1, x2, y2 = numbers
    degrees = _rotation(element)
    if degrees:
        part.doubt(AROUND_TURNED, [where])
        x, y, width, height = box_around_turned((x1, y1, x2 - x1, y2 - y1), degrees)
        return (x, y, x + width, y + height), ""
    return (x1, y1, x2, y2), ""


def _around_polygon(element: ElementTree.Element) -> tuple[float, float, float, float] | None:
    """The corners of the box around a polygon, as labelme's (pt/x, pt/y) or Roboflow's (x1, y1, x2, ...); or None."""
    polygon = element.find("polygon")
    if polygon is None:
        return None
    try:
        xs = [
            float(child.text or "")
            for child in polygon.iter()
            if child.tag == "x" or (child.tag[1:].isdigit() and child.tag[0] == "x")
        ]
        ys = [
            float(child.text or "")
            for child in polygon.iter()
            if child.tag == "y" or (child.tag[1:].isdigit() and child.tag[0] == "y")
        ]
    except ValueError:
        return None
    if len(xs) < 3 or len(xs) != len(ys) or not all(map(math.isfinite, [*xs, *ys])):
        return None
    x, y, width, height = box_around(xs, ys)
    return x, y, x + width, y + height


def _rotation(element: ElementTree.Element) -> float:
    """The angle in degrees that CVAT notes among an object's attributes; 0 if there is none."""
    for attribute in element.iterfind("attributes/attribute"):
        if _text(attribute, "name") == "rotation":
            try:
                degrees = float(_text(attribute, "value"))
            except ValueError:
                return 0.0
            return degrees % 360 if math.isfinite(degrees) else 0.0
    return 0.0


def _settle_boxes(part: Labels, files: list[_Document], numbers: dict[str, int], offset: int) -> None:
    """Turn corners into boxes that count pixels from 0, by what they mean in the whole part."""
    rows = [(item, file.size) for file in files for item in file.objects if None not in file.size]
    values = np.array([item.values for item, _ in rows], dtype=np.float64).reshape(-1, 4)
    sizes = np.array([size for _, size in rows], dtype=np.float64).reshape(-1, 2)
    part.meaning = box_meaning.find_meaning(values, sizes, box_meaning.PASCAL_VOC)
    is_other = part.meaning is not None and part.meaning.is_certain
    for file in files:
        objects = []
        width, height = file.size
        for item in file.objects:
            x1, y1, x2, y2 = item.values
            if is_other and part.meaning is not None and width is not None and height is not None:
                own = np.array([item.values]), np.array([[width, height]], dtype=np.float64)
                x1, y1, x2, y2 = box_meaning.corners_of(*own, part.meaning.reading)[0].tolist()
            else:
                if x1 > x2 or y1 > y2:
                    part.doubt(OTHER_WAY_ROUND, [item.where])
                    x1, x2, y1, y2 = min(x1, x2), max(x1, x2), min(y1, y2), max(y1, y2)
                x1, y1 = x1 - offset, y1 - offset
            fault = box_fault([x1, y1, x2 - x1, y2 - y1], width, height)
            if fault is None:
                objects.append(LabelledObject(numbers[item.name], x1, y1, x2, y2))
            else:
                part.lose("bad boxes", [f"{item.where} {fault}"])
        part.images.append(LabelledImage(file.file_name, width, height, objects))


def _side(tree: ElementTree.Element, side: str) -> int | None:
    """A side of the image in pixels; None where it is not said, or as 0."""
    try:
        value = int(float(_text(tree, f"size/{side}")))
    except (ValueError, OverflowError):
        return None
    return value if value > 0 else None


def _text(element: ElementTree.Element, path: str) -> str:
    return (element.findtext(path) or "").strip()
