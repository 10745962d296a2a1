"""What can be compressed: a checkpoint, or an OpenVINO file alone. Both give candidates, which are exported files.

No PyTorch is needed for a file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from multibox.errors import CheckpointError
from multibox.files import model_files, sha256
from multibox.openvino_graph import read_graph, write_graph
from multibox.runtime.openvino_runtime import OpenVINORuntime
from multibox.runtime.protocol import Runtime
from multibox.structures import FloatArray, Image

if TYPE_CHECKING:
    from multibox.train.loop import TrainingResult
    from multibox.weights.checkpoint import Checkpoint

Squares = Sequence[Image]
"""Images (S, S, 3), uint8 BGR, of the size of the network input."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model in 8 bits: its exported file, the number of training images that it was made on, and its checkpoint.

    `checkpoint` is what the file was exported from, None where a file was compressed.
    """

    xml: Path
    num_images: int
    checkpoint: Checkpoint | None = None


class Model(Protocol):
    """What is compressed. Everything that it writes on the way lies in a folder of its own."""

    source: Path
    input_size: int
    float_xml: Path

    @property
    def is_thorough_more(self) -> bool:
        """Whether `quantise` makes something else on the same images with `thorough`."""
        ...

    def open(self, xml: Path) -> Runtime:
        """An exported file, in floating point or in 8 bits, run by OpenVINO; what is not in 8 bits is in float32."""
        ...

    def quantise(self, squares: Squares, *, thorough: bool) -> Candidate:
        """A candidate with ranges measured on these images; `thorough` corrects biases layer by layer."""
        ...

    def simulation(self, candidate: Candidate) -> Runtime | None:
        """The candidate computed by PyTorch, which simulates 8 bits; None for a file, which PyTorch cannot run."""
        ...

    def write(self, candidate: Candidate, folder: Path, facts: Mapping[str, Any]) -> Path:
        """Write a candidate into a folder that nobody sees, with `facts` on what it is; the file to open."""
        ...


class CheckpointModel:
    """A checkpoint, whose file is `source`; candidates are checkpoints with their exports in `folder`."""

    def __init__(self, checkpoint: Checkpoint, source: Path, folder: Path, *, device: str) -> None:
        from multibox.export.run import Request, write_files
        from multibox.model.folding import fold

        self.source = source
        self.input_size = checkpoint.template.input.size
        self._checkpoint = checkpoint
        self._folder = folder
        self._device = device
        self._folded = fold(checkpoint.build_float())
        exported = write_files(checkpoint, source, folder / "float", Request(onnx=False, raw=True))
        self.float_xml, self._info = exported[0].path, exported[0].info
        # The raw form ends where a converted network does, and has the same names.
        self._converted = read_graph(exported[-1].path)
        self._num_candidates = 0

    @property
    def is_thorough_more(self) -> bool:
        """See `Model`."""
        from multibox.compress.nncf import has_silu

        return not has_silu(self._converted)

    def open(self, xml: Path) -> Runtime:
        """See `Model`."""
        return OpenVINORuntime(xml, precision="f32")

    def quantise(self, squares: Squares, *, thorough: bool) -> Candidate:
        """See `Model`."""
        from multibox.compress import nncf
        from multibox.model.folding import unfold
        from multibox.model.quantized import scales_to_plain

        info = self._info
        images = _Inputs(squares, info.channel_order, info.input_maximum)
        quantised = nncf.quantize(self._converted, images, count=len(squares), thorough=thorough)
        corrected, scales = nncf.read_scales(quantised, self._folded, info)
        made = dataclasses.replace(
            self._checkpoint,
            state_dict=unfold(corrected, self._checkpoint.template),
            quantization=scales_to_plain(scales),
            meta={**self._checkpoint.meta, "nncf_enable_compression": True, "nncf_version": version("nncf")},
            training=None,
        )
        return Candidate(self._export(made), len(squares), made)

    def train(
        self, start: Candidate, train: Callable[[Checkpoint], TrainingResult], *, num_images: int
    ) -> Candidate | None:
        """A candidate trained on, on a training set of `num_images`; None if the training was interrupted."""
        from multibox.weights import checkpoint

        assert start.checkpoint is not None
        result = train(start.checkpoint)
        if result.is_interrupted:
            return None
        trained = checkpoint.load(result.best or result.latest)
        # The template of the model, not that of the training, which had a rate and a length of its own.
        made = dataclasses.replace(start.checkpoint, state_dict=trained.state_dict, quantization=trained.quantization)
        return Candidate(self._export(made), num_images, made)

    def simulation(self, candidate: Candidate) -> Runtime | None:
        """See `Model`."""
        assert candidate.checkpoint is not None
        from multibox.runtime.torch_runtime import runtime_of

        return runtime_of(candidate.checkpoint, device=self._device)

    def write(self, candidate: Candidate, folder: Path, facts: Mapping[str, Any]) -> Path:
        """See `Model`: `latest.pth`."""
        from multibox.weights import checkpoint

        assert candidate.checkpoint is not None
        compression = {**facts, "source": {"checkpoint": self.source.name, "sha256": sha256(self.source)}}
        metrics = compression.pop("metrics", None)
        meta = {**candidate.checkpoint.meta, "metrics": metrics, "compression": compression}
        if compression.get("threshold") is not None:  # else that of the checkpoint in floating point stays
            meta["threshold"] = compression["threshold"]
        path = folder / "latest.pth"
        checkpoint.save(path, dataclasses.replace(candidate.checkpoint, meta=meta))
        return path

    def _export(self, made: Checkpoint) -> Path:
        from multibox.export.run import Request, write_files
        from multibox.weights import checkpoint

        self._num_candidates += 1
        folder = self._folder / str(self._num_candidates)
        folder.mkdir()
        saved = folder / "latest.pth"
        checkpoint.save(saved, made)
        return write_files(made, saved, folder, Request(onnx=False))[0].path


class FileModel:
    """An OpenVINO file: one of ours, or another SSD that takes raw images; `classes` as `OpenVINORuntime` has them.

    Raises:
        CheckpointError: the file cannot be read, is no detector, or computes in 8 bits already.
    """

    def __init__(self, path: Path, folder: Path, *, classes: Sequence[str] | None = None) -> None:
        self.source = self.float_xml = path.with_suffix(".xml")
        self._folder = folder
        self._classes = classes
        runtime = self.open(self.source)
        self.input_size, self.classes, self._info = runtime.input_size, runtime.classes, runtime.info
        self._graph = read_graph(self.source)
        if any(node.get_type_name() == "FakeQuantize" for node in self._graph.get_ops()):
            raise CheckpointError(f"{path}: this model computes in 8 bits already. Take the one that it was made from.")

    @property
    def is_thorough_more(self) -> bool:
        """See `Model`."""
        from multibox.compress.nncf import has_silu

        return not has_silu(self._graph)

    def open(self, xml: Path) -> OpenVINORuntime:
        """See `Model`."""
        return OpenVINORuntime(xml, classes=self._classes, precision="f32")

    def quantise(self, squares: Squares, *, thorough: bool) -> Candidate:
        """See `Model`."""
        from multibox.compress.nncf import quantize_file

        info = self._info
        images = _Inputs(squares, info.channel_order, info.input_maximum) if info else _Inputs(squares, "BGR", 255)
        quantised = quantize_file(self._graph, images, count=len(squares), thorough=thorough)
        xml = self._folder / ("thorough" if thorough else "fast") / "model.xml"
        write_graph(quantised, xml)
        return Candidate(xml, len(squares))

    def simulation(self, candidate: Candidate) -> Runtime | None:
        """See `Model`: none."""
        return None

    def write(self, candidate: Candidate, folder: Path, facts: Mapping[str, Any]) -> Path:
        """See `Model`: `model.xml` and `model.bin`; the facts are in compress.json alone."""
        target = folder / "model.xml"
        for part in model_files(candidate.xml):
            part.replace(target.with_suffix(part.suffix))
        return target


@dataclass(frozen=True, slots=True)
class _Inputs:
    """Squares as a network takes them, (1, 3, S, S) float32 from 0 to `maximum`; made when they are asked for."""

    squares: Squares
    channel_order: Literal["BGR", "RGB"]
    maximum: int

    def __iter__(self) -> Iterator[FloatArray]:
        for square in self.squares:
            ordered = square if self.channel_order == "BGR" else square[..., ::-1]
            planar = ordered.transpose(2, 0, 1)[None].astype(np.float32)
            yield np.ascontiguousarray(planar * np.float32(self.maximum / 255))
