"""Errors by kind, and what fixing each kind would give.

Source: Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection Errors", 2020: the six kinds, the IoU
thresholds of 0.5 (foreground) and 0.1 (background), and what it means to fix a kind.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from multibox.data.coco import CocoData, Record
from multibox.evaluate.hits import AP50, IOU_50, NO_OBJECT, Hits, find_hits
from multibox.evaluate.overlaps import corners_px, overlaps
from multibox.structures import Detections

FOREGROUND_IOU, BACKGROUND_IOU = 0.5, 0.1

Kind = Literal["class", "localisation", "both", "duplicate", "background", "missed"]
KINDS: tuple[Kind, ...] = ("class", "localisation", "both", "duplicate", "background", "missed")


@dataclass(frozen=True, slots=True)
class Mistake:
    """One error in the image `image`: the detection of row `row` there, the object `item` of its record, or both.

    `item` is what a wrong class or place was meant for; `row` is None where an object was missed.
    """

    kind: Kind
    image: int
    row: int | None
    item: int | None
    score: float


@dataclass(frozen=True, slots=True)
class KindOfError:
    """How often a kind occurs, and how much AP50, 0..1, fixing all of that kind alone would add."""

    kind: Kind
    count: int
    gain: float


def find_mistakes(detections: Sequence[Detections], data: CocoData, hits: Hits) -> tuple[Mistake, ...]:
    """Every detection that hits nothing and every object that is missed, with the kind of error.

    With o the best IoU with an object of the detection's own class and p that with one of another, the first of these
    that holds: localisation, 0.1 <= o < 0.5; class, p >= 0.5; duplicate, o >= 0.5, as that object is taken; background,
    all below 0.1; both. An object is missed if nothing hits it, and no wrong class or place is meant for it.
    """
    mistakes: list[Mistake] = []
    is_explained = [record.is_crowd.copy() for record in data.records]
    corners = [corners_px(detected, record) for detected, record in zip(detections, data.records, strict=True)]
    for of_class in hits.classes:
        for place in range(len(of_class.scores)):
            image, row, item = (
                int(of_class.images[place]),
                int(of_class.rows[place]),
                int(of_class.objects[IOU_50, place]),
            )
            if item != NO_OBJECT:
                is_explained[image][item] = True
            elif of_class.is_counted[IOU_50, place]:
                kind, item = _kind(corners[image][row], data.records[image], of_class.label)
                meant = None if item == NO_OBJECT else item
                mistakes.append(Mistake(kind, image, row, meant, float(of_class.scores[place])))
                if meant is not None:
                    is_explained[image][meant] = True
    for image, explained in enumerate(is_explained):
        mistakes.extend(Mistake("missed", image, None, int(item), 0.0) for item in np.flatnonzero(~explained))
    return tuple(mistakes)


def gains(
    detections: Sequence[Detections], data: CocoData, hits: Hits, mistakes: Sequence[Mistake]
) -> tuple[KindOfError, ...]:
    """Each kind with its number and what fixing it would give, in the order of `KINDS`."""
    before = _ap50(hits, data)
    kinds = []
    for kind in KINDS:
        number = sum(mistake.kind == kind for mistake in mistakes)
        fixed = find_hits(*fix_mistakes(detections, data, hits, mistakes, kinds={kind})) if number else hits
        kinds.append(KindOfError(kind, number, _ap50(fixed, data) - before))
    return tuple(kinds)


def fix_mistakes(
    detections: Sequence[Detections],
    data: CocoData,
    hits: Hits,
    mistakes: Sequence[Mistake],
    *,
    kinds: Collection[Kind],
) -> tuple[tuple[Detections, ...], CocoData]:
    """Detections and data as they would be without the errors of some kinds.

    A wrong class becomes that of the object, a wrong place its box; if the object has a detection already, the better
    one of them stays. Both, duplicates and those on background go. Missed objects are taken out of the data.
    """
    hit_by = _holders(hits)
    fixed = {
        (mistake.image, mistake.row): mistake
        for mistake in mistakes
        if mistake.kind in kinds and mistake.row is not None
    }
    rivals: dict[tuple[int, int], list[tuple[float, int]]] = defaultdict(list)
    gone: dict[int, set[int]] = defaultdict(set)
    for (image, row), mistake in fixed.items():
        assert row is not None
        if mistake.kind in {"class", "localisation"} and mistake.item is not None:
            rivals[image, mistake.item].append((mistake.score, row))
        else:
            gone[image].add(row)
    for (image, item), claims in rivals.items():
        holder = [hit_by[image, item]] if (image, item) in hit_by else []
        # The holder comes first: of equal scores it stays.
        _, *losers = sorted([*holder, *claims], key=lambda claim: -claim[0])
        gone[image].update(row for _, row in losers)
    by_image: dict[int, dict[int, Mistake]] = defaultdict(dict)
    for (image, row), mistake in fixed.items():
        assert row is not None
        by_image[image][row] = mistake
    changed = list(detections)
    for image in by_image.keys() | gone.keys():
        changed[image] = _fixed(detections[image], data.records[image], by_image[image], gone[image])
    missed = {(mistake.image, mistake.item) for mistake in mistakes if mistake.kind == "missed" and "missed" in kinds}
    return tuple(changed), _without(data, missed)


def _holders(hits: Hits) -> dict[tuple[int, int], tuple[float, int]]:
    """Score and row of the detection that hits each object; the keys are image and item."""
    holders = {}
    for of_class in hits.classes:
        for place in np.flatnonzero(of_class.is_hit[IOU_50]).tolist():
            key = int(of_class.images[place]), int(of_class.objects[IOU_50, place])
            holders[key] = float(of_class.scores[place]), int(of_class.rows[place])
    return holders


def _kind(box_px: NDArray[np.float64], record: Record, label: int) -> tuple[Kind, int]:
    """The kind of error of a detection that hits nothing, and the object that it was meant for."""
    shared = overlaps(box_px[None], record.boxes_px, np.zeros(len(record.labels), dtype=bool))[0]
    shared = np.where(record.is_crowd, -1.0, shared)
    own, other = np.where(record.labels == label, shared, -1.0), np.where(record.labels == label, -1.0, shared)
    best_own, best_other = own.max(initial=-1.0), other.max(initial=-1.0)
    if BACKGROUND_IOU <= best_own < FOREGROUND_IOU:
        return "localisation", int(own.argmax())
    if best_other >= FOREGROUND_IOU:
        return "class", int(other.argmax())
    if best_own >= FOREGROUND_IOU:
        return "duplicate", NO_OBJECT
    return ("background" if best_other < BACKGROUND_IOU else "both"), NO_OBJECT


def _fixed(detected: Detections, record: Record, mistakes: Mapping[int, Mistake], gone: Collection[int]) -> Detections:
    boxes, labels = detected.boxes.copy(), detected.labels.copy()
    scale = np.array([record.width, record.height, record.width, record.height], dtype=np.float64)
    for row, mistake in mistakes.items():
        if mistake.item is None:
            continue
        labels[row] = record.labels[mistake.item]
        if mistake.kind == "localisation":
            boxes[row] = record.boxes_px[mistake.item] / scale
    keep = np.array([row not in gone for row in range(len(detected))], dtype=bool)
    return Detections(boxes[keep], detected.scores[keep], labels[keep])


def _without(data: CocoData, missed: Collection[tuple[int, int | None]]) -> CocoData:
    by_image: dict[int, list[int]] = defaultdict(list)
    for image, item in missed:
        assert item is not None
        by_image[image].append(item)
    records = list(data.records)
    for image, items in by_image.items():
        record = records[image]
        keep = np.ones(len(record.labels), dtype=bool)
        keep[items] = False
        parts = {name: getattr(record, name)[keep] for name in ("boxes", "labels", "is_crowd", "boxes_px", "areas_px")}
        records[image] = dataclasses.replace(record, **parts)
    return dataclasses.replace(data, records=tuple(records))


def _ap50(hits: Hits, original: CocoData) -> float:
    """AP50, 0..1, over the classes that had objects; one whose objects are all taken out has 1 if it has no detection.

    Otherwise fixing what is missed would drop a class from the mean instead of mending it.
    """
    ap50 = hits.class_aps()[:, AP50]
    is_clean = [not of_class.is_counted[IOU_50].any() for of_class in hits.classes]
    had_objects = np.array(original.objects_per_class) > 0
    return float(np.where(np.isnan(ap50), is_clean, ap50)[had_objects].mean()) if had_objects.any() else 0.0
