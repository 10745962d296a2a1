"""What was found, as a page or a script sends it back -> a zip file of labels. Nothing is written to disk."""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from multibox.data.label_formats import LabelFormat, LabelSet
from multibox.data.labels import LabelledImage, LabelledObject
from multibox.data.labels_out import label_files
from multibox.errors import DataError
from multibox.predict.label_files import MIN_SIDE_PX
from multibox.prepared import prepared
from multibox.wording import quoted

LABELS_FOLDER = Path("images")
"""What Label Studio's tasks call the folder of the images: the page does not know where they came from."""

Side = Annotated[int, Meta(ge=1, le=1_000_000)]
Pixels = Annotated[float, Meta(ge=-1e6, le=1e6)]


class FoundObject(Struct, frozen=True):
    """One of the detections of an image, as `POST /detect` answered them; `box_px` are the corners in pixels."""

    label: Annotated[int, Meta(ge=0)]
    score: Annotated[float, Meta(ge=0, le=1)]
    box_px: tuple[Pixels, Pixels, Pixels, Pixels]


class FoundImage(Struct, frozen=True):
    """An image by the name of its file, and what was found in it."""

    name: Annotated[str, Meta(min_length=1, max_length=255)]
    width: Side
    height: Side
    detections: list[FoundObject]


class LabelsWanted(Struct, frozen=True):
    """The labels that somebody wants to save."""

    format: LabelFormat
    images: Annotated[list[FoundImage], Meta(min_length=1)]


def read_wanted(data: bytes) -> LabelsWanted:
    """The request in the JSON of a page.

    Raises:
        DataError: it is something else.
    """
    try:
        return msgspec.json.decode(data, type=prepared(LabelsWanted))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"These are no detections to save: {error}.") from error


def labels_zip(wanted: LabelsWanted, classes: Sequence[str], *, model: str) -> bytes:
    """A zip file with the files that the labelling tool imports. `model`: the name of what found the objects.

    Raises:
        DataError: two images have one name, or a name or class cannot be written in this format.
    """
    repeated = [name for name, count in Counter(image.name for image in wanted.images).items() if count > 1]
    if repeated:
        raise DataError(f"Two images are called {quoted(repeated[0])}: their labels could not be told apart.")
    images = [_labelled_image(image, classes) for image in wanted.images]
    files = label_files(wanted.format, [LabelSet("", LABELS_FOLDER, images, model)], classes)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files:
            archive.writestr(name, text)
    return packed.getvalue()


def _labelled_image(image: FoundImage, classes: Sequence[str]) -> LabelledImage:
    if "/" in image.name or "\\" in image.name or image.name in {".", ".."}:
        raise DataError(f"{quoted(image.name)} is no name of a file without folders.")
    objects = []
    for found in image.detections:
        if found.label >= len(classes):
            raise DataError(f"{quoted(image.name)} has an object of class {found.label}; there are {len(classes)}.")
        x1, y1, x2, y2 = found.box_px
        x1, x2 = (min(max(x, 0.0), image.width) for x in (x1, x2))
        y1, y2 = (min(max(y, 0.0), image.height) for y in (y1, y2))
        if min(x2 - x1, y2 - y1) >= MIN_SIDE_PX:
            objects.append(LabelledObject(found.label, x1, y1, x2, y2, score=found.score))
    return LabelledImage(image.name, image.width, image.height, objects)
