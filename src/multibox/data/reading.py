"""Reading the data that a user names: files and folders separated by commas; and what is odd about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from multibox.data import coco
from multibox.data.coco import CocoData
from multibox.data.layouts import Split


@dataclass(frozen=True)
class DataFiles:
    """Annotation files and the folder of images of each, separated by commas, as options have them; may be empty.

    `titles` are what messages call the files, if not by their paths.
    """

    annotations: str = ""
    roots: str = ""
    titles: tuple[str, ...] = ()

    @classmethod
    def of(cls, *splits: Split) -> DataFiles:
        """The files of parts of data sets."""
        files = ",".join(as_item(split.annotation_file) for split in splits)
        titles = tuple(split.title for split in splits)
        return cls(files, ",".join(as_item(split.root) for split in splits), titles if any(titles) else ())

    @property
    def name(self) -> str:
        """What messages call all of them."""
        return ", ".join(filter(None, self.titles)) or self.annotations


def as_item(value: str | Path) -> str:
    """A path or name as an item of an option whose items are separated by commas."""
    text = str(value)
    return '"' + text.replace('"', '""') + '"' if "," in text or text.startswith('"') else text


def read_data(
    files: DataFiles,
    classes: Sequence[str] | None,
    say: Callable[[str], None],
    *,
    skip_bad: bool,
    keep_images_without_objects: bool = True,
    allow_missing_classes: bool = False,
) -> CocoData:
    """The data set of these files, see `data.coco.read`; what is odd about it, but no error, is said."""
    data = coco.read(
        coco.split_list(files.annotations),
        coco.split_list(files.roots),
        classes=classes,
        skip_bad=skip_bad,
        keep_images_without_objects=keep_images_without_objects,
        allow_missing_classes=allow_missing_classes,
        titles=files.titles or None,
    )
    for line in oddities(data):
        say(f"{files.name}: {line}")
    return data


def oddities(data: CocoData) -> list[str]:
    """What is odd about a data set but no error, a sentence each."""
    lines = []
    missing = [name for name, category in zip(data.classes, data.category_ids, strict=True) if category is None]
    if missing:
        lines.append(f"there are no annotations of {', '.join(missing)}; nothing is measured for them.")
    if data.num_clipped:
        lines.append(f"{data.num_clipped} boxes reach over the border of their image; clipped.")
    return lines
