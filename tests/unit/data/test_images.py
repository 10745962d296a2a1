"""Reading image files and preparing them for the network."""

from __future__ import annotations

import base64
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from multibox.data import images
from multibox.errors import DataError

REFERENCE = Path(__file__).parents[3].parent / "shared" / "reference" / "parity_256_80"

needs_reference = pytest.mark.skipif(not REFERENCE.is_dir(), reason="the original's reference numbers are absent")


def encoded(image: np.ndarray, ending: str = ".jpg") -> bytes:
    done, data = cv2.imencode(ending, image)
    assert done
    return data.tobytes()


def left_white(width: int, height: int) -> np.ndarray:
    """Black, with a white left half."""
    image = np.zeros((height, width, 3), dtype=np.uint8)
    image[:, : width // 2] = 255
    return image


def with_orientation(jpeg: bytes, orientation: int, order: str = ">") -> bytes:
    """The JPEG with an EXIF segment that has nothing but this orientation."""
    mark = b"MM" if order == ">" else b"II"
    tiff = mark + struct.pack(f"{order}HIH", 42, 8, 1) + struct.pack(f"{order}HHIHHI", 0x0112, 3, 1, orientation, 0, 0)
    segment = b"Exif\x00\x00" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]


def put(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@needs_reference
def test_resizing_and_scaling_give_the_bytes_of_the_original() -> None:
    pictures, expected = np.load(REFERENCE / "images.npz"), np.load(REFERENCE / "reference.npz")

    squares = [images.resize(pictures[f"image{row}"], 256) for row in range(3)]

    assert np.array_equal(np.stack(squares), expected["resized_bgr_u8"])
    trained = images.to_input([images.resize(pictures["image1"].astype(np.float32), 256)])
    assert np.array_equal(trained[0], expected["train_resize_input_img1"])


def test_network_input_is_rgb_planes_from_0_to_1() -> None:
    blue, grey = np.zeros((2, 2, 2, 3), dtype=np.uint8)
    blue[..., 0] = 255
    grey[:] = 51  # 51 / 255 = 0.2

    batch = images.to_input([blue, grey])

    assert batch.dtype == np.float32 and batch.shape == (2, 3, 2, 2) and batch.flags.c_contiguous
    assert batch[0, :, 0, 0].tolist() == [0, 0, 1]
    assert np.array_equal(batch[1], np.full((3, 2, 2), np.float32(0.2)))


def test_network_input_is_the_same_for_bytes_and_for_floats() -> None:
    image = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)

    assert np.array_equal(images.to_input([image]), images.to_input([image.astype(np.float32)]))


@pytest.mark.parametrize("ending", [".png", ".jpg", ".bmp", ".webp", ".tiff"])
def test_common_formats_are_read(tmp_path: Path, ending: str) -> None:
    path = put(tmp_path / f"a{ending}", encoded(left_white(40, 30), ending))

    image = images.read_image(path, expected_size=(40, 30))

    assert image.shape == (30, 40, 3) and image.dtype == np.uint8
    assert images.read_size(path) == (40, 30)


@pytest.mark.parametrize(
    "stored",
    [
        np.full((4, 6), 200, dtype=np.uint8),
        np.full((4, 6), 200 * 256, dtype=np.uint16),
        np.full((4, 6, 3), 200 * 256, dtype=np.uint16),
        np.full((4, 6, 4), 200, dtype=np.uint8),
    ],
    ids=["grey", "grey 16 bit", "colour 16 bit", "with transparency"],
)
def test_every_kind_of_pixel_becomes_three_bytes(tmp_path: Path, stored: np.ndarray) -> None:
    image = images.read_image(put(tmp_path / "a.png", encoded(stored, ".png")))

    assert np.array_equal(image, np.full((4, 6, 3), 200, dtype=np.uint8))


def test_names_with_blanks_and_foreign_letters_are_read(tmp_path: Path) -> None:
    path = put(tmp_path / "Straße 東京, no 1.png", encoded(left_white(8, 8), ".png"))

    assert images.read_image(path).shape == (8, 8, 3)


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_turned_photograph_comes_in_the_frame_that_has_the_expected_size(tmp_path: Path, order: str) -> None:
    # Stored lying, white on the left; orientation 6 shows it turned a quarter clockwise: standing, white on top.
    path = put(tmp_path / "a.jpg", with_orientation(encoded(left_white(64, 32)), 6, order))

    shown, stored = images.read_image(path, expected_size=(32, 64)), images.read_image(path, expected_size=(64, 32))

    assert shown.shape == (64, 32, 3) and shown[:24].mean() > 200 and shown[40:].mean() < 50
    assert stored.shape == (32, 64, 3) and stored[:, :24].mean() > 200 and stored[:, 40:].mean() < 50
    assert images.read_image(path).shape == (64, 32, 3)
    assert images.read_size(path) == (32, 64)


def test_a_turned_photograph_is_turned_when_decoded_smaller_too(tmp_path: Path) -> None:
    path = put(tmp_path / "a.jpg", with_orientation(encoded(left_white(640, 320)), 6))

    assert images.read_image(path, expected_size=(320, 640), min_size=(80, 80)).shape == (160, 80, 3)
    assert images.read_image(path, expected_size=(640, 320), min_size=(80, 80)).shape == (80, 160, 3)


@pytest.mark.parametrize(("value", "orientation"), [(0, 1), (1, 1), (3, 3), (8, 8), (9, 1), (255, 1)])
def test_an_orientation_that_does_not_exist_is_none(tmp_path: Path, value: int, orientation: int) -> None:
    found = images.read_header(put(tmp_path / "a.jpg", with_orientation(encoded(left_white(64, 32)), value)))

    assert found is not None
    assert found.orientation == orientation


@pytest.mark.parametrize("ending", [".jpg", ".png"])
@pytest.mark.parametrize(
    ("min_side", "expected"),
    [
        (201, (400, 400)),
        (200, (200, 200)),  # 400 / 2
        (101, (200, 200)),
        (100, (100, 100)),  # 400 / 4
        (50, (50, 50)),  # 400 / 8
        (1, (50, 50)),  # never less than an eighth
        (1000, (400, 400)),
    ],
)
def test_large_images_are_decoded_smaller_but_not_below_the_wanted_size(
    tmp_path: Path, ending: str, min_side: int, expected: tuple[int, int]
) -> None:
    path = put(tmp_path / f"a{ending}", encoded(left_white(400, 400), ending))

    assert images.read_image(path, min_size=(min_side, min_side)).shape[:2] == expected


def test_the_shorter_side_decides_how_much_smaller(tmp_path: Path) -> None:
    path = put(tmp_path / "a.jpg", encoded(left_white(801, 201)))

    # 201 // 2 = 100 fits 100, 201 // 4 does not; halves are rounded up.
    assert images.read_image(path, min_size=(100, 100)).shape == (101, 401, 3)


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.jpg: the image is missing\. Replace or remove it\.$"):
        images.read_image(tmp_path / "gone.jpg")


def test_a_name_no_file_can_have_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is missing"):
        images.read_image(f"{tmp_path}/a\0b.jpg")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.jpg", b"", "is an empty file"),
        ("text.jpg", b"this is no image", "cannot be decoded"),
        ("start.jpg", b"\xff\xd8\xff\xe0\x00", "is truncated"),
        ("noise.jpg", b"\xff\xd8\xff" + bytes(1000), "cannot be decoded"),
        ("head.png", b"\x89PNG\r\n\x1a\n" + bytes(8), "is truncated"),
    ],
)
def test_files_that_are_no_images_are_errors(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = put(tmp_path / name, content)

    with pytest.raises(DataError, match=message):
        images.read_image(path)
    assert images.find_fault(path) == message


@pytest.mark.parametrize("ending", [".jpg", ".png"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.99])
def test_truncated_images_are_errors(tmp_path: Path, ending: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    data = encoded(noise, ending)
    path = put(tmp_path / f"a{ending}", data[: int(len(data) * share)])

    assert images.find_fault(path) == "is truncated"
    with pytest.raises(DataError, match="is truncated"):
        images.read_image(path)


def test_the_end_of_a_thumbnail_is_not_the_end_of_the_image(tmp_path: Path) -> None:
    data = encoded(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8))
    comment = b"\xff\xfe\x00\x06ab\xff\xd9"  # a comment segment that holds an end marker
    path = put(tmp_path / "a.jpg", (data[:2] + comment + data[2:])[: len(data) // 2])

    assert images.find_fault(path) == "is truncated"


@pytest.mark.parametrize("ending", [".jpg", ".png"])
def test_bytes_after_the_end_do_no_harm(tmp_path: Path, ending: str) -> None:
    path = put(tmp_path / f"a{ending}", encoded(left_white(40, 30), ending) + b"appended by some camera" * 100)

    assert images.find_fault(path, expected_size=(40, 30)) is None
    assert images.read_image(path).shape == (30, 40, 3)


def test_progressive_jpegs_are_whole_images(tmp_path: Path) -> None:
    _, data = cv2.imencode(".jpg", left_white(40, 30), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    path = put(tmp_path / "a.jpg", data.tobytes())

    assert images.find_fault(path, expected_size=(40, 30)) is None


@pytest.mark.parametrize("ending", [".jpg", ".png"])
def test_another_size_than_expected_is_an_error_with_both_sizes(tmp_path: Path, ending: str) -> None:
    path = put(tmp_path / f"a{ending}", encoded(left_white(40, 30), ending))

    with pytest.raises(DataError, match="measures 40x30 pixels, not 41x30 as annotated"):
        images.read_image(path, expected_size=(41, 30))


@pytest.mark.parametrize("ending", [".png", ".tiff"])
@pytest.mark.parametrize(
    ("brightest", "bits"),
    [(255, 8), (256, 10), (1023, 10), (1024, 12), (4095, 12), (16383, 14), (16384, 16), (65535, 16)],
)
def test_of_sixteen_bits_those_in_use_are_read(tmp_path: Path, ending: str, brightest: int, bits: int) -> None:
    stored = np.linspace(0, brightest, 40 * 30).astype(np.uint16).reshape(30, 40)
    path = put(tmp_path / f"a{ending}", encoded(stored, ending))

    image = images.read_image(path)

    assert images.inspect(path).used_bits == bits
    expected = (stored // 2 ** (bits - 8)).astype(np.uint8)
    assert np.array_equal(image, np.stack([expected] * 3, axis=2))
    assert image.max() >= 64  # the upper two of the bits in use, never nearly black


def test_images_of_eight_bits_have_no_bits_to_choose(tmp_path: Path) -> None:
    for ending in (".png", ".jpg", ".tiff", ".bmp"):
        path = put(tmp_path / f"a{ending}", encoded(left_white(8, 8), ending))
        assert images.inspect(path).used_bits is None


def test_floats_and_heic_are_refused_with_the_reason(tmp_path: Path) -> None:
    floats = put(tmp_path / "a.tiff", encoded(np.random.default_rng(0).random((8, 8), dtype=np.float32), ".tiff"))
    heic = put(tmp_path / "b.jpg", b"\x00\x00\x00\x18ftypheic" + bytes(20))

    assert (
        images.find_fault(floats)
        == "has pixels that are floats, which say not what is white; save it with 8 or 16 bits"
    )
    assert images.find_fault(heic) in {
        'is in HEIC, which is not read without a library; pip install "multibox[heic]", or save it as JPEG',
        "cannot be decoded",  # where that library is
    }


# 64 x 48 pixels: green over red at the left, blue at the right; written by pillow-heif at quality 60.
HEIC = (
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAX1tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAACJpbG9j"
    "AAAAAERAAAEAAQAAAAABoQABAAAAAAAAAJMAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA/Wlw"
    "cnAAAADdaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AA"
    "AAMAkAAAAwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAA"
    "QAAAAEAAAAAoY2xhcAAAAEAAAAABAAAAMAAAAAEAAAAAAAAAAv////AAAAACAAAAEHBpeGkAAAAAAwgICAAAABhpcG1hAAAAAAAAAAEAAQWB"
    "AgMFhAAAAJttZGF0AAAAjygBrwngIzhG8bUd/+/p//1QfvFV35Te/+J/7tSVv8I9lPlPlHgC///7TU34/vZ15b8hViK9aE3Ffg5svSU39GNl"
    "q1Lk5aguR8RbsraX4pOHlXaSdzVo9+D1DsEAEreVIipJTJRLI+djxWcChILdxwHRJIhAh1OhPLe/2l6wuoP6cN/fmqZy4bfAhD/OsrZA"
)


def test_photographs_of_telephones_are_read_where_their_library_is(tmp_path: Path) -> None:
    pytest.importorskip("pi_heif")
    path = put(tmp_path / "a.heic", base64.b64decode(HEIC))
    image, again = images.read_image(path), images.read_image(path)
    assert image.shape == (48, 64, 3)
    assert images.read_size(path) == (64, 48)
    assert (image == again).all()  # once, the second was written over the first
    found = [image[y, x].tolist() for y, x in ((5, 5), (43, 5), (24, 60))]
    assert np.abs(np.array(found) - [[0, 255, 0], [0, 0, 255], [255, 0, 0]]).max() < 16


@pytest.mark.parametrize("ending", [".png", ".jpg", ".bmp", ".tiff", ".webp"])
def test_the_size_is_that_of_what_is_read(tmp_path: Path, ending: str) -> None:
    for size in ((1, 1), (3, 500), (640, 2)):
        path = put(tmp_path / f"a{ending}", encoded(left_white(*size), ending))
        assert images.read_size(path) == images.read_image(path).shape[1::-1] == size


def test_the_size_of_a_photograph_with_a_long_header_is_read(tmp_path: Path) -> None:
    jpeg = encoded(left_white(64, 32))
    thumbnail = b"\xff\xe2" + struct.pack(">H", 60000) + bytes(59998)
    path = put(tmp_path / "a.jpg", jpeg[:2] + 3 * thumbnail + jpeg[2:])

    assert images.read_size(path) == (64, 32)
