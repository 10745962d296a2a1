"""Files of weights to start from (.safetensors), and those that come with the package.

A file holds a trained network without the rows of its classes, of which only background is kept: what it is for is to
learn other classes. Convolutions are stored in half precision, everything else as it was.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from multibox.config import LevelAnchors, Side
from multibox.errors import CheckpointError
from multibox.files import atomic_path, check_regular
from multibox.model.anchors import LevelSizes
from multibox.wording import LONGEST_NAME, shortened

if TYPE_CHECKING:
    from torch import Tensor

SUFFIX = ".safetensors"

BUNDLED = "bundled"
"""What stands for the package's own weights where a path is expected.

Of an SSD, these are the better of two for the data; of YOLOX-Nano, those of `coco_detector`.
"""

CLASSIFIER, DETECTOR = "bundled-classifier", "bundled-detector"
"""What stands for one of the two, by what their backbone was first taught; the former serves where none is tried."""

Kind = Literal["classifier", "detector"]
"""What the backbone of a network was first taught to be."""

KINDS: tuple[Kind, ...] = ("classifier", "detector")

CLASS_LAYERS = "bbox_head.cls_convs."


@dataclass(frozen=True)
class StartingWeights:
    """Weights under the snapshots' names, background being the only class row; anchors in pixels of `input_size`.

    `origin`: what the file says of where it comes from, in words.
    """

    weights: Mapping[str, Tensor]
    anchors_px: LevelSizes
    input_size: int
    origin: str


def bundled_files(kind: Kind) -> dict[int, Path]:
    """The files of a kind that come with the package, by input size."""
    folder = Path(str(resources.files("multibox.weights") / "bundled_files"))
    ending = f"-{kind}{SUFFIX}"
    return {int(path.name.removesuffix(ending).rpartition("x")[2]): path for path in sorted(folder.glob(f"*{ending}"))}


def bundled_file(kind: Kind, input_size: int) -> Path:
    """The file of a kind for this input size, or the one for the nearest."""
    files = bundled_files(kind)
    return files[min(files, key=lambda size: (abs(size - input_size), size))]


def coco_detector() -> Path:
    """The file of YOLOX-Nano with all of its classes, which are `COCO_CLASSES`."""
    return Path(str(resources.files("multibox.weights") / "bundled_files")) / f"yolox_nano-coco{SUFFIX}"


def read_bundled(path: str | os.PathLike[str]) -> StartingWeights:
    """What `write_bundled` wrote.

    Raises:
        CheckpointError: the file cannot be read, or holds something else.
    """
    from safetensors import SafetensorError, safe_open

    from multibox.weights.checked import check_tensors

    try:
        check_regular(path)
        with safe_open(os.fspath(path), framework="pt") as file:
            facts = file.metadata() or {}
            weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - it is no dictionary
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise CheckpointError(f"{path}: cannot read the weights: {reason}.") from error
    if "anchors_px" not in facts:
        raise CheckpointError(
            f"{path}: these are no weights of multibox. Name a .safetensors of tools/make_starting_weights.py, a .pth, "
            "or an OpenVINO model (.xml)."
        )
    check_tensors(weights, source=path)
    try:
        input_size = msgspec.convert(facts.get("input_size"), Side, strict=False)
        anchors_px = msgspec.json.decode(facts["anchors_px"], type=LevelAnchors)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise CheckpointError(f"{path}: its description of itself is damaged: {error}. Make the file again.") from error
    return StartingWeights(
        weights={key: value.float() if value.is_floating_point() else value for key, value in weights.items()},
        anchors_px=anchors_px,
        input_size=input_size,
        origin=shortened(facts.get("origin", "unknown"), LONGEST_NAME),
    )


def write_bundled(
    path: str | os.PathLike[str],
    weights: Mapping[str, Tensor],
    *,
    anchors_px: Sequence[Sequence[tuple[float, float]]],
    num_classes: int,
    input_size: int,
    origin: str,
) -> None:
    """Write the weights of a network of `num_classes` classes; the file appears whole or not at all."""
    from safetensors.torch import save_file

    stored = {
        key: _stored(key, value.detach().cpu(), num_classes=num_classes).contiguous() for key, value in weights.items()
    }
    facts = {
        "anchors_px": msgspec.json.encode(anchors_px).decode(),
        "input_size": str(input_size),
        "origin": origin,
    }
    with atomic_path(path) as temporary:
        save_file(stored, str(temporary), metadata=facts)


def _stored(key: str, value: Tensor, *, num_classes: int) -> Tensor:
    if key.startswith(CLASS_LAYERS) and key.split(".")[3] == "3":
        value = value.unflatten(0, (-1, num_classes + 1))[:, -1]
    # Normalisations stay in full precision: some variances are too small for half.
    import torch

    return value.half() if value.ndim == 4 and value.dtype == torch.float32 else value.clone()
