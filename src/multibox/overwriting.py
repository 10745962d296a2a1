"""What an output may replace: nothing but what multibox wrote there before. The outputs of every command pass here.

A file is known by how it begins, or ends, not by its name: somebody's own annotations, images, models and records
never begin as our results do. What is read is safe even if it does.
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from multibox.errors import OptionError
from multibox.unfinished import tidy
from multibox.wording import counted, listed

IsOurs = Callable[[Path], bool]
"""Tells an earlier output of a kind from any other file."""

KNOWN_BYTES = 1 << 16
"""Number of bytes at the beginning and at the end of a file that are looked at."""

MAX_NAMED = 3
"""Number of files to be replaced that are named; of more, their number is said."""


MARK = b"drawn by multibox"
"""What images and videos with drawings have in them, where programs that show them do not look."""

MARK_BEHIND = struct.pack(">I4s", 8 + len(MARK), b"free") + MARK
"""The mark of a file that has no place for comments."""


@dataclass(frozen=True, slots=True)
class Output:
    """A file that a command is going to write: the option that asks for it, and what tells an earlier one of its kind.

    `is_ours` is asked of a file that is there and not empty.
    """

    option: str
    path: Path
    is_ours: IsOurs


def check_outputs(
    outputs: Sequence[Output], inputs: Iterable[str | os.PathLike[str]], *, say: Callable[[str], None]
) -> None:
    """Refuse outputs that would replace anything but earlier outputs of their kind; what is replaced, is said.

    Raises:
        OptionError: an output is an input, by whatever name, is another output, or is there and not of multibox.
    """
    for folder in dict.fromkeys(output.path.parent for output in outputs):
        tidy(folder)
    taken: dict[Path, str] = {}
    for output in outputs:
        if output.path in taken:
            first = taken[output.path]
            raise OptionError(f"{output.option} {output.path}: {first} writes to this file as well. Name another one.")
        taken[output.path] = output.option
    there = [output for output in outputs if os.path.lexists(output.path)]
    identities = {_identity(output.path): output for output in there if output.path.exists()}
    for name in inputs if identities else ():
        path = Path(name)
        if path.exists() and _identity(path) in identities:
            option = identities[_identity(path)].option
            raise OptionError(f"{option}: this would write over {path}, which is read. Name another place.")
    for output in there:
        _check_ours(output)
    for option in dict.fromkeys(output.option for output in there):
        _say_replaced(option, [output.path for output in there if output.option == option], say)


def marked(image: bytes) -> bytes:
    """The bytes of an image or video file with `MARK` in them: as a comment of JPEG and PNG, else behind the rest.

    Behind the rest it is a box named `free`, which MP4, JPEG 2000 and AVIF allow there; others end before it.
    """
    if image.startswith(b"\xff\xd8\xff\xe0"):
        place = 4 + int.from_bytes(image[4:6], "big")  # behind the segment that has to come first
        return image[:place] + struct.pack(">2sH", b"\xff\xfe", 2 + len(MARK)) + MARK + image[place:]
    if image.startswith(b"\x89PNG\r\n\x1a\n"):
        chunk = b"tEXtSoftware\0" + MARK
        end_of_header = 33
        text = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        return image[:end_of_header] + text + image[end_of_header:]
    return image + MARK_BEHIND


def _begins_with(*beginnings: bytes, inside: bytes = b"") -> IsOurs:
    """Whether a file begins with one of these, white space aside, and has `inside` near its beginning or end."""

    def tell(path: Path) -> bool:
        ends = _ends(path).translate(None, b" \n\r\t")
        return ends.startswith(beginnings) and inside in ends

    return tell


def has_inside(mark: bytes) -> IsOurs:
    """Whether a file has these bytes near its beginning or end."""
    return lambda path: mark in _ends(path)


def is_metrics_yaml(path: Path) -> bool:
    """Whether a file has the two keys of a metrics.yaml, which a template and a data.yaml have not."""
    ends = _ends(path)
    return all(re.search(rb"^%s:" % key, ends, re.MULTILINE) for key in (b"files", b"metrics"))


def _ends(path: Path) -> bytes:
    """The beginning and the end of a file."""
    with path.open("rb") as file:
        beginning = file.read(KNOWN_BYTES)
        file.seek(max(len(beginning), path.stat().st_size - KNOWN_BYTES))
        return beginning + file.read(KNOWN_BYTES)


CARD_SEAL = "<!-- multibox card "
"""How the last line of a model card begins; the hash of all lines before it follows."""


def sealed_card(text: str) -> str:
    """A model card with the line by which `is_card` sees that nobody has edited it."""
    return f"{text}\n{CARD_SEAL}{hashlib.sha256(text.encode()).hexdigest()} -->\n"


def is_card(path: Path) -> bool:
    """Whether a file is a model card as it was written: what somebody has added to it, is theirs."""
    with path.open("rb") as file:
        content = file.read(KNOWN_BYTES)
    text, _, _ = content.decode(errors="replace").rpartition(f"\n{CARD_SEAL}")
    return sealed_card(text).encode() == content


def is_nobodys(_: Path) -> bool:
    """No file is to be replaced."""
    return False


def is_coco_results(path: Path) -> bool:
    """Whether a file has detections as we write them: other programs put blanks behind colons."""
    return re.match(rb'\[\n?(\]|\{"image_id":[^ ]+,"category_id":[0-9])', _ends(path)) is not None


def is_anybodys(_: Path) -> bool:
    """Any file may be replaced: the command sees to it that nothing is lost."""
    return True


is_metrics_json = _begins_with(b'{"files":', inside=b'"metrics":')
is_evaluation = _begins_with(b'{"format":"multiboxevaluation')
is_coco_images = _begins_with(b'{"images":[', inside=b'],"annotations":[],"categories":[')
is_predictions = _begins_with(b'{"model":', inside=b'"sources":[')
is_prediction_lines = _begins_with(b'{"source":', inside=b'"kind":')
is_prediction_table = _begins_with(b"source,frame,time_s,width,height,class,label,score,")
is_examination = _begins_with(b'{"contents":')
is_benchmark = _begins_with(b'{"date":', inside=b'"machine":')
is_report_json = _begins_with(b'{"multibox_report":', b'{"multibox_comparison":')
is_page = has_inside(b'<meta name="generator" content="multibox ')
is_drawing = has_inside(MARK)
is_export_json = _begins_with(b'{"checkpoint":', inside=b'"rows":')
is_export_page = _begins_with(b"#Exportof")
is_compress_json = _begins_with(b'{"source":', inside=b'"rungs":')
is_openvino_xml = has_inside(b"</multibox>")
is_onnx = has_inside(b"\x12\x08multibox\x1a")  # the name of its producer
is_part_of_page = _begins_with(
    b"/*Thepageofadetector,bymultibox.*/",
    b"//Thepageofadetector,bymultibox:",
    b"//Thedetectorofapageofmultiboxtopublish:",
    b"//WhatanONNXfileofmultiboxsaysofitself,",
    b"//Thenameofthedetector,andacolourforeachclass,",
    b"#Adetectorinthebrowser",
    b'{"name":"multibox-page",',
)
is_ovms_config = has_inside(b'"/models/detector"')
is_triton_config = _begins_with(b"#Writtenbymultibox")


def _check_ours(output: Output) -> None:
    path = output.path
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no file"
        raise OptionError(f"{output.option} {path}: this is {what}. Name another file.")
    if path.stat().st_size and not output.is_ours(path):
        raise OptionError(
            f"{output.option}: {path} is there, and not from this command; it is not replaced. Name another place, or "
            "move it away."
        )


def _say_replaced(option: str, paths: Sequence[Path], say: Callable[[str], None]) -> None:
    if len(paths) <= MAX_NAMED:
        say(f"{option}: {listed(map(str, paths))} of an earlier run will be replaced.")
    else:
        say(f"{option}: {counted(len(paths), 'file')} of an earlier run will be replaced in {paths[0].parent}.")


def _identity(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return facts.st_dev, facts.st_ino
