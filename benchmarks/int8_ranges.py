"""What ranges of values cost YOLOX-Nano in 8 bits: symmetric or with zero points, and parts of it left in float32.

    python benchmarks/int8_ranges.py FOLDER --calibrate FOLDER_OF_IMAGES ...

FOLDER holds val/ and annotations_val.json with the 80 classes of COCO. The network has the COCO weights that come with
the package, and squared images of 416 px. Ranges are measured on up to 96 other images.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import nncf
import numpy as np
import openvino

from coco_detector import ANCHORS_PX, PUBLISHED_SIZE, SETTINGS, calibration_images  # the module beside this one
from common import annotations, circumstances
from multibox import config
from multibox.data import coco
from multibox.data.images import read_image, resize
from multibox.data.loader import evaluation_images
from multibox.evaluate.average_precision import Metrics
from multibox.evaluate.run import measure
from multibox.export.run import Request, write_files
from multibox.model.anchors import make_anchors
from multibox.model.csp_darknet import STRIDES
from multibox.model.postprocess import select
from multibox.openvino_graph import read_graph
from multibox.structures import FloatArray
from multibox.weights.bundled import coco_detector, read_bundled
from multibox.weights.checkpoint import Checkpoint, save
from multibox.weights.coco_classes import COCO_CLASSES

PARTS = {
    "": "no value",
    "backbone.features.stem": "the stem's values",
    "bbox_head": "the head's values",
    "/": "all values: only weights in 8 bits",
}
"""Parts of the names of values that are left in float32, and what they are."""


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--calibrate", type=Path, nargs="+", required=True)
    arguments = parser.parse_args()
    labels, root = annotations(arguments.folder, "val")
    data = coco.read([labels], [root], classes=COCO_CLASSES)
    squares = [planar(image) for image in evaluation_images(data.records, num_workers=1)]
    ranges_from = [planar(read_image(path)) for path in calibration_images(arguments.calibrate)]
    graph = exported()

    def row(name: str, model: Any) -> None:
        metrics = measured(model, squares, lambda found: measure(found, data))
        print(f"| {name} | {metrics.ap:.4f} | {metrics.ap50:.4f} |", flush=True)

    print(f"{len(squares)} images. {circumstances()['machine']}\n\n| values | AP | AP50 |\n|---|---|---|")
    row("float32", graph)
    symmetric = quantised(graph, ranges_from, "PERFORMANCE")
    for start, what in PARTS.items():
        row(f"symmetric; {what} in float32", without(symmetric, start))
    row("zero points", quantised(graph, ranges_from, "MIXED"))
    row("zero points, biases corrected layer by layer", quantised(graph, ranges_from, "MIXED", thorough=True))
    row("zero points, one scale for all channels", quantised(graph, ranges_from, "MIXED", per_channel=False))


def planar(image: Any) -> FloatArray:
    """An image as the raw file takes it."""
    return resize(image, PUBLISHED_SIZE).transpose(2, 0, 1)[None].astype(np.float32)


def exported() -> Any:
    """The raw graph of the COCO weights."""
    template = config.load_template(config.bundled_templates()["yolox_nano-384x384"])
    template = config.changed(template, {"input.size": PUBLISHED_SIZE, "postprocess": msgspec.to_builtins(SETTINGS)})
    made = Checkpoint(dict(read_bundled(coco_detector()).weights), COCO_CLASSES, template)
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder) / "latest.pth", made)
        files = write_files(made, Path(folder) / "latest.pth", Path(folder), Request(onnx=False, raw=True))
        graph: Any = read_graph(files[-1].path).clone()
    return graph


def quantised(
    graph: Any, images: Sequence[FloatArray], preset: str, *, thorough: bool = False, per_channel: bool = True
) -> Any:
    """The graph in 8 bits up to its last convolutions, as NNCF makes it."""
    ends = [node.get_friendly_name() for node in graph.get_ops() if node.get_type_name() in ("Sigmoid", "Multiply")]
    parameters = {} if per_channel else {"activations_quantization_params": _one_scale()}
    largest = nncf.quantization.range_estimator.RangeEstimatorParametersSet.MINMAX
    return nncf.quantize(
        graph.clone(),
        nncf.Dataset(list(images)),
        preset=nncf.QuantizationPreset[preset],
        subset_size=len(images),
        fast_bias_correction=not thorough,
        ignored_scope=nncf.IgnoredScope(names=ends),
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            activations_range_estimator_params=largest, **parameters
        ),
    )


def _one_scale() -> Any:
    return nncf.quantization.advanced_parameters.QuantizationParameters(per_channel=False)


def without(graph: Any, start: str) -> Any:
    """The graph without the roundings of values whose names contain `start`; with all of them if it is empty."""
    changed = graph.clone()
    for node in changed.get_ops():
        if node.get_type_name() == "FakeQuantize" and start and start in node.get_friendly_name():
            for target in list(node.output(0).get_target_inputs()):
                target.replace_source_output(node.input_value(0))
    changed.validate_nodes_and_infer_types()
    return changed


def measured(graph: Any, squares: Sequence[FloatArray], judge: Callable[[list[Any]], Metrics]) -> Metrics:
    """What a raw graph finds, judged."""
    compiled = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    anchors = make_anchors(ANCHORS_PX, STRIDES, PUBLISHED_SIZE, offset=0)
    found = []
    for square in squares:
        deltas, scores = compiled(square).values()
        found += select(deltas, scores, anchors, variances=(1, 1), config=SETTINGS)
    return judge(found)


if __name__ == "__main__":
    main()
