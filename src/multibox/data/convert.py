"""YOLO and Pascal VOC data sets turned into COCO's format; images stay where they are.

The library labelformat reads both. It passes over what it cannot read, with a line in its log, or stops at it; here,
every such thing is kept as a line about it, so that a person hears of it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import yaml

from multibox.data import images
from multibox.data.layouts import Layout, Split, read_yolo_description, voc_list
from multibox.errors import DataError, DependencyError
from multibox.files import write_atomically
from multibox.wording import counted, quoted

LABELFORMAT = 'Reading YOLO and Pascal VOC needs labelformat. Install it with: pip install "multibox[formats]"'

IMAGE_FOLDERS = ("JPEGImages", "images", "Images", "imgs")
"""Where Pascal VOC sets have their images, beside the folder Annotations."""

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")


@dataclass
class _Part:
    """What was read of a split: images with the corners of their objects in pixels, and what was wrong."""

    root: Path
    images: list[tuple[str, int | None, int | None, list[_Object]]] = field(default_factory=list)
    problems: dict[str, list[str]] = field(default_factory=dict)
    remarks: dict[str, list[str]] = field(default_factory=dict)


_Object = tuple[int, float, float, float, float]
"""Number of the class, and corners."""


def convert(layout: Layout, output: Path) -> dict[str, Split]:
    """Write a COCO file for each split of a YOLO or Pascal VOC set into the folder `output`; images are not copied.

    Images without objects stay in. YOLO counts in fractions of the image as it is shown, so the sizes written are those
    of the image turned as its EXIF data say. Pascal VOC counts pixels from 1, so a box x1..x2 covers x1 - 1 to x2 here,
    unless a box of the set begins at 0: then whoever wrote it counted from 0, and x1 is x1. Boxes marked `difficult` or
    `truncated` are taken like others. Category ids are YOLO's class numbers plus 1.

    Raises:
        DataError: the set cannot be read, or has no images.
        DependencyError: labelformat is not installed.
    """
    assert layout.format != "COCO", "it is COCO already"
    parts, names = _read_yolo(layout) if layout.format == "YOLO" else _read_voc(layout)
    for name, part in parts.items():
        if not part.images:
            first = next((line for lines in part.problems.values() for line in lines), "")
            raise DataError(
                f"{layout.folder}: there are no images in its split `{name}`{f'; {first}' if first else ''}."
            )
    splits = {}
    output.mkdir(parents=True, exist_ok=True)
    for name, part in parts.items():
        file = output / f"annotations_{name}.json"
        write_atomically(file, msgspec.json.encode(_coco(part, names)))
        splits[name] = Split(file, part.root, part.problems, part.remarks)
    return splits


def _coco(part: _Part, names: dict[int, str]) -> dict[str, Any]:
    found: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, (name, width, height, objects) in enumerate(part.images, start=1):
        found.append({"id": image_id, "file_name": name})
        if width is not None and height is not None:
            found[-1] |= {"width": width, "height": height}
        for number, x1, y1, x2, y2 in objects:
            box = [round(value, 3) for value in (x1, y1, x2 - x1, y2 - y1)]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": number + 1,
                    "bbox": box,
                    "area": round(box[2] * box[3], 3),
                    "iscrowd": 0,
                }
            )
    categories = [{"id": number + 1, "name": name} for number, name in names.items()]
    return {"images": found, "annotations": annotations, "categories": categories}


def _read_yolo(layout: Layout) -> tuple[dict[str, _Part], dict[int, str]]:
    file = layout.description
    content = read_yolo_description(file)
    given = content["names"]
    try:
        pairs = given.items() if isinstance(given, dict) else enumerate(given)
        names = {int(number): str(name) for number, name in pairs}
    except (TypeError, ValueError) as error:
        raise DataError(f"{file}: the keys of `names` must be the numbers of the classes.") from error
    if min(names) < 0:
        raise DataError(f"{file}: a class has the number {min(names)}; numbers of classes begin at 0.")
    parts = {name: _read_yolo_part(file, content, word, names) for name, word in layout.words.items()}
    return parts, dict(sorted(names.items()))


def _read_yolo_part(file: Path, content: dict[str, Any], word: str, names: dict[int, str]) -> _Part:
    try:
        from labelformat.formats import YOLOv8ObjectDetectionInput
    except ModuleNotFoundError as error:
        raise DependencyError(LABELFORMAT) from error
    root = _yolo_images(file, content, word)
    # Labels are in the folder that has `labels` in the place of the last `images` of the path.
    position = next((i for i, part in reversed(list(enumerate(root.parts))) if part == "images"), None)
    if position is None:
        raise DataError(
            f"{file}: the images of `{word}` are in {root}, which has no folder `images` in its path, so there is none "
            "of `labels` beside it. Put the images below a folder `images`, the labels below `labels`."
        )
    labels_root = Path(*root.parts[:position], "labels", *root.parts[position + 1 :])
    part = _Part(root)
    unreadable = part.problems.setdefault("images that cannot be used", [])
    with tempfile.TemporaryDirectory() as folder, _log_of_labelformat() as log:
        # Its own reading of data.yaml knows fewer ways to write one than there are.
        plain = {"path": str(Path(*root.parts[:position])), "split": str(Path(*root.parts[position:]))}
        plain_file = Path(folder) / "data.yaml"
        filled = [names.get(number, "") for number in range(max(names) + 1)]
        plain_file.write_text(yaml.safe_dump(plain | {"names": filled}))
        reader = YOLOv8ObjectDetectionInput(input_file=plain_file, input_split="split")
        reader.on_error = lambda path, _: unreadable.append(f"image {quoted(path.name)} cannot be decoded")
        try:
            labels = {label.image.filename: label.objects for label in reader.get_labels()}
            unreadable.clear()  # the images are gone through twice
            found = sorted(reader.get_images(), key=lambda image: str(image.filename))
        except (ValueError, RuntimeError, KeyError, OSError) as error:
            raise DataError(f"{file}: cannot read this YOLO set: {error}.") from error
    if found and not labels:
        part.problems["parts without any label file"] = [
            f"{labels_root} has none for the {counted(len(found), 'image')} of `{word}`"
        ]
    part.problems["label lines that cannot be read"] = [
        line.replace(f"{labels_root}/", "").replace(" Skipping this annotation.", " It must be class x y width height.")
        for line in log
        if "does not exist" not in line  # below, in our own words
    ]
    part.remarks["images without a label file, taken for ones without objects"] = [
        f"image {quoted(image.filename)}" for image in found if labels and image.filename not in labels
    ]
    for image in found:
        width, height = _shown_size(root / image.filename, image.width, image.height)
        scale = (width / image.width, height / image.height)
        objects = [
            (
                item.category.id,
                item.box.xmin * scale[0],
                item.box.ymin * scale[1],
                item.box.xmax * scale[0],
                item.box.ymax * scale[1],
            )
            for item in labels.get(image.filename, [])
            if item.category.id in names
        ]
        part.images.append((image.filename, width, height, objects))
    _drop_empty(part)
    return part


def _yolo_images(file: Path, content: dict[str, Any], word: str) -> Path:
    """The folder of images that a data.yaml names, wherever it is relative to."""
    given = content[word]
    if not isinstance(given, str):
        raise DataError(f"{file}: `{word}` is no path to one folder. Convert several folders one after the other.")
    if given.lower().endswith(".txt"):
        raise DataError(f"{file}: `{word}` is a list of files; multibox reads YOLO sets whose splits are folders.")
    tops = [file.parent]
    if content.get("path"):
        # Relative to the folder that the other program ran in; the set may have been moved since.
        tops = [file.parent / str(content["path"]), file.parent, Path(str(content["path"]))]
    # Roboflow writes ../train/images for what is in ./train/images.
    tried = [top / path for top in tops for path in (given, given.removeprefix("../"), str(Path(given) / "images"))]
    for folder in tried:
        if folder.is_dir() and ("images" in folder.parts or (folder / "images").is_dir()):
            return _absolute(folder if "images" in folder.parts else folder / "images")
    existing = next((folder for folder in tried if folder.is_dir()), None)
    if existing is None:
        raise DataError(f"{file}: its folder of images {tried[0]} does not exist.")
    return _absolute(existing)


def _absolute(folder: Path) -> Path:
    # Not resolved: a link to the images leads away from the labels beside it.
    return Path(os.path.abspath(folder))  # noqa: PTH100


def _shown_size(path: Path, width: int, height: int) -> tuple[int, int]:
    """Width and height of an image turned as it is to be shown."""
    orientation = images.read_orientation(path)
    return (height, width) if orientation is not None and orientation.swaps_sides else (width, height)


def _read_voc(layout: Layout) -> tuple[dict[str, _Part], dict[int, str]]:
    found: dict[str, tuple[_Part, list[tuple[Path, ElementTree.Element]]]] = {}
    for name, word in layout.words.items():
        is_listed = layout.description.name == "Annotations"
        folder = layout.description if is_listed or not word else layout.description / word
        wanted = _listed(layout.folder, word) if is_listed and word else None
        part = _Part(_voc_root(folder))
        found[name] = part, _voc_documents(folder, wanted, part)
    classes = sorted({name for _, trees in found.values() for _, tree in trees for name in _class_names(tree)})
    if not classes:
        raise DataError(f"{layout.folder}: no annotation has an object.")
    parts = {name: _read_voc_part(part, documents, classes) for name, (part, documents) in found.items()}
    corners = [
        value for part in parts.values() for _, _, _, boxes in part.images for box in boxes for value in box[1:3]
    ]
    offset = 0 if corners and min(corners) < 1 else 1
    for part in parts.values():
        if not offset:
            part.remarks["of the set's boxes begin at pixel 0: it is read as counting from 0, not from 1"] = [
                f"image {quoted(name)}"
                for name, _, _, boxes in part.images
                if any(min(box[1:3], default=1) < 1 for box in boxes)
            ]
        part.images = [
            (name, width, height, [(label, x1 - offset, y1 - offset, x2, y2) for label, x1, y1, x2, y2 in boxes])
            for name, width, height, boxes in part.images
        ]
        _drop_empty(part)
    return parts, dict(enumerate(classes))


def _voc_root(folder: Path) -> Path:
    if folder.name != "Annotations":
        return folder
    return next((folder.parent / one for one in IMAGE_FOLDERS if (folder.parent / one).is_dir()), folder.parent)


def _listed(folder: Path, word: str) -> set[str]:
    """The stems of the images in a list."""
    try:
        lines = voc_list(folder, word).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{voc_list(folder, word)}: this is no list of images: it cannot be read as text.") from error
    return {line.split()[0] for line in lines if line.strip()}


def _voc_documents(folder: Path, wanted: set[str] | None, part: _Part) -> list[tuple[Path, ElementTree.Element]]:
    """The annotations of a split as trees, each made to name its image as it lies on disk, with its size."""
    documents = []
    broken = part.problems.setdefault("annotation files that cannot be read", [])
    files = {file.stem: file for file in sorted(folder.glob("*.xml"))}
    by_stem = {path.stem: path.name for path in sorted(part.root.glob("*")) if path.suffix.lower() in SUFFIXES}
    for stem, file in files.items():
        if wanted is not None and stem not in wanted:
            continue
        try:
            tree = ElementTree.parse(file).getroot()
        except (ElementTree.ParseError, OSError, ValueError) as error:
            broken.append(f"{file.name} is no XML: {error}")
            continue
        fault = _voc_fault(tree)
        if fault is not None:
            broken.append(f"{file.name} {fault}")
            continue
        _name_image(tree, file, part.root, by_stem)
        documents.append((file, tree))
    without = [stem for stem in by_stem if stem not in files] if wanted is None else sorted(wanted - set(files))
    part.remarks["images without an annotation file, left out"] = [f"image {quoted(stem)}" for stem in without]
    return documents


def _voc_fault(tree: ElementTree.Element) -> str | None:
    """Why an annotation file is of no use, as the end of a sentence, or None."""
    for item in tree.iterfind("object"):
        if not (item.findtext("name") or "").strip():
            return "has an object without a name"
        for side in ("xmin", "ymin", "xmax", "ymax"):
            text = item.findtext(f"bndbox/{side}")
            try:
                float(text or "")
            except ValueError:
                return f"has a box whose {side} is {quoted(text or '')}"
    return None


def _name_image(tree: ElementTree.Element, file: Path, root: Path, by_stem: dict[str, str]) -> None:
    """Correct what other programs write carelessly: the image's name, after it was renamed, and a size of 0."""
    given = (tree.findtext("filename") or "").strip()
    # The stem of the annotation file is what the format goes by; the name inside is often that of another machine.
    name = by_stem.get(file.stem) or (given if given and (root / given).is_file() else given or f"{file.stem}.jpg")
    _set(tree, "filename", name)
    size = tree.find("size")
    if size is None:
        size = ElementTree.SubElement(tree, "size")
    for side in ("width", "height"):
        text = (size.findtext(side) or "").strip()
        try:
            value = int(float(text))
        except (ValueError, OverflowError):
            value = 0
        _set(size, side, str(max(0, value)))
    for name_of_class in tree.iterfind("object/name"):
        name_of_class.text = (name_of_class.text or "").strip()


def _set(parent: ElementTree.Element, tag: str, text: str) -> None:
    child = parent.find(tag)
    if child is None:
        child = ElementTree.SubElement(parent, tag)
    child.text = text


def _class_names(tree: ElementTree.Element) -> Iterator[str]:
    return (item.text or "" for item in tree.iterfind("object/name"))


def _read_voc_part(part: _Part, documents: Sequence[tuple[Path, ElementTree.Element]], classes: list[str]) -> _Part:
    try:
        from labelformat.formats import PascalVOCObjectDetectionInput
        from labelformat.types import ParseError
    except ModuleNotFoundError as error:
        raise DependencyError(LABELFORMAT) from error
    # It takes names of classes with commas between them; a name may have one of its own.
    stand_ins = {name: f"class {number}" for number, name in enumerate(classes)}
    with tempfile.TemporaryDirectory() as folder:
        for file, tree in documents:
            for item in tree.iterfind("object/name"):
                item.text = stand_ins[item.text or ""]
            ElementTree.ElementTree(tree).write(Path(folder) / file.name, encoding="utf-8")
        try:
            labels = list(PascalVOCObjectDetectionInput(Path(folder), ",".join(stand_ins.values())).get_labels())
        except (ValueError, KeyError, ParseError) as error:
            raise DataError(f"{part.root}: cannot read these Pascal VOC annotations: {error}.") from error
    for label in sorted(labels, key=lambda label: str(label.image.filename)):
        boxes = [
            (item.category.id, item.box.xmin, item.box.ymin, item.box.xmax, item.box.ymax) for item in label.objects
        ]
        size = (label.image.width or None, label.image.height or None)
        part.images.append((label.image.filename, *size, boxes))
    return part


def _drop_empty(part: _Part) -> None:
    for kinds in (part.problems, part.remarks):
        for kind in [kind for kind, lines in kinds.items() if not lines]:
            del kinds[kind]


@contextlib.contextmanager
def _log_of_labelformat() -> Iterator[list[str]]:
    """Within, the library's log goes into a list, a line for each thing that it passes over."""
    lines: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("labelformat")
    before = logger.propagate, logger.level
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(logging.WARNING)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.propagate = before[0]
        logger.setLevel(before[1])
