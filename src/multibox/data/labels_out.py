"""Labels written for labelling tools: which files, that they replace none, and what to do with them; images stay where
they are. What is in the files is said in `label_formats`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from multibox.data import images
from multibox.data.coco import CocoData, Record
from multibox.data.image_files import by_stem
from multibox.data.label_formats import WRITERS, Files, LabelFormat, LabelSet, file_name_of
from multibox.data.labels import LabelledImage, LabelledObject
from multibox.data.yolo_places import shown_path
from multibox.errors import DataError, OptionError
from multibox.files import write_atomically
from multibox.wording import counted, listed, quoted

NAMES_OF_FORMATS: dict[LabelFormat, str] = {
    "coco": "COCO",
    "yolo": "YOLO",
    "voc": "Pascal VOC",
    "cvat": "CVAT",
    "label-studio": "Label Studio",
}
"""What people call each format."""

FORMATS_BY_STEM: tuple[LabelFormat, ...] = ("yolo", "voc", "cvat")
"""Formats that tell images apart by their names without endings: CVAT's importer drops them, too."""

FORMATS_WITH_CROWDS: tuple[LabelFormat, ...] = ("coco",)
"""Formats that can say that a box is around many objects."""

CONTROL = re.compile(r"[\x00-\x1f\x7f]")
"""Characters that no line of a text file and no XML can hold."""


def write_labels(label_format: LabelFormat, folder: Path, sets: Sequence[LabelSet], classes: Sequence[str]) -> None:
    """Write labels into a folder, each file whole or not at all; classes are in the order of their numbers.

    Raises:
        DataError: names cannot be told apart, or not be written, in this format.
        OptionError: a file is there already.
    """
    plan_labels(label_format, folder, sets, classes)
    for name, text in label_files(label_format, sets, classes):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text)


def label_files(label_format: LabelFormat, sets: Sequence[LabelSet], classes: Sequence[str]) -> Files:
    """The names of the files of labels, relative with slashes, each with its content; nothing is written.

    Crowds are left out in formats that have none (`FORMATS_WITH_CROWDS`).

    Raises:
        DataError: names cannot be told apart, or not be written, in this format.
    """
    _check_names(label_format, sets, classes)
    if label_format not in FORMATS_WITH_CROWDS:
        sets = [replace(part, images=[_without_crowds(image) for image in part.images]) for part in sets]
    return WRITERS[label_format](sets, classes)


def label_set(split: str, root: Path, data: CocoData) -> LabelSet:
    """The labels that were read of a split of a COCO set, boxes cut at the borders of their images.

    Raises:
        DataError: an image is annotated as it is stored, but shown turned (EXIF), as all these formats take it.
    """
    turned = [record.file_name for record in data.records if _is_turned(record)]
    if turned:
        raise DataError(
            f"{counted(len(turned), 'image')} in {root} are annotated as they are stored, but EXIF data turn them when "
            f"they are shown; the first: {quoted(turned[0])}. `multibox doctor SOURCE --fix "
            "NEW_FOLDER` writes a copy without these data."
        )
    return LabelSet(split, root, [_labelled(record, root) for record in data.records])


def plan_labels(
    label_format: LabelFormat, folder: Path, sets: Sequence[LabelSet], classes: Sequence[str]
) -> list[Path]:
    """The files that `write_labels` would write. None may be there: somebody may have corrected it by hand.

    Raises:
        DataError: names cannot be told apart, or not be written, in this format.
        OptionError: a file is there already.
    """
    _check_names(label_format, sets, classes)
    bare = [replace(part, images=[image._replace(objects=[]) for image in part.images]) for part in sets]
    paths = [folder / name for name, _ in WRITERS[label_format](bare, classes)]
    for path in paths:
        if path.exists():
            raise OptionError(f"{path}: there is such a file already, and labels replace none. Name another folder.")
    return paths


def how_to_import(label_format: LabelFormat, folder: Path, sets: Sequence[LabelSet]) -> str:
    """What to do with the files that were written, as sentences."""
    roots = {part.split: part.root for part in sets}
    if label_format in {"yolo", "voc"}:
        place = folder / ("images" if label_format == "yolo" else "JPEGImages")
        copies = listed([f"what is in {root} into {place / split}" for split, root in roots.items()])
        return f"{NAMES_OF_FORMATS[label_format]} has images beside the labels: copy {copies}."
    names = listed([str(folder / file_name_of(label_format, part)) for part in sets])
    if label_format == "coco":
        return f"CVAT takes {names} as COCO 1.0, for a task with these images."
    if label_format == "cvat":
        return f"Upload {names} as CVAT 1.1 to a task with these images."
    parents = listed(dict.fromkeys(str(root.resolve().parent) for root in roots.values()))
    return (
        f"Import {names} into a Label Studio project with the labelling interface label_config.xml, in which "
        f"LOCAL_FILES_DOCUMENT_ROOT is {parents}."
    )


def _labelled(record: Record, root: Path) -> LabelledImage:
    corners = np.clip(record.boxes_px, 0, [record.width, record.height, record.width, record.height])
    rows = zip(record.labels.tolist(), corners.tolist(), record.is_crowd.tolist(), strict=True)
    objects = [LabelledObject(label, x1, y1, x2, y2, is_crowd) for label, (x1, y1, x2, y2), is_crowd in rows]
    # The name that the file has: the annotation may spell it otherwise.
    return LabelledImage(shown_path(record.path, root), record.width, record.height, objects)


def _is_turned(record: Record) -> bool:
    return images.read_size(record.path) != (record.width, record.height)


def _check_names(label_format: LabelFormat, sets: Sequence[LabelSet], classes: Sequence[str]) -> None:
    name_of_format = NAMES_OF_FORMATS[label_format]
    for name in classes:
        if CONTROL.search(name) or (name != name.strip() and label_format in {"yolo", "voc"}):
            raise DataError(f"The class {quoted(name)} has blanks around it or line ends in it. Rename it.")
    for part in sets:
        names = [image.file_name for image in part.images]
        for name in names:
            if CONTROL.search(name) or not _is_text(name):
                raise DataError(f"image {quoted(name)}: {name_of_format} cannot have such a name. Rename the file.")
        for shared in by_stem(names).values() if label_format in FORMATS_BY_STEM else ():
            if len(shared) > 1:
                raise DataError(
                    f"{listed(map(quoted, shared))} in {part.root} would have the same labels: {name_of_format} goes "
                    "by names without endings. Rename one, or choose --format coco or label-studio."
                )


def _is_text(name: str) -> bool:
    """Whether a name is text: bytes of another encoding stand in it as halves of characters."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def _without_crowds(image: LabelledImage) -> LabelledImage:
    return image._replace(objects=[item for item in image.objects if not item.is_crowd])
