"""What the COCO weights that come with the package reach on images of COCO, beside the public file that they are from.

    python benchmarks/coco_detector.py yolox_nano.onnx FOLDER

FOLDER holds val/ and annotations_val.json with the 80 classes of COCO. Letterboxed means as the published network was
trained: the image keeps its shape in the top left corner, the rest is 114. Squared means as multibox has it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import torch

from common import annotations, circumstances  # the module beside this one
from multibox.config import PostprocessConfig
from multibox.data import coco
from multibox.data.coco import CocoData
from multibox.data.images import resize, to_input
from multibox.data.loader import evaluation_images
from multibox.evaluate.run import measure
from multibox.model.anchors import make_anchors
from multibox.model.csp_darknet import STRIDES
from multibox.model.folding import fold
from multibox.model.postprocess import select
from multibox.model.yolox import YOLOX
from multibox.structures import Detections, FloatArray, Image
from multibox.weights.bundled import coco_detector, read_bundled
from multibox.weights.coco_classes import COCO_CLASSES

PUBLISHED_SIZE = 416
SIZES = (256, 384, 416, 512, 640)
BORDER = 114
SETTINGS = PostprocessConfig(score_threshold=0.01, iou_threshold=0.65, max_per_class=1000, max_detections=300)
ANCHORS_PX = [[(float(stride), float(stride))] for stride in STRIDES]

Network = Callable[[Image], tuple[FloatArray, FloatArray]]
"""From a square BGR image to deltas (1, A, 4) and scores (1, A, 81)."""


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("onnx", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    labels, root = annotations(arguments.folder, "val")
    data = coco.read([labels], [root], classes=COCO_CLASSES)
    print(f"{len(data.records)} images. {circumstances()['machine']}\n")
    print("| network | input | px | AP | AP50 | AP75 |\n|---|---|---|---|---|---|")
    print_row("public .onnx, float32", public(arguments.onnx), data, size=PUBLISHED_SIZE, is_letterboxed=True)
    ours = bundled()
    for is_letterboxed in (True, False):
        for size in SIZES:
            print_row("bundled weights", ours, data, size=size, is_letterboxed=is_letterboxed)


def print_row(name: str, network: Network, data: CocoData, *, size: int, is_letterboxed: bool) -> None:
    """One row of the table: a network measured on all images."""
    anchors = make_anchors(ANCHORS_PX, STRIDES, size, offset=0)
    detections = []
    for image in evaluation_images(data.records, num_workers=1):
        square, share = letterbox(image, size) if is_letterboxed else (resize(image, size), (1.0, 1.0))
        deltas, scores = network(square)
        (of_square,) = select(deltas, scores, anchors, variances=(1, 1), config=SETTINGS)
        detections.append(of_image(of_square, share))
    metrics = measure(detections, data)
    cells = (name, "letterboxed" if is_letterboxed else "squared", size)
    print(f"| {' | '.join(map(str, cells))} | {metrics.ap:.3f} | {metrics.ap50:.3f} | {metrics.ap75:.3f} |", flush=True)


def public(path: Path) -> Network:
    """The public file, which takes BGR in 0..255 and has sigmoids of objectness and classes as outputs."""
    session = onnxruntime.InferenceSession(str(path))

    def run(square: Image) -> tuple[FloatArray, FloatArray]:
        batch = square.transpose(2, 0, 1)[None].astype(np.float32)
        (output,) = session.run(None, {"images": batch})
        objectness = output[..., 4:5]
        return output[..., :4], np.concatenate([output[..., 5:] * objectness, 1 - objectness], axis=-1)

    return run


def bundled() -> Network:
    """The network with the weights that come with the package."""
    whole = YOLOX(num_classes=len(COCO_CLASSES))
    whole.load_state_dict(dict(read_bundled(coco_detector()).weights))
    network = fold(whole)

    @torch.inference_mode()
    def run(square: Image) -> tuple[FloatArray, FloatArray]:
        raw = network(torch.from_numpy(to_input([square])))
        return raw.deltas.numpy(), network.scores(raw.logits).numpy()

    return run


def letterbox(image: Image, size: int) -> tuple[Image, tuple[float, float]]:
    """The image, as large as fits, in the top left corner of a square; its share of the square's width and height."""
    height, width = image.shape[:2]
    ratio = min(size / width, size / height)
    new_width, new_height = int(width * ratio), int(height * ratio)
    square = np.full((size, size, 3), BORDER, dtype=np.uint8)
    square[:new_height, :new_width] = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    return square, (width * ratio / size, height * ratio / size)


def of_image(detections: Detections, share: tuple[float, float]) -> Detections:
    """Detections as fractions of the image, from fractions of the square of which it fills a share."""
    boxes = (detections.boxes / np.array([*share, *share], dtype=np.float32)).clip(0, 1)
    return Detections(boxes, detections.scores, detections.labels)


if __name__ == "__main__":
    main()
