"""Any runtime on any data set: COCO average precision, in total and per class, and the files that report it.

Average precision is what pycocotools computes, number for number: at most 100 detections per image and class, mean
over the IoU thresholds 0.50 to 0.95, and over the classes that have objects.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multibox.data.coco import CocoData, Record
from multibox.data.loader import cut, evaluation_images
from multibox.errors import DependencyError, OptionError
from multibox.runtime.protocol import Runtime
from multibox.structures import Detections, Image
from multibox.threads import in_a_thread
from multibox.wording import counted

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
    num_workers: int = 1,
    progress: Callable[[int], None] | None = None,
    on_image: Callable[[Record, Image, Detections], None] | None = None,
) -> Evaluation:
    """Detections and metrics of a runtime on a data set whose classes are the runtime's, in its order.

    `progress` is told how many more images are done; `on_image` gets each record with its full-size
    BGR image and the detections on it, for drawing: one after the other, in a thread of its own. `num_workers` threads
    read images ahead. Reading, detecting and drawing go on side by side.
    """
    assert tuple(data.classes) == tuple(runtime.classes), f"data has {data.classes}, runtime {runtime.classes}"
    detections = detect(runtime, data.records, num_workers=num_workers, progress=progress, on_image=on_image)
    return Evaluation(measure(detections, data), tuple(detections))


def detect(
    runtime: Runtime,
    records: Sequence[Record],
    *,
    num_workers: int = 1,
    progress: Callable[[int], None] | None = None,
    on_image: Callable[[Record, Image, Detections], None] | None = None,
) -> list[Detections]:
    """What a runtime finds in the image of each record; see `evaluate`."""
    detections: list[Detections] = []
    with contextlib.closing(evaluation_images(records, num_workers=num_workers)) as images:
        # Part by part, so that no more full-size images than one part has can wait to be drawn.
        for indices in cut(records):
            ours = [records[index] for index in indices]
            part = itertools.islice(images, len(ours))
            for found in runtime.stream(part) if on_image is None else _detect_and_draw(runtime, ours, part, on_image):
                detections.append(found)
                if progress is not None:
                    progress(1)
    return detections


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


def ap_by_area(
    detections: Sequence[Detections], data: CocoData, ranges_px: Sequence[tuple[float, float]]
) -> tuple[tuple[float | None, float | None], ...]:
    """AP and AP50 on objects of each range of area, as COCO measures small, medium and large ones; None without any."""
    precision, _ = _precision_and_recall(detections, data, np.flatnonzero(data.objects_per_class), ranges_px)
    return tuple(
        (_mean(precision[..., place]), _mean(precision[IOU_50, ..., place])) for place in range(len(ranges_px))
    )


def check_classes(model_classes: Sequence[str], requested: Sequence[str] | None) -> tuple[str, ...]:
    """The classes to evaluate, which are always the model's: another order would swap their names.

    Raises:
        OptionError: `requested` (the option --classes) is not exactly the model's classes in the model's order.
    """
    classes = tuple(model_classes)
    if requested and tuple(requested) != classes:
        raise OptionError(
            f"The checkpoint knows {counted(len(classes), 'class', 'classes')} ({', '.join(classes)}); "
            f"{_difference(classes, requested)} "
            "Leave --classes out to use the checkpoint's."
        )
    return classes


def _detect_and_draw(
    runtime: Runtime,
    records: Sequence[Record],
    images: Iterable[Image],
    on_image: Callable[[Record, Image, Detections], None],
) -> Iterator[Detections]:
    """Detections of the image of each record; when the last is out, all are drawn."""
    kept: deque[Image] = deque()

    def keep() -> Iterator[Image]:
        for image in images:
            kept.append(image)
            yield image

    with in_a_thread(on_image) as draw:
        for record, found in zip(records, runtime.stream(keep()), strict=True):
            draw(record, kept.popleft(), found)
            yield found


def _precision_and_recall(
    detections: Sequence[Detections],
    data: CocoData,
    labels: NDArray[np.int64],
    areas_px: Sequence[tuple[float, float]] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Interpolated precision (10 IoU thresholds, 101 recalls, classes, areas) and recall (10, classes, areas).

    Only classes in `labels` are measured, in that order; -1 marks a combination without objects. `areas_px` are ranges
    of object area; by default COCO's four.
    """
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError as error:
        raise DependencyError(
            'Evaluating needs faster-coco-eval. Install it with: pip install "multibox[eval]"'
        ) from error
    if not labels.size:
        num_areas = 4 if areas_px is None else len(areas_px)
        return np.full((10, 101, 0, num_areas), -1.0), np.full((10, 0, num_areas), -1.0)
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
    if areas_px is not None:
        evaluator.params.areaRng = [list(one) for one in areas_px]
        evaluator.params.areaRngLbl = [str(place) for place in range(len(areas_px))]
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
        found.corner_and_size_px(record.width, record.height)[keep].tolist(),
        found.scores[keep].tolist(),
        found.labels[keep].tolist(),
        strict=True,
    )
    return [
        {"image_id": image_id, "category_id": label, "bbox": box, "area": box[2] * box[3], "score": score, "iscrowd": 0}
        for box, score, label in rows
    ]


def _mean(values: NDArray[np.float64]) -> float | None:
    measured = values[values > -1]
    return float(measured.mean()) if measured.size else None


def _silent(*_: object) -> None:
    """Take the place of print."""


def _difference(classes: tuple[str, ...], requested: Sequence[str]) -> str:
    if len(requested) != len(classes):
        return f"--classes names {len(requested)}."
    if sorted(requested) == sorted(classes):
        return "--classes has them in another order."
    return f"--classes names {', '.join(requested)}."
