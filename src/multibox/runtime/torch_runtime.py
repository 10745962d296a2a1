"""Detectors run by PyTorch, and the device that they run on."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from itertools import islice

import torch

from multibox.config import PostprocessConfig, Template
from multibox.data.images import resize, to_input
from multibox.errors import OptionError
from multibox.model import detector
from multibox.model.detector import Detector
from multibox.model.postprocess import select
from multibox.runtime.compiled import compile_network
from multibox.runtime.protocol import CheckedRuntime
from multibox.structures import Detections, Image, RawOutput
from multibox.weights.checkpoint import Checkpoint

MAX_WAITING_BATCHES = 100
"""Number of batches whose outputs wait at most to be worked up: with 80 classes at 640 px, 2.3 MB for each image."""

STREAM_BATCH = 8
"""Number of images that PyTorch is given at a time: beyond, nothing gets faster on a processor."""


class TorchRuntime(CheckedRuntime):
    """A network in PyTorch."""

    def __init__(
        self,
        model: Detector,
        template: Template,
        classes: Sequence[str],
        *,
        device: str = "cpu",
        threshold: float | None = None,
        forward: Callable[[torch.Tensor], RawOutput] | None = None,
    ) -> None:
        self.classes = tuple(classes)
        self.input_size = template.input.size
        self.threshold = threshold
        self._model = model
        self.template = template
        self._device = device
        self._forward = forward or self._evaluate
        self._lock = threading.Lock()
        self._anchors = detector.anchors(model, template)

    def detect_all(self, images: Sequence[Image]) -> list[Detections]:
        """Detections of each image; all are one batch.

        The model runs in evaluation mode, whatever mode it is left in.
        """
        return self._detect([resize(image, self.input_size) for image in images]) if len(images) else []

    def detect_stream(self, images: Iterable[Image]) -> Iterator[Detections]:
        """Detections of each image, in order, a batch at a time."""
        iterator = iter(images)
        while squares := [resize(image, self.input_size) for image in islice(iterator, STREAM_BATCH)]:
            yield from self._detect(squares)

    def stream_behind(self, images: Iterable[Image], pool: Executor) -> Generator[Future[list[Detections]], None, None]:
        """Detections of each batch of images, in order: the network runs here, the pool works up its outputs."""
        iterator = iter(images)
        under_way: deque[Future[list[Detections]]] = deque()
        while squares := [resize(image, self.input_size) for image in islice(iterator, STREAM_BATCH)]:
            raw = self._run(squares)
            # Here, not in the pool, where a copy would wait for what the card is given next.
            raw = RawOutput(raw.deltas.cpu(), raw.logits.cpu())
            under_way.append(pool.submit(self._select, raw, self.template.postprocess))
            if len(under_way) > MAX_WAITING_BATCHES:
                under_way.popleft().exception()  # waits; who asks for the result gets the error
            yield under_way[-1]

    def compiled(self) -> TorchRuntime:
        """The network with its weights of now, in float32, run by OpenVINO on a processor.

        Compiling takes a second or two, after which an image takes a quarter of the time: it pays from some hundred
        images on.
        """
        return TorchRuntime(
            self._model,
            self.template,
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
        return self._select(self._run(squares), self.template.postprocess)

    def _run(self, squares: Sequence[Image]) -> RawOutput:
        """What the network gives for a batch."""
        batch = torch.from_numpy(to_input(squares))
        if self._forward == self._evaluate:
            batch = batch.to(self._device, memory_format=torch.channels_last)
        # One thread at a time: the mode belongs to the model, and PyTorch uses all cores for one batch anyway.
        with self._lock, torch.inference_mode():
            return self._forward(batch)

    def _select(self, raw: RawOutput, rules: PostprocessConfig) -> list[Detections]:
        """The detections of each image that these rules leave."""
        return select(
            raw.deltas.float().cpu().numpy(),
            detector.scores(self._model, raw.logits.float().cpu().numpy()),
            self._anchors,
            variances=self.template.model.box_variances,
            config=rules,
        )


def runtime_of(checkpoint: Checkpoint, *, device: str = "auto") -> TorchRuntime:
    """The runtime of a loaded checkpoint."""
    chosen = pick_device(device)
    model = checkpoint.build().to(chosen, memory_format=torch.channels_last)  # type: ignore[call-overload]
    # Measured by the training's last validation; snapshots of others have none.
    threshold = checkpoint.meta.get("threshold")
    return TorchRuntime(model, checkpoint.template, checkpoint.classes, device=str(chosen), threshold=threshold)


def pick_device(name: str) -> torch.device:
    """The device of this name; `auto` takes a graphics card if there is one.

    Raises:
        OptionError: there is no such device on this machine.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise OptionError(f"--device {name}: this machine has no such device. Try --device auto.") from error
    return device
