"""What an exported file says of itself: everything that running it, or asking where it came from, needs.

The same entries lie in `rt_info` of an OpenVINO model and in `metadata_props` of an ONNX model, so a copied or renamed
file still knows its classes. Beside ours stand those of OpenVINO Model API, whose client then needs no settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct

from multibox.errors import CheckpointError
from multibox.plain_yaml import is_unicode
from multibox.prepared import prepared

SECTION = "multibox"
MODEL_API_SECTION = "model_info"

LARGEST_INPUT = 1 << 14
"""Largest side of a network's input in pixels that a description is believed."""

LARGEST_MEASURE = 1e6
"""Largest side of an anchor in pixels, and largest variance, that a description is believed."""

MOST_DETECTIONS = 10**9
"""Largest number of detections of an image that a description is believed."""

Form = Literal["boxes_labels", "detection_output", "raw"]


class Origin(Struct, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """The checkpoint that a file was made from: its name, the SHA-256 of its bytes, and its training's own record."""

    checkpoint: str
    sha256: str
    trained_from: str = "unknown"


class ExportInfo(Struct, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """The contract of an exported model.

    `form`: what the outputs are, see docs/deploy.md. Label i is `classes[i]`; background, where scores include it, is
    last. The input is planar, `channel_order`, `input_size` pixels square, with values from 0 to `input_maximum` (255:
    an image as it is; 1: divided by 255). `batch`: images per call, 0 where any number goes. `anchors_px`: (width,
    height) of the anchors of each level in pixels of the network input, `strides` the pixels per cell, and
    `anchor_offset` where in its cell an anchor has its centre: 0.5 is the middle, 0 the top left corner.
    `suggested_threshold` is the score from which a detection is worth showing, `min_score` the one below which the file
    leaves it out; in files they are called `threshold` and `score_threshold`. `size_mp` and `complexity_gflops` are
    those of the network, see `multibox.model.complexity`.
    """

    form: Form
    classes: tuple[str, ...]
    input_size: int
    channel_order: Literal["BGR", "RGB"]
    input_maximum: Literal[1, 255]
    batch: int
    precision: Literal["FP32", "FP16", "INT8"]
    suggested_threshold: float = msgspec.field(name="threshold")
    min_score: float = msgspec.field(name="score_threshold")
    iou_threshold: float
    max_per_class: int
    max_detections: int
    anchors_px: tuple[tuple[tuple[float, float], ...], ...]
    strides: tuple[int, ...]
    box_variances: tuple[float, float]
    # Files of before there were two families do not say it.
    anchor_offset: float = 0.5
    origin: Origin
    versions: dict[str, str | None]
    template: dict[str, Any]
    size_mp: float | None = None
    complexity_gflops: float | None = None


def to_entries(info: ExportInfo) -> dict[str, str]:
    """The fields as texts: words as they are, everything else as JSON."""
    plain = msgspec.to_builtins(info)
    return {
        key: value if isinstance(value, str) else msgspec.json.encode(value).decode() for key, value in plain.items()
    }


def from_entries(entries: Mapping[str, str], *, source: str) -> ExportInfo:
    """The fields again; entries that this version does not know are ignored.

    Raises:
        CheckpointError: an entry is missing or wrong; `source` names the file.
    """
    words = {field.name for field in msgspec.structs.fields(ExportInfo) if field.name in {"form", "channel_order"}}
    words.add("precision")
    try:
        plain = {key: value if key in words else msgspec.json.decode(value) for key, value in entries.items()}
        info = msgspec.convert(plain, prepared(ExportInfo))
    except (msgspec.DecodeError, RecursionError) as error:
        raise CheckpointError(f"{source}: its description of itself is damaged: {error}. Export it again.") from error
    reason = _contradiction(info)
    if reason:
        raise CheckpointError(f"{source}: its description of itself is damaged: {reason}. Export it again.")
    return info


def _contradiction(info: ExportInfo) -> str:
    """What no export writes, as the end of a sentence; empty if there is nothing of it."""
    if not info.classes or not all(name and is_unicode(name) for name in info.classes):
        return "it names no classes, or one of them has no name"
    if not 0 < info.input_size <= LARGEST_INPUT or info.batch < 0:
        return "its input has an impossible size"
    if not all(0 <= value <= 1 for value in (info.suggested_threshold, info.min_score, info.iou_threshold)):
        return "a threshold is not from 0 to 1"
    if not all(1 <= number <= MOST_DETECTIONS for number in (info.max_per_class, info.max_detections)):
        return "it allows an impossible number of detections"
    if len(info.strides) != len(info.anchors_px) or not all(0 < stride <= info.input_size for stride in info.strides):
        return "its strides do not go with its anchors"
    if not 0 <= info.anchor_offset <= 1:
        return "its anchors are not in their cells"
    sides = [side for level in info.anchors_px for size in level for side in size]
    if not all(map(_is_measure, [*sides, *info.box_variances])):
        return "an anchor or a variance is no positive number"
    return ""


def _is_measure(value: float) -> bool:
    return 0 < value <= LARGEST_MEASURE


def model_api_entries(info: ExportInfo) -> dict[str, str]:
    """What OpenVINO Model API reads. It separates names by blanks, so a blank in a name becomes an underscore.

    The client is given images as OpenCV reads them (BGR).
    """
    entries = {
        "model_type": "ssd",
        "task_type": "detection",
        "labels": " ".join("_".join(name.split()) for name in info.classes),
        "confidence_threshold": str(info.suggested_threshold),
        "iou_threshold": str(info.iou_threshold),
        "resize_type": "standard",
        "interpolation_mode": "LINEAR",
        "reverse_input_channels": str(info.channel_order == "RGB"),
    }
    if info.input_maximum == 1:
        entries["scale_values"] = "255 255 255"
    return entries


def write_to_ir(model: Any, info: ExportInfo) -> None:
    """Put both sets of entries into the `rt_info` of an `openvino.Model`, in place."""
    for section, entries in _sections(info).items():
        for key, value in entries.items():
            model.set_rt_info(value, [section, key])


def read_from_ir(model: Any, *, source: str) -> ExportInfo | None:
    """The description in an `openvino.Model`; None if the file is not one of ours.

    Raises:
        CheckpointError: the description is damaged.
    """
    if not model.has_rt_info([SECTION]):
        return None
    section = model.get_rt_info([SECTION]).value
    return from_entries({key: str(value) for key, value in section.items()}, source=source)


def to_onnx_properties(info: ExportInfo) -> dict[str, str]:
    """Both sets of entries as keys and values for `metadata_props`."""
    return {f"{section} {key}": value for section, entries in _sections(info).items() for key, value in entries.items()}


def from_onnx_properties(properties: Mapping[str, str], *, source: str) -> ExportInfo | None:
    """The description in the `metadata_props` of an ONNX model; None if the file is not one of ours.

    Raises:
        CheckpointError: the description is damaged.
    """
    prefix = f"{SECTION} "
    entries = {key.removeprefix(prefix): value for key, value in properties.items() if key.startswith(prefix)}
    return from_entries(entries, source=source) if entries else None


def _sections(info: ExportInfo) -> dict[str, dict[str, str]]:
    return {SECTION: to_entries(info), MODEL_API_SECTION: model_api_entries(info)}
