"""Networks alone, ready to run on images that are tensors already, for `multibox.evaluate.speed` to time.

With what suppression their graphs hold: a checkpoint's is in numpy, a `raw` file has none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import closing
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from multibox.data import images
from multibox.errors import OptionError
from multibox.evaluate.speed_table import Precision
from multibox.files import kind_of
from multibox.machine import usable_cores
from multibox.openvino_graph import core, read_graph
from multibox.runtime.protocol import Runtime
from multibox.structures import FloatArray, Image
from multibox.threads import ahead

TORCH_BATCH = 8

Setting = tuple[Path, str, Precision]
"""A file, a device, and what OpenVINO is asked to compute in."""


def open_network(setting: Setting, runtime: Runtime, squares: Sequence[Image]) -> tuple[Part, str]:
    """The network alone, ready to run, and in what it computes."""
    path, device, precision = setting
    if kind_of(path) == "openvino":
        network = _OpenVINONetwork(path, device, precision, [_planar(square) for square in squares])
        return network, network.computes_in
    if kind_of(path) == "onnx":
        return _OnnxNetwork(path, [images.to_input([square]) for square in squares]), "f32"
    return _TorchNetwork(runtime, squares), "f32"


class Part(Protocol):
    """The network alone, or the whole way. Both generators never end: each value is a number of images done."""

    def one_by_one(self, turn: int) -> Generator[int, None, None]:
        """One image after the other, each by itself."""
        ...

    def kept_busy(self, turn: int) -> Generator[int, None, None]:
        """As many at a time as is best."""
        ...


class _OpenVINONetwork:
    """A graph whose input tensors are filled already; what suppression it holds runs with it."""

    def __init__(self, path: Path, device: str, precision: Precision, tensors: Sequence[FloatArray]) -> None:
        import openvino

        graph = read_graph(path)
        _check_batch(path, -1 if graph.is_dynamic() else graph.input().shape[0])
        if graph.is_dynamic():
            graph.reshape(list(tensors[0].shape))
        hints = {"INFERENCE_PRECISION_HINT": "f32"} if precision == "f32" else {}
        alone, busy = (
            core().compile_model(graph, device, {"PERFORMANCE_HINT": goal, **hints})
            for goal in ("LATENCY", "THROUGHPUT")
        )
        self.computes_in = _computes_in(alone)
        self._requests = [alone.create_infer_request() for _ in tensors]
        # No number of requests: the device's own optimum.
        self._queue = openvino.AsyncInferQueue(busy)
        for requests in (self._requests, self._queue):
            for request, tensor in zip(requests, cycle(tensors)):
                request.set_input_tensor(openvino.Tensor(tensor))

    def one_by_one(self, turn: int) -> Generator[int, None, None]:
        for request in cycle(self._requests):
            request.infer()
            yield 1

    def kept_busy(self, turn: int) -> Generator[int, None, None]:
        try:
            while True:
                self._queue.start_async()  # waits until a request is done
                yield 1
        finally:
            self._queue.wait_all()


class _OnnxNetwork:
    """An ONNX model in onnxruntime: alone on all cores, or one image on each core."""

    def __init__(self, path: Path, tensors: Sequence[FloatArray]) -> None:
        from onnxruntime import InferenceSession, SessionOptions

        one_core = SessionOptions()
        one_core.intra_op_num_threads = 1
        self._alone, self._busy = (
            InferenceSession(path, options, providers=["CPUExecutionProvider"]) for options in (None, one_core)
        )
        given = self._alone.get_inputs()[0]
        _check_batch(path, given.shape[0])
        self._name = given.name
        self._tensors = tensors

    def one_by_one(self, turn: int) -> Generator[int, None, None]:
        for tensor in cycle(self._tensors):
            self._alone.run(None, {self._name: tensor})
            yield 1

    def kept_busy(self, turn: int) -> Generator[int, None, None]:
        def run(tensor: FloatArray) -> None:
            self._busy.run(None, {self._name: tensor})

        with closing(ahead(run, cycle(self._tensors), num_threads=usable_cores())) as results:
            for _ in results:
                yield 1


class _TorchNetwork:
    """A checkpoint on images that have the network's size already: tensor, network, suppression in numpy."""

    def __init__(self, runtime: Runtime, squares: Sequence[Image]) -> None:
        self._runtime = runtime
        self._squares = squares

    def one_by_one(self, turn: int) -> Generator[int, None, None]:
        for square in cycle(self._squares):
            self._runtime([square])
            yield 1

    def kept_busy(self, turn: int) -> Generator[int, None, None]:
        batch = list(islice(cycle(self._squares), TORCH_BATCH))
        while True:
            self._runtime(batch)
            yield len(batch)


def _check_batch(path: Path, batch: int | str | None) -> None:
    if isinstance(batch, int) and batch > 1:
        raise OptionError(
            f"{path}: this file takes {batch} images at a time, and latency is that of one. Export it with --batch 1."
        )


def _computes_in(compiled: Any) -> str:
    """The precisions of the kernels chosen for the convolutions, most frequent first; else what the device states."""
    kernels = []
    for node in compiled.get_runtime_model().get_ops():
        facts = node.get_rt_info()
        if "primitiveType" in facts and facts["layerType"].astype(str) == "Convolution":
            # "brgconv_avx512_1x1_bf16": the entry `runtimePrecision` would name that of stored weights instead.
            kernels.append(facts["primitiveType"].astype(str).rsplit("_", 1)[-1].lower())
    stated = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    return ", ".join(name for name, _ in Counter(kernels or [stated]).most_common())


def _planar(square: Image) -> FloatArray:
    """(1, 3, S, S), values from 0 to 255, of an image (S, S, 3)."""
    return np.ascontiguousarray(square.transpose(2, 0, 1)[None], dtype=np.float32)
