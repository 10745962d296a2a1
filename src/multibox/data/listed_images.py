"""What files have in common that list the images of a set with their regions, as Label Studio's and VIA's own JSON do:
images are found by the ends of their names, classes get numbers, and what cannot be used is named.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from multibox.data.coco_checks import box_fault
from multibox.data.image_files import hint, image_names, spellings, tails
from multibox.data.labels import LabelledImage, LabelledObject, Labels
from multibox.data.layouts import Layout
from multibox.data.shapes import Box
from multibox.data.split_names import kinds_of
from multibox.data.text_files import parse_json, read_text
from multibox.errors import DataError
from multibox.wording import listed, quoted


class Region(NamedTuple):
    """An object as it stands in a file: its class, and its box in pixels or what is wrong, as the end of a sentence.

    `made_from`: the kind of line that says what the box was made from, empty if it was drawn as a box.
    """

    label: str
    box: Box | None = None
    fault: str = ""
    made_from: str = ""


@dataclass(frozen=True)
class Entry:
    """An image as a file lists it: the names that it may have, the likeliest first; its size, if that is said."""

    names: Sequence[str]
    width: int | None
    height: int | None
    regions: Sequence[Region] = field(default_factory=tuple)


def read_json(file: Path) -> Any:
    """The content of a JSON file.

    Raises:
        DataError: it cannot be read, or is no JSON.
    """
    try:
        return parse_json(read_text(file, "the annotations"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: this is no JSON: {error}. Export it again.") from error


def to_labels(
    layout: Layout, entries: Mapping[str, Sequence[Entry]], parts: Mapping[str, Labels], classes: Sequence[str] = ()
) -> dict[int, str]:
    """Add the images of each split to its part of `parts`, whose roots are the folder of the set; the classes' names.

    `classes` come first; others follow by name.

    Raises:
        DataError: there is no object.
    """
    used = {region.label for of_split in entries.values() for entry in of_split for region in entry.regions}
    names = [*dict.fromkeys(classes), *sorted(used - {*classes, ""})]
    if not names:
        raise DataError(f"{layout.folder}: {listed(layout.words.values())} has no object.")
    numbers = {name: number for number, name in enumerate(names)}
    for split, of_split in entries.items():
        part = parts[split]
        index = _Index(part.root, split, has_splits=len(layout.words) > 1)
        for entry in of_split:
            name = index.find(entry, layout.words[split], part)
            if name is not None:
                objects = _objects(entry, f"{layout.words[split]}: image {quoted(name)}", numbers, part)
                part.images.append(LabelledImage(name, entry.width, entry.height, objects))
    return dict(enumerate(names))


def _objects(entry: Entry, where: str, numbers: dict[str, int], part: Labels) -> list[LabelledObject]:
    objects = []
    for position, region in enumerate(entry.regions, start=1):
        title = f"{where}, region {position}" + (f" ({region.label})" if region.label else "")
        fault = region.fault or ("" if region.label else "has no class")
        if not fault and region.box is not None:
            fault = box_fault(list(region.box), entry.width, entry.height) or ""
        if fault or region.box is None:
            part.lose("objects that cannot be read", [f"{title} {fault}"])
            continue
        if region.made_from:
            part.doubt(region.made_from, [title])
        x, y, width, height = region.box
        objects.append(LabelledObject(numbers[region.label], x, y, x + width, y + height))
    return objects


class _Index:
    """The images below a folder by their names, without those in folders of other splits if there are several."""

    def __init__(self, root: Path, split: str, *, has_splits: bool) -> None:
        self._by_base: dict[str, list[str]] = defaultdict(list)
        own = {"train"} if split == "train" else {"val", "test"}
        for name in image_names(root):
            kinds = set().union(*(kinds_of(folder) for folder in name.split("/")[:-1]))
            if not has_splits or not kinds or kinds & own:
                self._by_base[_composed(name.rsplit("/", 1)[-1])].append(name)

    def find(self, entry: Entry, file: str, part: Labels) -> str | None:
        """The name below the folder of the image of an entry, or None, which is noted."""
        for given in entry.names:
            found = self._find(given)
            if len(found) > 1:
                line = f"{file}: image {quoted(given)} could be {listed([quoted(name) for name in found])}"
                part.lose("annotated images that could be several", [line])
                return None
            if found:
                return found[0]
        given = entry.names[0] if entry.names else ""
        near = hint(part.root, given)
        part.lose("annotated images that are missing", [f"{file}: image {quoted(given)} is missing{near}"])
        return None

    def _find(self, given: str) -> list[str]:
        """The images whose names end as the given one does, of as many folders as agree."""
        for tail in tails(given):
            for spelled in spellings(tail):
                same = self._by_base.get(_composed(spelled.rsplit("/", 1)[-1]), [])
                found = [name for name in same if f"/{_composed(name)}".endswith(f"/{_composed(spelled)}")]
                if found:
                    return found
        return []


def _composed(name: str) -> str:
    return name if name.isascii() else unicodedata.normalize("NFC", name)
