"""Text as people's programs write it: UTF-8 with or without a byte order mark, UTF-16, any line ends."""

from __future__ import annotations

import codecs
from pathlib import Path

from multibox.errors import DataError
from multibox.files import check_regular

BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_text(file: Path, what: str) -> str:
    """The text of a file, without its byte order mark.

    Raises:
        DataError: the file cannot be read, or is text in none of the encodings; `what` says in the message what it is.
    """
    try:
        check_regular(file)
        data = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: cannot read {what}: {error.strerror or error}. Correct the path.") from error
    try:
        return decode_text(data)
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: {what} is no UTF-8 text (byte {error.start}). Save the file as UTF-8.") from error


def decode_text(data: bytes) -> str:
    """The text that bytes stand for.

    Raises:
        UnicodeDecodeError: they are neither UTF-8 nor UTF-16 with a byte order mark.
    """
    return data.decode(encoding_of(data))


def encoding_of(data: bytes) -> str:
    """The name of the encoding that a byte order mark tells, or else UTF-8."""
    return next((name for mark, name in BYTE_ORDER_MARKS.items() if data.startswith(mark)), "utf-8")
