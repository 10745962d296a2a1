"""Where a training starts from: a checkpoint, a published snapshot, an exported model, or fresh weights."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from multibox.config import Template
from multibox.data.coco import CocoData
from multibox.files import kind_of
from multibox.model.anchors import LevelSizes
from multibox.weights import bundled, checkpoint, from_classifier
from multibox.weights.bundled import BUNDLED, CLASSIFIER, DETECTOR
from multibox.weights.from_openvino import read_ir
from multibox.weights.origin import WeightsOrigin, known_classes, origin_of, origin_of_packaged

BUNDLED_KINDS: dict[str, bundled.Kind] = {
    BUNDLED: "classifier",
    CLASSIFIER: "classifier",
    DETECTOR: "detector",
}


@dataclass(frozen=True)
class StartingPoint:
    """Weights to start from. `classes` is None where the file names none; `anchors_px` are for the template's input.

    `is_folded`: batch normalisation is folded away and needs statistics before training, see
    `multibox.train.batch_norm`.
    `origin`: what is known of the file.
    """

    weights: Mapping[str, Tensor]
    classes: tuple[str, ...] | None
    anchors_px: LevelSizes
    is_folded: bool
    name: str
    origin: WeightsOrigin | None = None


def open_starting_point(path: str | os.PathLike[str], template: Template) -> StartingPoint:
    """The starting point in a .pth file, an OpenVINO IR (.xml, .bin), a .safetensors, or a classifier (.tflite).

    "bundled-classifier" and "bundled-detector" stand for the package's own, "bundled" for the former.

    Anchors of a model of another input size are scaled to the template's.

    Raises:
        CheckpointError: the file cannot be read or holds another network.
    """
    if os.fspath(path) in BUNDLED_KINDS or Path(path).suffix.lower() == bundled.SUFFIX:
        return _of_starting_weights(path, template)
    if kind_of(path) == "openvino":
        imported = read_ir(path)
        anchors_px = _scaled(imported.anchors_px, template.input.size / imported.input_size)
        return StartingPoint(imported.state_dict, known_classes(path), anchors_px, True, str(path), origin_of(path))
    if Path(path).suffix.lower() == from_classifier.SUFFIX:
        weights = from_classifier.read_classifier(path)
        return StartingPoint(weights, None, template.model.anchors_px, True, str(path), origin_of(path))
    found = checkpoint.load(path, template=template)
    anchors_px = _scaled(found.template.model.anchors_px, template.input.size / found.template.input.size)
    origin = origin_of(path, recorded=found.meta.get("start_origin"))
    return StartingPoint(found.state_dict, found.classes, anchors_px, found.quantization is not None, str(path), origin)


def _of_starting_weights(path: str | os.PathLike[str], template: Template) -> StartingPoint:
    size, name = template.input.size, os.fspath(path)
    if name in BUNDLED_KINDS:
        kind = BUNDLED_KINDS[name]
        path = bundled.bundled_file(kind, size)
        name = f"bundled-{kind} ({path.name})"
    found = bundled.read_bundled(path)
    anchors_px = _scaled(found.anchors_px, size / found.input_size)
    ours = [file for kind in bundled.KINDS for file in bundled.bundled_files(kind).values()]
    is_ours = Path(path).resolve() in {file.resolve() for file in ours}
    origin = origin_of_packaged(path, source=found.origin, is_ours=is_ours)
    return StartingPoint(found.weights, None, anchors_px, False, f"{name}: {found.origin}", origin)


def knows_all_objects(classes: Sequence[str] | None, data: CocoData) -> bool:
    """Whether every class that has objects in `data` is among `classes`; false where these are not known."""
    wanted = {name for name, count in zip(data.classes, data.objects_per_class, strict=True) if count}
    return wanted <= set(classes or ())


def _scaled(anchors_px: LevelSizes, factor: float) -> LevelSizes:
    if factor == 1:
        return anchors_px
    return tuple(tuple((width * factor, height * factor) for width, height in level) for level in anchors_px)
