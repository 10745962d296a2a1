"""Any runtime on any data set: COCO average precision, in total and per class, and the files that report it.

Average precision is what pycocotools computes, number for number: at most 100 detections per image and class, mean
over the IoU thresholds 0.50 to 0.95, and over the classes that have objects.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import yaml
from numpy.typing import NDArray
from rich.markup import escape
from rich.table import Table

from multibox.data.coco import CocoData, Record
from multibox.data.loader import evaluation_batches
from multibox.errors import DataError, DependencyError, OptionError
from multibox.files import write_atomically
from multibox.images import Image
from multibox.runtimes import Runtime
from multibox.structures import Detections

MAX_DETECTIONS_PER_CLASS = 100
"""Per image; the limit of the COCO challenge."""

IOU_50, IOU_75 = 0, 5
"""Positions in COCO's IoU thresholds 0.50, 0.55, ... 0.95."""

ALL, SMALL, MEDIUM, LARGE = range(4)
"""Positions in COCO's ranges of object area: all, below 32², up to 96², above (pixels of the original image)."""


@dataclass(frozen=True, slots=True)
class ClassMetrics:
    """Metrics of one class, fractions in 0..1; None where the data set has no object of it."""

    ap: float | None
    ap50: float | None
    recall: float | None
    num_objects: int


@dataclass(frozen=True, slots=True)
class Metrics:
    """COCO metrics of a data set, fractions in 0..1; None where no object could be found.

    `ap` is the mean over IoU thresholds 0.50 to 0.95, `ap50` and `ap75` at one threshold, `ap_small`, `ap_medium` and
    `ap_large` on objects of an area below 32², up to 96² and above; `recall` is COCO's AR@100. `per_class` follows the
    order of the classes. `num_objects` does not count crowds.
    """

    ap: float | None
    ap50: float | None
    ap75: float | None
    ap_small: float | None
    ap_medium: float | None
    ap_large: float | None
    recall: float | None
    per_class: Mapping[str, ClassMetrics]
    num_images: int
    num_objects: int

    def to_plain(self) -> dict[str, Any]:
        """The same as dictionaries and numbers, ready for JSON: a missing value is None, never NaN."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a runtime found, one entry per record of the data set in its order, and how good that is."""

    metrics: Metrics
    detections: tuple[Detections, ...]


def evaluate(
    runtime: Runtime,
    data: CocoData,
    *,
    batch_size: int = 8,
    num_workers: int = 1,
    progress: Callable[[int], None] | None = None,
    on_image: Callable[[Record, Image, Detections], None] | None = None,
) -> Evaluation:
    """Detections and metrics of a runtime on a data set whose classes are the runtime's, in its order.

    `progress` is told after each batch how many images that was; `on_image` gets each record with its full-size BGR
    image and the detections on it, for drawing. `num_workers` threads read images ahead while the runtime works.
    """
    assert tuple(data.classes) == tuple(runtime.classes), f"data has {data.classes}, runtime {runtime.classes}"
    found: dict[int, Detections] = {}
    batches = evaluation_batches(
        data.records, input_size=runtime.input_size, batch_size=batch_size, num_workers=num_workers
    )
    for indices, images in batches:
        results = runtime(images)
        found.update(zip(indices, results, strict=True))
        if on_image is not None:
            for index, image, result in zip(indices, images, results, strict=True):
                on_image(data.records[index], image, result)
        if progress is not None:
            progress(len(indices))
    detections = tuple(found[index] for index in range(len(data.records)))
    return Evaluation(measure(detections, data), detections)


def measure(detections: Sequence[Detections], data: CocoData) -> Metrics:
    """COCO metrics of detections that pair up with the records of a data set.

    A class without objects has no metrics and does not count in the means. Objects without any detection give 0.
    """
    assert len(detections) == len(data.records), f"{len(detections)} results for {len(data.records)} images"
    num_objects = data.objects_per_class
    labels = np.flatnonzero(num_objects)
    precision, recall = _precision_and_recall(detections, data, labels)
    columns = {int(label): column for column, label in enumerate(labels)}
    per_class = {
        name: ClassMetrics(
            ap=_mean(precision[:, :, columns[label], ALL]),
            ap50=_mean(precision[IOU_50, :, columns[label], ALL]),
            recall=_mean(recall[:, columns[label], ALL]),
            num_objects=num_objects[label],
        )
        if label in columns
        else ClassMetrics(ap=None, ap50=None, recall=None, num_objects=0)
        for label, name in enumerate(data.classes)
    }
    return Metrics(
        ap=_mean(precision[..., ALL]),
        ap50=_mean(precision[IOU_50, ..., ALL]),
        ap75=_mean(precision[IOU_75, ..., ALL]),
        ap_small=_mean(precision[..., SMALL]),
        ap_medium=_mean(precision[..., MEDIUM]),
        ap_large=_mean(precision[..., LARGE]),
        recall=_mean(recall[..., ALL]),
        per_class=per_class,
        num_images=len(data.records),
        num_objects=sum(num_objects),
    )


def check_classes(
    model_classes: Sequence[str], requested: Sequence[str] | None, known: Sequence[str]
) -> tuple[str, ...]:
    """The classes to evaluate: the model's, whatever order `known`, the annotations' classes, has.

    Raises:
        OptionError: `requested` (the option --classes) is not exactly the model's classes in the model's order.
        DataError: the annotations know none of the model's classes, so that there would be nothing to measure.
    """
    classes = tuple(model_classes)
    if requested and tuple(requested) != classes:
        raise OptionError(
            f"The checkpoint knows {_count(classes)} ({', '.join(classes)}); {_difference(classes, requested)} "
            "Leave --classes out to use the checkpoint's."
        )
    if not set(classes) & set(known):
        raise DataError(
            f"The annotations know none of the model's classes: they have {', '.join(known) or 'none at all'}; the "
            f"model has {', '.join(classes)}. Give the annotations of the data that the model was made for."
        )
    return classes


def write_metrics_yaml(
    path: str | os.PathLike[str],
    *,
    weights_path: str | os.PathLike[str],
    metrics: Metrics,
    size_mp: float | None,
    complexity_gflops: float | None,
) -> None:
    """Write the original's metrics.yaml: the measured file, model size, complexity and AP in percent.

    Keys of an existing file other than `files` and `metrics` are kept. AP has one decimal, as the original had it from
    a printed 0.345. Without any object there is no AP: its value is null, and a line on stderr says so.

    Raises:
        OptionError: an existing file is no YAML mapping, or a file cannot be read or written.
    """
    target = Path(path)
    values = [
        {"display_name": "Size", "key": "size", "unit": "Mp", "value": size_mp},
        {"display_name": "Complexity", "key": "complexity", "unit": "GFLOPs", "value": complexity_gflops},
        {"display_name": "AP @ [IoU=0.50:0.95]", "key": "bbox", "unit": "%", "value": _percent(metrics.ap)},
    ]
    content = _existing_yaml(target) | {"files": [_file_facts(weights_path)], "metrics": values}
    _write(target, yaml.safe_dump(content))
    if metrics.ap is None:
        print(f"{target}: AP is null, because the data has no object of the model's classes.", file=sys.stderr)


def write_metrics_json(
    path: str | os.PathLike[str],
    *,
    weights_path: str | os.PathLike[str],
    metrics: Metrics,
    size_mp: float | None,
    complexity_gflops: float | None,
) -> None:
    """Write all metrics as JSON, unrounded fractions in 0..1, with the facts of metrics.yaml beside them.

    Raises:
        OptionError: a file cannot be read or written.
    """
    content = {
        "files": [_file_facts(weights_path)],
        "size_mp": size_mp,
        "complexity_gflops": complexity_gflops,
        "metrics": metrics.to_plain(),
    }
    _write(Path(path), msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")


def detections_to_coco(detections: Sequence[Detections], data: CocoData) -> list[dict[str, Any]]:
    """Detections in the COCO result format, with the image and category ids of the data set's own files.

    `bbox` is [x, y, width, height] in pixels of the original image. When several annotation files use an image id for
    different images, the id alone names none of them: then each entry also has the image's `file_name` and `source`,
    the position of its annotation file. Detections of a class that the files do not have are left out.
    """
    image_ids = [record.image_id for record in data.records]
    is_ambiguous = len(set(image_ids)) < len(image_ids)
    results: list[dict[str, Any]] = []
    for record, found in zip(data.records, detections, strict=True):
        origin = {"file_name": record.file_name, "source": record.source} if is_ambiguous else {}
        rows = zip(
            _corner_and_size_px(found, record).tolist(), found.scores.tolist(), found.labels.tolist(), strict=True
        )
        results.extend(
            {
                "image_id": record.image_id,
                "category_id": data.category_ids[label],
                "bbox": [round(value, 3) for value in box],
                "score": round(score, 6),
                **origin,
            }
            for box, score, label in rows
            if data.category_ids[label] is not None
        )
    return results


def write_detections(path: str | os.PathLike[str], detections: Sequence[Detections], data: CocoData) -> None:
    """Write `detections_to_coco` as JSON.

    Raises:
        OptionError: the file cannot be written.
    """
    _write(Path(path), msgspec.json.encode(detections_to_coco(detections, data)))


def table(metrics: Metrics) -> Table:
    """The metrics for a console: all classes together, then each; percent, and a dash where there is no object."""
    result = Table(caption=f"percent, on {metrics.num_images} images; - means: no such object", caption_justify="left")
    result.add_column("class")
    for name in ("AP", "AP50", "AP75", "small", "medium", "large", "recall", "objects"):
        result.add_column(name, justify="right")
    total = (metrics.ap, metrics.ap50, metrics.ap75, metrics.ap_small, metrics.ap_medium, metrics.ap_large)
    result.add_row("all", *map(_cell, total), _cell(metrics.recall), str(metrics.num_objects), end_section=True)
    for name, one in metrics.per_class.items():
        numbers = (_cell(one.ap), _cell(one.ap50), "", "", "", "", _cell(one.recall), str(one.num_objects))
        # The name may hold square brackets, which rich would read as markup.
        result.add_row(escape(name), *numbers)
    return result


def _precision_and_recall(
    detections: Sequence[Detections], data: CocoData, labels: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Interpolated precision (10 IoU thresholds, 101 recalls, classes, 4 areas) and recall (10, classes, 4).

    Only classes in `labels` are measured, in that order; -1 marks a combination without objects.
    """
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError as error:
        raise DependencyError(
            'Evaluating needs faster-coco-eval. Install it with: pip install "multibox[eval]"'
        ) from error
    if not labels.size:
        return np.full((10, 101, 0, 4), -1.0), np.full((10, 0, 4), -1.0)
    objects, results = [], []
    # Images count from 1 here; the ids of the files may start at 0, repeat in several files, or be text.
    for image_id, (record, found) in enumerate(zip(data.records, detections, strict=True), start=1):
        objects.extend(_object_entries(record, image_id, labels))
        results.extend(_detection_entries(found, record, image_id, labels))
    for entries in (objects, results):
        # The matcher marks "unmatched" by 0: an annotation with id 0 would lose its hit.
        for number, entry in enumerate(entries, start=1):
            entry["id"] = number
    images = [
        {"id": number, "width": record.width, "height": record.height}
        for number, record in enumerate(data.records, start=1)
    ]
    categories = [{"id": label} for label in labels.tolist()]
    truth, answer = (
        COCO({"images": images, "categories": categories, "annotations": entries}, print_function=_silent)
        for entries in (objects, results)
    )
    evaluator = COCOeval_faster(truth, answer, iouType="bbox", print_function=_silent)
    evaluator.params.maxDets = [MAX_DETECTIONS_PER_CLASS]
    evaluator.evaluate()
    evaluator.accumulate()
    precision, recall = np.asarray(evaluator.eval["precision"]), np.asarray(evaluator.eval["recall"])
    return precision[..., 0], recall[..., 0]


def _object_entries(record: Record, image_id: int, labels: NDArray[np.int64]) -> list[dict[str, Any]]:
    keep = np.isin(record.labels, labels)
    corners, sizes = record.boxes_px[keep, :2], record.boxes_px[keep, 2:] - record.boxes_px[keep, :2]
    rows = zip(
        np.concatenate([corners, sizes], axis=1).tolist(),
        record.areas_px[keep].tolist(),
        record.labels[keep].tolist(),
        record.is_crowd[keep].tolist(),
        strict=True,
    )
    return [
        {"image_id": image_id, "category_id": label, "bbox": box, "area": area, "iscrowd": int(is_crowd)}
        for box, area, label, is_crowd in rows
    ]


def _detection_entries(
    found: Detections, record: Record, image_id: int, labels: NDArray[np.int64]
) -> list[dict[str, Any]]:
    keep = np.isin(found.labels, labels)
    rows = zip(
        _corner_and_size_px(found, record)[keep].tolist(),
        found.scores[keep].tolist(),
        found.labels[keep].tolist(),
        strict=True,
    )
    return [
        {"image_id": image_id, "category_id": label, "bbox": box, "area": box[2] * box[3], "score": score, "iscrowd": 0}
        for box, score, label in rows
    ]


def _corner_and_size_px(found: Detections, record: Record) -> NDArray[np.float64]:
    """(N, 4): x, y, width, height in pixels of the original image, as COCO has them."""
    corners = found.boxes.astype(np.float64) * [record.width, record.height, record.width, record.height]
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)


def _mean(values: NDArray[np.float64]) -> float | None:
    measured = values[values > -1]
    return float(measured.mean()) if measured.size else None


def _silent(*_: object) -> None:
    """Take the place of print."""


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else round(100 * round(fraction, 3), 1)


def _cell(fraction: float | None) -> str:
    return "-" if fraction is None else f"{100 * fraction:.1f}"


def _count(classes: Sequence[str]) -> str:
    return f"{len(classes)} class" if len(classes) == 1 else f"{len(classes)} classes"


def _difference(classes: tuple[str, ...], requested: Sequence[str]) -> str:
    if len(requested) != len(classes):
        return f"--classes names {len(requested)}."
    if sorted(requested) == sorted(classes):
        return "--classes has them in another order."
    return f"--classes names {', '.join(requested)}."


def _file_facts(weights_path: str | os.PathLike[str]) -> dict[str, Any]:
    path = Path(weights_path)
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        # latest.pth is a link to epoch_15.pth: the report names the file that lasts.
        while path.is_symlink():
            path = path.parent / path.readlink()
        return {"name": path.name, "sha256": sha256, "size": path.stat().st_size, "source": str(path)}
    except OSError as error:
        raise OptionError(f"{path}: cannot read the weights: {error.strerror}.") from error


def _existing_yaml(path: Path) -> dict[str, Any]:
    advice = "Move it away, or name another file in --save-metrics-to."
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise OptionError(f"{path}: cannot read the existing file: {error.strerror}. {advice}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise OptionError(f"{path}: the existing file is no YAML, so its content cannot be kept. {advice}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise OptionError(f"{path}: the existing file is no metrics.yaml (no keys at its top level). {advice}")
    return content


def _write(path: Path, data: bytes | str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)
    except OSError as error:
        raise OptionError(f"{path}: cannot write the file: {error.strerror}.") from error
