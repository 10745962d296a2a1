"""What the COCO weights that come with the package reach on images of COCO, beside the public file that they are from.

    python benchmarks/coco_detector.py FOLDER --public yolox_nano.onnx     # beside the public file, at several sizes
    python benchmarks/coco_detector.py FOLDER --calibrate FOLDER_OF_IMAGES  # exported files, in 8 bits too, at 416 px

FOLDER holds val/ and annotations_val.json with the 80 classes of COCO. Letterboxed means as the published network was
trained: the image keeps its shape in the top left corner, the rest is 114. Squared means as multibox has it. Ranges of
8 bits are measured on other images than those of FOLDER.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import cv2
import msgspec
import numpy as np
import onnxruntime
import torch

from common import annotations, circumstances  # the module beside this one
from multibox import config
from multibox.compress.candidates import CheckpointModel
from multibox.config import PostprocessConfig
from multibox.data import coco
from multibox.data.coco import CocoData
from multibox.data.images import read_image, resize, to_input
from multibox.data.loader import evaluation_images
from multibox.evaluate.run import measure
from multibox.export.run import Request, write_files
from multibox.model.anchors import make_anchors
from multibox.model.csp_darknet import STRIDES
from multibox.model.folding import fold
from multibox.model.postprocess import select
from multibox.model.yolox import YOLOX
from multibox.runtime.onnx_runtime import OnnxRuntime
from multibox.runtime.openvino_runtime import OpenVINORuntime
from multibox.runtime.protocol import Runtime
from multibox.runtime.torch_runtime import runtime_of
from multibox.structures import Detections, FloatArray, Image
from multibox.weights.bundled import coco_detector, read_bundled
from multibox.weights.checkpoint import Checkpoint, save
from multibox.weights.coco_classes import COCO_CLASSES

PUBLISHED_SIZE = 416
CALIBRATION_IMAGES = 96
SIZES = (256, 384, 416, 512, 640)
BORDER = 114
SETTINGS = PostprocessConfig(score_threshold=0.01, iou_threshold=0.65, max_per_class=1000, max_detections=300)
ANCHORS_PX = [[(float(stride), float(stride))] for stride in STRIDES]

Network = Callable[[Image], tuple[FloatArray, FloatArray]]
"""From a square BGR image to deltas (1, A, 4) and scores (1, A, 81)."""

Detect = Callable[[Image], Detections]
"""From a square BGR image to detections as fractions of it."""


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--public", type=Path)
    parser.add_argument("--calibrate", type=Path, nargs="+", default=[])
    parser.add_argument("--images", type=int, help="number of images to measure on; default: all")
    arguments = parser.parse_args()
    labels, root = annotations(arguments.folder, "val")
    data = coco.read([labels], [root], classes=COCO_CLASSES)
    if arguments.images:
        data = data.evenly(arguments.images)
    print(f"{len(data.records)} images. {circumstances()['machine']}\n")
    print("| network | input | px | AP | AP50 | AP75 |\n|---|---|---|---|---|---|")
    if arguments.public:
        detect = decoded(public(arguments.public), PUBLISHED_SIZE)
        print_row("public .onnx, float32", detect, data, size=PUBLISHED_SIZE, is_letterboxed=True)
        ours = bundled()
        for is_letterboxed in (True, False):
            for size in SIZES:
                print_row("bundled weights", decoded(ours, size), data, size=size, is_letterboxed=is_letterboxed)
    if arguments.calibrate:
        with tempfile.TemporaryDirectory() as folder:
            files = exported(Path(folder), arguments.calibrate)
            for is_letterboxed in (True, False):
                for name, runtime in files.items():
                    detect = partial(_detect, runtime)
                    print_row(name, detect, data, size=PUBLISHED_SIZE, is_letterboxed=is_letterboxed)


def print_row(name: str, detect: Detect, data: CocoData, *, size: int, is_letterboxed: bool) -> None:
    """One row of the table: a network measured on all images."""
    detections = []
    for image in evaluation_images(data.records, num_workers=1):
        square, share = letterbox(image, size) if is_letterboxed else (resize(image, size), (1.0, 1.0))
        detections.append(of_image(detect(square), share))
    metrics = measure(detections, data)
    cells = (name, "letterboxed" if is_letterboxed else "squared", size)
    print(f"| {' | '.join(map(str, cells))} | {metrics.ap:.4f} | {metrics.ap50:.4f} | {metrics.ap75:.4f} |", flush=True)


def decoded(network: Network, size: int) -> Detect:
    """What a network finds."""
    anchors = make_anchors(ANCHORS_PX, STRIDES, size, offset=0)

    def detect(square: Image) -> Detections:
        (found,) = select(*network(square), anchors, variances=(1, 1), config=SETTINGS)
        return found

    return detect


def exported(folder: Path, calibration: Sequence[Path]) -> dict[str, Runtime]:
    """The bundled weights as a checkpoint and as all exported files, in 8 bits too, by names for rows."""
    template = config.load_template(config.bundled_templates()["yolox_nano-384x384"])
    template = config.changed(
        template, {"input.size": PUBLISHED_SIZE, "postprocess": msgspec.to_builtins(SETTINGS), "name": "at 416 px"}
    )
    made = Checkpoint(dict(read_bundled(coco_detector()).weights), COCO_CLASSES, template)
    source = folder / "latest.pth"
    save(source, made)
    model = CheckpointModel(made, source, folder, device="cpu")
    squares = [resize(read_image(path), PUBLISHED_SIZE) for path in calibration_images(calibration)]
    quantised = model.quantise(squares, thorough=False).checkpoint
    assert quantised is not None
    runtimes: dict[str, Runtime] = {}
    for kind, checkpoint in (("", made), (", INT8", quantised)):
        runtimes[f"checkpoint{kind}"] = runtime_of(checkpoint, device="cpu")
        save(source, checkpoint)
        for file in write_files(checkpoint, source, folder / f"files{kind}", Request()):
            if file.path.suffix == ".onnx":
                runtimes[f"{file.name}{kind}"] = OnnxRuntime(file.path)
            else:
                runtimes[f"{file.name}{kind}"] = OpenVINORuntime(file.path, precision="f32")
    runtimes["model.xml, bfloat16"] = OpenVINORuntime(folder / "files/model.xml", precision="bf16")
    return runtimes


def calibration_images(folders: Sequence[Path]) -> list[Path]:
    """Up to `CALIBRATION_IMAGES`, as many of each folder."""
    return [path for folder in folders for path in sorted(folder.glob("*.jpg"))[: CALIBRATION_IMAGES // len(folders)]]


def _detect(runtime: Runtime, square: Image) -> Detections:
    (found,) = runtime([square])
    return found


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
