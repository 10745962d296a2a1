"""Photographs that are stored turned, and which way their boxes are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from multibox.data.coco import CocoData
from multibox.data.coco_checks import fits_turned
from multibox.data.jpeg_header import JpegHeader
from multibox.doctor.checks import Finding
from multibox.doctor.looks import Look
from multibox.wording import quoted

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


def check_orientation(split: str, data: CocoData, looks: Sequence[Look]) -> Iterator[Finding]:
    """Photographs that are to be shown turned, and in which frame their boxes are, by the annotated size."""
    turned: dict[str, list[str]] = {"stored": [], "shown": [], "unknown": []}
    for record, look in zip(data.records, looks, strict=True):
        header = look.header
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


def is_of_the_other_frame(image: Mapping[str, Any], boxes: Sequence[Any], header: JpegHeader | None) -> bool:
    """Whether an image as it stands in an annotation file has boxes that fit it turned, but not as its size says."""
    width, height = image.get("width"), image.get("height")
    if not isinstance(width, int) or not isinstance(height, int) or not _is_turned(header):
        return False
    numbers = [box for box in boxes if isinstance(box, list) and all(isinstance(value, int | float) for value in box)]
    return fits_turned((width, height), numbers)


def _is_turned(header: JpegHeader | None) -> bool:
    return header is not None and header.swaps_sides
