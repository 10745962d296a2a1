"""A file of any kind -> the runtime that answers for it. An engine is imported when a file needs it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from multibox.config import Template, bundled_templates, load_template
from multibox.errors import CheckpointError, DependencyError
from multibox.files import kind_of
from multibox.runtime.onnx_runtime import OnnxRuntime
from multibox.runtime.openvino_runtime import OpenVINORuntime
from multibox.runtime.protocol import Runtime
from multibox.weights.coco_classes import COCO_CLASSES
from multibox.weights.resolve import model_file, model_in

if TYPE_CHECKING:
    from multibox.weights.checkpoint import Checkpoint


def open_runtime(
    path: str | os.PathLike[str],
    *,
    template: Template | None = None,
    classes: Sequence[str] | None = None,
    device: str = "auto",
) -> Runtime:
    """The runtime for a file: a checkpoint (.pth), or an exported model (.onnx, .xml, or the .bin beside it).

    Of a run, or another folder with a model in it, the best weights are taken.

    `template` serves a snapshot that carries none, `classes` an exported model that names none. `device` is `auto`, the
    name of one of PyTorch's devices for a checkpoint, or of OpenVINO's for its files (see `OpenVINORuntime`).

    Raises:
        CheckpointError: the file cannot be read or is of another kind.
        DependencyError: what runs this kind of file is not installed.
        OptionError: there is no such device.

    >>> detector = open_runtime("outputs/best.pth")
    >>> detector.classes
    ('red, tiny triangle', 'square')
    """
    inside = model_in(path) if Path(path).is_dir() else None
    if inside is not None:
        path = inside
    kind = kind_of(path)
    if kind is not None:
        path = model_file(path)
    if kind == "openvino":
        return OpenVINORuntime(path, classes=classes, device=device)
    if kind == "onnx":
        return OnnxRuntime(path, classes=classes, device=device)
    if kind != "checkpoint":
        raise CheckpointError(f"{path}: expected a checkpoint (.pth) or an exported model (.xml, .bin or .onnx).")
    checkpoint = load_checkpoint(path, template=template)

    from multibox.runtime.torch_runtime import runtime_of

    return runtime_of(checkpoint, device=device)


COCO_TEMPLATE = "yolox_nano-384x384"
"""The template that the detector of COCO's classes runs with: larger inputs gain nothing without training on
(benchmarks/README.md)."""


def open_coco_detector(*, device: str = "auto") -> Runtime:
    """The detector of the 80 classes of COCO that comes with the package; no network is asked.

    Raises:
        DependencyError: PyTorch is not installed.
        OptionError: there is no such device.
    """
    try:
        from multibox.runtime.torch_runtime import runtime_of
        from multibox.weights.bundled import coco_detector, read_bundled
        from multibox.weights.checkpoint import Checkpoint
    except ModuleNotFoundError as error:
        raise DependencyError(
            'The detector that comes with multibox needs PyTorch. Install it with: pip install "multibox[train]"'
        ) from error
    template = load_template(bundled_templates()[COCO_TEMPLATE])
    weights = read_bundled(coco_detector()).weights
    return runtime_of(Checkpoint(weights, COCO_CLASSES, template), device=device)


def load_checkpoint(path: str | os.PathLike[str], *, template: Template | None = None) -> Checkpoint:
    """The checkpoint in a file, see `weights.checkpoint.load`.

    Raises:
        CheckpointError: the file cannot be read or is of another kind.
        DependencyError: PyTorch is not installed.
    """
    try:
        from multibox.weights.checkpoint import load
    except ModuleNotFoundError as error:
        raise DependencyError(
            'Reading a .pth file needs PyTorch. Install it with: pip install "multibox[train]"'
        ) from error
    return load(model_file(path), template=template)
