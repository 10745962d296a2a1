"""Data sets of other formats turned into COCO's; images stay where they are."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from multibox.data import cvat, hf_folder, label_studio, labelme, open_images, via, voc, yolo
from multibox.data.coco_format import IMAGE_FOLDER
from multibox.data.label_formats import coco_content
from multibox.data.labels import Labels
from multibox.data.layouts import Format, Layout, Split
from multibox.errors import DataError
from multibox.overwriting import Output, check_outputs
from multibox.unfinished import publish, unfinished_folder

READERS: dict[Format, Callable[[Layout], tuple[dict[str, Labels], dict[int, str]]]] = {
    "YOLO": yolo.read_yolo,
    "Pascal VOC": voc.read_voc,
    "labelme": labelme.read_labelme,
    "Open Images": open_images.read_open_images,
    "CVAT": cvat.read_cvat,
    "Label Studio": label_studio.read_label_studio,
    "VIA": via.read_via,
    "Hugging Face": hf_folder.read_hf_folder,
}
"""What reads each format: labels of each split, and the names of the classes by their numbers."""

OTHER_MEANING = "parts whose boxes mean something else"
"""The kind of problem of a split that is read in another way than its format says."""


def convert(
    layout: Layout, output: Path, *, guess: bool = False, say: Callable[[str], None] = lambda _: None
) -> dict[str, Split]:
    """Write a COCO file for each split of a set of another format into the folder `output`; images are not copied.

    Each file says where its images are, so that the folder is read like any set.

    Images without objects stay in. YOLO counts in fractions of the image as it is shown, so the sizes written are those
    of the image turned as its EXIF data say. Pascal VOC counts pixels from 1, so a box x1..x2 covers x1 - 1 to x2 here,
    unless a box of the set begins at 0 or between pixels: then whoever wrote it counted from 0, and x1 is x1. Boxes
    marked `difficult` or `truncated` are taken like others. Category ids are the numbers of the classes plus 1. With
    `guess`, boxes that all mean something else than the format says are read as that, which is told among the problems.
    Files of an earlier conversion that nobody changed are replaced, which goes to `say`.

    Raises:
        DataError: the set cannot be read, has no images, or nearly all its boxes mean something else.
        OptionError: a file is there already, and is not a conversion that nobody changed.
    """
    assert layout.format != "COCO", "it is COCO already"
    parts, names = READERS[layout.format](layout)
    for name, part in parts.items():
        _check(layout, name, part, guess=guess)
    files = {name: output / f"annotations_{name}.json" for name in parts}
    check_outputs([Output("--save-to", file, is_unchanged) for file in files.values()], [], say=say)
    with unfinished_folder(output) as folder:
        for name, part in parts.items():
            content = _sealed(coco_content(part.images, names), _from_there(part.root, output))
            (folder / files[name].name).write_bytes(content)
        publish(folder, [(folder / file.name, file) for file in files.values()])
    return {
        name: Split(files[name], part.root, part.problems, part.doubts, part.remarks, f"{layout.folder} ({name})")
        for name, part in parts.items()
    }


def is_unchanged(path: Path) -> bool:
    """Whether a file is one of `convert`, and nobody has changed it since: labels corrected by hand stay."""
    try:
        content = msgspec.json.decode(path.read_bytes())
        seal = content.pop("info")["sha256"]
    except (OSError, msgspec.DecodeError, RecursionError, AttributeError, KeyError, TypeError):
        return False
    return bool(seal == hashlib.sha256(msgspec.json.encode(content)).hexdigest())


def _sealed(content: dict[str, list[dict[str, Any]]], image_folder: str) -> bytes:
    """The bytes of a COCO file that says what made it, where its images are, and the SHA-256 of all the rest."""
    seal = hashlib.sha256(msgspec.json.encode(content)).hexdigest()
    info = {"description": "converted by multibox", IMAGE_FOLDER: image_folder, "sha256": seal}
    return msgspec.json.encode({"info": info, **content})


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
