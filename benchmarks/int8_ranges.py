"""What 8 bits cost YOLOX-Nano, by how its values and weights are rounded and by which parts are.

    python benchmarks/int8_ranges.py FOLDER --calibrate FOLDER_OF_IMAGES ...
    python benchmarks/int8_ranges.py FOLDER --checkpoint best.pth            # ranges from the training images of FOLDER

FOLDER holds val/ and annotations_val.json. Without a checkpoint, the network has the COCO weights that come with the
package, classes are the 80 of COCO, images are squared to 416 px, and ranges are measured on up to 96 other images.
`--rows` takes some parts of the table only, and `--images` some images only.

Besides AP on the annotations, rows say how far the outputs are from those in float32, which chance blurs less: AP with
what float32 finds (score 0.3 or more) as the truth; at the places with such a score, how much the boxes miss of an IoU
of 1, and the root mean square of the differences in score.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import nncf
import numpy as np
import openvino

from coco_detector import ANCHORS_PX, PUBLISHED_SIZE, SETTINGS, calibration_images  # the module beside this one
from common import annotations, circumstances
from multibox import boxes as box
from multibox import config
from multibox.compress import nncf as ours
from multibox.compress.ladder import FAST_IMAGES, calibration_squares
from multibox.compress.layer_inputs import measure_inputs
from multibox.compress.rounding import round_weights
from multibox.compress.smoothing import smooth
from multibox.data import coco
from multibox.data.coco import CocoData
from multibox.data.images import read_image, resize
from multibox.data.loader import evaluation_images
from multibox.evaluate.run import measure
from multibox.export.run import Request, write_files
from multibox.model.anchors import make_anchors
from multibox.model.csp_darknet import STRIDES
from multibox.model.postprocess import select
from multibox.openvino_graph import read_graph
from multibox.structures import Detections, FloatArray
from multibox.weights import checkpoint
from multibox.weights.bundled import coco_detector, read_bundled
from multibox.weights.checkpoint import Checkpoint
from multibox.weights.coco_classes import COCO_CLASSES

SURE = 0.3
"""Score in float32 from which a place, or what is found there, says how alike outputs are."""

PARTS = {
    "features.stem": "the stem's",
    "stage1": "the first stage's",
    "bbox_head": "the head's",
    "box_tower.1.pointwise": "what the box layers read",
    "/": "all",
}
"""Parts of the names of values that are left in float32, and what they are."""

Answers = tuple[FloatArray, FloatArray]
"""Deltas (N, A, 4) and scores (N, A, K + 1) of N images."""


@dataclass(frozen=True)
class Bench:
    """A network in float32 (`graph`), what it is measured on, and the images that ranges come from."""

    graph: Any
    data: CocoData
    squares: Sequence[FloatArray]
    ranges_from: Sequence[FloatArray]
    size: int
    settings: config.PostprocessConfig

    @cached_property
    def exact(self) -> Answers:
        """The answers in float32."""
        return self.answers(self.graph)

    @cached_property
    def as_float32_finds(self) -> CocoData:
        """The data with what is surely found in float32 as objects."""
        found = self.detections(self.exact)
        pairs = zip(self.data.records, found, strict=True)
        return dataclasses.replace(self.data, records=tuple(_with_objects(*pair) for pair in pairs))

    def answers(self, graph: Any) -> Answers:
        """What a graph answers."""
        compiled = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        deltas, scores = zip(*(compiled(square).values() for square in self.squares), strict=True)
        return np.concatenate(deltas), np.concatenate(scores)

    def detections(self, answers: Answers) -> list[Detections]:
        """What is found by these answers."""
        return select(*answers, self._anchors, variances=(1, 1), config=self.settings)

    def row(self, name: str, graph: Any) -> str:
        """A row of the table: AP, AP50, and how far from float32."""
        deltas, scores = answers = self.answers(graph)
        found = self.detections(answers)
        metrics, alike = measure(found, self.data), measure(found, self.as_float32_finds)
        sure = self.exact[1][..., :-1].max(axis=-1) >= SURE
        before, after = (box.decode(of, self._anchors[None], (1, 1))[sure] for of in (self.exact[0], deltas))
        iou = box.iou(before[:, None], after[:, None])
        best = self.exact[1][..., :-1][sure].argmax(axis=-1)[:, None]
        of_best = (np.take_along_axis(of[..., :-1][sure], best, axis=-1) for of in (self.exact[1], scores))
        apart = np.subtract(*of_best)
        cells = (f"{100 * value:.2f}" for value in (metrics.ap, metrics.ap50, alike.ap, 1 - iou.mean()))
        return f"| {name} | {' | '.join(cells)} | {np.sqrt((apart**2).mean()):.3f} |"

    @cached_property
    def _anchors(self) -> FloatArray:
        return make_anchors(ANCHORS_PX, STRIDES, self.size, offset=0)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--calibrate", type=Path, nargs="+")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--images", type=int, help="number of images to measure on; default: all")
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    arguments = parser.parse_args()
    if (arguments.calibrate is None) == (arguments.checkpoint is None):
        parser.error("name either --calibrate or --checkpoint")
    nncf.set_log_level(logging.ERROR)
    bench = _bench(arguments)
    print(f"{len(bench.squares)} images of {arguments.folder.name}. {circumstances()['machine']}\n")
    print("| | AP | AP50 | AP to float32's | 1 - IoU | score |\n|---|---|---|---|---|---|")
    print(bench.row("float32", bench.graph), flush=True)
    for rows in arguments.rows:
        for name, graph in ROWS[rows](bench):
            print(bench.row(name, graph), flush=True)


def _bench(arguments: argparse.Namespace) -> Bench:
    made = _coco_weights() if arguments.checkpoint is None else checkpoint.load(arguments.checkpoint)
    size = made.template.input.size
    data = _read(arguments.folder, "val", made)
    if arguments.images:
        data = data.evenly(arguments.images)
    if arguments.checkpoint is None:
        ranges_from = [resize(read_image(path), size) for path in calibration_images(arguments.calibrate)]
    else:
        ranges_from = calibration_squares(_read(arguments.folder, "train", made), FAST_IMAGES, size, seed=0)
    return Bench(
        graph=_graph(made),
        data=data,
        squares=[_planar(resize(image, size)) for image in evaluation_images(data.records, num_workers=1)],
        ranges_from=[_planar(square) for square in ranges_from],
        size=size,
        settings=made.template.postprocess,
    )


def _read(folder: Path, split: str, made: Checkpoint) -> CocoData:
    labels, root = annotations(folder, split)
    return coco.read([labels], [root], classes=made.classes)


def _planar(square: Any) -> FloatArray:
    """A square image as the raw file takes it."""
    planar: FloatArray = np.ascontiguousarray(square.transpose(2, 0, 1)[None].astype(np.float32))
    return planar


def _coco_weights() -> Checkpoint:
    template = config.load_template(config.bundled_templates()["yolox_nano-384x384"])
    template = config.changed(template, {"input.size": PUBLISHED_SIZE, "postprocess": msgspec.to_builtins(SETTINGS)})
    return Checkpoint(dict(read_bundled(coco_detector()).weights), COCO_CLASSES, template)


def _graph(made: Checkpoint) -> Any:
    """The raw graph of a checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint.save(Path(folder) / "latest.pth", made)
        files = write_files(made, Path(folder) / "latest.pth", Path(folder), Request(onnx=False, raw=True))
        return read_graph(files[-1].path).clone()


def _with_objects(record: coco.Record, found: Detections) -> coco.Record:
    """A record with what was surely found as its objects."""
    is_sure = found.scores >= SURE
    boxes = found.boxes[is_sure]
    boxes_px = boxes.astype(np.float64) * np.array([record.width, record.height] * 2)
    return dataclasses.replace(
        record,
        boxes=boxes,
        labels=found.labels[is_sure].astype(np.int64),
        is_crowd=np.zeros(len(boxes), dtype=np.bool_),
        boxes_px=boxes_px,
        areas_px=box.area(boxes_px),
    )


def symmetric(bench: Bench) -> Iterator[tuple[str, Any]]:
    """Rows of symmetric ranges, and with parts of the values in float32."""
    graph = quantised(bench, "PERFORMANCE")
    yield "symmetric", graph
    for part, what in PARTS.items():
        yield f"symmetric; {what} values in float32", without(graph, part)


def zero_points(bench: Bench) -> Iterator[tuple[str, Any]]:
    """Rows of zero points as NNCF finds them, and with parts of the values in float32."""
    graph = quantised(bench, "MIXED")
    yield "zero points", graph
    for part, what in PARTS.items():
        yield f"zero points; {what} values in float32", without(graph, part)


def variants(bench: Bench) -> Iterator[tuple[str, Any]]:
    """Rows of what else NNCF can do with zero points."""
    yield "zero points, biases corrected layer by layer", quantised(bench, "MIXED", thorough=True)
    yield "zero points, one scale for all channels", quantised(bench, "MIXED", per_channel=False)


def as_shipped(bench: Bench) -> Iterator[tuple[str, Any]]:
    """Rows of zero points with what `multibox compress` does besides, one after the other."""
    even, inputs = bench.graph.clone(), measure_inputs(bench.graph, bench.ranges_from)
    rounded = quantised(bench, "MIXED")
    round_weights(rounded, bench.graph, inputs)
    yield "zero points, weights rounded by layer", rounded
    smooth(even, inputs)
    yield "zero points, channels evened out", quantised(bench, "MIXED", graph=even)
    found = ours.quantize(bench.graph, bench.ranges_from, count=len(bench.ranges_from), thorough=False)
    yield "as shipped: both", found
    for part, what in PARTS.items():
        yield f"as shipped; {what} values in float32", without(found, part)


ROWS: Mapping[str, Callable[[Bench], Iterator[tuple[str, Any]]]] = {
    "symmetric": symmetric,
    "zero-points": zero_points,
    "variants": variants,
    "as-shipped": as_shipped,
}


def quantised(bench: Bench, preset: str, *, graph: Any = None, thorough: bool = False, per_channel: bool = True) -> Any:
    """The graph of a bench, or another, in 8 bits up to its last convolutions, as NNCF makes it."""
    graph = bench.graph if graph is None else graph
    ends = [node.get_friendly_name() for node in ours.nodes_after_convolutions(graph)]
    parameters = {} if per_channel else {"activations_quantization_params": _one_scale()}
    largest = nncf.quantization.range_estimator.RangeEstimatorParametersSet.MINMAX
    return nncf.quantize(
        graph.clone(),
        nncf.Dataset(list(bench.ranges_from)),
        preset=nncf.QuantizationPreset[preset],
        subset_size=len(bench.ranges_from),
        fast_bias_correction=not thorough,
        ignored_scope=nncf.IgnoredScope(names=ends),
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            activations_range_estimator_params=largest, **parameters
        ),
    )


def _one_scale() -> Any:
    return nncf.quantization.advanced_parameters.QuantizationParameters(per_channel=False)


def without(graph: Any, part: str) -> Any:
    """The graph without the roundings of values whose names contain `part`."""
    changed = graph.clone()
    for node in changed.get_ops():
        if node.get_type_name() == "FakeQuantize" and part in node.get_friendly_name():
            for target in list(node.output(0).get_target_inputs()):
                target.replace_source_output(node.input_value(0))
    changed.validate_nodes_and_infer_types()
    return changed


if __name__ == "__main__":
    main()
