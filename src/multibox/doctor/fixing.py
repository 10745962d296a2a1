"""A corrected copy of a data set. What is certain is fixed; what a person has to judge stays as it is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from multibox.data import images
from multibox.data.box_meaning import (
    COCO,
    FEWEST_BOXES,
    MOST_THAT_FIT,
    NEARLY_ALL,
    Meaning,
    corners_of,
    find_meaning,
    fits,
    numbers_as,
)
from multibox.data.coco_checks import box_fault, fits_turned
from multibox.data.coco_format import IMAGE_FOLDER, read_plain
from multibox.data.coco_images import find_file, scale
from multibox.data.convert import OTHER_MEANING
from multibox.data.image_files import leads_outside
from multibox.data.jpeg_header import Size
from multibox.data.layouts import Split
from multibox.doctor.duplicates import Twins
from multibox.doctor.orientation import is_of_the_other_frame
from multibox.errors import DataError, OptionError
from multibox.files import write_atomically
from multibox.unfinished import tidy, unfinished
from multibox.wording import counted, quoted, shortened, visible

JPEG_QUALITY = 95
"""Quality of photographs that are saved anew because they were stored turned."""

CHANGES = "changes.json"
"""Name of the file with all changes and their reasons."""


Frame = Literal["annotated", "actual"]
"""The size of an image that its boxes were drawn on: that in the file of annotations, or that of the image file."""


@dataclass(frozen=True)
class Change:
    """Something that is not as it was: in which split, what, and why."""

    split: str
    what: str
    why: str


def fix(splits: Mapping[str, Split], target: Path, *, twins: Sequence[Twins] = ()) -> list[Change]:
    """Write corrected annotations and the images that they name into the new folder `target`; what was changed.

    `annotations_SPLIT.json` and SPLIT/ with the images are made for each split, and `changes.json`. Left out are images
    that are missing or cannot be read, annotations of unknown images or categories and with boxes that cannot be
    fixed, and objects that are there twice to the pixel; a training image that is byte for byte one of `val` too.
    Boxes are cut at the border, ids made unique, and photographs that are stored turned saved as their boxes see them.
    Boxes that all mean something else are read as that, and those of images that were resized later are resized, too;
    where boxes fit their images as they are, but not as they are annotated, the sizes are corrected instead.
    The original is only read.

    Raises:
        OptionError: `target` is there and not empty, or lies in a folder of images.
        DataError: an annotation file cannot be read, or no object of the set is left.
    """
    inside = next(
        (split.root for split in splits.values() if target.resolve().is_relative_to(split.root.resolve())), None
    )
    if inside is not None:
        raise OptionError(f"{target} lies in {inside}, and the original is to stay as it is. Name a folder elsewhere.")
    tidy(target.parent)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise OptionError(f"{target} is there already. Name a new folder for the corrected copy.")
    changes: list[Change] = []
    leaked = {
        twin.first[1] for twin in twins if twin.is_same_file and (twin.first[0], twin.second[0]) == ("train", "val")
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    with unfinished(target.parent) as temporary:
        for name, split in splits.items():
            changes += _fix_split(name, split, temporary, leaked=leaked if name == "train" else set())
        changes = [Change(change.split, visible(change.what), visible(change.why)) for change in changes]
        plain = [{"split": change.split, "what": change.what, "why": change.why} for change in changes]
        write_atomically(temporary / CHANGES, json.dumps(plain, indent=2, ensure_ascii=False) + "\n")
        if target.exists():
            target.rmdir()
        temporary.rename(target)
    return changes


def _fix_split(name: str, split: Split, target: Path, *, leaked: set[str]) -> list[Change]:
    content, changes = _read(name, split)
    kept: dict[Any, dict[str, Any]] = {}
    boxes: dict[Any, list[Any]] = {}
    _unify_ids(content)
    meaning = _reread(content, split.root)
    if meaning is not None:
        changes.append(Change(name, "all boxes read in another way", meaning.text))
    annotations_of: dict[Any, list[dict[str, Any]]] = {}
    for annotation in content["annotations"]:
        annotations_of.setdefault(annotation.get("image_id"), []).append(annotation)
    fits_whom = _what_boxes_fit(content["images"], annotations_of, split.root)
    for image in content["images"]:
        what = f"image {quoted(str(image.get('file_name')))}"
        own = annotations_of.get(image.get("id"), [])
        boxes[image.get("id")] = [annotation.get("bbox") for annotation in own]
        for note in (
            _fix_frame(image, boxes[image.get("id")], split.root),
            _fix_size(image, own, split.root, fits_whom),
        ):
            if note is not None:
                changes.append(Change(name, f"{what} {note[0]}", note[1]))
        fault = _image_fault(image, kept, split.root, leaked)
        if fault is not None:
            lost = len(boxes.get(image.get("id"), [])) if image.get("id") not in kept else 0
            also = f" with {counted(lost, 'annotation')}" if lost else ""
            changes.append(Change(name, f"{what} left out{also}", fault))
            continue
        note = _copy_image(image, split.root, target / name)
        if note is not None:
            changes.append(Change(name, f"{what} {note[0]}", note[1]))
        kept[image["id"]] = image
    annotations = _fix_annotations(name, content, kept, changes)
    if not annotations and (content["annotations"] or split.problems):
        reason = next((f"; the first: {change.what}: {change.why}" for change in changes), "")
        raise DataError(f"{split.title or split.annotation_file}: not one object is left to train on{reason}.")
    fixed = {**content, "images": list(kept.values()), "annotations": annotations}
    if isinstance(content.get("info"), dict):  # the images of the copy are beside it
        fixed["info"] = {key: value for key, value in content["info"].items() if key != IMAGE_FOLDER}
    (target / name).mkdir(parents=True, exist_ok=True)
    # Half a pair of surrogates can be in what is not read of the file: it is written as it was, by its number.
    text = json.dumps(fixed, ensure_ascii=False).encode(errors="backslashreplace")
    write_atomically(target / f"annotations_{name}.json", text)
    return changes


def _fix_annotations(
    name: str, content: dict[str, Any], kept: Mapping[Any, dict[str, Any]], changes: list[Change]
) -> list[dict[str, Any]]:
    known = {category.get("id") for category in content["categories"]}
    all_images = {image.get("id") for image in content["images"]}
    fixed: list[dict[str, Any]] = []
    ids: set[Any] = set()
    there: set[tuple[Any, ...]] = set()
    highest = max((row["id"] for row in content["annotations"] if isinstance(row.get("id"), int)), default=0)
    for annotation in content["annotations"]:
        image = kept.get(annotation.get("image_id"))
        what = f"annotation {shortened(str(annotation.get('id', 'without id')))}"
        if image is None:  # it was left out, with its annotations
            if annotation.get("image_id") not in all_images:
                changes.append(
                    Change(name, f"{what} left out", f"unknown image {shortened(str(annotation.get('image_id')))}")
                )
            continue
        what += f" of {quoted(image['file_name'])}"
        box, reason = _fixed_box(annotation.get("bbox"), image)
        if annotation.get("category_id") not in known:
            reason = f"unknown category {annotation.get('category_id')}"
            box = None
        elif box is not None:
            key = (image["id"], annotation["category_id"], annotation.get("iscrowd", 0), *box)
            if key in there:
                box, reason = None, "the same object is there already"
            there.add(key)
        if box is None:
            changes.append(Change(name, f"{what} left out", reason))
            continue
        new = {**annotation, "bbox": box}
        if reason:
            changes.append(Change(name, f"{what} cut at the border", reason))
            new["area"] = box[2] * box[3]
        if new.get("id") is None or new["id"] in ids:
            highest += 1
            changes.append(Change(name, f"{what} has the new id {highest}", "the id was missing or taken"))
            new["id"] = highest
        ids.add(new["id"])
        fixed.append(new)
    return fixed


def _fixed_box(box: Any, image: dict[str, Any]) -> tuple[list[float] | None, str]:
    """The box inside its image, or None; and what was wrong, empty if nothing."""
    try:
        numbers = None if box is None else [float(value) for value in box]
    except (TypeError, ValueError):
        return None, "its box is no list of numbers"
    fault = box_fault(numbers, image["width"], image["height"])
    if fault is not None or numbers is None:
        return None, str(fault)
    x, y, width, height = numbers
    right, bottom = min(x + width, image["width"]), min(y + height, image["height"])
    left, top = max(x, 0.0), max(y, 0.0)
    # Rounding decimals is no reason to change a box.
    if max(left - x, top - y, x + width - right, y + height - bottom) <= 0.01:
        return list(box), ""
    return [left, top, right - left, bottom - top], f"it was {[x, y, width, height]}"


def _image_fault(image: dict[str, Any], kept: Mapping[Any, Any], root: Path, leaked: set[str]) -> str | None:
    """Why an image cannot stay. Missing sides are filled in."""
    name = image.get("file_name")
    if not isinstance(name, str) or image.get("id") is None:
        return "it has no file name or no id"
    if image["id"] in kept:
        return f"its id {image['id']} is that of {quoted(kept[image['id']]['file_name'])}"
    if leads_outside(name):
        return "it leads outside the folder of images"
    if name in leaked:
        return "the same file is in val"
    path, _ = find_file(root, name)
    if any((image.get(side) or 0) <= 0 for side in ("width", "height")):  # VIA writes -1
        image["width"] = image["height"] = None
    expected = (image.get("width"), image.get("height"))
    fault = images.find_fault(path, expected_size=None if None in expected else expected)  # type: ignore[arg-type]
    if fault is not None:
        return f"it {fault}"
    if None in expected:
        image["width"], image["height"] = images.read_size(path)
    return None


def _fix_frame(image: dict[str, Any], boxes: list[Any], root: Path) -> tuple[str, str] | None:
    """Swap the sides of an image whose boxes were drawn on it turned; what was done, and why, or None."""
    if not isinstance(image.get("file_name"), str) or leads_outside(image["file_name"]):
        return None
    path, _ = find_file(root, image["file_name"])
    if not is_of_the_other_frame(image, boxes, images.read_header(path)):
        return None
    image["width"], image["height"] = image["height"], image["width"]
    return (
        f"measures {image['width']} x {image['height']} px",
        f"its boxes are for the image as shown, not for {image['height']} x {image['width']} px as stored",
    )


def _copy_image(image: dict[str, Any], root: Path, folder: Path) -> tuple[str, str] | None:
    """Put the image into the folder; what was done to it, and why, if it is not a plain copy."""
    source, _ = find_file(root, image["file_name"])
    image["file_name"] = source.relative_to(root).as_posix()  # of one that was written on Windows
    target = folder / image["file_name"]
    target.parent.mkdir(parents=True, exist_ok=True)
    header = images.read_header(source)
    if header is None or header.orientation == 1:
        target.write_bytes(source.read_bytes())  # it may be in a .zip
        return None
    pixels = images.read_image(source, expected_size=(image["width"], image["height"]))
    _, encoded = cv2.imencode(target.suffix or ".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    target.write_bytes(encoded.tobytes())
    return "saved as its boxes see it", f"EXIF orientation {header.orientation}"


def _what_boxes_fit(
    entries: Sequence[dict[str, Any]], annotations_of: Mapping[Any, Sequence[dict[str, Any]]], root: Path
) -> Frame | None:
    """Of images that are not of their annotated size, which of both sizes their boxes were drawn on; None in doubt.

    Told by all of them: nearly all boxes fit the annotated size, or many do not and nearly all fit the actual one.
    """
    boxes: list[list[float]] = []
    annotated: list[Size] = []
    actual: list[Size] = []
    for image in entries:
        sizes = _sizes(image, root)
        own = [box for row in annotations_of.get(image.get("id"), ()) if (box := row.get("bbox")) and len(box) == 4]
        if sizes is not None:
            boxes += own
            annotated += [sizes[0]] * len(own)
            actual += [sizes[1]] * len(own)
    if not boxes:
        return "annotated"
    values = np.array(boxes, dtype=np.float64)
    fit_annotated, fit_actual = (
        float(fits(values, np.array(sizes, dtype=np.float64), COCO).mean()) for sizes in (annotated, actual)
    )
    if fit_annotated >= NEARLY_ALL:
        return "annotated"
    is_enough = len(boxes) >= FEWEST_BOXES
    return "actual" if is_enough and fit_annotated <= MOST_THAT_FIT and fit_actual >= NEARLY_ALL else None


def _sizes(image: dict[str, Any], root: Path) -> tuple[Size, Size] | None:
    """The annotated and the actual size of an image, if they differ; None if not, or if it cannot be read."""
    name, width, height = image.get("file_name"), image.get("width"), image.get("height")
    if (
        not isinstance(name, str)
        or not isinstance(width, int)
        or not isinstance(height, int)
        or min(width, height) <= 0
    ):
        return None
    path, file_size = find_file(root, name)
    try:
        actual = images.read_size(path) if file_size is not None else (width, height)
    except DataError:
        return None
    if actual == (width, height):
        return None
    fault = images.find_fault(path, expected_size=(width, height))  # a photograph may be annotated as it is stored
    return ((width, height), actual) if fault is not None and fault.startswith("measures") else None


def _fix_size(
    image: dict[str, Any], annotations: Sequence[dict[str, Any]], root: Path, fits_whom: Frame | None
) -> tuple[str, str] | None:
    """Bring an image that is not of its annotated size and its boxes together; what was done, and why, or None.

    Its boxes are resized, if they were drawn before it was; or its size is corrected, if they fit it as it is.
    """
    sizes = _sizes(image, root)
    if sizes is None:
        return None
    (width, height), actual = sizes
    if actual == (height, width) and fits_turned((width, height), [a["bbox"] for a in annotations if a.get("bbox")]):
        image["width"], image["height"] = actual
        return f"measures {actual[0]} x {actual[1]} px", "its width and height had changed places: its boxes fit it so"
    if fits_whom == "actual":
        image["width"], image["height"] = actual
        return f"measures {actual[0]} x {actual[1]} px", f"its boxes fit it so, not {width} x {height} px as annotated"
    factor = scale((width, height), actual)
    if factor is None or fits_whom is None:
        return None
    for annotation in annotations:
        if isinstance(annotation.get("bbox"), list):
            annotation["bbox"] = [round(value * factor, 3) for value in annotation["bbox"]]
            annotation.pop("area", None)
    image["width"], image["height"] = actual
    return f"has its boxes times {factor:g}", f"it measures {actual[0]} x {actual[1]} px, not {width} x {height} px"


def _reread(content: dict[str, Any], root: Path) -> Meaning | None:
    """Give all annotations the boxes that their numbers mean, if these nearly all mean something else than COCO's."""
    sizes = {}
    for image in content["images"]:
        size = image["width"], image["height"]
        if None not in size and min(size) > 0:
            sizes[image["id"]] = size
        elif (path := find_file(root, image["file_name"]))[1] is not None and images.find_fault(path[0]) is None:
            sizes[image["id"]] = images.read_size(path[0])
    chosen = [
        annotation
        for annotation in content["annotations"]
        if annotation["image_id"] in sizes and annotation.get("bbox") and len(annotation["bbox"]) == 4
    ]
    numbers = np.array([annotation["bbox"] for annotation in chosen], dtype=np.float64).reshape(-1, 4)
    of_images = np.array([sizes[annotation["image_id"]] for annotation in chosen], dtype=np.float64).reshape(-1, 2)
    meaning = find_meaning(numbers, of_images, COCO)
    if meaning is None or not meaning.is_certain:
        return None
    boxes = numbers_as(corners_of(numbers, of_images, meaning.reading), of_images, COCO)
    for annotation, box in zip(chosen, boxes.round(3).tolist(), strict=True):
        annotation["bbox"] = box
        annotation["area"] = box[2] * box[3]
    return meaning


def _unify_ids(content: dict[str, Any]) -> None:
    """Give annotations the ids of images as the images have them: "1" is meant for 1 where there is no "1"."""
    ids = {image["id"] for image in content["images"]}
    by_text = {str(image_id): image_id for image_id in ids}
    for annotation in content["annotations"]:
        if annotation["image_id"] not in ids:
            annotation["image_id"] = by_text.get(str(annotation["image_id"]), annotation["image_id"])


def _read(name: str, split: Split) -> tuple[dict[str, Any], list[Change]]:
    """The content of an annotation file, and what was lost or made of something else when it was read."""
    content, faults, notes = read_plain(split.annotation_file)
    changes = [
        Change(name, line if kind == OTHER_MEANING else f"left out, because it cannot be read: {line}", kind)
        for kind, lines in [*split.problems.items(), *faults.items()]
        for line in lines
    ]
    changes += [Change(name, line, kind) for kind, lines in notes.items() for line in lines]
    return content, changes
