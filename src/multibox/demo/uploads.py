"""The bytes that a browser or a script sends -> an image, or the reason why not. Nothing is written to disk."""

from __future__ import annotations

import importlib.util
import struct

import cv2

from multibox.data.images import decode_image, heic_size, is_heic
from multibox.data.jpeg_header import Size, UnusableError, read_jpeg_header
from multibox.structures import Image

KINDS = ("JPEG", "PNG", "WebP", "BMP", *(["HEIC"] if importlib.util.find_spec("pi_heif") else []))
"""What is taken: that of which the size can be read before anything is decoded. HEIC needs the extra of that name."""

MAX_BYTES = 32 << 20
"""Largest file that is taken, in bytes: a photograph of 60 megapixels has about so many."""

MAX_PIXELS = 64_000_000
"""Largest image that is decoded: a small file can say that it is huge, and decoding that would fill the memory."""

JPEG_MAX_SIDE = 65_500
"""Longest side of a JPEG that libjpeg writes, in pixels."""


class UnknownKindError(UnusableError):
    """The bytes are no image of a kind that is taken."""


def decode_upload(data: bytes) -> Image:
    """The image in these bytes, uint8 BGR, turned as its EXIF data say.

    Raises:
        UnknownKindError: it is of another kind than `KINDS`.
        UnusableError: it is too large, broken off or damaged; the text is the end of a sentence.
    """
    width, height = declared_size(data)
    if width * height > MAX_PIXELS:
        raise UnusableError(f"has {width} x {height} pixels; at most {MAX_PIXELS // 10**6} million are taken")
    return decode_image(data)


def as_jpeg(data: bytes) -> bytes:
    """The image in these bytes as a JPEG, for a browser that does not show its kind.

    Raises:
        UnknownKindError: it is of another kind than `KINDS`.
        UnusableError: it is too large, broken off or damaged, or larger than a JPEG can be.
    """
    image = decode_upload(data)
    if max(image.shape) > JPEG_MAX_SIDE:
        raise UnusableError("is larger than a JPEG can be")
    return cv2.imencode(".jpg", image)[1].tobytes()


def declared_size(data: bytes) -> Size:
    """Width and height that the header of an image says.

    Raises:
        UnknownKindError: it is of another kind than `KINDS`.
        UnusableError: the header is broken off, or one of the sides is 0.
    """
    try:
        size = _declared_size(data)
    except struct.error as error:
        raise UnusableError("is truncated") from error
    if size is None:
        hint = '. For HEIC, pip install "multibox[heic]"' if is_heic(data) else ""
        raise UnknownKindError(f"is of another kind than {', '.join(KINDS)}{hint}")
    if min(size) <= 0:
        raise UnusableError("has no pixels")
    return size


def _declared_size(data: bytes) -> Size | None:
    header = read_jpeg_header(data)
    if header is not None:
        return header.shown
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        width, height = struct.unpack_from(">II", data, 16)
        return width, height
    if data.startswith(b"BM"):
        # The older of the two kinds of header has 12 bytes and sides of 16 bits; a negative height is upside down.
        (length,) = struct.unpack_from("<I", data, 14)
        width, height = struct.unpack_from("<HH" if length == 12 else "<ii", data, 18)
        return abs(width), abs(height)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _webp_size(data)
    return heic_size(data) if "HEIC" in KINDS and is_heic(data) else None


def _webp_size(data: bytes) -> Size:
    """Source: RFC 9649, "WebP Image Format", sections 2.5 to 2.7."""
    kind = data[12:16]
    if kind == b"VP8X":
        low_w, high_w, low_h, high_h = struct.unpack_from("<HBHB", data, 24)
        return (low_w | high_w << 16) + 1, (low_h | high_h << 16) + 1
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF
