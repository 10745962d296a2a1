"""What runs a model on images, behind one protocol, so that evaluation does not care which."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, overload

from multibox.config import Template
from multibox.data.images import resize, to_input
from multibox.errors import CheckpointError, DependencyError, OptionError
from multibox.model.anchors import make_anchors
from multibox.model.postprocess import postprocess
from multibox.runtime.onnx_runtime import OnnxRuntime
from multibox.runtime.openvino_runtime import OpenVINORuntime
from multibox.runtime.protocol import OneOrMany
from multibox.structures import Detections, Image, RawOutput

if TYPE_CHECKING:
    import torch

    from multibox.model.ssd import SSD
    from multibox.weights.checkpoint import Checkpoint

STREAM_BATCH = 8
"""Images that PyTorch is given at a time: beyond, nothing gets faster on a processor."""


class Runtime(Protocol):
    """A detector that is ready to run: label i of a detection is `classes[i]`.

    Those of this package may be used by any number of threads at the same time.
    """

    classes: tuple[str, ...]
    input_size: int

    @property
    def threshold(self) -> float | None:
        """The score from which a detection is worth showing, if the file recommends one."""
        ...

    @overload
    def __call__(self, images: Image) -> Detections: ...

    @overload
    def __call__(self, images: Sequence[Image]) -> list[Detections]: ...

    def __call__(self, images: Image | Sequence[Image]) -> Detections | list[Detections]:
        """Detections of one image (H, W, 3), uint8 BGR, of any size, or a list of those of each of several."""
        ...

    def stream(self, images: Iterable[Image]) -> Iterator[Detections]:
        """Detections of each of any number of images, in order.

        Images are taken as they are needed, and a few are under way at any time: reading them and using the results can
        go on while the network runs.
        """
        ...


class TorchRuntime(OneOrMany):
    """A network in PyTorch."""

    def __init__(
        self,
        model: SSD,
        template: Template,
        classes: Sequence[str],
        *,
        device: str = "cpu",
        threshold: float | None = None,
        forward: Callable[[torch.Tensor], RawOutput] | None = None,
    ) -> None:
        from multibox.model.ssd import strides

        self.classes = tuple(classes)
        self.input_size = template.input.size
        self.threshold = threshold
        self._model = model
        self._template = template
        self._device = device
        self._forward = forward or self._evaluate
        self._lock = threading.Lock()
        self._anchors = make_anchors(template.model.anchors_px, strides(model), template.input.size)

    def detect_all(self, images: Sequence[Image]) -> list[Detections]:
        """Detections of each image; all are one batch.

        The model runs in evaluation mode, whatever mode it is left in.
        """
        return self._detect([resize(image, self.input_size) for image in images]) if len(images) else []

    def stream(self, images: Iterable[Image]) -> Iterator[Detections]:
        """See `Runtime`."""
        iterator = iter(images)
        while squares := [resize(image, self.input_size) for image in islice(iterator, STREAM_BATCH)]:
            yield from self._detect(squares)

    def compiled(self) -> TorchRuntime:
        """The network with its weights of now, in float32, run by OpenVINO on a processor.

        Compiling takes a second or two, after which an image takes a quarter of the time: it pays from some hundred
        images on.
        """
        from multibox.runtime.compiled import compile_network

        return TorchRuntime(
            self._model,
            self._template,
            self.classes,
            threshold=self.threshold,
            forward=compile_network(self._model, input_size=self.input_size),
        )

    def _evaluate(self, batch: torch.Tensor) -> RawOutput:
        was_training = self._model.training
        raw: RawOutput = self._model.eval()(batch)
        self._model.train(was_training)
        return raw

    def _detect(self, squares: Sequence[Image]) -> list[Detections]:
        import torch

        batch = torch.from_numpy(to_input(squares))
        if self._forward == self._evaluate:
            batch = batch.to(self._device, memory_format=torch.channels_last)
        # One thread at a time: the mode belongs to the model, and PyTorch uses all cores for one batch anyway.
        with self._lock, torch.inference_mode():
            raw = self._forward(batch)
        return postprocess(
            raw.deltas.float().cpu().numpy(),
            raw.logits.float().cpu().numpy(),
            self._anchors,
            variances=self._template.model.box_variances,
            config=self._template.postprocess,
        )


def open_runtime(
    path: str | os.PathLike[str],
    *,
    template: Template | None = None,
    classes: Sequence[str] | None = None,
    device: str = "auto",
) -> Runtime:
    """The runtime for a file: a checkpoint (.pth), or an exported model (.onnx, .xml, or the .bin beside it).

    `template` serves a snapshot that carries none, `classes` an exported model that names none. `device` is `auto`, the
    name of one of PyTorch's devices for a checkpoint, or of OpenVINO's for its files (see `OpenVINORuntime`).

    Raises:
        CheckpointError: the file cannot be read or is of another kind.
        DependencyError: what runs this kind of file is not installed.
        OptionError: there is no such device.
    """
    suffix = Path(path).suffix.lower()
    if suffix in {".xml", ".bin"}:
        return OpenVINORuntime(path, classes=classes, device=device)
    if suffix == ".onnx":
        return OnnxRuntime(path, classes=classes, device=device)
    if suffix != ".pth":
        raise CheckpointError(f"{path}: expected a checkpoint (.pth) or an exported model (.xml, .bin or .onnx).")
    return runtime_of(load_checkpoint(path, template=template), device=device)


def runtime_of(checkpoint: Checkpoint, *, device: str = "auto") -> TorchRuntime:
    """The runtime of a loaded checkpoint."""
    import torch

    chosen = pick_device(device)
    model = checkpoint.build().to(chosen, memory_format=torch.channels_last)  # type: ignore[call-overload]
    # Measured by the training's last validation; snapshots of others have none.
    threshold = checkpoint.meta.get("threshold")
    return TorchRuntime(model, checkpoint.template, checkpoint.classes, device=str(chosen), threshold=threshold)


def load_checkpoint(path: str | os.PathLike[str], *, template: Template | None = None) -> Checkpoint:
    """`checkpoint.load`, with a clear line where torch is missing."""
    try:
        from multibox.weights.checkpoint import load
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
