"""Images: reading files as uint8 BGR, whatever they hold, and turning them into what the network takes."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from multibox.data.addresses import is_remote, locate
from multibox.data.jpeg_header import JpegHeader, Size, UnusableError, read_jpeg_header
from multibox.errors import DataError
from multibox.files import check_regular
from multibox.structures import FloatArray, Image

REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
"""Factors by which a JPEG can be decoded smaller, at a fraction of the time: part of its transform is left out."""

PNG_END = b"IEND\xaeB`\x82"  # the last chunk of every PNG: its name and check sum, always the same
DEPTHS = (8, 10, 12, 14, 16)
"""Bits of a grey value that cameras use of the 16 that a file has room for."""

MOST_PIXELS = 1 << 30
"""Largest number of pixels that OpenCV decodes."""

HEIC_FAULTS = (ValueError, RuntimeError, EOFError, OSError)
"""What pi-heif raises for an image that is broken off or damaged."""

SHORT_HEADER_BYTES = 1 << 15  # what most headers fit into; a thumbnail of a camera may make them longer


def read_image(
    path: str | os.PathLike[str], *, expected_size: Size | None = None, min_size: Size | None = None
) -> Image:
    """The image in a file, as 8-bit BGR: 16-bit, grey, palette images are converted, transparency is dropped.

    Of 16 bits, the highest 8 that are in use are taken: those of 10, 12 or 14, if the brightest value needs no more, so
    that what a camera of 10 bits saved does not come out black. This is the rule wherever images are read.

    A photograph may say that it is to be shown turned (EXIF orientation), and annotations may be made for the turned or
    for the stored image: the one that has `expected_size` is returned, the turned one if both do or no size is given.
    With `min_size`, an image that is at least twice as large is returned smaller by a factor of 2, 4 or 8, not below
    `min_size` on either side.

    Raises:
        DataError: the file is missing, broken off, no image, or not of the expected size.
    """
    try:
        return _decode(_load(path), expected_size, min_size)
    except UnusableError as error:
        raise DataError(f"{path}: the image {error}. Replace or remove it.") from error


def decode_image(data: bytes) -> Image:
    """The image in the bytes of a file, as `read_image` gives it.

    Raises:
        UnusableError: the bytes are broken off or no image; its text is the end of a sentence ("is truncated").
    """
    if not data:
        raise UnusableError("is an empty file")
    return _decode(data, None, None)


def to_8_bits(image: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """The highest 8 bits that are in use of an image of 16 (H, W) or (H, W, 3), see `read_image`."""
    return _to_8_bits(image)[0]


def read_size(path: str | os.PathLike[str]) -> Size:
    """Width and height of the image that `read` gives; of JPEG and PNG only the header is looked at.

    Raises:
        DataError: the file is missing or no image.
    """
    header = read_header(path)
    if header is not None:
        return header.shown
    size = _png_size(path)
    if size is not None:
        return size
    try:
        data = _load(path)
        height, width = _decode(data, None, None).shape[:2]
        return width, height
    except UnusableError as error:
        raise DataError(f"{path}: the image {error}. Replace or remove it.") from error


def read_header(path: str | os.PathLike[str]) -> JpegHeader | None:
    """The header of a JPEG, which says how the image is to be shown; None if it is no JPEG or cannot be read.

    Only the beginning of the file is read, unless its header is longer than that.
    """
    try:
        place = locate(path)
        check_regular(place)
        with place.open("rb") as file:
            beginning = file.read(SHORT_HEADER_BYTES)
            if not beginning.startswith(b"\xff\xd8\xff"):
                return None
            with contextlib.suppress(UnusableError):
                return read_jpeg_header(beginning)
            return read_jpeg_header(beginning + file.read())
    except (OSError, ValueError, UnusableError):
        return None


def _png_size(path: str | os.PathLike[str]) -> Size | None:
    """Width and height of a PNG from its header; None for others, and where EXIF data may turn it."""
    try:
        place = locate(path)
        check_regular(place)
        with place.open("rb") as file:
            beginning = file.read(SHORT_HEADER_BYTES)
    except (OSError, ValueError):
        return None
    if not beginning.startswith(b"\x89PNG\r\n\x1a\n") or beginning[12:16] != b"IHDR" or len(beginning) < 33:
        return None
    # Chunks before the pixels: some programs put EXIF data there, which OpenCV heeds.
    if b"IDAT" not in beginning or b"eXIf" in beginning[: beginning.index(b"IDAT")]:
        return None
    width, height = struct.unpack_from(">II", beginning, 16)
    return width, height


@dataclass(frozen=True, slots=True)
class Inspection:
    """What one reading of an image file tells.

    `image`: its pixels as `read_image` gives them. `used_bits`: how many bits of a grey value are in use of the 16 that
    the file has room for (8, 10, 12, 14 or 16); None for an image of 8 bits. `header`: that of a JPEG. `file_hash`:
    SHA-256 of the bytes of the file.
    """

    image: Image
    used_bits: int | None
    header: JpegHeader | None
    file_hash: bytes


def inspect(
    path: str | os.PathLike[str], *, expected_size: Size | None = None, min_size: Size | None = None
) -> Inspection:
    """Read and decode an image file once, for all that a check of a data set asks of it; sizes as for `read_image`.

    Raises:
        UnusableError: `read_image` would refuse the file; its text is the end of a sentence ("is truncated").
    """
    data = _load(path)
    image, bits = _decode_counting_bits(data, expected_size, min_size)
    return Inspection(image, bits, read_jpeg_header(data), hashlib.sha256(data).digest())


def decoded_size(size: Size, min_size: Size | None) -> Size:
    """Width and height of what `read` returns of an image of this size."""
    return _divided(size, _reduction(size, min_size))


def find_fault(path: str | os.PathLike[str], *, expected_size: Size | None = None) -> str | None:
    """Why `read` would refuse this file, as the end of a sentence ("is truncated"), or None when it would not.

    JPEGs are decoded to an eighth of their size, which finds the same faults in half the time.
    """
    try:
        _decode(_load(path), expected_size, (1, 1))
    except UnusableError as error:
        return str(error)
    return None


def resize(image: NDArray[Any], size: int) -> NDArray[Any]:
    """The image as a square of `size` pixels; its aspect ratio is not kept, nothing is smoothed.

    An image of that size is returned as it is, not copied.
    """
    if image.shape[:2] == (size, size):
        return image
    square: NDArray[Any] = cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)
    return square


def to_input(images: Sequence[NDArray[Any]]) -> FloatArray:
    """The batch (B, 3, S, S), RGB from 0 to 1, of BGR images (S, S, 3) with values from 0 to 255."""
    size = images[0].shape[0]
    batch = np.empty((len(images), 3, size, size), dtype=np.float32)
    for row, image in enumerate(images):
        assert image.shape == (size, size, 3), f"image {row} is {image.shape}, not {(size, size, 3)}"
        for plane, channel in zip(batch[row, ::-1], cv2.split(image), strict=True):
            # Division, because a float32 product with 1/255 differs from the original's numbers in the last bit.
            np.divide(channel, np.float32(255), out=plane)
    return batch


def _load(path: str | os.PathLike[str]) -> bytes:
    # Not cv2.imread: on some systems it cannot open names outside of the system's code page.
    place = locate(path)
    try:
        check_regular(place)
        data = place.read_bytes()
    except FileNotFoundError as error:
        raise UnusableError("is missing") from error
    except OSError as error:
        raise UnusableError(f"cannot be read ({error.strerror or error})") from error
    except ValueError as error:  # a null character or half a surrogate pair in the name
        raise UnusableError("is missing") from error
    except Exception as error:
        if not is_remote(place):
            raise
        # What goes wrong in a network has as many types as there are libraries for it.
        raise UnusableError(f"cannot be read ({error})") from error
    if not data:
        raise UnusableError("is an empty file")
    return data


def _decode(data: bytes, expected_size: Size | None, min_size: Size | None) -> Image:
    return _decode_counting_bits(data, expected_size, min_size)[0]


def _decode_counting_bits(data: bytes, expected_size: Size | None, min_size: Size | None) -> tuple[Image, int | None]:
    """The image, and how many of its 16 bits are in use; None if it has 8."""
    header = read_jpeg_header(data)
    if header is not None:
        return _decode_jpeg(data, header, expected_size, min_size), None
    if data.startswith(b"\x89PNG") and data.rfind(PNG_END) < 0:
        raise UnusableError("is truncated")
    image, bits = _opencv_decode(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    if expected_size is not None and _size(image) != expected_size:
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
        stored, bits = _opencv_decode(data, flags)
        if _size(stored) != expected_size:
            raise _wrong_size(_size(image), expected_size)
        image = stored
    factor = _reduction(_size(image), min_size)
    if factor == 1:
        return image, bits
    return cv2.resize(image, _divided(_size(image), factor), interpolation=cv2.INTER_AREA), bits


def _decode_jpeg(data: bytes, header: JpegHeader, expected_size: Size | None, min_size: Size | None) -> Image:
    # OpenCV fills what is missing with grey and only warns. Inside the scan, 0xFF is always followed by something
    # else; before it, a thumbnail may have an end marker of its own.
    if data.rfind(b"\xff\xd9", header.scan_start) < 0:
        raise UnusableError("is truncated")
    shown, stored = header.shown, header.stored
    if stored[0] * stored[1] > MOST_PIXELS:  # which OpenCV would say of the image, but not of an eighth of it
        raise UnusableError(f"has {stored[0]:,} x {stored[1]:,} pixels, more than can be decoded")
    if expected_size is not None and expected_size not in (shown, stored):
        raise _wrong_size(shown, expected_size)
    is_as_shown = expected_size is None or expected_size == shown
    size = shown if is_as_shown else stored
    factor = _reduction(size, min_size)
    image, _ = _opencv_decode(data, REDUCED[factor] | (0 if is_as_shown else cv2.IMREAD_IGNORE_ORIENTATION))
    if _size(image) != _divided(size, factor):  # boxes would be in the wrong place
        raise UnusableError("has header data that contradict each other")
    return image


def _opencv_decode(data: bytes, flags: int) -> tuple[Image, int | None]:
    """The image with 8 bits, and how many of 16 were in use; None if it had 8."""
    if is_heic(data):
        return _heic_decode(data), None
    try:
        image: NDArray[Any] | None = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
    except cv2.error as error:  # larger than OpenCV's limit, for one
        raise UnusableError("cannot be decoded") from error
    if image is None:
        raise UnusableError(_why_not(data))
    if image.dtype == np.uint8:
        return image, None
    if image.dtype != np.uint16:
        raise UnusableError(
            f"has pixels of the type {image.dtype}, which say not what is white; save it with 8 or 16 bits"
        )
    return _to_8_bits(image)


def _to_8_bits(image: NDArray[Any]) -> tuple[NDArray[np.uint8], int]:
    """The image with 8 bits, and how many of 16 are in use."""
    brightest = int(image.max(initial=0))
    bits = next(bits for bits in DEPTHS if brightest < 1 << bits)
    return np.right_shift(image, bits - 8).astype(np.uint8), bits


def is_heic(data: bytes) -> bool:
    """Whether this is what telephones of Apple save; AVIF, of the same family, is read by OpenCV."""
    return data[4:8] == b"ftyp" and data[8:12] in {b"heic", b"heix", b"mif1", b"msf1", b"hevc", b"heif"}


def heic_size(data: bytes) -> Size:
    """Width and height of a HEIC image as it is to be shown, read from its header.

    Raises:
        UnusableError: the header is damaged, or pi-heif, which reads it, is not installed.
    """
    size: Size = _opened_heic(data).size
    return size


def _heic_decode(data: bytes) -> Image:
    """The image as it is to be shown, turned as it says; of more than 8 bits, the highest 8."""
    opened = _opened_heic(data)
    try:
        # A copy: the memory of these pixels is free again as soon as `opened` is gone.
        image: Image = np.array(np.asarray(opened)[..., :3], order="C")
    except HEIC_FAULTS as error:
        raise UnusableError("cannot be decoded") from error
    return image


def _opened_heic(data: bytes) -> Any:
    """What pi-heif knows of the image; its pixels are decoded when they are asked for."""
    try:
        from pi_heif import open_heif
    except ImportError as error:
        raise UnusableError(
            'is in HEIC, which is not read without a library; pip install "multibox[heic]", or save it as JPEG'
        ) from error
    try:
        return open_heif(io.BytesIO(data), bgr_mode=True)
    except HEIC_FAULTS as error:
        raise UnusableError("cannot be decoded") from error


def _why_not(data: bytes) -> str:
    if data.startswith((b"II*\0", b"MM\0*")):
        image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
        if image is not None and image.dtype.kind == "f":
            return "has pixels that are floats, which say not what is white; save it with 8 or 16 bits"
    return "cannot be decoded"


def _size(image: Image) -> Size:
    return image.shape[1], image.shape[0]


def _reduction(size: Size, min_size: Size | None) -> int:
    if min_size is None:
        return 1
    return max(
        factor
        for factor in REDUCED
        if factor == 1 or all(a // factor >= b for a, b in zip(size, min_size, strict=True))
    )


def _divided(size: Size, factor: int) -> Size:
    return -(-size[0] // factor), -(-size[1] // factor)


def _wrong_size(size: Size, expected: Size) -> UnusableError:
    return UnusableError(f"measures {size[0]}x{size[1]} pixels, not {expected[0]}x{expected[1]} as annotated")
