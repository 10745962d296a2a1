"""Text as people's programs write it: UTF-8 with or without a byte order mark, UTF-16, any line ends."""

from __future__ import annotations

import codecs
import json
import re
from pathlib import Path
from typing import Any

from multibox.errors import DataError
from multibox.files import check_regular
from multibox.plain_yaml import is_unicode

BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
"""Half of a letter, as JSON writes those that need two numbers."""


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


def parse_json(text: str) -> Any:
    """The content of a JSON text, in which every text can be written to a file.

    Raises:
        ValueError: it is no JSON, or has half of a letter of two numbers in it.
        RecursionError: it is nested too deeply.
    """
    content = json.loads(text)
    if SURROGATE.search(text) and not is_unicode(json.dumps(content, ensure_ascii=False)):
        raise ValueError("there is half a letter in it")
    return content


def encoding_of(data: bytes) -> str:
    """The name of the encoding that a byte order mark tells, or else UTF-8."""
    return next((name for mark, name in BYTE_ORDER_MARKS.items() if data.startswith(mark)), "utf-8")
