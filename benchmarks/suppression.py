"""What other thresholds and another suppression of doubles would make of a trained detector; nothing is trained.

    python benchmarks/suppression.py CHECKPOINT=FOLDER...
    python benchmarks/suppression.py --speed CHECKPOINT=FOLDER...     exports with 200 candidates and as now

FOLDER holds val/ and annotations_val.json. The network runs once; its output is turned into detections in each way.
"""

from __future__ import annotations

import argparse
import dataclasses
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from common import annotations  # the module beside this one
from multibox import config
from multibox.boxes import iou
from multibox.config import PostprocessConfig, bundled_templates
from multibox.data import coco
from multibox.data.coco import CocoData
from multibox.data.images import resize, to_input
from multibox.data.loader import evaluation_images
from multibox.evaluate import speed, speed_table
from multibox.evaluate.average_precision import measure
from multibox.model import detector
from multibox.model.postprocess import select
from multibox.runtime.compiled import compile_network
from multibox.structures import Detections
from multibox.weights.checkpoint import Checkpoint, load, save

CHANGES: dict[str, tuple[float, ...]] = {
    "iou_threshold": (0.4, 0.5, 0.55, 0.6, 0.65),
    "score_threshold": (0.01, 0.05, 0.1),
    "max_per_class": (100, 200, 300, 400, 600, 1000, 1600),
}
SIGMA = 0.5
"""Of Gaussian soft-NMS. Source: Bodla et al., "Soft-NMS: Improving Object Detection With One Line of Code", 2017."""


def main() -> None:
    """Run each checkpoint and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="+", metavar="CHECKPOINT=FOLDER")
    parser.add_argument("--speed", action="store_true")
    arguments = parser.parse_args()
    pairs = [tuple(map(Path, pair.rsplit("=", 1))) for pair in arguments.pairs]
    if arguments.speed:
        print("| data | model | candidates | file | hint | p50 ms | speed, 200 = 1 |\n|---|---|---|---|---|---|---|")
        for file, folder in pairs:
            print_speed(load(file), folder)
        return
    rows: dict[str, list[str]] = {}
    heads = ["what differs"]
    for file, folder in pairs:
        checkpoint = load(file)
        labels, root = annotations(folder, "val")
        data = coco.read([labels], [root], classes=checkpoint.classes)
        heads.append(f"{folder.resolve().name} {checkpoint.template.input.size}")
        for name, detections in ways(Network(checkpoint, data), checkpoint.template.postprocess):
            metrics = measure(detections, data)
            rows.setdefault(name, []).append(f"{metrics.ap:.3f} / {metrics.ap50:.3f}")
    lines = [heads, ["---"] * len(heads), *([name, *cells] for name, cells in rows.items())]
    print("\n".join(f"| {' | '.join(cells)} |" for cells in lines))


class Network:
    """What a network says about each image of a data set."""

    def __init__(self, checkpoint: Checkpoint, data: CocoData) -> None:
        template, model = checkpoint.template, checkpoint.build()
        size = template.input.size
        self.variances = template.model.box_variances
        self.anchors = detector.anchors(model, template)
        self.outputs = []
        forward = compile_network(model, input_size=size)
        for image in evaluation_images(data.records, num_workers=1):
            raw = forward(torch.from_numpy(to_input([resize(image, size)])))
            self.outputs.append((raw.deltas.numpy(), detector.scores(model, raw.logits.numpy())))

    def detections(self, settings: PostprocessConfig) -> list[Detections]:
        """Those of each image with these settings."""
        return [
            select(deltas, scores, self.anchors, variances=self.variances, config=settings)[0]
            for deltas, scores in self.outputs
        ]


def ways(network: Network, usual: PostprocessConfig) -> Iterator[tuple[str, list[Detections]]]:
    """Each way's name and what it finds in each image."""
    yield "nothing", network.detections(usual)
    for key, values in CHANGES.items():
        for value in values:
            yield f"{key} {value:g}", network.detections(config.replace(usual, **{key: value}))
    everything = config.replace(usual, iou_threshold=1.0, max_detections=100 * usual.max_per_class)
    found = network.detections(everything)
    yield f"Gaussian soft-NMS, sigma {SIGMA:g}", [soft(one, usual.max_detections) for one in found]


def soft(detections: Detections, count: int) -> Detections:
    """Soft-NMS per class: what overlaps a better box keeps exp(-IoU^2 / sigma) of its score instead of going."""
    scores = detections.scores.copy()
    for label in np.unique(detections.labels):
        rest = np.flatnonzero(detections.labels == label)
        while len(rest) > 1:
            best = rest[scores[rest].argmax()]
            rest = rest[rest != best]
            overlap = iou(detections.boxes[best][None], detections.boxes[rest])[0]
            scores[rest] *= np.exp(-(overlap**2) / SIGMA)
    order = np.argsort(-scores, kind="stable")[:count]
    return Detections(detections.boxes[order], scores[order], detections.labels[order])


def print_speed(checkpoint: Checkpoint, folder: Path) -> None:
    """Time files that are the same but for the number of candidates, in turns."""
    size = checkpoint.template.input.size
    bundled = config.load_template(bundled_templates()[f"mobilenet_v2-2s_ssd-{size}x{size}"])
    with tempfile.TemporaryDirectory() as work:
        places = []
        for count in (200, bundled.postprocess.max_per_class):
            template = config.changed(checkpoint.template, {"postprocess.max_per_class": count})
            places.append(Path(work) / str(count))
            save(Path(work) / f"{count}.pth", dataclasses.replace(checkpoint, template=template))
            command = ["export", "--load-weights", f"{places[-1]}.pth", "--save-model-to", str(places[-1])]
            subprocess.run([sys.executable, "-m", "multibox", *command], check=True, capture_output=True)
        for form in ("model.xml", "alt_ssd_export/model.xml"):
            files = [place / form for place in places]
            measured = speed.compare_speed(
                files, image_files=speed.find_image_files(folder / "val"), devices=["CPU"], seconds=10
            )
            for row in speed_table.speeds_to_plain(measured)["rows"][1:]:
                ratio = row["network"]["latency_ratio"]
                cells = [folder.resolve().name, str(size), places[1].name, form, row["precision_hint"]]
                cells += [f"{row['network']['p50_ms']:.2f}"]
                cells += [f"{ratio['median']:.3f} ({ratio['lower']:.2f}-{ratio['upper']:.2f})"]
                if row["file"] == str(files[1]):
                    print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
