"""A data set of any layout, opened as COCO files: archives are unpacked, annotations of other formats converted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from multibox.data.archives import is_archive, unpack
from multibox.data.convert import convert
from multibox.data.layouts import Layout, Split, find_layout
from multibox.errors import DataError


@dataclass(frozen=True)
class OpenedSet:
    """A data set that somebody named as `source`, and its parts (`train`, `val`) as COCO files.

    `lines` say what was found and what was passed over, a sentence each. What is in `splits` is called by the user's
    own names, wherever an archive was unpacked to.
    """

    source: Path
    layout: Layout
    splits: dict[str, Split]
    lines: tuple[str, ...]

    @property
    def lost(self) -> list[str]:
        """A line for each label that could not be carried over from another format."""
        return [line for split in self.splits.values() for lines in split.problems.values() for line in lines]


def open_set(source: Path, workplace: Path, *, guess: bool) -> OpenedSet:
    """The parts of a folder, an annotation file, a data.yaml or a .zip as COCO files; images stay where they are.

    An archive is unpacked into `workplace`, and annotations of other formats are written there. With `guess`, boxes
    that all mean something else are read as that, for a look and not for training.

    Raises:
        DataError: it is no data set that multibox reads, or cannot be read.
    """
    place = unpack(source, workplace) if is_archive(source) else source

    def as_named(text: str) -> str:
        return text.replace(str(place), str(source))

    try:
        layout = find_layout(place)
        splits = layout.splits if layout.format == "COCO" else convert(layout, workplace, guess=guess)
    except DataError as error:  # where an archive was unpacked to is nobody's business
        raise DataError(as_named(str(error))) from error
    without = f"; its part `{layout.left_out}` is not looked at" if layout.left_out else ""
    lines = [f"{source}: a {layout.format} set, {' and '.join(splits)}{without}."]
    lines += [as_named(f"{line}.") for line in layout.passed_over]
    if layout.format == "COCO":
        lines += [as_named(f"{split.annotation_file}, images in {split.root}") for split in splits.values()]
    named = {
        name: replace(
            split, title=as_named(split.title or str(split.annotation_file)) if place != source else split.title
        )
        for name, split in splits.items()
    }
    return OpenedSet(source, layout, named, tuple(lines))
