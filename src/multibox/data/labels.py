"""What a reader of labels hands on, whatever its format: images with the boxes of their objects, and what was wrong.

Every line about something names the user's own file.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from multibox.data.box_meaning import Meaning
from multibox.wording import visible


class LabelledObject(NamedTuple):
    """The number of an object's class, and the corners of its box in pixels, counted from 0.

    `is_crowd`: it is around many objects. `score`: how sure a detector is of it; None where a person drew the box.
    """

    number: int
    x1: float
    y1: float
    x2: float
    y2: float
    is_crowd: bool = False
    score: float | None = None


class LabelledImage(NamedTuple):
    """An image by its name below the root; a side is None where nothing says how long it is."""

    file_name: str
    width: int | None
    height: int | None
    objects: list[LabelledObject]


@dataclass
class Labels:
    """What was read of a split of a data set.

    `root`: the folder below which all its images are. Lines by what they are about, a plural such as "label lines that
    cannot be read": `problems` have lost something, `doubts` are hardly meant, `remarks` are only to be known.
    `meaning`: how the numbers of its boxes have to be read, if not as the format says.
    """

    root: Path
    images: list[LabelledImage] = field(default_factory=list)
    problems: dict[str, list[str]] = field(default_factory=dict)
    doubts: dict[str, list[str]] = field(default_factory=dict)
    remarks: dict[str, list[str]] = field(default_factory=dict)
    meaning: Meaning | None = None

    def lose(self, kind: str, lines: Iterable[str]) -> None:
        """Note what is lost."""
        _extend(self.problems, kind, lines)

    def doubt(self, kind: str, lines: Iterable[str]) -> None:
        """Note what is hardly meant."""
        _extend(self.doubts, kind, lines)

    def remark(self, kind: str, lines: Iterable[str]) -> None:
        """Note what a person should know."""
        _extend(self.remarks, kind, lines)


def _extend(notes: dict[str, list[str]], kind: str, lines: Iterable[str]) -> None:
    new = [visible(line) for line in lines]
    if new:
        notes.setdefault(kind, []).extend(new)
