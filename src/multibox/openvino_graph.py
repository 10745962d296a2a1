"""OpenVINO itself, and opening and writing its files."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from multibox.errors import CheckpointError, OptionError
from multibox.structures import FloatArray
from multibox.unfinished import tidy


@functools.cache
def core() -> Any:
    """The `openvino.Core` of this process.

    One for all, which never goes: the processor's plug-in gives the thread that loads it a stack for signals. When
    plug-ins of two cores go in another order than the reverse of their coming, the thread is left with a stack that
    is freed, and Ctrl-C is a crash (seen with OpenVINO 2026.4).
    """
    import openvino

    return openvino.Core()


def read_graph(path: str | os.PathLike[str]) -> Any:
    """The OpenVINO graph in an .xml, or in that beside a .bin.

    Raises:
        CheckpointError: a file of the two is missing, or OpenVINO cannot read them.
    """
    xml = Path(path).with_suffix(".xml")
    if not xml.is_file() and xml.parent.is_dir():
        tidy(xml.parent)  # an export that was killed while it put its files here
    if not xml.is_file():
        raise CheckpointError(f"{xml}: there is no such file; an OpenVINO model is a .xml with a .bin beside it.")
    if not xml.with_suffix(".bin").is_file():
        raise CheckpointError(f"{xml.with_suffix('.bin')}: there is no such file; it holds the weights of {xml.name}.")
    try:
        return core().read_model(xml)
    except RuntimeError as error:
        raise CheckpointError(f"{xml}: OpenVINO cannot read this model; it is damaged or no OpenVINO model.") from error


def values_at(places: Sequence[Any], inputs: Sequence[Any], images: Iterable[FloatArray]) -> Iterator[list[Any]]:
    """What outputs of nodes of a graph are in float32 on each image (1, 3, S, S), one array for each of `places`.

    `inputs` are the parameters of the graph. It is compiled as a part of another one, so it must be a copy that nobody
    else uses.
    """
    import openvino

    probe = openvino.Model([openvino.opset13.result(place) for place in places], list(inputs), "probe")
    compiled = core().compile_model(probe, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for image in images:
        answers = compiled(image)
        yield [answers[position] for position in range(len(places))]


def write_graph(model: Any, xml: Path, *, half_precision: bool = False) -> None:
    """Write an `openvino.Model` as a .xml with a .bin beside it, in a folder that is made if it is not there.

    Raises:
        OptionError: that cannot be done.
    """
    import openvino

    xml.parent.mkdir(parents=True, exist_ok=True)
    try:
        openvino.save_model(model, xml, compress_to_fp16=half_precision)
        # On a full disk, OpenVINO 2025.3 writes as much as fits and says nothing.
        core().read_model(xml)
    except RuntimeError as error:
        raise OptionError(f"{xml}: OpenVINO cannot write the file; is the disk full?") from error
