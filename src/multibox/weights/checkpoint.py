"""Checkpoints: saving and loading them, ours and published snapshots.

A file is a dictionary of plain values and tensors in PyTorch's format:

    meta          CLASSES, epoch, iter, template (plain), and what describes the run; the names that the original used
    state_dict    the weights to evaluate and export, under the published snapshots' names
    quantization  how a compressed model rounds, see `multibox.model.quantized`; absent in any other
    training      what resuming needs besides (weights being trained, optimizer, counters); absent in a finished model
"""

from __future__ import annotations

import io
import math
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
import torch
from msgspec import Meta, Struct
from torch import Tensor

from multibox import config
from multibox.config import Template
from multibox.errors import CheckpointError
from multibox.files import check_regular, write_atomically
from multibox.model import detector, quantized
from multibox.model.detector import Detector
from multibox.model.folding import fold
from multibox.plain_yaml import is_unicode
from multibox.prepared import prepared
from multibox.weights.checked import check_weights
from multibox.weights.coco_classes import COCO_CLASSES

NNCF_NAMES = ("nncf_module.", "__nncf_hooks", "external_quantizers.", ".pre_ops.", ".post_ops.")
"""Parts of the names of weights in a network that some version of NNCF compressed as a PyTorch model."""


@dataclass(frozen=True)
class Checkpoint:
    """A model with all that evaluating, exporting or resuming it needs. Label i is `classes[i]`.

    `quantization`: what `quantized.to_plain` gives, of a compressed model.
    """

    state_dict: Mapping[str, Tensor]
    classes: tuple[str, ...]
    template: Template
    meta: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] | None = None
    quantization: Mapping[str, Any] | None = None

    def build(self) -> Detector:
        """The network with these weights, in evaluation mode; of a compressed model, folded and quantised."""
        return self.build_float() if self.quantization is None else self.build_folded()

    def build_folded(self) -> Detector:
        """The network as it is deployed: normalisation is folded into convolutions, and it is in evaluation mode."""
        folded = fold(self.build_float())
        if self.quantization is not None:
            quantized.put_scales(folded, quantized.scales_from_plain(self.quantization))
        return folded.eval()

    def build_float(self) -> Detector:
        """The network with these weights, in evaluation mode, in floating point whatever becomes of it."""
        model = detector.build(self.template, num_classes=len(self.classes))
        model.load_state_dict(dict(self.state_dict))
        return model.eval()


def save(path: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Write a checkpoint; the file appears whole or not at all."""
    content: dict[str, Any] = {
        "meta": {
            **checkpoint.meta,
            "CLASSES": list(checkpoint.classes),
            "template": config.to_plain(checkpoint.template),
        },
        "state_dict": dict(checkpoint.state_dict),
    }
    if checkpoint.training is not None:
        content["training"] = dict(checkpoint.training)
    if checkpoint.quantization is not None:
        content["quantization"] = dict(checkpoint.quantization)
    # In memory first: of a full disk, PyTorch's own writer says something that nobody understands.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(path, buffer.getbuffer())


def load(path: str | os.PathLike[str], *, template: Template | None = None) -> Checkpoint:
    """The checkpoint in a file of ours, or a published snapshot.

    `template` serves where the file carries none, as published snapshots do. A snapshot without class names and with
    80 classes is taken for one of COCO.

    Raises:
        CheckpointError: the file is missing, damaged, needs code of its own, or is of another family of networks, or
            was compressed by another toolkit.
    """
    content = _read(path)
    meta = content.get("meta")
    meta = dict(meta) if isinstance(meta, Mapping) else {}
    weights = {
        str(key).removeprefix("module."): value
        for key, value in content["state_dict"].items()
        if isinstance(value, Tensor)
    }
    _check_meta(path, meta)
    _check_not_foreign(path, meta, weights, content)
    plain_template = meta.pop("template", None)
    if plain_template is not None:
        template = config.from_plain(plain_template, source=str(path))
    if template is None:
        raise CheckpointError(
            f"{path}: this file carries no template. Run the command from the work directory of its model, "
            "or name the template with --config."
        )
    num_classes = _count_classes(path, weights, template)
    classes = _classes(path, meta.pop("CLASSES", None), num_classes)
    expected = detector.build(template, num_classes=num_classes).state_dict()
    check_weights(weights, expected, source=path)
    weights = {key: weights.get(key, value) for key, value in expected.items()}
    training = content.get("training")
    if not isinstance(training, Mapping | None):
        raise CheckpointError(f"{path}: its record of the training is damaged. Take an earlier checkpoint.")
    checkpoint = Checkpoint(weights, classes, template, meta, training, content.get("quantization"))
    if checkpoint.quantization is not None:
        _check_quantization(path, checkpoint)
    return checkpoint


class _Origin(Struct, frozen=True, kw_only=True):
    name: str = ""
    sha256: str | None = None
    source: str = ""
    licence: str = ""


class _Data(Struct, frozen=True, kw_only=True):
    fingerprint: str = ""
    annotation_files: list[str] = []
    data_roots: list[str] = []


class _Meta(Struct, frozen=True, kw_only=True):
    """What is read of `meta` later, and by whom; of what else is there, as in published snapshots, nothing is."""

    threshold: config.Fraction | None = None
    start: str | None = None
    start_origin: _Origin | None = None
    train_data: _Data | None = None
    val_data: _Data | None = None
    begun: Annotated[float, Meta(ge=0, le=1e12)] | None = None
    launch: str | None = None
    run: str | None = None
    nncf_enable_compression: bool | None = None


def _check_meta(path: str | os.PathLike[str], meta: Mapping[Any, Any]) -> None:
    try:
        known = {field.name: meta[field.name] for field in msgspec.structs.fields(_Meta) if field.name in meta}
        checked = msgspec.convert(known, prepared(_Meta))
    except (msgspec.ValidationError, RecursionError) as error:
        raise CheckpointError(f"{path}: its record of how it was made is damaged: {error}.") from error
    numbers = (checked.threshold, checked.begun)
    if not all(math.isfinite(number) for number in numbers if number is not None):
        raise CheckpointError(f"{path}: its record of how it was made is damaged: a number is not finite.")
    for data in (checked.train_data, checked.val_data):
        if data is not None and len(data.annotation_files) != len(data.data_roots):
            raise CheckpointError(f"{path}: its record of how it was made is damaged: it has files without folders.")


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        check_regular(path)
    except OSError as error:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise CheckpointError(f"{path}: {reason}.") from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # A foreign or damaged file makes torch raise nearly anything: IndexError, struct.error, AssertionError, ...
        if isinstance(error, pickle.UnpicklingError) and "global" in str(error).lower():
            raise CheckpointError(
                f"{path}: reading this file would run code that it brings along; refused. "
                "Save it again with plain tensors and values only."
            ) from error
        raise CheckpointError(f"{path}: this is no PyTorch checkpoint, or it is damaged.") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: this file holds no model weights.")
    if "state_dict" not in content and all(isinstance(value, Tensor) for value in content.values()):
        content = {"state_dict": content}
    if not isinstance(content.get("state_dict"), Mapping):
        raise CheckpointError(f"{path}: this file holds no model weights (no `state_dict`).")
    return content


def _check_not_foreign(
    path: str | os.PathLike[str], meta: Mapping[str, Any], weights: Mapping[str, Tensor], content: Mapping[str, Any]
) -> None:
    is_nncf = bool(meta.get("nncf_enable_compression")) and content.get("quantization") is None
    if is_nncf or any(name in key for key in weights for name in NNCF_NAMES):
        raise CheckpointError(
            f"{path}: this checkpoint was compressed by another toolkit, in a form of NNCF that is not read here. "
            "Take the one that it was made from, and compress that."
        )


def _check_quantization(path: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    try:
        with torch.inference_mode():
            checkpoint.build()(torch.zeros(1, 3, 64, 64))
    except ValueError as error:
        raise CheckpointError(f"{path}: its quantisation is damaged: {error}. Compress the model again.") from error
    except RuntimeError as error:
        # PyTorch, of a scale for another number of channels.
        raise CheckpointError(
            f"{path}: its quantisation is damaged: it does not fit the network. Compress the model again."
        ) from error


def _count_classes(path: str | os.PathLike[str], weights: Mapping[str, Tensor], template: Template) -> int:
    num_classes = detector.count_classes(template, weights)
    if num_classes is None:
        raise CheckpointError(f"{path}: these are no weights of the model {template.name}.")
    return num_classes


def _classes(path: str | os.PathLike[str], names: Any, num_classes: int) -> tuple[str, ...]:
    if names is None and num_classes == len(COCO_CLASSES):
        return COCO_CLASSES
    if names is None:
        return tuple(f"class {i}" for i in range(num_classes))
    if isinstance(names, str):
        names = [names]
    if not isinstance(names, list | tuple):
        raise CheckpointError(f"{path}: its CLASSES are no list of names.")
    if len(names) != num_classes:
        raise CheckpointError(f"{path}: the file names {len(names)} classes, its weights are for {num_classes}.")
    if not all(isinstance(name, str | int) and is_unicode(str(name)) and str(name) for name in names):
        raise CheckpointError(f"{path}: its CLASSES are no list of names.")
    if len(set(map(str, names))) != len(names):
        raise CheckpointError(f"{path}: two of its CLASSES have the same name.")
    return tuple(str(name) for name in names)
