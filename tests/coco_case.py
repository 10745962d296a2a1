"""Data sets and detections for the tests of average precision, and pycocotools, which says what is right."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from multibox.data import coco
from multibox.data.coco import CocoData, Record
from multibox.evaluate.average_precision import measure
from multibox.structures import Detections

SIDE = 200  # pixels of the square images below; boxes are typed in pixels

#  Four objects of 40 x 40 pixels in the corners of the image:
#
#     A . B
#     . . .
#     C . D
A, B, C, D = (10, 10, 50, 50), (150, 10, 190, 50), (10, 150, 50, 190), (150, 150, 190, 190)
NOWHERE = (90, 90, 110, 110)

Box = tuple[float, float, float, float]


def record(
    *objects: tuple[Box, int], crowd: Sequence[int] = (), image_id: int | str = 0, source: int = 0, name: str = "0.jpg"
) -> Record:
    """An image with (box, label) objects; `crowd` holds the positions of crowds."""
    boxes_px = np.array([box for box, _ in objects], dtype=np.float64).reshape(-1, 4)
    return Record(
        path=Path(name),
        file_name=name,
        image_id=image_id,
        source=source,
        width=SIDE,
        height=SIDE,
        boxes=(boxes_px / SIDE).astype(np.float32),
        labels=np.array([label for _, label in objects], dtype=np.int64),
        is_crowd=np.isin(np.arange(len(objects)), crowd),
        boxes_px=boxes_px,
        areas_px=(boxes_px[:, 2] - boxes_px[:, 0]) * (boxes_px[:, 3] - boxes_px[:, 1]),
    )


def dataset(*records: Record, classes: tuple[str, ...] = ("cat",)) -> CocoData:
    category_ids = tuple(range(3, 3 + len(classes)))
    return CocoData(records, classes, category_ids, num_clipped=0, skipped=(), fingerprint="")


def detections(*rows: tuple[Box, float, int]) -> Detections:
    """From (box in pixels, score, label)."""
    boxes = np.array([box for box, _, _ in rows], dtype=np.float32).reshape(-1, 4) / SIDE
    scores = np.array([score for _, score, _ in rows], dtype=np.float32)
    return Detections(boxes, scores, np.array([label for _, _, label in rows], dtype=np.int64))


def perfect(one: Record) -> Detections:
    return detections(*((tuple(box), 0.9, label) for box, label in zip(one.boxes_px, one.labels.tolist(), strict=True)))


def read_coco(folder: Path, *, annotations: list[dict[str, Any]], num_images: int = 1) -> CocoData:
    """A data set on disk: images 0.png, 1.png, ... whose brightness is their number; one class with id 0."""
    images = []
    for number in range(num_images):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((SIDE, SIDE, 3), number, dtype=np.uint8))
        images.append({"id": number, "file_name": f"{number}.png", "width": SIDE, "height": SIDE})
    content = {"images": images, "annotations": annotations, "categories": [{"id": 0, "name": "cat"}]}
    (folder / "annotations.json").write_text(json.dumps(content))
    return coco.read([folder / "annotations.json"], [folder])


def random_problem(seed: int) -> tuple[CocoData, list[Detections]]:
    """60 images with up to 12 objects of 6 classes (one of them never annotated), 5 % crowds, and 120 detections."""
    rng = np.random.default_rng(seed)
    records, found = [], []
    for index in range(60):
        num_objects = int(rng.integers(0, 13))
        width, height = (int(side) for side in rng.integers(150, 700, 2))
        scale = np.array([width, height, width, height], dtype=np.float64)
        boxes = random_boxes(rng, num_objects)
        labels = rng.integers(0, 5, num_objects)
        records.append(
            Record(
                path=Path(f"{index}.jpg"),
                file_name=f"{index}.jpg",
                image_id=index,
                source=0,
                width=width,
                height=height,
                boxes=boxes.astype(np.float32),
                labels=labels,
                is_crowd=rng.random(num_objects) < 0.05,
                boxes_px=boxes * scale,
                areas_px=np.prod((boxes[:, 2:] - boxes[:, :2]) * scale[:2], axis=1),
            )
        )
        near = boxes.repeat(3, axis=0) + rng.normal(0, 0.01, (3 * num_objects, 4))
        all_boxes = np.concatenate([near, random_boxes(rng, 120 - len(near))])
        all_labels = np.concatenate([labels.repeat(3), rng.integers(0, 6, 120 - len(near))])
        scores = rng.integers(1, 50, 120) / 50  # many equal scores: their order counts, too
        order = np.argsort(-scores, kind="stable")
        found.append(
            Detections(all_boxes[order].astype(np.float32), scores[order].astype(np.float32), all_labels[order])
        )
    classes = tuple("abcdef")
    return CocoData(tuple(records), classes, tuple(range(6)), num_clipped=0, skipped=(), fingerprint=""), found


def random_boxes(rng: np.random.Generator, number: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    corners = rng.uniform(0, 0.7, (number, 2))
    return np.concatenate([corners, corners + np.exp(rng.uniform(np.log(0.02), np.log(0.3), (number, 2)))], axis=1)


def pycocotools_reference(
    data: CocoData, detections: Sequence[Detections], ranges_px: Sequence[tuple[float, float]] | None = None
) -> Any:
    """An evaluation of pycocotools; with `ranges_px`, over these ranges of area instead of its own four."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    objects, results = [], []
    for number, (one, found) in enumerate(zip(data.records, detections, strict=True), start=1):
        for (x1, y1, x2, y2), label, area, is_crowd in zip(
            one.boxes_px, one.labels, one.areas_px, one.is_crowd, strict=True
        ):
            box = [x1, y1, x2 - x1, y2 - y1]
            entry = {"image_id": number, "category_id": int(label) + 1, "bbox": box, "area": area}
            objects.append({**entry, "id": len(objects) + 1, "iscrowd": int(is_crowd)})
        for box, score, label in zip(found.boxes.astype(np.float64), found.scores, found.labels, strict=True):
            x1, y1, x2, y2 = box * [one.width, one.height, one.width, one.height]
            entry = {"image_id": number, "category_id": int(label) + 1, "bbox": [x1, y1, x2 - x1, y2 - y1]}
            results.append({**entry, "score": float(score)})
    with redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "info": {},
            "images": [{"id": number + 1, "width": 1, "height": 1} for number in range(len(data.records))],
            "categories": [{"id": label + 1} for label in range(len(data.classes))],
            "annotations": objects,
        }
        truth.createIndex()
        evaluator = COCOeval(truth, truth.loadRes(results), "bbox")
        if ranges_px is not None:
            evaluator.params.areaRng = [list(limits) for limits in ranges_px]
            evaluator.params.areaRngLbl = [str(place) for place in range(len(ranges_px))]
        evaluator.evaluate()
        evaluator.accumulate()
    return evaluator


def assert_equal_to_pycocotools(data: CocoData, detections: Sequence[Detections]) -> None:
    """Compare every number of `measure` with that of pycocotools."""
    expected = pycocotools_reference(data, detections).eval
    precision, recall = expected["precision"][..., -1], expected["recall"][..., -1]  # 100 detections of an image
    metrics = measure(detections, data)
    everything, small, medium, large = (mean_of(precision[..., area]) for area in range(4))
    fifty, seventy_five = mean_of(precision[0, ..., 0]), mean_of(precision[5, ..., 0])
    assert_close([metrics.ap, metrics.ap50, metrics.ap75], [everything, fifty, seventy_five])
    assert_close([metrics.ap_small, metrics.ap_medium, metrics.ap_large], [small, medium, large])
    assert_close([metrics.recall], [mean_of(recall[..., 0])])
    for label, one in enumerate(metrics.per_class.values()):
        own = precision[:, :, label, 0]
        assert_close([one.ap, one.ap50, one.recall], [mean_of(own), mean_of(own[0]), mean_of(recall[:, label, 0])])
        assert (one.num_objects == 0) == (one.ap is None)


def mean_of(values: np.ndarray) -> float | None:
    """Pycocotools marks what could not be measured by -1."""
    measured = values[values > -1]
    return float(measured.mean()) if measured.size else None


def assert_close(numbers: Sequence[float | None], expected: Sequence[float | None]) -> None:
    """None is equal to None only."""
    as_array = np.array(numbers, dtype=float), np.array(expected, dtype=float)
    np.testing.assert_allclose(*as_array, rtol=0, atol=1e-9)


def grid_problem(rng: np.random.Generator) -> tuple[CocoData, list[Detections]]:
    """Up to six images of 256 x 256 pixels with boxes in whole pixels, where everything that may be equal often is.

    Areas lie at COCO's limits 32 x 32 and 96 x 96 and beside them, overlaps at thresholds, scores have four levels, a
    third of the objects may be crowds, and one of four classes may have no object.
    """
    side, num_classes = 256, 4
    sizes = np.array([[32, 32], [31, 33], [16, 64], [96, 96], [72, 128], [97, 95], [64, 64], [64, 32], [20, 20]])
    crowds = rng.choice([0.0, 0.3])
    records, detections = [], []
    for index in range(int(rng.integers(1, 7))):
        count = int(rng.integers(0, 9))
        size = sizes[rng.integers(0, len(sizes), count)]
        corners = 8 * rng.integers(0, 12, (count, 2))
        boxes_px = np.concatenate([corners, corners + size], axis=1).astype(np.float64)
        # In COCO, an area is that of the mask: smaller than the box as a rule, and at a limit now and then.
        areas = np.where(rng.random(count) < 0.5, size.prod(axis=1), rng.choice([32**2, 96**2, 500, 2000], count))
        labels = rng.integers(0, num_classes - int(rng.integers(0, 2)), count)
        records.append(
            Record(
                path=Path(f"{index}.jpg"),
                file_name=f"{index}.jpg",
                image_id=index,
                source=0,
                width=side,
                height=side,
                boxes=(boxes_px / side).astype(np.float32),
                labels=labels,
                is_crowd=rng.random(count) < crowds,
                boxes_px=boxes_px,
                areas_px=areas.astype(np.float64),
            )
        )
        near = boxes_px.repeat(3, axis=0) + 4 * rng.integers(-2, 3, (3 * count, 4))
        near = np.concatenate([near, boxes_px, np.tile([0, 0, 32, 32], (3, 1))])
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 4)
        near_labels = np.concatenate([labels.repeat(3), labels, rng.integers(0, num_classes, 3)])
        near_labels = np.where(rng.random(len(near)) < 0.2, rng.integers(0, num_classes, len(near)), near_labels)
        scores = rng.choice([0.25, 0.5, 0.75, 1.0], len(near))
        order = np.argsort(-scores, kind="stable")
        boxes = (near.clip(0, side) / side).astype(np.float32)
        detections.append(Detections(boxes[order], scores[order].astype(np.float32), near_labels[order]))
    return CocoData(tuple(records), tuple("abcd"), (0, 1, 2, 3), num_clipped=0, skipped=(), fingerprint=""), detections
