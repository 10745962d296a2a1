"""A data set of any layout, opened as COCO files: annotations of other formats are converted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from multibox.data.convert import convert
from multibox.data.layouts import Layout, Split, find_layout
from multibox.wording import Detailed, typed


@dataclass(frozen=True)
class OpenedSet:
    """A data set that somebody named as `source`, and its parts (`train`, `val`) as COCO files.

    `lines` say what was found and what was passed over, a sentence each.
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

    Annotations of other formats are written as COCO files into `workplace`. With `guess`, boxes that all mean something
    else are read as that, for a look and not for training.

    Raises:
        DataError: it is no data set that multibox reads, or cannot be read.
    """
    layout = find_layout(source)
    splits = layout.splits if layout.format == "COCO" else convert(layout, workplace, guess=guess)
    without = f"; its part `{layout.left_out}` is not looked at" if layout.left_out else ""
    lines = [f"{typed(source)}: a {layout.format} set ({', '.join(splits)}){without}."]
    lines += [f"{line}." for line in layout.passed_over]
    if layout.format == "COCO":
        lines += [
            Detailed(f"{typed(split.annotation_file)}, images in {typed(split.root)}") for split in splits.values()
        ]
    return OpenedSet(source, layout, splits, tuple(lines))
