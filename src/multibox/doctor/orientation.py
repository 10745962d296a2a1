"""Photographs that are stored turned, and which way their boxes are. Only the headers of files are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from multibox.data import images
from multibox.data.coco import CocoData
from multibox.data.coco_checks import find_file
from multibox.data.coco_format import AnnotationFile, read_content
from multibox.data.jpeg_header import JpegHeader, Size
from multibox.data.layouts import Split
from multibox.doctor.checks import Finding
from multibox.wording import quoted

FRAME_TOLERANCE = 0.01
"""Of a side: boxes may reach that far over the border by rounding or by a hasty hand."""

TEXTS = {
    "stored": (
        "to be shown turned, but boxed as stored: multibox reads it so, other programs may not",
        "to be shown turned, but boxed as stored: multibox reads them so, other programs may not",
    ),
    "shown": (
        "stored turned and boxed as shown: multibox turns it",
        "stored turned and boxed as shown: multibox turns them",
    ),
    "unknown": (
        "with a turn or a mirroring that leaves the size as it is; multibox applies it, but nothing tells if its "
        "boxes were drawn so: look at it with its boxes",
        "with a turn or a mirroring that leaves the size as it is; multibox applies it, but nothing tells if their "
        "boxes were drawn so: look at some with their boxes",
    ),
}


def check_orientation(split: str, data: CocoData) -> Iterator[Finding]:
    """Photographs that are to be shown turned, and in which frame their boxes are, by the annotated size."""
    turned: dict[str, list[str]] = {"stored": [], "shown": [], "unknown": []}
    for record in data.records:
        header = images.read_header(record.path)
        if header is None or header.orientation == 1:
            continue
        frame = "unknown"
        if header.swaps_sides and header.stored[0] != header.stored[1]:
            frame = "stored" if (record.width, record.height) == header.stored else "shown"
        turned[frame].append(f"{quoted(record.file_name)} (orientation {header.orientation})")
    for frame, lines in turned.items():
        if lines:
            severity = "note" if frame == "shown" else "warning"
            text = (
                f"1 photograph {TEXTS[frame][0]}" if len(lines) == 1 else f"{len(lines)} photographs {TEXTS[frame][1]}"
            )
            yield Finding(severity, f"exif-{frame}", split, len(lines), text, tuple(lines))  # type: ignore[arg-type]


def check_frames(split: str, parts: Sequence[Split]) -> Iterator[Finding]:
    """Photographs whose boxes fit them turned, but not as the annotated size says.

    It happens when a tool shows photographs turned, and writes down the size that they are stored in.
    """
    lines = []
    for part in parts:
        content = read_content(AnnotationFile(part.annotation_file, part.root, 0))
        boxes: dict[Any, list[list[float]]] = {}
        for annotation in content.annotations:
            if annotation.bbox is not None:
                boxes.setdefault(annotation.image_id, []).append(annotation.bbox)
        for image in content.images:
            if image.width is None or image.height is None:
                continue
            path, _ = find_file(part.root, image.file_name)
            if fits_turned((image.width, image.height), boxes.get(image.id, [])) and _is_turned(
                images.read_header(path)
            ):
                lines.append(f"{quoted(image.file_name)}: boxes beyond {image.width} x {image.height} px")
    if lines:
        what = "photograph has its" if len(lines) == 1 else "photographs have their"
        text = f"{len(lines)} {what} boxes drawn on the picture as shown, but the size as stored: boxes are misplaced"
        yield Finding("error", "exif-boxes-of-the-other-frame", split, len(lines), text, tuple(lines))


def fits_turned(size: Size, boxes: Sequence[Sequence[float]]) -> bool:
    """Whether boxes (x, y, width, height) leave an image of this size, a centre at least, but not one lying across."""
    width, height = size
    whole = [box for box in boxes if len(box) == 4]
    if not any(x + w / 2 > width or y + h / 2 > height for x, y, w, h in whole):
        return False
    reach = 1 + FRAME_TOLERANCE
    return all(
        x >= -reach and y >= -reach and x + w <= height * reach and y + h <= width * reach for x, y, w, h in whole
    )


def is_of_the_other_frame(image: Mapping[str, Any], boxes: Sequence[Any], header: JpegHeader | None) -> bool:
    """Whether an image as it stands in an annotation file has boxes that fit it turned, but not as its size says."""
    width, height = image.get("width"), image.get("height")
    if not isinstance(width, int) or not isinstance(height, int) or not _is_turned(header):
        return False
    numbers = [box for box in boxes if isinstance(box, list) and all(isinstance(value, int | float) for value in box)]
    return fits_turned((width, height), numbers)


def _is_turned(header: JpegHeader | None) -> bool:
    return header is not None and header.swaps_sides
