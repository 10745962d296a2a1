"""Bytes of images: their sizes are known before they are decoded, and what is too much or no image is refused."""

from __future__ import annotations

import base64
import struct
import zlib

import cv2
import numpy as np
import pytest

from multibox.data.jpeg_header import UnusableError
from multibox.demo import uploads
from multibox.demo.uploads import MAX_PIXELS, UnknownKindError, as_jpeg, declared_size, decode_upload
from tests.unit.data.test_images import HEIC

IMAGE = np.random.default_rng(0).integers(0, 256, (30, 70, 3)).astype(np.uint8)
FORMATS = {
    "jpg": (".jpg", []),
    "png": (".png", []),
    "bmp": (".bmp", []),
    "webp, lossy": (".webp", [cv2.IMWRITE_WEBP_QUALITY, 80]),
    "webp, lossless": (".webp", [cv2.IMWRITE_WEBP_QUALITY, 101]),
}


def encoded(ending: str, options: list[int] | None = None) -> bytes:
    return cv2.imencode(ending, IMAGE, options or [])[1].tobytes()


def png_that_claims(width: int, height: int) -> bytes:
    """The bytes of a PNG without pixels, which says that it has many."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", b""), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("name", FORMATS)
def test_the_header_has_the_size_of_the_image(name):
    data = encoded(*FORMATS[name])
    assert declared_size(data) == (70, 30)
    assert decode_upload(data).shape == (30, 70, 3)


@pytest.mark.parametrize(
    ("data", "size"),
    [
        # Width and height less 1 in three bytes each, behind eight bytes of chunk head and four of flags.
        (b"RIFF\0\0\0\0WEBPVP8X" + bytes(8) + b"\x2c\x01\x00" + b"\x00\x00\x01", (301, 65537)),
        # The header of 12 bytes; and one of 40, the height of which is negative.
        (b"BM" + bytes(12) + struct.pack("<IHH", 12, 640, 480), (640, 480)),
        (b"BM" + bytes(12) + struct.pack("<Iii", 40, 640, -480), (640, 480)),
    ],
)
def test_headers_that_opencv_does_not_write(data, size):
    assert declared_size(data) == size


def test_an_image_is_not_decoded_if_it_says_that_it_is_huge():
    with pytest.raises(UnusableError, match=r"has 100000 x 100000 pixels; at most 64 million"):
        decode_upload(png_that_claims(100_000, 100_000))
    assert MAX_PIXELS < 100_000 * 100_000


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"<svg/>", b"%PDF-1.7", b"RIFF\0\0\0\0AVI "])
def test_other_kinds_are_refused(data):
    with pytest.raises(UnknownKindError):
        decode_upload(data)


@pytest.mark.parametrize("name", FORMATS)
def test_whatever_is_left_of_an_image_that_is_cut_is_refused_or_decoded_but_never_crashes(name):
    data = encoded(*FORMATS[name])
    for length in [*range(60), len(data) // 2]:
        with pytest.raises(UnusableError):
            decode_upload(data[:length])


def test_photographs_of_telephones_are_taken_where_their_library_is():
    pytest.importorskip("pi_heif")
    data = base64.b64decode(HEIC)
    assert "HEIC" in uploads.KINDS
    assert declared_size(data) == (64, 48)
    assert decode_upload(data).shape == (48, 64, 3)
    for length in (12, 30, 200, len(data) // 2):
        with pytest.raises(UnusableError):
            decode_upload(data[:length])


def test_without_that_library_the_refusal_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(uploads, "KINDS", tuple(kind for kind in uploads.KINDS if kind != "HEIC"))
    with pytest.raises(UnknownKindError, match=r'WebP, BMP. For HEIC, pip install "multibox\[heic\]"'):
        decode_upload(base64.b64decode(HEIC))


def test_a_browser_that_does_not_show_a_kind_gets_a_jpeg():
    preview = cv2.imdecode(np.frombuffer(as_jpeg(encoded(".bmp")), dtype=np.uint8), cv2.IMREAD_COLOR)
    assert preview.shape == IMAGE.shape
    with pytest.raises(UnusableError, match="larger than a JPEG"):
        as_jpeg(cv2.imencode(".png", np.zeros((1, 70_000, 3), dtype=np.uint8))[1].tobytes())
