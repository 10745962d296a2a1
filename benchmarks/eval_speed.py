"""How much of the network's own throughput an evaluation keeps, and how long measuring the AP takes.

    python benchmarks/eval_speed.py MODEL.xml FOLDER [--images 1000] [--rounds 5]    MODEL.xml: an exported detector
    python benchmarks/eval_speed.py --table                                          the recorded results as Markdown

FOLDER holds the images of the evaluation; they are repeated until there are as many as asked for. In each round, the
network alone runs on inputs that are ready, then `multibox eval`'s own function on files: read, decoded, resized,
detected, matched, measured. The ratio of the two is taken round by round, in float32 and in what the device prefers.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from common import RESULTS, append, circumstances, read  # the module beside this one
from multibox.data import images
from multibox.data.coco import CocoData, Record
from multibox.evaluate import speed
from multibox.evaluate.average_precision import measure
from multibox.evaluate.run import evaluate
from multibox.evaluate.speed_networks import open_network
from multibox.evaluate.speed_table import Precision
from multibox.runtime.openvino_runtime import OpenVINORuntime
from multibox.structures import Detections

TABLE = RESULTS / "eval_speed.tsv"

NETWORK_SECONDS = 2.0
# COCO's val2017 with the most detections that count.
NUM_IMAGES, NUM_CLASSES, NUM_DETECTIONS, NUM_OBJECTS = 5000, 80, 100, 7


def main() -> int:
    """Measure, record, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    if arguments.table:
        print(table())
        return 0
    if arguments.model is None or arguments.folder is None:
        parser.error("name an exported model and a folder of images, or --table")
    facts = {"date": date.today().isoformat(), **circumstances()}
    facts["coco_seconds"] = [round(coco_seconds(seed), 2) for seed in range(3)]
    rows = [
        {**facts, "precision": precision}
        | evaluation(arguments.model, arguments.folder, precision, arguments.images, arguments.rounds)
        for precision in speed.PRECISIONS
    ]
    append(rows, TABLE)
    print(table())
    return 0


def evaluation(model: Path, folder: Path, precision: Precision, num_images: int, rounds: int) -> dict[str, Any]:
    """Images per second of the network alone and of the evaluation, in each round."""
    runtime = OpenVINORuntime(model, precision=None if precision == "default" else precision)
    pictures = speed.find_image_files(folder)
    sizes = [images.read_size(path) for path in pictures]
    records = [
        record(path, size)
        for path, size in itertools.islice(itertools.cycle(zip(pictures, sizes, strict=True)), num_images)
    ]
    data = CocoData(tuple(records), runtime.classes, (1,) * len(runtime.classes), 0, (), "")
    squares = [images.resize(images.read_image(path), runtime.input_size) for path in pictures[:4]]
    network, computes_in = open_network((model, "CPU", precision), runtime, squares)
    alone, whole = [], []
    for number in range(rounds + 1):
        started_at = time.perf_counter()
        count = 0
        for _ in network.kept_busy(number):
            count += 1
            if time.perf_counter() - started_at > NETWORK_SECONDS:
                break
        alone.append(count / (time.perf_counter() - started_at))
        started_at = time.perf_counter()
        evaluate(runtime, data)
        whole.append(num_images / (time.perf_counter() - started_at))
    return {
        "computes_in": computes_in,
        "images": num_images,
        "pixels": "x".join(map(str, sizes[0])),
        "network": [round(value, 1) for value in alone[1:]],  # the first round warms up
        "evaluation": [round(value, 1) for value in whole[1:]],
    }


def record(path: Path, size: tuple[int, int]) -> Record:
    """An image with one object, so that there is something to match."""
    width, height = size
    box = np.array([[0.25, 0.25, 0.75, 0.75]], dtype=np.float32)
    box_px = box.astype(np.float64) * [width, height, width, height]
    return Record(
        path=path,
        file_name=path.name,
        image_id=path.name,
        source=0,
        width=width,
        height=height,
        boxes=box,
        labels=np.zeros(1, dtype=np.int64),
        is_crowd=np.zeros(1, dtype=np.bool_),
        boxes_px=box_px,
        areas_px=np.array([width * height / 4.0]),
    )


def coco_seconds(seed: int) -> float:
    """Time to measure 5,000 images with 80 classes and 100 detections each, drawn at random around their objects."""
    rng = np.random.default_rng(seed)
    records, found = [], []
    for number in range(NUM_IMAGES):
        boxes = random_boxes(rng, NUM_OBJECTS)
        labels = rng.integers(NUM_CLASSES, size=NUM_OBJECTS)
        pixels = boxes.astype(np.float64) * 640
        sides = pixels[:, 2:] - pixels[:, :2]
        records.append(
            Record(
                path=Path(f"{number}.jpg"),
                file_name=f"{number}.jpg",
                image_id=number,
                source=0,
                width=640,
                height=640,
                boxes=boxes,
                labels=labels,
                is_crowd=np.zeros(NUM_OBJECTS, dtype=np.bool_),
                boxes_px=pixels,
                areas_px=sides.prod(axis=1),
            )
        )
        chosen = rng.integers(NUM_OBJECTS, size=NUM_DETECTIONS)
        near = np.clip(boxes[chosen] + rng.normal(0, 0.02, (NUM_DETECTIONS, 4)), 0, 1).astype(np.float32)
        near = np.concatenate([np.minimum(near[:, :2], near[:, 2:]), np.maximum(near[:, :2], near[:, 2:])], axis=1)
        scores = np.sort(rng.random(NUM_DETECTIONS).astype(np.float32))[::-1].copy()
        confused = np.where(rng.random(NUM_DETECTIONS) < 0.5, labels[chosen], rng.integers(NUM_CLASSES))
        found.append(Detections(near, scores, confused.astype(np.int64)))
    classes = tuple(str(number) for number in range(NUM_CLASSES))
    data = CocoData(tuple(records), classes, tuple(range(1, NUM_CLASSES + 1)), 0, (), "")
    started_at = time.perf_counter()
    measure(found, data)
    return time.perf_counter() - started_at


def random_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    """Corners (count, 4), float32 fractions."""
    sides = rng.uniform(0.05, 0.4, (count, 2))
    corners = rng.random((count, 2)) * (1 - sides)
    return np.concatenate([corners, corners + sides], axis=1).astype(np.float32)


def table() -> str:
    """All recorded results."""
    rows = [
        "| date | images | pixels | computes in | network alone images/s | evaluation images/s | share of each round |",
        "|---|---|---|---|---|---|---|",
    ]
    notes = []
    for r in read(TABLE):
        shares = sorted(whole / alone for whole, alone in zip(r["evaluation"], r["network"], strict=True))
        facts = [
            *(r["date"], str(r["images"]), r["pixels"], r["computes_in"]),
            *(f"{statistics.median(r[name]):.0f}" for name in ("network", "evaluation")),
            f"{statistics.median(shares):.2f} ({shares[0]:.2f} to {shares[-1]:.2f})",
        ]
        rows.append("| " + " | ".join(facts) + " |")
        seconds = statistics.median(r["coco_seconds"])
        if r["precision"] == speed.PRECISIONS[0]:  # once for the rows of a run
            notes.append(f"{r['date']}: AP of 5,000 images x 80 classes x 100 detections in {seconds} s.")
    return "\n".join([*rows, "", *notes])


if __name__ == "__main__":
    sys.exit(main())
