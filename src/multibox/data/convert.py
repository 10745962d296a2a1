"""Data sets of other formats turned into COCO's; images stay where they are."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from multibox.data import cvat, label_studio, labelme, open_images, via, voc, yolo
from multibox.data.coco_format import IMAGE_FOLDER
from multibox.data.label_formats import coco_content
from multibox.data.labels import Labels
from multibox.data.layouts import Format, Layout, Split
from multibox.errors import DataError
from multibox.files import write_atomically

READERS: dict[Format, Callable[[Layout], tuple[dict[str, Labels], dict[int, str]]]] = {
    "YOLO": yolo.read_yolo,
    "Pascal VOC": voc.read_voc,
    "labelme": labelme.read_labelme,
    "Open Images": open_images.read_open_images,
    "CVAT": cvat.read_cvat,
    "Label Studio": label_studio.read_label_studio,
    "VIA": via.read_via,
}
"""What reads each format: labels of each split, and the names of the classes by their numbers."""

OTHER_MEANING = "parts whose boxes mean something else"
"""The kind of problem of a split that is read in another way than its format says."""


def convert(layout: Layout, output: Path, *, guess: bool = False) -> dict[str, Split]:
    """Write a COCO file for each split of a set of another format into the folder `output`; images are not copied.

    Each file says where its images are, so that the folder is read like any set.

    Images without objects stay in. YOLO counts in fractions of the image as it is shown, so the sizes written are those
    of the image turned as its EXIF data say. Pascal VOC counts pixels from 1, so a box x1..x2 covers x1 - 1 to x2 here,
    unless a box of the set begins at 0 or between pixels: then whoever wrote it counted from 0, and x1 is x1. Boxes
    marked `difficult` or `truncated` are taken like others. Category ids are the numbers of the classes plus 1. With
    `guess`, boxes that all mean something else than the format says are read as that, which is told among the problems.

    Raises:
        DataError: the set cannot be read, has no images, or nearly all its boxes mean something else.
    """
    assert layout.format != "COCO", "it is COCO already"
    parts, names = READERS[layout.format](layout)
    for name, part in parts.items():
        _check(layout, name, part, guess=guess)
    splits = {}
    output.mkdir(parents=True, exist_ok=True)
    for name, part in parts.items():
        file = output / f"annotations_{name}.json"
        content = {"info": {IMAGE_FOLDER: _from_there(part.root, output)}} | coco_content(part.images, names)
        write_atomically(file, msgspec.json.encode(content))
        title = f"{layout.folder} ({name})"
        splits[name] = Split(file, part.root, part.problems, part.doubts, part.remarks, title)
    return splits


def _from_there(root: Path, folder: Path) -> str:
    """The path of the images from the folder of the annotations, or from the top where they are on different drives."""
    try:
        return os.path.relpath(root.resolve(), folder.resolve()).replace(os.sep, "/")
    except ValueError:
        return str(root.resolve())


def _check(layout: Layout, name: str, part: Labels, *, guess: bool) -> None:
    """Stop at a split that is of no use, and note boxes that mean something else."""
    if not part.images:
        first = next((line for lines in part.problems.values() for line in lines), "")
        raise DataError(f"{layout.folder}: there are no images in its split `{name}`{f'; {first}' if first else ''}.")
    if part.meaning is None:
        return
    text = part.meaning.text
    if not part.meaning.is_certain:
        part.doubt("parts with boxes that may mean something else", [f"`{name}`: {text}"])
    elif guess:
        part.lose(OTHER_MEANING, [f"`{name}`: {text}"])
    else:
        raise DataError(
            f"{layout.folder}: in its split `{name}`, {text}. Correct the labels, or let `multibox doctor ... --fix "
            "NEW_FOLDER` write a copy that is read so."
        )
