"""What is wrong with a data set beyond what reading it refuses: checks of records that look at no pixel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from multibox import boxes as geometry
from multibox.data.coco import CocoData, Record
from multibox.data.coco_problems import quoted

Severity = Literal["error", "warning", "note"]

NUM_EXAMPLES = 3

SAME_BOX_IOU = 0.9
"""Two people who outline one object agree on more than this; two objects of a real scene hardly ever do."""

TINY_PX = 3
"""A box of fewer pixels on a side is a slip of the mouse: no object can be recognised by them."""

FULL_FRAME_SHARE = 0.95
"""Of the image's area. Often an image that was meant to have a label, not a box."""

FEW_OBJECTS = 20
"""To train on: below, what is learnt of a class is mostly these very objects. (COCO's rarest class has 198 in 118,000
images; of playing cards, 80 each were enough.)"""


@dataclass(frozen=True)
class Finding:
    """Something that a person should know. `kind` names it for programs, `text` for people, in one sentence.

    `split`: in which part of the data, empty where it is about several. `examples`: where to look, the first ones.
    """

    severity: Severity
    kind: str
    split: str
    count: int
    text: str
    examples: tuple[str, ...] = ()


def unusable(split: str, data: CocoData) -> Iterator[Finding]:
    """What reading left out, by kind: training refuses such a set."""
    for kind, lines in data.problems.items():
        yield Finding("error", kind.replace(" ", "-"), split, len(lines), f"{len(lines)} {kind}", _first(lines))
    if data.num_clipped:
        text = f"{data.num_clipped} boxes reach over the border of their image; they are cut there"
        yield Finding("warning", "boxes-over-the-border", split, data.num_clipped, text)


def questionable(split: str, data: CocoData) -> Iterator[Finding]:
    """Boxes and classes that are legal but hardly meant."""
    twice: list[str] = []
    two_classes: list[str] = []
    tiny: list[str] = []
    full: list[str] = []
    for record in data.records:
        where = quoted(record.file_name)
        for first, second in _same_boxes(record):
            labels = [data.classes[record.labels[i]] for i in (first, second)]
            if labels[0] == labels[1]:
                twice.append(f"{where}: {labels[0]} at {_corner(record, first)}")
            else:
                two_classes.append(f"{where}: {labels[0]} and {labels[1]} at {_corner(record, first)}")
        sides = record.boxes_px[:, 2:] - record.boxes_px[:, :2]
        tiny += [f"{where}: {w:g} x {h:g} px" for w, h in sides[sides.min(axis=1) < TINY_PX].tolist()]
        areas = geometry.area(record.boxes[~record.is_crowd])
        full += [where] * int((areas > FULL_FRAME_SHARE).sum())
    for kind, lines, what in (
        ("boxes-drawn-twice", twice, f"objects are boxed twice (IoU of {SAME_BOX_IOU:g} or more, same class)"),
        ("objects-of-two-classes", two_classes, "objects are boxed as two classes: which one is right?"),
        ("tiny-boxes", tiny, f"boxes are under {TINY_PX} px wide or high: slips of the mouse?"),
        ("full-frame-boxes", full, f"boxes cover more than {FULL_FRAME_SHARE:.0%} of their image: meant so?"),
    ):
        if lines:
            yield Finding("warning", kind, split, len(lines), f"{len(lines)} {what}", _first(lines))
    without = [quoted(record.file_name) for record in data.records if not len(record.labels)]
    if without:
        text = f"{len(without)} of {len(data.records)} images have no objects: they teach what is background"
        yield Finding("note", "images-without-objects", split, len(without), text, _first(without))


def classes_with_few_objects(splits: Mapping[str, CocoData]) -> Iterator[Finding]:
    """Classes that cannot be learnt or measured well."""
    train = splits.get("train")
    if train is None:
        return
    counts = dict(zip(train.classes, train.objects_per_class, strict=True))
    never = [name for name, count in counts.items() if not count]
    few = [f"{name} ({count})" for name, count in counts.items() if 0 < count < FEW_OBJECTS]
    if never:
        text = f"no object to train on: {_list(never)}"
        yield Finding("warning", "classes-without-objects", "train", len(never), text)
    if few:
        text = f"fewer than {FEW_OBJECTS} objects to train on: {_list(few)}"
        yield Finding("warning", "classes-with-few-objects", "train", len(few), text)
    val = splits.get("val")
    if val is not None:
        measured = dict(zip(val.classes, val.objects_per_class, strict=True))
        unmeasured = [name for name, count in counts.items() if count and not measured.get(name)]
        if unmeasured:
            text = f"no object to measure on: {_list(unmeasured)}"
            yield Finding("warning", "classes-not-measured", "val", len(unmeasured), text)


def cheap(splits: Mapping[str, CocoData]) -> list[Finding]:
    """All of the above that is worth a word before a training."""
    found = [finding for split, data in splits.items() for finding in questionable(split, data)]
    return [finding for finding in [*found, *classes_with_few_objects(splits)] if finding.severity != "note"]


def _same_boxes(record: Record) -> list[tuple[int, int]]:
    """Pairs of rows whose boxes are nearly the same; crowds apart."""
    if len(record.labels) < 2:
        return []
    overlap = geometry.iou(record.boxes, record.boxes)
    first, second = np.nonzero(np.triu(overlap >= SAME_BOX_IOU, k=1))
    rows = zip(first.tolist(), second.tolist(), strict=True)
    return [(i, j) for i, j in rows if not (record.is_crowd[i] or record.is_crowd[j])]


def _corner(record: Record, row: int) -> str:
    x, y = record.boxes_px[row, :2]
    return f"({x:g}, {y:g})"


def _first(lines: Sequence[str]) -> tuple[str, ...]:
    return tuple(lines[:NUM_EXAMPLES])


def _list(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
