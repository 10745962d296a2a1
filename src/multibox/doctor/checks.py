"""What is wrong with a data set beyond what reading it refuses; no check here looks at what an image shows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from multibox import boxes as geometry
from multibox import config
from multibox.config import Template, bundled_templates
from multibox.data.coco import CocoData, Record
from multibox.data.coco_checks import CLIP_TOLERANCE_PX
from multibox.data.coco_images import CANNOT_BE_USED, UnusableImage, fault_lines
from multibox.data.description import FEW_OBJECTS
from multibox.data.layouts import Split
from multibox.doctor import remedies
from multibox.wording import counted, listed, quoted

Severity = Literal["error", "warning", "note"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""All severities, the gravest first."""

SAME_BOX_IOU = 0.9
"""IoU from which two boxes are taken for one object: two people who outline one agree on more than this; the boxes of
two objects of a real scene hardly ever do."""

ROWS_AT_ONCE = 256
"""Boxes of an image that are compared with the others at once, so that thousands take no more memory than a few."""

TINY_PX = 3
"""Pixels on a side below which a box is a slip of the mouse: no object can be recognised by them."""

INVISIBLE_PX = 2
"""Pixels of the largest network input below which a side is too small. In a large photograph, more pixels than
`TINY_PX` may be too few for the network."""

FULL_FRAME_SHARE = 0.95
"""Share of the image's area above which a box is suspicious: often the image was meant to have a label, not a box."""

MUCH_LARGER = 4
"""Times the largest network input from which an image is much larger than needed. Training decodes photographs to about
twice the input."""

SINGULAR = {  # of the nouns in the names of problems, which are plurals
    "annotations": "annotation",
    "boxes": "box",
    "files": "file",
    "images": "image",
    "lines": "line",
    "objects": "object",
    "lists": "list",
    "parts": "part",
}


@dataclass(frozen=True)
class Finding:
    """Something that a person should know. `kind` names it for programs, `text` for people, in one sentence.

    `split`: in which part of the data, empty where it is about several. `examples`: where to look, all of them.
    `remedy`: what to do about it.
    """

    severity: Severity
    kind: str
    split: str
    count: int
    text: str
    examples: tuple[str, ...] = ()

    @property
    def remedy(self) -> str:
        """What to do about it, in a sentence."""
        return remedies.remedy(self.kind, self.severity)


def gravest_first(findings: Iterable[Finding]) -> list[Finding]:
    """Errors, which would ruin a training, before warnings, and these before notes; else in the same order."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def converted(split: str, parts: Sequence[Split]) -> Iterator[Finding]:
    """What was lost or assumed when another format was turned into COCO's."""
    for part in parts:
        for kind, lines in part.problems.items():
            yield Finding("error", _as_kind(kind), split, len(lines), _counted(len(lines), kind), tuple(lines))
        for kind, lines in part.doubts.items():
            yield Finding("warning", _as_kind(kind), split, len(lines), _counted(len(lines), kind), tuple(lines))
        for kind, lines in part.remarks.items():
            yield Finding("note", _as_kind(kind), split, len(lines), f"{len(lines)} {kind}", tuple(lines))


def unusable(split: str, data: CocoData) -> Iterator[Finding]:
    """What reading left out, by kind: training refuses such a set."""
    for kind, lines in data.problems.items():
        yield Finding("error", _as_kind(kind), split, len(lines), _counted(len(lines), kind), tuple(lines))
    if data.num_clipped:
        reach = "box reaches" if data.num_clipped == 1 else "boxes reach"
        text = f"{data.num_clipped} {reach} over the border of the image, and will be cut there"
        examples = tuple(quoted(record.file_name) for record in data.records if _leaves_its_image(record))
        yield Finding("warning", "boxes-over-the-border", split, data.num_clipped, text, examples)


def broken(split: str, unusable: Sequence[UnusableImage]) -> Iterator[Finding]:
    """Image files that cannot be decoded or are not of the annotated size: training refuses such a set."""
    if unusable:
        text = _counted(len(unusable), CANNOT_BE_USED)
        yield Finding("error", _as_kind(CANNOT_BE_USED), split, len(unusable), text, tuple(fault_lines(unusable)))


def doubtful(split: str, data: CocoData) -> Iterator[Finding]:
    """What reading found to be usable but hardly meant; an error where nearly all boxes mean something else."""
    for doubt in data.doubts:
        severity: Severity = "error" if doubt.is_fatal else "warning"
        yield Finding(severity, doubt.kind, split, max(1, len(doubt.examples)), doubt.text, doubt.examples)


def questionable(split: str, data: CocoData) -> Iterator[Finding]:
    """Boxes and classes that are legal but hardly meant."""
    twice: list[str] = []
    two_classes: list[str] = []
    tiny: list[str] = []
    full: list[str] = []
    for record in data.records:
        where = quoted(record.file_name)
        for first, second in _same_boxes(record):
            labels = [data.classes[record.labels[row]] for row in (first, second)]
            if labels[0] == labels[1]:
                twice.append(f"{where}: {labels[0]} at {_corner(record, first)}")
            else:
                two_classes.append(f"{where}: {labels[0]} and {labels[1]} at {_corner(record, first)}")
        tiny += [f"{where}: {w:g} x {h:g} px" for w, h in _tiny_sides(record).tolist()]
        areas = geometry.area(record.boxes[~record.is_crowd])
        full += [where] * int((areas > FULL_FRAME_SHARE).sum())
    for kind, lines, what in (
        ("boxes-drawn-twice", twice, "{} boxed twice: the same class, IoU of " + f"{SAME_BOX_IOU:g} or more"),
        ("objects-of-two-classes", two_classes, "{} boxed as two classes: which one is right?"),
    ):
        if lines:
            objects = "object is" if len(lines) == 1 else "objects are"
            text = what.format(f"{len(lines)} {objects}")
            yield Finding("warning", kind, split, len(lines), text, tuple(lines))
    if tiny:
        are = "box is" if len(tiny) == 1 else "boxes are"
        text = f"{len(tiny)} {are} under {TINY_PX} px wide or high, or under {INVISIBLE_PX} px at {largest_input()} px "
        yield Finding("warning", "tiny-boxes", split, len(tiny), text + "of input: slips of the mouse?", tuple(tiny))
    if full:
        cover = "box covers" if len(full) == 1 else "boxes cover"
        text = f"{len(full)} {cover} more than {FULL_FRAME_SHARE:.0%} of the image. Is that intended?"
        yield Finding("warning", "full-frame-boxes", split, len(full), text, tuple(full))
    without = [quoted(record.file_name) for record in data.records if not len(record.labels)]
    if without:
        text = (
            f"{len(without)} of {counted(len(data.records), 'image')} without objects: this is what teaches background"
        )
        yield Finding("note", "images-without-objects", split, len(without), text, tuple(without))


def classes_with_few_objects(splits: Mapping[str, CocoData]) -> Iterator[Finding]:
    """Classes that cannot be learnt or measured well."""
    train = splits.get("train")
    if train is None:
        return
    counts = dict(zip(train.classes, train.objects_per_class, strict=True))
    never = [name for name, count in counts.items() if not count]
    few = [f"{name} ({count})" for name, count in counts.items() if 0 < count < FEW_OBJECTS]
    if never:
        text = f"no object to train on: {listed(never, limit=9)}"
        yield Finding("warning", "classes-without-objects", "train", len(never), text)
    if few:
        text = f"fewer than {FEW_OBJECTS} objects to train on: {listed(few, limit=9)}"
        yield Finding("warning", "classes-with-few-objects", "train", len(few), text)
    val = splits.get("val")
    if val is not None:
        measured = dict(zip(val.classes, val.objects_per_class, strict=True))
        unmeasured = [name for name, count in counts.items() if count and not measured.get(name)]
        unknown = [name for name, count in measured.items() if count and name not in counts]
        if unmeasured:
            text = f"no object to measure on: {listed(unmeasured, limit=9)}"
            yield Finding("warning", "classes-not-measured", "val", len(unmeasured), text)
        if unknown:
            text = f"not a class of the training set, and so never found: {listed(unknown, limit=9)}"
            yield Finding("warning", "classes-only-in-val", "val", len(unknown), text)


def much_larger(split: str, data: CocoData) -> Iterator[Finding]:
    """Images with many more pixels than any template uses: they cost time, and nothing is gained."""
    limit = MUCH_LARGER * largest_input()
    large = [record for record in data.records if min(record.width, record.height) > limit]
    if not large:
        return
    are = "image is" if len(large) == 1 else "images are"
    text = (
        f"{len(large)} {are} over {limit} px on both sides, and no model uses more than {largest_input()}: training "
        "reads photographs at a part of their size, other files take long"
    )
    lines = [f"{quoted(record.file_name)}: {record.width} x {record.height}" for record in large]
    yield Finding("note", "large-images", split, len(large), text, tuple(lines))


@cache
def shipped_templates() -> tuple[Template, ...]:
    """The templates that come with the package."""
    return tuple(config.load_template(path) for path in bundled_templates().values())


def largest_input() -> int:
    """Side in pixels of the largest network input of all templates."""
    return max(template.input.size for template in shipped_templates())


def unknown_to_training(splits: Mapping[str, CocoData]) -> Iterator[Finding]:
    """Objects to validate on of classes that the training set does not even name: other capitals, for one."""
    if "train" not in splits or "val" not in splits:
        return
    known = {*splits["train"].classes, *splits["train"].unchosen}
    others = {name: count for name, count in splits["val"].unchosen.items() if name not in known}
    if others:
        names = listed([f"{name} ({count})" for name, count in others.items()], limit=9)
        text = f"not a class of the training set, and so not measured: {names}"
        yield Finding("warning", "classes-only-in-val", "val", len(others), text)


def cheap(splits: Mapping[str, CocoData]) -> list[Finding]:
    """Warnings and errors that reading no pixel tells, for a word before a training."""
    findings = [
        finding for split, data in splits.items() for finding in [*doubtful(split, data), *questionable(split, data)]
    ]
    findings += [*classes_with_few_objects(splits), *unknown_to_training(splits)]
    return [finding for finding in findings if finding.severity != "note"]


def _same_boxes(record: Record) -> list[tuple[int, int]]:
    """Each row whose box is nearly that of an earlier one, behind the first such row; crowds apart."""
    rows = np.flatnonzero(~record.is_crowd)
    boxes = record.boxes[rows]
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(rows), ROWS_AT_ONCE):
        end = start + ROWS_AT_ONCE
        is_same = np.tril(geometry.iou(boxes[start:end], boxes[:end]) >= SAME_BOX_IOU, k=start - 1)
        seconds = np.flatnonzero(is_same.any(axis=1))
        firsts = is_same[seconds].argmax(axis=1)
        pairs += zip(rows[firsts].tolist(), rows[start + seconds].tolist(), strict=True)
    return pairs


def _tiny_sides(record: Record) -> NDArray[np.float64]:
    """Width and height in pixels (N, 2) of the boxes that are too small in the image or at the largest input."""
    sides = record.boxes_px[:, 2:] - record.boxes_px[:, :2]
    at_input = sides / np.array([record.width, record.height], dtype=np.float64) * largest_input()
    small: NDArray[np.float64] = sides[(sides.min(axis=1) < TINY_PX) | (at_input.min(axis=1) < INVISIBLE_PX)]
    return small


def _corner(record: Record, row: int) -> str:
    x, y = record.boxes_px[row, :2]
    return f"({x:g}, {y:g})"


def _leaves_its_image(record: Record) -> bool:
    far = np.array([record.width, record.height], dtype=np.float64) + CLIP_TOLERANCE_PX
    return bool((record.boxes_px[:, :2] < -CLIP_TOLERANCE_PX).any() or (record.boxes_px[:, 2:] > far).any())


def _as_kind(plural: str) -> str:
    return plural.split(",", maxsplit=1)[0].replace(" ", "-")


def _counted(number: int, plural: str) -> str:
    """Count what is given as a plural: `1 bad box`, `2 bad boxes`."""
    noun = next((word for word in plural.split(" ") if word in SINGULAR), "")
    return counted(number, plural.replace(noun, SINGULAR.get(noun, ""), 1), plural)
