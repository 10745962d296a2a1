"""What runs a model on images, behind one protocol, so that evaluation does not care which."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from multibox import boxes as box
from multibox.anchors import make_anchors
from multibox.config import Template
from multibox.errors import CheckpointError, DependencyError, OptionError
from multibox.images import Image, resize, to_input
from multibox.postprocess import postprocess
from multibox.structures import Detections
from multibox.weights import read_graph

if TYPE_CHECKING:
    import torch

    from multibox.checkpoint import Checkpoint
    from multibox.model.ssd import SSD

# SHA-384 of the .bin files of Open Model Zoo's detectors of this family, whose classes are vehicle, person, bike.
# Source: the model.yml files of Open Model Zoo 2022.1.
VEHICLE_PERSON_BIKE = frozenset(
    {
        "0b386e482e98f3bc00c2726e3c8dc713f433b2dfc9066ef6bb5d39ac8669ab1df5cf791c545b7a91a84dd17c2b1106bd",
        "aaedcef1be99a9fb5bf30b57870fefc0b61c184a88297953f1a9ab26910aa5ed958190f3e991fc018a8ffda745c9f3e2",
        "691e4caf8161058dec0ee482cd2ac81b0beda330b733a9894adbbb1d63d3c11afb93c12e95d193722454dbb8b34d0519",
    }
)


class Runtime(Protocol):
    """A detector that is ready to run: label i of a detection is `classes[i]`."""

    classes: tuple[str, ...]
    input_size: int

    def __call__(self, images: Sequence[Image]) -> list[Detections]:
        """Detections of each image (H, W, 3), uint8 BGR, of any size."""
        ...


class TorchRuntime:
    """A network in PyTorch."""

    def __init__(self, model: SSD, template: Template, classes: Sequence[str], *, device: str = "cpu") -> None:
        from multibox.model.ssd import strides

        self.classes = tuple(classes)
        self.input_size = template.input.size
        self._model = model
        self._template = template
        self._device = device
        self._anchors = make_anchors(template.model.anchors_px, strides(model), template.input.size)

    def __call__(self, images: Sequence[Image]) -> list[Detections]:
        """See `Runtime`. The model runs in evaluation mode, whatever mode it is left in."""
        import torch

        batch = torch.from_numpy(to_input([resize(image, self.input_size) for image in images]))
        batch = batch.to(self._device, memory_format=torch.channels_last)
        was_training = self._model.training
        with torch.inference_mode():
            raw = self._model.eval()(batch)
        self._model.train(was_training)
        return postprocess(
            raw.deltas.float().cpu().numpy(),
            raw.logits.float().cpu().numpy(),
            self._anchors,
            variances=self._template.model.box_variances,
            config=self._template.postprocess,
        )


class OpenVINORuntime:
    """An exported detector whose graph ends in `DetectionOutput`, run by OpenVINO; torch is not needed.

    Its input is a raw image, 0..255, planar BGR; labels start at 0. Files of ours and of Open Model Zoo are such.
    `classes` names those of a file that does not.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        classes: Sequence[str] | None = None,
        device: str = "auto",
        precision: str | None = None,
    ) -> None:
        import openvino

        xml = Path(path).with_suffix(".xml")
        model = read_graph(xml)
        ends = [node for node in model.get_ops() if node.get_type_name() == "DetectionOutput"]
        shape = model.input().partial_shape if len(model.inputs) == 1 else None
        if len(ends) != 1 or shape is None or shape.is_dynamic or len(shape) != 4 or shape[2] != shape[3]:
            raise CheckpointError(f"{path}: this is no detector with one square image as input and DetectionOutput.")
        found = ends[0].output(0).get_shape()
        if list(found)[3] != 7:
            raise CheckpointError(f"{path}: this detector's output is {list(found)}, not [1, 1, N, 7].")
        self.classes = _exported_classes(xml, ends[0], classes)
        self.input_size = int(shape[2].get_length())
        hints = {} if precision is None else {"INFERENCE_PRECISION_HINT": precision}
        target = "CPU" if device in {"auto", "cpu"} else device.upper()
        try:
            self._model = openvino.Core().compile_model(model, target, hints)
        except RuntimeError as error:
            raise OptionError(f"--device {device}: OpenVINO cannot run {path} there. Try --device cpu.") from error

    def __call__(self, images: Sequence[Image]) -> list[Detections]:
        """See `Runtime`."""
        return [self._detect(image) for image in images]

    def _detect(self, image: Image) -> Detections:
        planar = resize(image, self.input_size).transpose(2, 0, 1)[None].astype(np.float32)
        rows = next(iter(self._model(planar).values())).reshape(-1, 7)
        # An image id of -1 ends the list; what follows is left over from before.
        ends = (rows[:, 0] < 0).nonzero()[0]
        rows = rows[: ends[0]] if len(ends) else rows
        rows = rows[np.argsort(-rows[:, 2], kind="stable")]
        boxes = box.clip(rows[:, 3:7]).astype(np.float32)
        return Detections(boxes, rows[:, 2].astype(np.float32), rows[:, 1].astype(np.int64))


def open_runtime(
    path: str | os.PathLike[str],
    *,
    template: Template | None = None,
    classes: Sequence[str] | None = None,
    device: str = "auto",
) -> Runtime:
    """The runtime for a file: a checkpoint (.pth), or an exported model (.xml, or the .bin beside it).

    `template` serves a snapshot that carries none, `classes` an exported model that names none.

    Raises:
        CheckpointError: the file cannot be read or is of another kind.
        DependencyError: what runs this kind of file is not installed.
        OptionError: there is no such device.
    """
    suffix = Path(path).suffix.lower()
    if suffix in {".xml", ".bin"}:
        return OpenVINORuntime(path, classes=classes, device=device)
    if suffix != ".pth":
        raise CheckpointError(f"{path}: expected a checkpoint (.pth) or an exported model (.xml or .bin).")
    return runtime_of(load_checkpoint(path, template=template), device=device)


def runtime_of(checkpoint: Checkpoint, *, device: str = "auto") -> TorchRuntime:
    """The runtime of a loaded checkpoint."""
    import torch

    chosen = pick_device(device)
    model = checkpoint.build().to(chosen, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return TorchRuntime(model, checkpoint.template, checkpoint.classes, device=str(chosen))


def load_checkpoint(path: str | os.PathLike[str], *, template: Template | None = None) -> Checkpoint:
    """`checkpoint.load`, with a clear line where torch is missing."""
    try:
        from multibox.checkpoint import load
    except ModuleNotFoundError as error:
        raise DependencyError(
            'Reading a .pth file needs PyTorch. Install it with: pip install "multibox[train]"'
        ) from error
    return load(path, template=template)


def pick_device(name: str) -> torch.device:
    """The device of this name; `auto` takes a graphics card if there is one.

    Raises:
        OptionError: there is no such device on this machine.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise OptionError(f"--device {name}: this machine has no such device. Try --device auto.") from error
    return device


def known_classes(path: str | os.PathLike[str]) -> tuple[str, ...] | None:
    """The classes of a public exported model, recognised by its weights; None for any other."""
    digest = hashlib.sha384(Path(path).with_suffix(".bin").read_bytes()).hexdigest()
    return ("vehicle", "person", "bike") if digest in VEHICLE_PERSON_BIKE else None


def _exported_classes(xml: Path, detection_output: Any, classes: Sequence[str] | None) -> tuple[str, ...]:
    # Deltas are four per anchor, scores one per anchor and class, background included.
    num_deltas, num_scores = (detection_output.input_value(i).get_shape()[1] for i in (0, 1))
    num_classes = 4 * num_scores // num_deltas - 1
    names = tuple(classes or known_classes(xml) or (f"class {i}" for i in range(num_classes)))
    if len(names) != num_classes:
        raise OptionError(f"{xml} knows {num_classes} classes; --classes names {len(names)}.")
    return names
