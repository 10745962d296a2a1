"""What a detector can be given: arrays, files, folders, addresses, PIL's images; and how each becomes an image."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable
from urllib.error import URLError
from urllib.request import Request, urlopen

import numpy as np

from multibox.data.addresses import ADDRESS, locate
from multibox.data.image_files import image_names
from multibox.data.images import decode_image, read_image, to_8_bits
from multibox.data.jpeg_header import UnusableError
from multibox.errors import DataError
from multibox.structures import Image, Pixels

MAX_DOWNLOAD_BYTES = 256 << 20
"""Bytes that an image behind an address may have."""

DOWNLOAD_SECONDS = 30
"""Seconds without an answer after which a server is given up."""

ORIENTATION = 0x0112  # the EXIF tag
TURNS: dict[int, Callable[[Image], Image]] = {
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.transpose(1, 0, 2),
    6: lambda image: image[::-1].transpose(1, 0, 2),
    7: lambda image: image[::-1, ::-1].transpose(1, 0, 2),
    8: lambda image: image[:, ::-1].transpose(1, 0, 2),
}
"""What brings a stored image into the position that it is to be shown in, by its EXIF orientation."""


@runtime_checkable
class PilImage(Protocol):
    """An image of PIL, as far as it matters here: neither it nor PIL is imported."""

    mode: str

    def convert(self, mode: str, /) -> Any:
        """The image in another mode."""

    def getexif(self) -> Any:
        """What a camera noted."""


ImageLike = Image | str | os.PathLike[str] | PilImage
"""What stands for one image, or, if it is the path of a folder or .zip, for all images below it."""


@dataclass(frozen=True, slots=True)
class Input:
    """An image that is yet to be read: `load` gives it, `source` names it, `pixels` gives it again later on."""

    load: Callable[[], Image]
    source: str = ""
    pixels: Pixels | None = None


def is_one(given: Any) -> bool:
    """Whether this stands for a single image, not for several."""
    if isinstance(given, np.ndarray):
        return given.ndim < 4
    if isinstance(given, str | os.PathLike):
        return bool(ADDRESS.match(os.fspath(given))) or not locate(given).is_dir()
    return isinstance(given, PilImage) or not isinstance(given, Iterable)


def inputs_of(given: Any) -> Iterator[Input]:
    """An input for each image that this stands for: a single one, a folder or .zip, or any number of them in turn.

    Raises:
        DataError: there is no image in a folder.
    """
    if is_one(given):
        yield input_of(given)
    elif isinstance(given, str | os.PathLike):
        folder = locate(given)
        names = image_names(folder)
        if not names:
            raise DataError(f"{given}: there is no image in this folder.")
        yield from (input_of(folder / name) for name in names)
    else:
        for item in given:
            yield from inputs_of(item)


def input_of(given: Any) -> Input:
    """The input for a single image."""
    if isinstance(given, np.ndarray):
        return Input(lambda: given, pixels=_Borrowed(given))
    if isinstance(given, str) and given.startswith(("http://", "https://")):
        fetched = _Fetched(given)
        return Input(fetched.load, given, fetched)
    if isinstance(given, str | os.PathLike):
        return Input(lambda: read_image(given), os.fspath(given), _OnDisk(given))
    if isinstance(given, PilImage):
        return Input(lambda: _from_pil(given), str(getattr(given, "filename", "") or ""), _Borrowed(given))
    return Input(lambda: given)  # which is refused as any other thing that is no image


class _Borrowed:
    """An array or an image of PIL, as long as somebody else keeps it."""

    def __init__(self, owner: Any) -> None:
        self._owner = weakref.ref(owner)

    def read(self) -> Image | None:
        """The image, or None if it is gone."""
        owner = self._owner()
        return owner if owner is None or isinstance(owner, np.ndarray) else _from_pil(owner)

    def __reduce__(self) -> tuple[Any, ...]:  # what is elsewhere, in a file or another process, is gone
        return _Gone, ()


class _Gone:
    """An image that cannot be had again."""

    def read(self) -> Image | None:
        """Nothing."""
        return None


@dataclass(frozen=True, slots=True)
class _OnDisk:
    """The image in a file."""

    path: str | os.PathLike[str]

    def read(self) -> Image | None:
        """The image, or None if the file is gone or has changed into something else."""
        try:
            return read_image(self.path)
        except DataError:
            return None


class _Fetched:
    """The image behind an address; its file is kept as it came, which is small beside the image."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._data: bytes | None = None

    def load(self) -> Image:
        """The image, fetched once.

        Raises:
            DataError: it cannot be fetched, or is no image.
        """
        if self._data is None:
            self._data = _fetch(self._address)
        try:
            return decode_image(self._data)
        except UnusableError as error:
            raise DataError(f"{self._address}: the image {error}.") from error

    def read(self) -> Image | None:
        """The image, if it was fetched."""
        return self.load() if self._data is not None else None


def _fetch(address: str) -> bytes:
    # Some servers answer no program that does not say what it is.
    request = Request(address, headers={"User-Agent": "multibox"})
    try:
        with urlopen(request, timeout=DOWNLOAD_SECONDS) as answer:
            data: bytes = answer.read(MAX_DOWNLOAD_BYTES + 1)
    except (URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise DataError(f"{address}: cannot be fetched: {reason}. Correct the address or the access to it.") from error
    if len(data) > MAX_DOWNLOAD_BYTES:
        raise DataError(f"{address}: the image has more than {MAX_DOWNLOAD_BYTES:,} bytes.")
    return data


def _from_pil(image: PilImage) -> Image:
    """The BGR image of one of PIL's, turned as it is to be shown, 16 bits as in a file."""
    if image.mode.startswith("I;16"):
        grey = to_8_bits(np.asarray(image).astype(np.uint16))
        pixels = np.repeat(grey[:, :, None], 3, axis=2)
    else:
        pixels = np.asarray(image.convert("RGB"))[:, :, ::-1]
    turn = TURNS.get(image.getexif().get(ORIENTATION, 1))
    return np.ascontiguousarray(pixels if turn is None else turn(pixels))
