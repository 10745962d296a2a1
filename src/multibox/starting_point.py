"""Where a training starts from: a checkpoint, a published snapshot, an exported model, or fresh weights."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from multibox import checkpoint
from multibox.anchors import LevelSizes
from multibox.config import Template
from multibox.weights import read_ir

# SHA-384 of the .bin files of Open Model Zoo's detectors of this family, whose classes are vehicle, person, bike.
# Source: the model.yml files of Open Model Zoo 2022.1.
VEHICLE_PERSON_BIKE = frozenset(
    {
        "0b386e482e98f3bc00c2726e3c8dc713f433b2dfc9066ef6bb5d39ac8669ab1df5cf791c545b7a91a84dd17c2b1106bd",
        "aaedcef1be99a9fb5bf30b57870fefc0b61c184a88297953f1a9ab26910aa5ed958190f3e991fc018a8ffda745c9f3e2",
        "691e4caf8161058dec0ee482cd2ac81b0beda330b733a9894adbbb1d63d3c11afb93c12e95d193722454dbb8b34d0519",
    }
)


@dataclass(frozen=True)
class StartingPoint:
    """Weights to start from. `classes` is None where the file names none; `anchors_px` are for the template's input.

    `is_folded`: the batch normalisation is folded away and needs statistics before training (see `multibox.weights`).
    """

    weights: Mapping[str, Tensor]
    classes: tuple[str, ...] | None
    anchors_px: LevelSizes
    is_folded: bool
    name: str


def open_starting_point(path: str | os.PathLike[str], template: Template) -> StartingPoint:
    """The starting point in a .pth file or an OpenVINO IR (.xml, .bin).

    Anchors of a model of another input size are scaled to the template's.

    Raises:
        CheckpointError: the file cannot be read or holds another network.
    """
    if Path(path).suffix.lower() in {".xml", ".bin"}:
        imported = read_ir(path)
        digest = hashlib.sha384(Path(path).with_suffix(".bin").read_bytes()).hexdigest()
        classes = ("vehicle", "person", "bike") if digest in VEHICLE_PERSON_BIKE else None
        anchors_px = _scaled(imported.anchors_px, template.input.size / imported.input_size)
        return StartingPoint(imported.state_dict, classes, anchors_px, True, str(path))
    found = checkpoint.load(path, template=template)
    anchors_px = _scaled(found.template.model.anchors_px, template.input.size / found.template.input.size)
    return StartingPoint(found.state_dict, found.classes, anchors_px, False, str(path))


def _scaled(anchors_px: LevelSizes, factor: float) -> LevelSizes:
    if factor == 1:
        return anchors_px
    return tuple(tuple((width * factor, height * factor) for width, height in level) for level in anchors_px)
