"""YOLO data sets: a text file of labels for each image, a line for each object: its class, then x and y of the centre,
width and height as fractions of the image as it is shown; or its class and a polygon.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from multibox.data import box_meaning, images
from multibox.data.archives import archived
from multibox.data.coco_checks import box_fault
from multibox.data.image_files import (
    UNREAD_SUFFIXES,
    stem_key,
    unread_names,
)
from multibox.data.labels import LabelledImage, LabelledObject, Labels
from multibox.data.layouts import CLASS_LISTS, Layout, read_darknet_description, read_yolo_description
from multibox.data.split_names import kinds_of
from multibox.data.text_files import decode_text
from multibox.data.yolo_places import image_paths, inside, label_folder, lines_of, shown_path, text_names
from multibox.errors import DataError
from multibox.files import check_regular
from multibox.wording import counted, listed, quoted

UNREADABLE = "label lines that cannot be read"

LONGEST_SHOWN = 60
"""Number of letters of a line that messages show."""

MAX_CLASSES = 100_000
"""Number from which on a number is no class: tables are as long as the largest."""


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of labels: where it stands, the number of its class, and four numbers as the format has them."""

    where: str
    number: int
    values: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class _Image:
    """An image on disk, its size as it is shown, and its lines."""

    path: Path
    width: int
    height: int
    lines: list[_Line]


def read_yolo(layout: Layout) -> tuple[dict[str, Labels], dict[int, str]]:
    """The labels of each split of a YOLO set, and the names of its classes by their numbers.

    Raises:
        DataError: the set cannot be read.
    """
    content = _content(layout)
    names = _names(layout.description, content)
    parts = {}
    for split, word in layout.words.items():
        part = _read_part(layout, content, word, names)
        parts[split] = part
    first = next(iter(parts.values()))
    first.doubt("lists of classes that contradict each other", _contradictions(layout, content, names))
    return parts, dict(sorted(names.items()))


def _content(layout: Layout) -> dict[str, Any]:
    """What the description says: `names`, and the places of each split under its word."""
    file = layout.description
    if file.suffix.lower() in {".yaml", ".yml"}:
        return read_yolo_description(file)
    if file.name.lower() == "obj.data":
        content: dict[str, Any] = dict(read_darknet_description(file))
        listed_in = inside(layout.folder, content.get("names", "")) or layout.folder / "obj.names"
        content["nc"] = content.get("classes", "")
        return content | {"names": lines_of(listed_in, "the list of classes")}
    places = {word: _usual_place(layout.folder, word) for word in layout.words.values()}
    return {"names": lines_of(file, "the list of classes"), **places}


def _usual_place(folder: Path, word: str) -> str:
    """Where a set without a description has the images of a split."""
    candidates = [f"{word}/images", f"images/{word}", word] if word else ["images", "."]
    return next((place for place in candidates if (folder / place).is_dir()), ".")


def _names(file: Path, content: dict[str, Any]) -> dict[int, str]:
    given = content["names"]
    try:
        pairs = given.items() if isinstance(given, dict) else enumerate(given)
        names = {int(number): name for number, name in pairs}
    except (TypeError, ValueError) as error:
        raise DataError(f"{file}: the keys of `names` must be the numbers of the classes.") from error
    for number, name in names.items():
        if not isinstance(name, str):
            raise DataError(f"{file}: the name of class {number} is no text but {name}. Put it in quotation marks.")
        if not name.strip():
            raise DataError(f"{file}: class {number} has no name. Give it one.")
    if not names:
        raise DataError(f"{file}: there are no names of classes in it.")
    if min(names) < 0:
        raise DataError(f"{file}: a class has the number {min(names)}; numbers of classes begin at 0.")
    if max(names) >= MAX_CLASSES:
        raise DataError(f"{file}: a class has the number {max(names)}; the largest that is read is {MAX_CLASSES - 1}.")
    return {number: name.strip() for number, name in names.items()}


def _contradictions(layout: Layout, content: dict[str, Any], names: dict[int, str]) -> list[str]:
    """Where the set says two things about its classes."""
    lines = []
    file = layout.description
    number = str(content.get("nc") or "").strip()
    if number and number != str(len(names)):
        lines.append(f"{file.name} says nc: {number}, but names {counted(len(names), 'class', 'classes')}")
    if isinstance(content["names"], dict) and list(names) != sorted(names):
        listing = listed([f"{key}: {name}" for key, name in names.items()], limit=9)
        lines.append(f"{file.name} lists its classes in another order than their numbers ({listing})")
    in_order = [names[key] for key in sorted(names)]
    for place in (layout.folder, layout.folder / "labels", layout.folder / "train"):
        for other in (place / name for name in CLASS_LISTS):
            if other != file and other.is_file():
                theirs = lines_of(other, "the list of classes")
                if theirs != in_order:
                    lines.append(
                        f"{other.relative_to(layout.folder)} has {listed(theirs)}, {file.name} has {listed(in_order)}: "
                        f"{file.name} is followed"
                    )
    return lines


def _read_part(layout: Layout, content: dict[str, Any], word: str, names: dict[int, str]) -> Labels:
    paths, missing, folders = image_paths(layout, content, word)
    root = folders[0] if len(folders) == 1 else _common_folder(paths, layout.folder)
    part = Labels(root)
    part.lose("listed images that are missing", missing)
    for folder in folders:
        part.lose("images of a kind that is not read", [_unread(name) for name in unread_names(folder)])
    label_folders = {folder: label_folder(folder) for folder in dict.fromkeys(path.parent for path in paths)}
    listings = {folder: text_names(folder) for folder in dict.fromkeys(label_folders.values())}
    has_keypoints = bool(content.get("kpt_shape"))
    used: dict[Path, list[Path]] = {}
    read_images: list[_Image] = []
    without: list[Path] = []
    for path in paths:
        fault, size = _shown_size(path)
        if size is None:
            part.lose("images that cannot be used", [f"image {quoted(shown_path(path, root))} {fault}"])
            continue
        folder = label_folders[path.parent]
        # Some programs write a.jpg.txt for a.jpg.
        stem = stem_key(path.name) if stem_key(path.name) in listings[folder] else path.name
        text_name = listings[folder].get(stem)
        lines: list[_Line] = []
        if text_name is None:
            without.append(path)
        else:
            used.setdefault(folder / text_name, []).append(path)
            lines = _read_lines(folder / text_name, layout.folder, names, part, has_keypoints=has_keypoints)
        read_images.append(_Image(path, *size, lines))
    _note_files(
        part, layout, label_folders, listings, used, without, word, num_images=len(read_images), is_listed=not folders
    )
    _settle_boxes(part, read_images)
    return part


def _note_files(
    part: Labels,
    layout: Layout,
    label_folders: dict[Path, Path],
    listings: dict[Path, dict[str, str]],
    used: dict[Path, list[Path]],
    without: Sequence[Path],
    word: str,
    *,
    num_images: int,
    is_listed: bool,
) -> None:
    """Note images without labels, labels without an image, and labels of two images."""
    part.doubt(
        "label files that several images share",
        [
            f"{shown_path(file, layout.folder)} is of "
            f"{listed([quoted(shown_path(path, part.root)) for path in paths])}: are they one image?"
            for file, paths in used.items()
            if len(paths) > 1
        ],
    )
    if without and not used:
        part.lose(
            "parts without any label file",
            [
                f"{folder} has none for the {counted(num_images, 'image')} of `{word or layout.folder.name}`"
                for folder in list(listings)[:1]
            ],
        )
    else:
        part.remark(
            "images without a label file, taken for ones without objects",
            [f"image {quoted(shown_path(path, part.root))}" for path in without],
        )
    if is_listed:
        return
    orphans = [
        f"{shown_path(folder / name, layout.folder)} has no image"
        for folder, texts in listings.items()
        for stem, name in sorted(texts.items())
        if folder / name not in used and name not in CLASS_LISTS and not kinds_of(stem) and stem != "notes"
    ]
    # A folder of labels for all splits has files of the others, too.
    if used and all(
        folder.name.lower() != "labels" or len(layout.words) == 1 or _is_of(folder, word) for folder in listings
    ):
        part.lose("label files without an image", orphans)


def _is_of(folder: Path, word: str) -> bool:
    return not word or bool(kinds_of(folder.parent.name) & kinds_of(word))


def _settle_boxes(part: Labels, read_images: Sequence[_Image]) -> None:
    """Turn the lines into boxes in pixels, by what their numbers mean in the whole part."""
    values = np.array([line.values for image in read_images for line in image.lines], dtype=np.float64).reshape(-1, 4)
    sizes = np.array([(image.width, image.height) for image in read_images for _ in image.lines], dtype=np.float64)
    sizes = sizes.reshape(-1, 2)
    part.meaning = box_meaning.find_meaning(values, sizes, box_meaning.YOLO)
    reading = box_meaning.YOLO
    if part.meaning is not None and part.meaning.is_certain:
        reading = part.meaning.reading
    corners = box_meaning.corners_of(values, sizes, reading).tolist()
    position = 0
    for image in read_images:
        objects = []
        for line in image.lines:
            x1, y1, x2, y2 = corners[position]
            position += 1
            fault = box_fault([x1, y1, x2 - x1, y2 - y1], image.width, image.height)
            if fault is None:
                objects.append(LabelledObject(line.number, x1, y1, x2, y2))
            else:
                part.lose("bad boxes", [f"{line.where} {fault}"])
        part.images.append(LabelledImage(shown_path(image.path, part.root), image.width, image.height, objects))


def _read_lines(file: Path, folder: Path, names: dict[int, str], part: Labels, *, has_keypoints: bool) -> list[_Line]:
    title = shown_path(file, folder)
    try:
        check_regular(file)
        text = decode_text(file.read_bytes())
    except (OSError, UnicodeDecodeError) as error:
        part.lose(UNREADABLE, [f"{title} is no text ({error.__class__.__name__})"])
        return []
    lines = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        try:
            label, values = _parse(words, names, has_keypoints=has_keypoints)
        except ValueError as error:
            shown = line.strip() if len(line) <= LONGEST_SHOWN else line.strip()[:LONGEST_SHOWN] + " ..."
            part.lose(UNREADABLE, [f"{title}, line {number}: {quoted(shown)} {error}"])
            continue
        lines.append(_Line(f"{title}, line {number}:", label, values))
    return lines


def _parse(
    words: Sequence[str], names: dict[int, str], *, has_keypoints: bool
) -> tuple[int, tuple[float, float, float, float]]:
    """The number of the class, and centre and size of the box, which may be that around a polygon.

    Raises:
        ValueError: what is wrong with the line, as the end of a sentence.
    """
    try:
        label = float(words[0])
    except ValueError:
        raise ValueError("does not begin with the number of a class") from None
    if label != label // 1 or int(label) not in names:
        raise ValueError(f"has the class {words[0]}, which has no name")
    try:
        numbers = [float(word) for word in words[1:]]
    except ValueError:
        raise ValueError("has something else than numbers in it. It must be class x y width height") from None
    if not all(map(math.isfinite, numbers)):
        raise ValueError("has numbers that are not finite. It must be class x y width height")
    if len(numbers) == 4 or (has_keypoints and len(numbers) > 4):
        x, y, width, height = numbers[:4]
        return int(label), (x, y, width, height)
    if len(numbers) >= 6 and len(numbers) % 2 == 0:  # a polygon
        xs, ys = numbers[0::2], numbers[1::2]
        left, right, top, bottom = min(xs), max(xs), min(ys), max(ys)
        return int(label), ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
    raise ValueError(f"has {counted(len(numbers), 'number')} after its class. It must be class x y width height")


def _shown_size(path: Path) -> tuple[str, tuple[int, int] | None]:
    """Width and height of an image turned as it is to be shown, or what is wrong with it."""
    try:
        return "", images.read_size(path)
    except DataError:
        return images.find_fault(path) or "cannot be read", None


def _unread(name: str) -> str:
    return f"image {quoted(name)}: {UNREAD_SUFFIXES[name[name.rfind('.') :].lower()]}"


def _common_folder(paths: Sequence[Path], folder: Path) -> Path:
    return archived(Path(os.path.commonpath([path.parent for path in paths]))) if paths else folder
