"""A small work directory, as the commands leave it, for tests of reports: images, objects, detections, records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from multibox.data.coco import CocoData, Record
from multibox.data.description import describe
from multibox.evaluate import record as evaluation_record
from multibox.structures import Detections

SIDE = 200
INPUT_SIZE = 100


def record(
    boxes_px: list[list[float]],
    labels: list[int] | None = None,
    *,
    crowds: list[bool] | None = None,
    path: Path = Path("image.jpg"),
) -> Record:
    """An image of 200 x 200 pixels with these objects, of class 0 unless told."""
    corners = np.array(boxes_px, dtype=np.float64).reshape(-1, 4)
    count = len(corners)
    return Record(
        path=path,
        file_name=path.name,
        image_id=0,
        source=0,
        width=SIDE,
        height=SIDE,
        boxes=(corners / SIDE).clip(0, 1).astype(np.float32),
        labels=np.array([0] * count if labels is None else labels, dtype=np.int64),
        is_crowd=np.array(crowds or [False] * count, dtype=bool),
        boxes_px=corners,
        areas_px=(corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1]),
    )


def dataset(*records: Record, classes: tuple[str, ...] = ("a",), fingerprint: str = "f") -> CocoData:
    """A data set of these images; its images are where their paths say."""
    root = records[0].path.parent if records else Path()
    return CocoData(records, classes, (None,) * len(classes), 0, (), fingerprint, ((root / "val.json", root),))


def found(boxes_px: list[list[float]], scores: list[float], labels: list[int] | None = None) -> Detections:
    """Detections in such an image, best first."""
    corners = np.array(boxes_px, dtype=np.float64).reshape(-1, 4)
    count = len(corners)
    return Detections(
        (corners / SIDE).astype(np.float32),
        np.array(scores, dtype=np.float32),
        np.array([0] * count if labels is None else labels, dtype=np.int64),
    )


def random_case(seed: int, *, num_images: int = 12, num_classes: int = 3) -> tuple[CocoData, list[Detections]]:
    """Objects of several classes, crowds among them, and a model that finds them more or less."""
    rng = np.random.default_rng(seed)
    records, results = [], []
    for _ in range(num_images):
        count = int(rng.integers(0, 6))
        corners = rng.integers(0, 100, (count, 2))
        boxes = np.concatenate([corners, corners + rng.integers(10, 90, (count, 2))], axis=1).astype(float)
        labels = rng.integers(0, num_classes, count)
        records.append(record(boxes.tolist(), labels.tolist(), crowds=(rng.random(count) < 0.15).tolist()))
        near = np.repeat(boxes, 3, axis=0) + rng.normal(0, 8, (3 * count, 4))
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        away = rng.integers(0, 100, (4, 2))
        all_boxes = np.concatenate([near, np.concatenate([away, away + 40], axis=1)])
        guessed = np.where(rng.random(3 * count) < 0.8, np.repeat(labels, 3), rng.integers(0, num_classes, 3 * count))
        guessed = np.concatenate([guessed, rng.integers(0, num_classes, 4)])
        scores = rng.random(len(all_boxes)).round(2)
        order = np.argsort(-scores, kind="stable")
        results.append(found(all_boxes[order].tolist(), scores[order].tolist(), guessed[order].tolist()))
    return dataset(*records, classes=tuple(f"class {i}" for i in range(num_classes))), results


def work_dir(folder: Path, classes: tuple[str, ...], *, seed: int = 0, num_images: int = 12) -> CocoData:
    """Fill a folder with what train (and, in words of a few figures, export, compress and bench) leave; the data."""
    images = folder / "images of val"
    images.mkdir(parents=True)
    data, results = random_case(seed, num_images=num_images, num_classes=len(classes))
    records = []
    for number, one in enumerate(data.records):
        path = images / f"<b>{number}</b> & 'x' ü.jpg".replace("/", "_")
        path.write_bytes(cv2.imencode(".jpg", np.full((SIDE, SIDE, 3), 20 * number % 255, np.uint8))[1].tobytes())
        records.append(record(one.boxes_px.tolist(), one.labels.tolist(), crowds=one.is_crowd.tolist(), path=path))
    data = dataset(*records, classes=classes, fingerprint="validation")
    outputs = folder / "outputs"
    outputs.mkdir()
    (outputs / "best.pth").write_bytes(b"weights %d" % seed)
    facts = {
        "command": "multibox train --train-ann-files '<i>.json'",
        "seed": seed,
        "train_data": {**describe(data), "fingerprint": "training"},
        "val_data": describe(data),
        "start": "random weights",
        "multibox_version": "1",
        "python": "3",
        "libraries": {"numpy": "2"},
        "machine": "a machine",
    }
    (outputs / "run.json").write_text(json.dumps(facts))
    lines = [{"epoch": n, "step": 5 * n, "loss": 3 / n, "loss_classes": 2 / n, "loss_boxes": 1 / n} for n in (1, 2, 3)]
    scores: list[dict[str, Any]] = [{"ap": 0.1, "ap50": 0.2}, {"ap": None, "ap50": None}, {"ap": 0.3, "ap50": 0.5}]
    epochs = [json.dumps({**line, **more}) for line, more in zip(lines, scores, strict=True)]
    (outputs / "metrics.jsonl").write_text("".join(f"{line}\n" for line in epochs))
    evaluation_record.write_record(
        outputs / evaluation_record.NAME, results, data, model=outputs / "best.pth", input_size=INPUT_SIZE
    )
    return data


def deployed_files(folder: Path) -> None:
    """What export and compress leave, with figures typed by hand: a file that passed, INT8 that lost 0.4 points."""
    tolerance = {"box_px": 0.1, "score": 0.001, "ap_points": 0.1, "only_ap": False}
    form = {"file": "model.xml", "precision": "float32", "size_bytes": 7_000_000, "tolerance": tolerance}
    compared = {"num_matched": 9, "num_reference": 9, "largest_box_px": 0.01, "largest_score": 1e-6}
    found = {"ap": 0.3, "ap50": 0.6, "median_ms": 5.0, "passed": True, "comparison": compared}
    int8 = {**form, "name": "model.xml int8", "is_int8": True, "tolerance": {**tolerance, "ap_points": 0.2}}
    rows = [
        {"form": {**form, "name": "checkpoint", "size_bytes": None}, "ap": 0.3, "ap50": 0.6},
        {"form": {**form, "name": "model.xml", "reference": "checkpoint"}, **found},
        {"form": {**int8, "reference": "checkpoint"}, **found},
    ]
    export = {"checkpoint": "best.pth", "images": "the 12 images of val.json", "passed": True, "rows": rows}
    (folder / "export").mkdir(parents=True)
    (folder / "export/export.json").write_text(json.dumps(export))
    measured = {"drop": {"value": 0.4, "low": 0.1, "high": 0.9}, "metrics": {"ap": 0.296}}
    rung = {"rung": "ptq", "num_images": 64, "minutes": 1.5, "measured": measured}
    compression = {"rungs": [rung], "chosen": "ptq", "ap_float": 0.3, "max_drop": 0.5, "verdict": "loses 0.40"}
    (folder / "compress.json").write_text(json.dumps(compression))
