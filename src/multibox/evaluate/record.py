"""An evaluation as a file: objects and detections of every image, to look into later without the model.

`train` leaves one of its best weights, `eval` one beside its metrics; reports are made of them. For detections in the
COCO result format see `output_files.write_detections`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta, Struct

from multibox.data.coco import CocoData, Record
from multibox.data.description import describe
from multibox.errors import DataError, OptionError
from multibox.files import check_regular, sha256, write_atomically
from multibox.machine import provenance
from multibox.prepared import prepared
from multibox.structures import Detections
from multibox.wording import quoted

FORMAT = "multibox evaluation 1"

NAME = "evaluation.json"
"""Name of the file of an evaluation, or the end of its name."""

DECIMALS = 8
"""Number of decimals of fractions and scores: no float32 from 0.1 to 1 changes on the way."""

Measure = Annotated[float, Meta(ge=-1e9, le=1e9)]
Area = Annotated[float, Meta(ge=0)]  # as the annotations have it, which may be anything above 0
Share = Annotated[float, Meta(ge=-100, le=100)]
Score = Annotated[float, Meta(ge=0, le=1)]
Label = Annotated[int, Meta(ge=0)]
Side = Annotated[int, Meta(ge=1, le=1 << 20)]

ObjectRow = tuple[Measure, Measure, Measure, Measure, Area, Label, bool]
"""x1, y1, x2, y2 and area in pixels of the image, label, whether it is a crowd."""

DetectionRow = tuple[Share, Share, Share, Share, Score, Label]
"""x1, y1, x2, y2 as fractions of the image, score, label."""


class RecordedImage(Struct, frozen=True, kw_only=True):
    """An image: its name below the folder number `source`, its size, what is on it and what was found."""

    file_name: str
    source: Annotated[int, Meta(ge=0)]
    width: Side
    height: Side
    objects: list[ObjectRow]
    detections: list[DetectionRow]


class RecordedModel(Struct, frozen=True, kw_only=True):
    """The file that was evaluated: its path below the folder of the record, or its name; and its bytes' SHA-256."""

    file: str
    sha256: str


class _Content(Struct, frozen=True, kw_only=True):
    format: str
    model: RecordedModel
    classes: tuple[str, ...]
    input_size: Annotated[int, Meta(ge=1, le=1 << 14)]
    data: dict[str, Any]
    images: list[RecordedImage]
    made_by: dict[str, Any] = {}


class _Data(Struct, frozen=True):
    """What is read of `data`."""

    fingerprint: str = ""
    annotation_files: list[str] = []
    data_roots: list[str] = []


class _MadeBy(Struct, frozen=True):
    """What is read of `made_by`."""

    libraries: dict[str, str | None] | None = None


@dataclass(frozen=True, slots=True)
class RecordedEvaluation:
    """An evaluation read back: what was found pairs up with the records of `data`; `path` is the file it was in."""

    path: Path
    model: RecordedModel
    data: CocoData
    detections: tuple[Detections, ...]
    input_size: int
    made_by: dict[str, Any]


def write_record(
    path: str | os.PathLike[str],
    detections: Sequence[Detections],
    data: CocoData,
    *,
    model: str | os.PathLike[str],
    input_size: int,
) -> None:
    """Write what a model, a file of this path, found in a data set.

    Raises:
        OptionError: the file cannot be written, or the model not be read.
    """
    target = Path(path)
    images = [_image(record, detected) for record, detected in zip(data.records, detections, strict=True)]
    try:
        content = _Content(
            format=FORMAT,
            model=RecordedModel(file=_relative(Path(model), target.parent), sha256=sha256(model)),
            classes=data.classes,
            input_size=input_size,
            data=describe(data),
            images=images,
            made_by=provenance(),
        )
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, msgspec.json.encode(content))
    except OSError as error:
        raise OptionError(f"{error.filename or target}: cannot be read or written: {error.strerror}.") from error


def read_record(path: str | os.PathLike[str]) -> RecordedEvaluation:
    """The evaluation in a file of `write`. Its images need not be there any more.

    Raises:
        DataError: the file is missing, damaged, or something else.
    """
    try:
        check_regular(path)
        content = msgspec.json.decode(Path(path).read_bytes(), type=prepared(_Content))
        facts = msgspec.convert(content.data, prepared(_Data))
        msgspec.convert(content.made_by, prepared(_MadeBy))
    except OSError as error:
        raise DataError(f"{path}: cannot read the evaluation: {error.strerror}.") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise DataError(
            f"{path}: this is no evaluation, or a damaged one: {error}. Run multibox eval again."
        ) from error
    if content.format != FORMAT:
        raise DataError(f"{path}: it says {content.format}, this version reads {FORMAT}. Run multibox eval again.")
    fault = _contradiction(content, facts)
    if fault:
        raise DataError(f"{path}: this evaluation is damaged: {fault}. Run multibox eval again.")
    roots = [Path(root) for root in facts.data_roots]
    data = CocoData(
        records=tuple(_record(image, roots, number) for number, image in enumerate(content.images)),
        classes=content.classes,
        category_ids=(None,) * len(content.classes),
        num_clipped=0,
        skipped=(),
        fingerprint=facts.fingerprint,
        sources=tuple((Path(file), root) for file, root in zip(facts.annotation_files, roots, strict=True)),
    )
    detections = tuple(_detections(image) for image in content.images)
    return RecordedEvaluation(Path(path), content.model, data, detections, content.input_size, content.made_by)


def _contradiction(content: _Content, facts: _Data) -> str:
    """What no evaluation says, as the end of a sentence; empty if there is nothing of it."""
    if len(set(content.classes)) != len(content.classes):
        return "two classes have the same name"
    if len(facts.annotation_files) != len(facts.data_roots):
        return "it does not say which images belong to which annotations"
    for image in content.images:
        labels = [row[5] for row in (*image.objects, *image.detections)]
        if max(labels, default=-1) >= len(content.classes):
            return f"class {max(labels)} of {quoted(image.file_name)} has no name"
        if facts.data_roots and image.source >= len(facts.data_roots):
            return f"the folder of {quoted(image.file_name)} is not named"
    return ""


def _place(image: RecordedImage, roots: Sequence[Path]) -> Path:
    """Where an image is, or a folder, which is no image: nothing but what lies below the data's folder is shown."""
    name = PurePosixPath(image.file_name.replace("\\", "/"))
    is_below = not name.is_absolute() and ".." not in name.parts and ":" not in image.file_name[:2]
    return roots[image.source] / image.file_name if is_below and image.source < len(roots) else Path()


def _image(record: Record, detected: Detections) -> RecordedImage:
    numbers = np.concatenate([detected.boxes, detected.scores[:, None]], axis=1).astype(np.float64).round(DECIMALS)
    objects = zip(
        record.boxes_px.round(3).tolist(),
        record.areas_px.round(3).tolist(),
        record.labels.tolist(),
        record.is_crowd.tolist(),
        strict=True,
    )
    return RecordedImage(
        file_name=record.file_name,
        source=record.source,
        width=record.width,
        height=record.height,
        objects=[(*box, area, label, is_crowd) for box, area, label, is_crowd in objects],
        detections=[(*row, label) for row, label in zip(numbers.tolist(), detected.labels.tolist(), strict=True)],
    )


def _record(image: RecordedImage, roots: Sequence[Path], number: int) -> Record:
    rows = np.array([row[:5] for row in image.objects], dtype=np.float64).reshape(-1, 5)
    scale = np.array([image.width, image.height, image.width, image.height], dtype=np.float64)
    return Record(
        path=_place(image, roots),
        file_name=image.file_name,
        image_id=number,
        source=image.source,
        width=image.width,
        height=image.height,
        boxes=(rows[:, :4] / scale).clip(0, 1).astype(np.float32),
        labels=np.array([row[5] for row in image.objects], dtype=np.int64),
        is_crowd=np.array([row[6] for row in image.objects], dtype=np.bool_),
        boxes_px=rows[:, :4],
        areas_px=rows[:, 4],
    )


def _detections(image: RecordedImage) -> Detections:
    rows = np.array([row[:5] for row in image.detections], dtype=np.float32).reshape(-1, 5)
    labels = np.array([row[5] for row in image.detections], dtype=np.int64)
    return Detections(rows[:, :4], rows[:, 4], labels)


def _relative(path: Path, folder: Path) -> str:
    """A file beside the record or below keeps its place when the folder moves; of any other the name says enough."""
    inside, folder = path.resolve(), folder.resolve()
    return inside.relative_to(folder).as_posix() if inside.is_relative_to(folder) else path.name
