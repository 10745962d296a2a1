"""Where a training starts from: a checkpoint, a published snapshot, an exported model, or fresh weights."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from multibox.config import SSDConfig, Template
from multibox.data.coco import CocoData
from multibox.errors import OptionError
from multibox.files import kind_of
from multibox.model.anchors import LevelSizes
from multibox.weights import bundled, checkpoint, from_classifier
from multibox.weights.bundled import BUNDLED, CLASSIFIER, DETECTOR
from multibox.weights.coco_classes import COCO_CLASSES
from multibox.weights.from_openvino import read_ir
from multibox.weights.origin import WeightsOrigin, known_classes, origin_of, origin_of_packaged
from multibox.weights.yolox_from_openvino import read_yolox_ir

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

    Words stand for the package's own: for an SSD "bundled-classifier" and "bundled-detector", "bundled" for the former;
    for YOLOX-Nano "bundled", its COCO weights.

    Anchors of a model of another input size are scaled to the template's.

    Raises:
        CheckpointError: the file cannot be read or holds another network.
        OptionError: no network of the template's family can start from this.
    """
    is_ssd = isinstance(template.model, SSDConfig)
    if not is_ssd and os.fspath(path) == BUNDLED:
        return _coco_start(template)
    if not is_ssd and not _suits_yolox(path):
        raise OptionError(
            f"{path}: {template.name} cannot start from this. Name a .pth of this family, an exported model (.xml), "
            "`bundled` for the COCO weights that come with multibox, or `random`."
        )
    if os.fspath(path) in BUNDLED_KINDS or Path(path).suffix.lower() == bundled.SUFFIX:
        return _of_starting_weights(path, template)
    if kind_of(path) == "openvino" and not is_ssd:
        weights, classes = read_yolox_ir(path, template)
        return StartingPoint(weights, classes, template.model.anchors_px, True, str(path), origin_of(path))
    if kind_of(path) == "openvino":
        imported = read_ir(path)
        anchors_px = _scaled(imported.anchors_px, template.input.size / imported.input_size)
        classes = imported.classes or known_classes(path)
        return StartingPoint(imported.state_dict, classes, anchors_px, True, str(path), origin_of(path))
    if Path(path).suffix.lower() == from_classifier.SUFFIX:
        weights = from_classifier.read_classifier(path)
        return StartingPoint(weights, None, template.model.anchors_px, True, str(path), origin_of(path))
    saved = checkpoint.load(path, template=template)
    if type(saved.template.model) is not type(template.model):
        raise OptionError(
            f"{path}: these are weights of {saved.template.name}, which is of another family than {template.name}. "
            "Train with a template of that family, or leave --load-weights out."
        )
    anchors_px = _scaled(saved.template.model.anchors_px, template.input.size / saved.template.input.size)
    origin = origin_of(path, recorded=saved.meta.get("start_origin"))
    return StartingPoint(saved.state_dict, saved.classes, anchors_px, saved.quantization is not None, str(path), origin)


def _suits_yolox(path: str | os.PathLike[str]) -> bool:
    is_other = Path(path).suffix.lower() in (bundled.SUFFIX, from_classifier.SUFFIX)
    return os.fspath(path) not in BUNDLED_KINDS and not is_other


def _coco_start(template: Template) -> StartingPoint:
    """YOLOX-Nano with the COCO weights that come with the package."""
    file = bundled.coco_detector()
    read = bundled.read_bundled(file)
    origin = origin_of_packaged(file, source=read.origin, is_ours=True)
    name = f"{BUNDLED} ({file.name}): {read.origin}"
    return StartingPoint(read.weights, COCO_CLASSES, template.model.anchors_px, False, name, origin)


def _of_starting_weights(path: str | os.PathLike[str], template: Template) -> StartingPoint:
    size, name = template.input.size, os.fspath(path)
    if name in BUNDLED_KINDS:
        kind = BUNDLED_KINDS[name]
        path = bundled.bundled_file(kind, size)
        name = f"bundled-{kind} ({path.name})"
    packaged = bundled.read_bundled(path)
    anchors_px = _scaled(packaged.anchors_px, size / packaged.input_size)
    ours = [file for kind in bundled.KINDS for file in bundled.bundled_files(kind).values()]
    is_ours = Path(path).resolve() in {file.resolve() for file in ours}
    origin = origin_of_packaged(path, source=packaged.origin, is_ours=is_ours)
    return StartingPoint(packaged.weights, None, anchors_px, False, f"{name}: {packaged.origin}", origin)


def knows_all_objects(classes: Sequence[str] | None, data: CocoData) -> bool:
    """Whether every class that has objects in `data` is among `classes`; false where these are not known."""
    wanted = {name for name, count in zip(data.classes, data.objects_per_class, strict=True) if count}
    return wanted <= set(classes or ())


def _scaled(anchors_px: LevelSizes, factor: float) -> LevelSizes:
    if factor == 1:
        return anchors_px
    return tuple(tuple((width * factor, height * factor) for width, height in level) for level in anchors_px)
