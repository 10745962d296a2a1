"""The header of a JPEG: the size it is stored in, how it is to be shown, where its pixels begin. No pixel is read."""

from __future__ import annotations

import struct
from dataclasses import dataclass

Size = tuple[int, int]
"""Width and height in pixels."""

ORIENTATION = 0x0112  # the EXIF tag; its values 5 to 8 swap width and height
ORIENTATIONS = range(1, 9)  # some cameras write 0 for "unknown"; like OpenCV, we then leave the image as it is


class UnusableError(Exception):
    """Why an image cannot be used, as the end of a sentence: "... is truncated"."""


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """What a JPEG says of itself before its pixels.

    `stored`: width and height in the file. `orientation`: the EXIF value, 1 for "to be shown as it is stored".
    `scan_start`: the position in the file, in bytes, at which the first scan begins.
    """

    stored: Size
    orientation: int
    scan_start: int

    @property
    def swaps_sides(self) -> bool:
        """Whether the image is to be shown with width and height swapped."""
        return 5 <= self.orientation <= 8

    @property
    def shown(self) -> Size:
        """Width and height of the image turned as it is to be shown."""
        return self.stored[::-1] if self.swaps_sides else self.stored


def read_jpeg_header(data: bytes) -> JpegHeader | None:
    """The header at the beginning of a JPEG, the orientation 1 where it has none; None if it is no JPEG.

    Source: ITU-T T.81, annex B: marker segments are 0xFF, a kind, and a length that counts itself.

    Raises:
        UnusableError: there is no size in it, because it is broken off or damaged.
    """
    if not data.startswith(b"\xff\xd8\xff"):
        return None
    size: Size | None = None
    orientation = 1
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        kind = data[position + 1]
        if kind == 0xFF:  # padding
            position += 1
            continue
        if kind == 0x01 or 0xD0 <= kind <= 0xD8:  # markers without a length
            position += 2
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        segment = data[position + 4 : position + 2 + length]
        if kind == 0xDA:  # start of scan
            break
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC) and len(segment) >= 5:  # start of frame
            height, width = struct.unpack_from(">HH", segment, 1)
            size = (width, height)
        elif kind == 0xE1 and segment.startswith(b"Exif\x00\x00"):
            orientation = _exif_orientation(segment[6:])
        position += 2 + length
    if size is None:
        raise UnusableError("is truncated" if position >= len(data) - 4 else "cannot be decoded")
    return JpegHeader(size, orientation, position)


def _exif_orientation(tiff: bytes) -> int:
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 10:
        return 1
    (start,) = struct.unpack_from(f"{order}I", tiff, 4)
    if start + 2 > len(tiff):
        return 1
    (num_entries,) = struct.unpack_from(f"{order}H", tiff, start)
    for entry in range(start + 2, min(start + 2 + 12 * num_entries, len(tiff) - 11), 12):
        tag, _, _, value = struct.unpack_from(f"{order}HHIH", tiff, entry)
        if tag == ORIENTATION:
            return int(value) if value in ORIENTATIONS else 1
    return 1
