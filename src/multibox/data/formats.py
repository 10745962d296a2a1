"""Data sets as they lie on disks: which files belong to which split, and other formats turned into COCO's.

YOLO and Pascal VOC are read by the library labelformat; images stay where they are.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

import msgspec
import yaml

from multibox.errors import DataError, DependencyError
from multibox.files import write_atomically

Format = Literal["COCO", "YOLO", "Pascal VOC"]

TRAIN_NAMES = ("train", "training", "trainval")
VAL_NAMES = ("val", "valid", "validation", "test")
"""What splits are called, the likeliest first."""

LABELFORMAT = 'Reading YOLO and Pascal VOC needs labelformat. Install it with: pip install "multibox[formats]"'


@dataclass(frozen=True)
class Split:
    """A part of a data set: its annotation file and the folder that its images are in."""

    annotation_file: Path
    root: Path


@dataclass(frozen=True)
class Layout:
    """What a folder holds.

    `splits`: the files of `train` and `val`, or one of them, if the format is COCO. For others, `words` has what the
    set itself calls these, and `description` is its data.yaml or its folder of annotations.
    """

    format: Format
    folder: Path
    splits: dict[str, Split] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    description: Path = Path()


def find_layout(source: Path) -> Layout:
    """What kind of data set a folder or file is, and its parts.

    A COCO set is a .json with its images beside it or in a folder of its name; a YOLO set has a data.yaml, a Pascal VOC
    set a folder Annotations of .xml files.

    Raises:
        DataError: there is nothing of the kind.
    """
    if source.is_file() and source.suffix.lower() == ".json":
        return Layout("COCO", source.parent, {"train": Split(source, _image_folder(source, "train"))})
    if source.is_file() and source.suffix.lower() in {".yaml", ".yml"}:
        return _yolo_layout(source)
    if not source.is_dir():
        raise DataError(f"{source}: there is no such folder or annotation file.")
    configurations = sorted([*source.glob("data.y*ml"), *source.glob("dataset.y*ml")])
    if configurations:
        return _yolo_layout(configurations[0])
    voc = source if source.name == "Annotations" else source / "Annotations"
    if voc.is_dir() and next(voc.glob("*.xml"), None) is not None:
        return Layout("Pascal VOC", voc.parent, words=_voc_splits(voc.parent), description=voc)
    files = _coco_files(source)
    if files:
        return Layout("COCO", source, {name: Split(file, _image_folder(file, name)) for name, file in files.items()})
    raise DataError(
        f"{source}: this is no data set that multibox knows. Expected annotations of COCO (a .json with `train` or "
        "`val` in its name), YOLO (data.yaml), or Pascal VOC (a folder Annotations)."
    )


def convert(layout: Layout, output: Path) -> dict[str, Split]:
    """Write a COCO file for each split of a YOLO or Pascal VOC set into the folder `output`; images are not copied.

    Images without objects stay in. Pascal VOC counts pixels from 1, so a box x1..x2 covers x1 - 1 to x2 here; boxes
    marked `difficult` are taken like others.

    Raises:
        DataError: the set cannot be read, or has no images.
        DependencyError: labelformat is not installed.
    """
    assert layout.format != "COCO", "it is COCO already"
    splits = {}
    for name, word in layout.words.items():
        read = _yolo_content if layout.format == "YOLO" else _voc_content
        content, root = read(layout.description, word)
        if not content["images"]:
            raise DataError(f"{layout.folder}: there are no images in its split `{name}`.")
        file = output / f"annotations_{name}.json"
        output.mkdir(parents=True, exist_ok=True)
        write_atomically(file, msgspec.json.encode(content))
        splits[name] = Split(file, root)
    return splits


def _coco_files(folder: Path) -> dict[str, Path]:
    """The annotation file of each split: by its own name, or by that of the folder that it lies in."""
    candidates = [file for depth in ("*.json", "*/*.json") for file in sorted(folder.glob(depth)) if _is_coco(file)]
    found = {}
    for split, names in (("train", TRAIN_NAMES), ("val", VAL_NAMES)):
        for name in names:
            by_name = [file for file in candidates if name in _words(file.stem) or file.parent.name == name]
            if by_name:
                found[split] = by_name[0]
                break
    if not found and len(candidates) == 1:
        found["train"] = candidates[0]
    return found


def _words(stem: str) -> set[str]:
    return set("".join(letter if letter.isalpha() else " " for letter in stem.lower()).split())


def _is_coco(file: Path) -> bool:
    # Whole files may be large; the keys that tell are at the top level, but anywhere in it.
    try:
        data = file.read_bytes()
    except OSError:
        return False
    return b'"annotations"' in data and b'"categories"' in data


def _image_folder(file: Path, split: str) -> Path:
    """Where the images of an annotation file are: the first folder in which the first image is found."""
    try:
        content = msgspec.json.decode(file.read_bytes(), type=dict[str, Any])
        name = str(content["images"][0]["file_name"])
    except (OSError, msgspec.DecodeError, LookupError, TypeError, UnicodeDecodeError):
        return file.parent
    names = TRAIN_NAMES if split == "train" else VAL_NAMES
    folders = [file.parent, *(file.parent / one for one in names)]
    folders += [parent / "images" for parent in (file.parent, file.parent.parent)]
    folders += [parent / "images" / one for parent in (file.parent, file.parent.parent) for one in names]
    folders += [file.parent.parent, *(file.parent.parent / one for one in names)]
    return next((folder for folder in folders if (folder / name).is_file()), file.parent)


def _yolo_layout(file: Path) -> Layout:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{file}: cannot read the description of the YOLO set; it is no YAML.") from error
    if not isinstance(content, dict) or not content.get("names"):
        raise DataError(f"{file}: this describes no YOLO set: it has no `names`.")
    words = _words_for_splits(lambda word: bool(content.get(word)))
    if not words:
        raise DataError(f"{file}: this describes no YOLO set: it names neither `train` nor `val`.")
    return Layout("YOLO", file.parent, words=words, description=file)


def _voc_splits(folder: Path) -> dict[str, str]:
    """The list of images of each split; without lists, all images are to train on."""
    return _words_for_splits(lambda word: _voc_list(folder, word).is_file()) or {"train": ""}


def _words_for_splits(is_known: Callable[[str], bool]) -> dict[str, str]:
    found = {
        split: next(filter(is_known, words), None) for split, words in (("train", TRAIN_NAMES), ("val", VAL_NAMES))
    }
    return {split: word for split, word in found.items() if word is not None}


def _yolo_content(file: Path, word: str) -> tuple[dict[str, Any], Path]:
    try:
        from labelformat.formats import YOLOv8ObjectDetectionInput
        from labelformat.utils import ImageDimensionError
    except ModuleNotFoundError as error:
        raise DependencyError(LABELFORMAT) from error
    with _without_its_log():
        try:
            reader = YOLOv8ObjectDetectionInput(input_file=file, input_split=word)
            root = reader._images_dir()
            if not root.is_dir():
                raise DataError(f"{file}: its folder of images {root} does not exist.")
            labels = {label.image.filename: label for label in reader.get_labels()}
            # It passes over images without a file of labels: in a YOLO set, these have no objects.
            images = list(reader.get_images())
            categories = list(reader.get_categories())
        except (ValueError, RuntimeError, KeyError, OSError, ImageDimensionError) as error:
            raise DataError(f"{file}: cannot read this YOLO set: {error}.") from error
    found = [(image, labels[image.filename].objects if image.filename in labels else []) for image in images]
    return _coco(found, [category.name for category in categories], offset=0), root


def _voc_content(folder: Path, word: str) -> tuple[dict[str, Any], Path]:
    try:
        from labelformat.formats import PascalVOCObjectDetectionInput
        from labelformat.types import ParseError
    except ModuleNotFoundError as error:
        raise DependencyError(LABELFORMAT) from error
    names = _voc_categories(folder)
    with _without_its_log():
        try:
            labels = list(PascalVOCObjectDetectionInput(folder, ",".join(names)).get_labels())
        except (ValueError, KeyError, ParseError, ElementTree.ParseError) as error:
            raise DataError(f"{folder}: cannot read these Pascal VOC annotations: {error}.") from error
    top = folder.parent
    wanted = _voc_members(top, word) if word else None
    root = next((one for one in (top / "JPEGImages", top / "images") if one.is_dir()), top)
    found = [
        (label.image, label.objects)
        for label in sorted(labels, key=lambda label: label.image.filename)
        if wanted is None or Path(label.image.filename).stem in wanted
    ]
    return _coco(found, names, offset=1), root


def _voc_categories(folder: Path) -> list[str]:
    names: set[str] = set()
    for file in sorted(folder.glob("*.xml")):
        try:
            names |= {str(one.text).strip() for one in ElementTree.parse(file).getroot().iterfind("object/name")}
        except ElementTree.ParseError as error:
            raise DataError(f"{file}: this is no XML: {error}. Correct or remove it.") from error
    with_comma = [name for name in names if "," in name]
    if with_comma:
        raise DataError(f"{folder}: the class {with_comma[0]!r} has a comma in its name. Rename it.")
    if not names:
        raise DataError(f"{folder}: no annotation has an object.")
    return sorted(names)


def _voc_list(folder: Path, word: str) -> Path:
    return folder / "ImageSets" / "Main" / f"{word}.txt"


def _voc_members(folder: Path, word: str) -> set[str]:
    """The stems of the images in a list."""
    lines = _voc_list(folder, word).read_text(encoding="utf-8").splitlines()
    return {line.split()[0] for line in lines if line.strip()}


def _coco(found: list[tuple[Any, list[Any]]], names: list[str], *, offset: int) -> dict[str, Any]:
    """COCO's content; `offset` is what the first pixel's left edge is called in the boxes that are given."""
    ids = {name: number for number, name in enumerate(names, start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, (image, objects) in enumerate(found, start=1):
        images.append({"id": image_id, "file_name": image.filename, "width": image.width, "height": image.height})
        for item in objects:
            x, y = item.box.xmin - offset, item.box.ymin - offset
            width, height = item.box.xmax - x, item.box.ymax - y
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": ids[item.category.name],
                    "bbox": [round(value, 3) for value in (x, y, width, height)],
                    "area": round(width * height, 3),
                    "iscrowd": 0,
                }
            )
    categories = [{"id": number, "name": name} for name, number in ids.items()]
    return {"images": images, "annotations": annotations, "categories": categories}


@contextlib.contextmanager
def _without_its_log() -> Iterator[None]:
    """Within, the library logs nothing: a line for each image says what is told better elsewhere."""
    logger = logging.getLogger("labelformat")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
