"""What a page shows of the data: numbers per class, sizes, where objects are, samples, and what the doctor found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from multibox.data.coco import CocoData
from multibox.evaluate.object_size import sides_px
from multibox.evaluate.record import RecordedEvaluation
from multibox.report import plots
from multibox.report.album import jpeg_address
from multibox.report.rendering import svg
from multibox.report.shown_paths import ShownPaths
from multibox.report.work_dir import RecordedRun, ResultFile
from multibox.structures import Image
from multibox.wording import NO_VALUE, counted

CENTRE_ROWS, CENTRE_COLUMNS = 12, 16
"""Parts of an image in which centres of objects are counted: few enough that a hundred objects show a pattern."""

SIZED_CLASSES = 12
"""Largest number of classes whose sizes are shown, those with the most objects."""

NUM_EXAMPLES = 3
"""Number of examples of a finding that a page shows."""

SHEET_QUALITIES = (80, 65, 50)
MAX_SHEET_BYTES = 400_000
"""Number of bytes of the sheet of samples, as text, at most."""


@dataclass(frozen=True, slots=True)
class DataFinding:
    """Something about the data that a person should know, with where to look and what to do about it."""

    severity: Literal["error", "warning", "note"]
    split: str
    text: str
    examples: tuple[str, ...]
    remedy: str


@dataclass(frozen=True, slots=True)
class DataExamination:
    """What was found out about the data of a run: findings, the gravest first, and a sheet of samples (BGR).

    `source` says in half a sentence where the findings come from; None where nobody looked.
    """

    findings: tuple[DataFinding, ...] = ()
    source: str | None = None
    sheet: Image | None = None
    sheet_of: str = ""


NOT_EXAMINED = DataExamination()
"""What is known of data at which nobody looked."""


def findings_of_file(file: ResultFile) -> tuple[DataFinding, ...]:
    """The findings in a file of `multibox doctor --json`."""
    return tuple(
        DataFinding(
            severity=one["severity"],
            split=one.get("split", ""),
            text=one["text"],
            examples=tuple(one.get("examples", ())),
            remedy=one.get("remedy", ""),
        )
        for one in file.content["findings"]
    )


def data_context(
    evaluation: RecordedEvaluation | None,
    run: RecordedRun | None,
    classes: Sequence[str],
    examination: DataExamination,
    paths: ShownPaths,
    *,
    num_shown: int,
) -> dict[str, Any]:
    """What the section about the data needs; classes beyond `num_shown` can be unfolded."""
    train: Mapping[str, Any] = run.facts.get("train_data") or {} if run is not None else {}
    rows = _class_rows(train, evaluation, classes)
    shown = rows if len(rows) <= num_shown + 1 else rows[:num_shown]
    has_objects = evaluation is not None and any(evaluation.data.objects_per_class)
    return {
        "data_rows": [*_totals(train, evaluation), *shown] if train or evaluation is not None else [],
        "data_hidden": rows[len(shown) :],
        "data_sentence": _data_sentence(train, evaluation),
        "data_plots": _data_plots(evaluation) if evaluation is not None and has_objects else [],
        "data_findings": [
            {"finding": one, "text": paths.sentence(one.text), "examples": _examples(one, paths)}
            for one in examination.findings
        ],
        "examined": paths.sentence(examination.source) if examination.source is not None else None,
        "sheet": _sheet_address(examination.sheet) if examination.sheet is not None else None,
        "sheet_of": examination.sheet_of,
    }


def centres(data: CocoData) -> NDArray[np.int64]:
    """How many objects have their centre in each part (rows, columns) of their image."""
    boxes = [record.boxes[~record.is_crowd] for record in data.records]
    corners = np.concatenate(boxes) if boxes else np.zeros((0, 4), dtype=np.float32)
    x, y = (corners[:, 0] + corners[:, 2]) / 2, (corners[:, 1] + corners[:, 3]) / 2
    counts, _, _ = np.histogram2d(y, x, bins=(CENTRE_ROWS, CENTRE_COLUMNS), range=((0, 1), (0, 1)))
    return counts.astype(np.int64)


def sides_per_class(data: CocoData, *, input_size: int, limit: int) -> dict[str, NDArray[np.float64]]:
    """The sides of the objects of each class, in pixels of the network input; of the `limit` most frequent classes."""
    sides = sides_px(data, input_size=input_size)
    labels = np.concatenate([record.labels[~record.is_crowd] for record in data.records])
    frequent = np.argsort(-np.bincount(labels, minlength=len(data.classes)), kind="stable")[:limit].tolist()
    return {data.classes[label]: sides[labels == label] for label in sorted(frequent) if (labels == label).any()}


def _data_plots(evaluation: RecordedEvaluation) -> list[tuple[Any, str]]:
    data, size = evaluation.data, evaluation.input_size
    drawn = [
        (
            svg(plots.object_sides(sides_px(data, input_size=size))),
            f"Sizes of the objects, as the network sees them at {size} x {size} pixels.",
        )
    ]
    per_class = sides_per_class(data, input_size=size, limit=SIZED_CLASSES)
    if len(per_class) > 1:
        drawn.append(
            (svg(plots.class_sides(per_class)), "Sizes per class: the dot is the middle one, 8 of 10 lie on the line.")
        )
    counts = centres(data)
    caption = f"Where objects have their centres; in the deepest part, {counted(int(counts.max()), 'object')}."
    return [*drawn, (svg(plots.object_centres(counts)), caption)]


def _class_rows(
    train: Mapping[str, Any], evaluation: RecordedEvaluation | None, classes: Sequence[str]
) -> list[dict[str, Any]]:
    in_training = train.get("objects_per_class") or {}
    in_val = evaluation.data.objects_per_class if evaluation is not None else None
    return [
        {
            "label": label,
            "name": name,
            "train": _number(in_training.get(name)),
            "val": _number(in_val[label] if in_val else None),
            "is_total": False,
        }
        for label, name in enumerate(classes)
    ]


def _totals(train: Mapping[str, Any], evaluation: RecordedEvaluation | None) -> list[dict[str, Any]]:
    num_images = num_empty = num_objects = None
    if evaluation is not None:
        num_images = len(evaluation.data.records)
        num_empty = [len(record.targets) for record in evaluation.data.records].count(0)
        num_objects = sum(evaluation.data.objects_per_class)
    totals = (
        ("images", train.get("images"), num_images),
        ("images without objects", train.get("images_without_objects"), num_empty),
        ("all objects", train.get("objects"), num_objects),
    )
    return [
        {
            "label": None,
            "name": name,
            "train": _number(trained),
            "val": _number(validated),
            "is_total": name == "all objects",
        }
        for name, trained, validated in totals
    ]


def _number(value: int | None) -> str:
    return NO_VALUE if value is None else f"{value:,}"


def _data_sentence(train: Mapping[str, Any], evaluation: RecordedEvaluation | None) -> str:
    parts = []
    if train.get("images"):
        parts.append(
            f"Trained on {counted(train['images'], 'image')} with {counted(train.get('objects', 0), 'object')}"
        )
    if evaluation is not None:
        data = evaluation.data
        verb = "measured" if parts else "Measured"
        parts.append(
            f"{verb} on {counted(len(data.records), 'image')} with {counted(sum(data.objects_per_class), 'object')}"
        )
    return f"{', '.join(parts)}." if parts else ""


def _examples(finding: DataFinding, paths: ShownPaths) -> list[str]:
    shown = [paths.sentence(example) for example in finding.examples[:NUM_EXAMPLES]]
    num_others = len(finding.examples) - len(shown)
    return [*shown, f"and {num_others:,} more"] if num_others > 0 else shown


def _sheet_address(sheet: Image) -> str:
    """The sheet inside of the page, as small as its budget asks."""
    address = ""
    for quality in SHEET_QUALITIES:
        address, *_ = jpeg_address(sheet, quality)
        if len(address) <= MAX_SHEET_BYTES:
            return address
    half = cv2.resize(sheet, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return jpeg_address(half, SHEET_QUALITIES[0])[0]
