"""Exported detectors in OpenVINO files, run by OpenVINO. No torch needed."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multibox.data.images import resize
from multibox.errors import CheckpointError, OptionError
from multibox.openvino_graph import core, read_graph
from multibox.runtime import contract, outputs
from multibox.runtime.contract import ExportInfo, Form
from multibox.runtime.protocol import CheckedRuntime
from multibox.structures import Detections, Image
from multibox.weights.origin import known_classes

OUTPUTS: dict[Form, tuple[str, ...]] = {
    "boxes_labels": ("boxes", "labels"),
    "detection_output": ("detection_out",),
    "raw": ("deltas", "scores"),
}
"""The names of the outputs of our files; that of others' DetectionOutput may differ."""

PRECISIONS = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}

COMPILE_FOR_MANY_FROM = 256
"""Number of streamed images from which the network is compiled once more, to run several of them side by side.

On two cores that takes 0.14 s (INT8: 0.4) and gains 0.25 ms an image; on more cores it gains more
(benchmarks/notebook.md, "No waiting").
"""

NUM_WAITING = 2
"""Number of batches that lie ready beside those that the device is running: it never waits for this thread."""


class OpenVINORuntime(CheckedRuntime):
    """A detector in an OpenVINO file: one of ours, in any form, of the original, or an SSD of Open Model Zoo.

    A file without a description of ours has `DetectionOutput` at its end, or outputs `boxes` and `labels`; it takes a
    raw image, 0..255, planar BGR, and its labels start at 0. `classes` names those of a file that does not.

    `device`: `auto` and `cpu` are the processor; any other name goes to OpenVINO in capitals, so AUTO is its choice.
    `precision`: what to compute in, `f32` for instance; by default what the device prefers, which on some processors is
    bfloat16. `inference_precision` says what became of it.

    `info` is what the file says of itself, None if it is not one of ours.

    Any number of threads may use one runtime at the same time.

    Raises:
        CheckpointError: the file cannot be read or is no such detector.
        OptionError: there is no such device, or `classes` are not as many as the file has.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        classes: Sequence[str] | None = None,
        device: str = "auto",
        precision: str | None = None,
    ) -> None:
        self._path = Path(path)
        model = read_graph(self._path)
        self.info = contract.read_from_ir(model, source=str(path))
        self.threshold = self.info.suggested_threshold if self.info else None
        batch, self.input_size = _check_input(model, self._path)
        # Where any number goes, one by one: what runs side by side are requests, not images of a batch.
        self._batch = batch or 1
        self._form = _form(model, self.info, self._path)
        _check_outputs(model, self._form, self._batch, self._path)
        self.classes = self.info.classes if self.info else _foreign_classes(model, self._path, classes)
        self._model = _taking_images(model, self.info)
        self._device = device
        self._precision = precision
        self._lock = threading.Lock()
        self._for_one = self._compile("LATENCY")
        self._for_many: _Engine | None = None
        self._num_streamed = 0

    @property
    def inference_precision(self) -> str:
        """What the device computes in: "float32", "bfloat16", "float16", or "unknown" where it does not say."""
        name = self._for_one.inference_precision
        return PRECISIONS.get(name, name)

    def detect_all(self, images: Sequence[Image]) -> list[Detections]:
        """Detections of each image. A single one has all cores for itself; several run side by side."""
        return list(self._run(self._for_one, images) if len(images) == 1 else self.detect_stream(images))

    def detect_stream(self, images: Iterable[Image]) -> Iterator[Detections]:
        """Detections of each image, in order. A few are under way before the first result comes out."""
        iterator = iter(images)
        if self._for_many is None:
            yield from self._run(self._for_one, self._first(iterator))
            following = list(islice(iterator, 1))
            if not following:
                return
            iterator = chain(following, iterator)
            with self._lock:
                if self._for_many is None:
                    self._for_many = self._compile("THROUGHPUT")
        yield from self._run(self._for_many, iterator)

    def _first(self, images: Iterator[Image]) -> Iterator[Image]:
        """The images for which compiling once more does not pay."""
        while self._num_streamed < COMPILE_FOR_MANY_FROM and (next_one := list(islice(images, 1))):
            self._num_streamed += 1
            yield next_one[0]

    def _run(self, engine: _Engine, images: Iterable[Image]) -> Generator[Detections, None, None]:
        running: deque[tuple[Any, int]] = deque()
        try:
            for batch, count in self._batches(images):
                detections = self._finish(engine, *running.popleft()) if len(running) == engine.num_requests else []
                # Before the results go out: the device has work while they are used.
                running.append((engine.start(batch), count))
                yield from detections
            while running:
                yield from self._finish(engine, *running.popleft())
        finally:
            # Only if something failed or the results are not wanted any more is anything left.
            for request, _ in running:
                request.wait()

    def _batches(self, images: Iterable[Image]) -> Iterator[tuple[NDArray[np.uint8], int]]:
        """Batches (B, S, S, 3) and how many images of each count: the last one is filled up by repeating an image."""
        iterator = iter(images)
        while squares := [resize(image, self.input_size) for image in islice(iterator, self._batch)]:
            count = len(squares)
            yield np.stack(squares + squares[-1:] * (self._batch - count)), count

    def _finish(self, engine: _Engine, request: Any, count: int) -> list[Detections]:
        request.wait()
        # What is read are copies, so the request can be used again.
        detections = self._read(request)[:count]
        engine.give_back(request)
        return detections

    def _read(self, request: Any) -> list[Detections]:
        if self._form == "detection_output":
            detections = outputs.read_detection_output(request.get_output_tensor(0).data, batch=self._batch)
        else:
            first, second = (request.get_tensor(name).data for name in OUTPUTS[self._form])
            if self._form == "raw":
                assert self.info is not None
                return outputs.read_raw(first, second, self.info)
            detections = outputs.read_boxes_labels(first, second, input_size=self.input_size)
        highest = max((int(of_image.labels.max(initial=-1)) for of_image in detections), default=-1)
        if highest >= len(self.classes):
            raise OptionError(
                f"{self._path} found an object of class {highest}, counted from 0, "
                f"but there are {len(self.classes)} classes. Name all of them with --classes."
            )
        return detections

    def _compile(self, hint: str) -> _Engine:
        target = "CPU" if self._device in {"auto", "cpu"} else self._device.upper()
        settings = {"PERFORMANCE_HINT": hint}
        if self._precision is not None:
            settings["INFERENCE_PRECISION_HINT"] = self._precision
        try:
            return _Engine(core().compile_model(self._model, target, settings))
        except RuntimeError as error:
            raise OptionError(
                f"--device {self._device}: OpenVINO cannot run {self._path} there. The devices that it finds: "
                f"{', '.join(core().available_devices)}."
            ) from error


class _Engine:
    """A compiled model and its free requests."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self._free: deque[Any] = deque()  # whose pop and append need no lock
        self.num_requests = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS") + NUM_WAITING

    @property
    def inference_precision(self) -> str:
        """By OpenVINO's name; "unknown" where several devices share the work."""
        try:
            name: str = self._compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        except RuntimeError:
            return "unknown"
        return name

    def start(self, batch: NDArray[np.uint8]) -> Any:
        """A request that runs on a copy of the batch."""
        try:
            request = self._free.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        # Filling the request's own memory takes less time than handing over an array.
        memory = request.get_input_tensor()
        if tuple(memory.shape) != batch.shape:  # not fixed: it has no size yet
            memory.shape = batch.shape
        memory.data[...] = batch
        request.start_async()
        return request

    def give_back(self, request: Any) -> None:
        """Take a request that has finished and been read."""
        self._free.append(request)


def _check_input(model: Any, path: Path) -> tuple[int, int]:
    """The images per call (0 for any number) and the side of an image."""
    shape = model.inputs[0].partial_shape if len(model.inputs) == 1 else None
    if shape is None or shape.rank.is_dynamic or len(shape) != 4 or shape[1].is_dynamic or shape[1].get_length() != 3:
        shapes = ", ".join(str(node.partial_shape) for node in model.inputs)
        raise CheckpointError(f"{path}: this is no detector with one image [N,3,S,S] as input; it takes {shapes}.")
    batch, _, height, width = shape
    if height.is_dynamic or width.is_dynamic:
        raise CheckpointError(f"{path}: the size of its input {shape} is not fixed. Export it for one size.")
    if height != width:
        raise CheckpointError(f"{path}: this detector takes {width}x{height} pixels, not a square image.")
    return 0 if batch.is_dynamic else batch.get_length(), width.get_length()


def _form(model: Any, info: ExportInfo | None, path: Path) -> Form:
    """What the file says of itself, else what its outputs look like."""
    looks_like: Form = "detection_output" if _detection_outputs(model) else "boxes_labels"
    form = looks_like if info is None else info.form
    names = _output_names(model)
    is_complete = len(model.outputs) == 1 if form == "detection_output" else names.issuperset(OUTPUTS[form])
    if not is_complete:
        raise CheckpointError(
            f"{path}: this is no detector with outputs `boxes` and `labels`, or with DetectionOutput at its end; "
            f"it has {', '.join(f'`{name}`' for name in sorted(names)) or 'outputs without names'}."
        )
    return form


def _check_outputs(model: Any, form: Form, batch: int, path: Path) -> None:
    ranks, columns = {"boxes_labels": ((2, 3), 5), "detection_output": ((4,), 7), "raw": ((3,), 4)}[form]
    shape = model.output(0 if form == "detection_output" else OUTPUTS[form][0]).partial_shape
    if shape.rank.is_dynamic:
        return
    if len(shape) not in ranks or (shape[len(shape) - 1].is_static and shape[len(shape) - 1].get_length() != columns):
        expected = {"boxes_labels": "[B,N,5]", "detection_output": "[1,1,N,7]", "raw": "[B,A,4]"}[form]
        raise CheckpointError(f"{path}: this detector's output is {shape}, not {expected}.")
    if len(shape) == 2 and batch > 1:
        raise CheckpointError(
            f"{path}: this detector takes {batch} images at once and does not say which boxes are whose. "
            "Export it for one image at a time."
        )


def _output_names(model: Any) -> set[str]:
    return {name for output in model.outputs for name in output.get_names()}


def _detection_outputs(model: Any) -> list[Any]:
    return [node for node in model.get_ops() if node.get_type_name() == "DetectionOutput"]


def _foreign_classes(model: Any, path: Path, classes: Sequence[str] | None) -> tuple[str, ...]:
    count = _count_classes(model)
    names = tuple(classes or known_classes(path) or (f"class {i}" for i in range(count or 0)))
    if not names:
        raise OptionError(f"{path} does not say what its classes are. Name them with --classes.")
    if count is not None and len(names) != count:
        raise OptionError(f"{path} knows {count} classes; --classes names {len(names)}.")
    return names


def _count_classes(model: Any) -> int | None:
    """How many classes `DetectionOutput` gets scores for, without background; None where nothing tells."""
    for node in _detection_outputs(model):
        # Deltas are four per anchor, scores one per anchor and class.
        num_deltas, num_scores = (node.input_value(i).get_partial_shape()[1] for i in (0, 1))
        if num_deltas.is_static and num_scores.is_static:
            return int(4 * num_scores.get_length() // num_deltas.get_length() - 1)
    return None


def _taking_images(model: Any, info: ExportInfo | None) -> Any:
    """The model with an input (N, S, S, 3) of uint8 BGR: the same numbers, an eighth of the work before the network."""
    from openvino import Layout, Type
    from openvino.preprocess import PrePostProcessor

    builder = PrePostProcessor(model)
    image = builder.input()
    image.tensor().set_element_type(Type.u8).set_layout(Layout("NHWC"))
    image.model().set_layout(Layout("NCHW"))
    if info is not None and info.channel_order == "RGB":
        image.preprocess().reverse_channels()
    if info is not None and info.input_maximum == 1:
        image.preprocess().convert_element_type(Type.f32).scale(255.0)
    return builder.build()
