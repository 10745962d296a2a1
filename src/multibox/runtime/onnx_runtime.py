"""Exported detectors in ONNX files, run by ONNX Runtime on the processor. No torch, and no package onnx, needed."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from multibox.data.images import resize, to_input
from multibox.errors import CheckpointError, DependencyError, OptionError
from multibox.runtime import contract, outputs
from multibox.runtime.contract import ExportInfo
from multibox.runtime.protocol import CheckedRuntime
from multibox.structures import Detections, Image
from multibox.wording import listed

OUTPUTS = {"boxes_labels": ("boxes", "labels"), "raw": ("deltas", "scores")}

MAX_BATCH = 8
"""Number of images per call of a file that takes any number: more need memory and are no faster."""

MAX_WAITING = 2
"""Number of batches that a stream has handed over and not yet given back: one runs while the next is there already."""


class OnnxRuntime(CheckedRuntime):
    """A detector in an ONNX file: one of ours, in either form, or one with the same outputs `boxes` and `labels`.

    Its input is a square image, planar RGB divided by 255; `classes` names those of a file that does not. Any number of
    threads may use one runtime at the same time.

    Raises:
        CheckpointError: the file cannot be read or is no such detector.
        DependencyError: ONNX Runtime is not installed.
        OptionError: `device` is another than the processor, or `classes` are not as many as the file has.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, classes: Sequence[str] | None = None, device: str = "auto"
    ) -> None:
        if device.lower() not in {"auto", "cpu"}:
            raise OptionError(
                f"--device {device}: ONNX files run on the processor here; export an IR for other devices."
            )
        self._path = Path(path)
        self._session = _open(self._path)
        self.info = _read_info(self._session, self._path)
        self.threshold = self.info.suggested_threshold if self.info else None
        self.classes = _classes(self.info, classes, self._path)
        self._outputs = _check_outputs(self._session, self.info, self._path)
        self._input, images_per_call, self.input_size = _check_input(self._session, self._path)
        # Without a batch axis, nothing would tell whose boxes are whose.
        if len(_shapes(self._session)[self._outputs[0]]) == 2:
            _check_single(images_per_call, self._path)
            images_per_call = 1
        self._padded_to = images_per_call
        self._chunk = images_per_call or MAX_BATCH

    def detect_all(self, images: Sequence[Image]) -> list[Detections]:
        """Detections of each image, as many at a time as the file takes."""
        return [detections for chunk in _chunks(images, self._chunk) for detections in self._detect(chunk)]

    def detect_stream(self, images: Iterable[Image]) -> Iterator[Detections]:
        """Detections of each image, in order, while the next images are being taken from `images`."""
        waiting: deque[Future[list[Detections]]] = deque()
        worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="multibox-onnx")
        try:
            for chunk in _chunks(images, self._chunk):
                waiting.append(worker.submit(self._detect, chunk))
                if len(waiting) > MAX_WAITING:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            worker.shutdown(cancel_futures=True)

    def _detect(self, images: Sequence[Image]) -> list[Detections]:
        batch = to_input([resize(image, self.input_size) for image in images])
        missing = max(self._padded_to - len(images), 0)
        batch = np.concatenate([batch, *[batch[-1:]] * missing])
        return self._read(*self._session.run(list(self._outputs), {self._input: batch}))[: len(images)]

    def _read(self, first: Any, second: Any) -> list[Detections]:
        if self.info is not None and self.info.form == "raw":
            return outputs.read_raw(first, second, self.info)
        highest = int(second.max(initial=-1))
        # How many classes a foreign file has, only what it finds can tell.
        if highest >= len(self.classes):
            raise OptionError(
                f"{self._path} found an object of class {highest}, counted from 0; --classes names {len(self.classes)}."
            )
        return outputs.read_boxes_labels(first, second, input_size=self.input_size)


def _chunks(images: Iterable[Image], size: int) -> Iterator[list[Image]]:
    iterator = iter(images)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _open(path: Path) -> Any:
    try:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as state
    except ModuleNotFoundError as error:
        raise DependencyError(
            'Running an .onnx file needs ONNX Runtime. Install it with: pip install "multibox[onnx]"'
        ) from error
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such file.")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised; printing it as well would make it more than one line
    faults = (state.Fail, state.InvalidArgument, state.InvalidGraph, state.InvalidProtobuf, state.NotImplemented)
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except (*faults, state.RuntimeException, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"{path}: ONNX Runtime cannot read this model; it is damaged or no ONNX model of standard operators."
        ) from error


def _read_info(session: Any, path: Path) -> ExportInfo | None:
    try:
        properties = session.get_modelmeta().custom_metadata_map
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path}: its description of itself is no UTF-8 text. Export it again.") from error
    return contract.from_onnx_properties(properties, source=str(path))


def _classes(info: ExportInfo | None, names: Sequence[str] | None, path: Path) -> tuple[str, ...]:
    if info is None and not names:
        raise CheckpointError(f"{path}: this file does not say what its classes are. Name them with --classes.")
    if info is None:
        return tuple(names or ())
    if names and len(names) != len(info.classes):
        raise OptionError(f"{path} knows {len(info.classes)} classes; --classes names {len(names)}.")
    return info.classes


def _check_outputs(session: Any, info: ExportInfo | None, path: Path) -> tuple[str, str]:
    """The names of the two outputs to ask for."""
    expected = OUTPUTS.get("boxes_labels" if info is None else info.form)
    shapes = _shapes(session)
    if expected is None or not set(expected) <= set(shapes):
        raise CheckpointError(
            f"{path}: this is no detector with outputs `boxes` and `labels`; it has {listed(shapes)}."
        )
    if expected[0] == "boxes" and not (len(shapes["boxes"]) in {2, 3} and shapes["boxes"][-1] == 5):
        raise CheckpointError(f"{path}: `boxes` of this detector are {shapes['boxes']}, not [N, 5] or [B, N, 5].")
    return expected


def _check_input(session: Any, path: Path) -> tuple[str, int, int]:
    """The name of the input, the images per call (0 for any number) and the side of an image."""
    inputs = session.get_inputs()
    shape = inputs[0].shape if len(inputs) == 1 else []
    if len(shape) != 4 or shape[1] != 3 or inputs[0].type != "tensor(float)":
        raise CheckpointError(f"{path}: this is no detector with one planar float32 image as input.")
    batch, _, height, width = shape
    if not (isinstance(height, int) and isinstance(width, int)):
        raise CheckpointError(
            f"{path}: the size of its input is not fixed. Fix it with: python -m "
            f"onnxruntime.tools.make_dynamic_shape_fixed --input_name {inputs[0].name} --input_shape 1,3,SIDE,SIDE"
        )
    if height != width:
        raise CheckpointError(f"{path}: this detector takes {width}x{height} pixels, not a square image.")
    return inputs[0].name, batch if isinstance(batch, int) else 0, height


def _check_single(images_per_call: int, path: Path) -> None:
    if images_per_call > 1:
        raise CheckpointError(
            f"{path}: this detector takes {images_per_call} images at once and does not say which boxes are whose. "
            "Export it with a batch of 1."
        )


def _shapes(session: Any) -> dict[str, list[Any]]:
    return {output.name: output.shape for output in session.get_outputs()}
