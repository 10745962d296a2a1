"""Turn the public YOLOX-Nano (.onnx of Megvii's YOLOX 0.1.1) into the COCO weights that come with the package.

    tools/convert_yolox_weights.py yolox_nano.onnx [--statistics FOLDER...] [--to FILE.safetensors]

The file has its batch normalisation folded away. Without --statistics, normalisations come back that only add the
biases. With it, they get the statistics of the images in these folders, and each channel weights of the size that fresh
ones have; the network computes the same. Its input changes from BGR in 0..255 to RGB in 0..1, as multibox has it, by
other weights of the first convolution. Convolutions are stored in half precision.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

from multibox.data.images import read_image, resize, to_input
from multibox.model.csp_darknet import STAGES, STRIDES
from multibox.model.unfolding import restore_normalisation
from multibox.model.yolox import YOLOX
from multibox.weights.bundled import coco_detector, write_bundled

ORIGIN = "YOLOX-Nano of Megvii's YOLOX 0.1.1, trained on COCO"
INPUT_SIZE = 416
MAX_IMAGES = 256
"""Images whose statistics are taken; more change them by less than a batch in training does."""

BATCH = 16


def main() -> int:
    """Convert, and say what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("onnx", type=Path)
    parser.add_argument(
        "--statistics", type=Path, nargs="+", default=[], metavar="FOLDER", help="folders of .jpg files"
    )
    parser.add_argument("--to", type=Path, default=coco_detector())
    arguments = parser.parse_args()
    network = load(arguments.onnx)
    files = evenly([sorted(folder.rglob("*.jpg")) for folder in arguments.statistics], MAX_IMAGES)
    if files:
        restore_normalisation(network, batches(files))
    write_bundled(
        arguments.to,
        network.state_dict(),
        anchors_px=[[(float(stride), float(stride))] for stride in STRIDES],
        num_classes=network.num_classes,
        input_size=INPUT_SIZE,
        origin=ORIGIN,
    )
    record = {
        "origin": ORIGIN,
        "licence": "Apache-2.0",
        "source": arguments.onnx.name,
        "source_sha256": hashlib.sha256(arguments.onnx.read_bytes()).hexdigest(),
        "statistics_of": dict(Counter(str(Path(*file.parts[-3:-1])) for file in files)),
    }
    arguments.to.with_suffix(".json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(f"{arguments.to}: {arguments.to.stat().st_size} bytes, statistics of {len(files)} images")
    return 0


def load(path: Path) -> YOLOX:
    """The network in the public file, with normalisations that only add the biases, in evaluation mode.

    Raises:
        ValueError: the file has other convolutions.
    """
    graph = onnx.load(str(path)).graph
    constants = {item.name: torch.from_numpy(numpy_helper.to_array(item).copy()) for item in graph.initializer}
    given = [[constants[name] for name in node.input[1:]] for node in graph.node if node.op_type == "Conv"]
    names = list(convolutions())
    if len(given) != len(names):
        raise ValueError(f"{path} has {len(given)} convolutions; YOLOX-Nano has {len(names)}")
    num_classes = next(len(bias) for name, (_, bias) in zip(names, given, strict=True) if name.endswith(".classes"))
    network = YOLOX(num_classes=num_classes).eval()
    state = network.state_dict()
    for name, (weight, bias) in zip(names, given, strict=True):
        if f"{name}.bias" in state:
            state |= {f"{name}.weight": weight, f"{name}.bias": bias}
            continue
        one = torch.ones_like(bias)
        normalisation = network.get_submodule(f"{name}.bn")
        state |= {
            f"{name}.conv.weight": weight,
            f"{name}.bn.weight": one,
            f"{name}.bn.bias": bias,
            f"{name}.bn.running_mean": torch.zeros_like(bias),
            f"{name}.bn.running_var": one - float(normalisation.eps),  # type: ignore[arg-type]
        }
    first = f"{names[0]}.conv.weight"
    state[first] = for_rgb(state[first])
    network.load_state_dict(state)
    return network


def convolutions() -> Iterator[str]:
    """The modules of `YOLOX` that hold the convolutions of the public graph, in its order."""
    yield "backbone.features.stem.conv"
    for number, (_, num_bottlenecks) in enumerate(STAGES, start=1):
        stage = f"backbone.features.stage{number}"
        yield from separable(f"{stage}.down")
        if number == len(STAGES):
            yield from (f"{stage}.pool.reduce", f"{stage}.pool.join")
        yield from csp_block(f"{stage}.block", num_bottlenecks)
    yield "neck.reduce_coarse"
    yield from csp_block("neck.down_middle", 1)
    yield "neck.reduce_middle"
    yield from csp_block("neck.down_fine", 1)
    yield from separable("neck.shrink_fine")
    yield from csp_block("neck.up_middle", 1)
    yield from separable("neck.shrink_middle")
    yield from csp_block("neck.up_coarse", 1)
    for i in range(len(STRIDES)):
        level = f"bbox_head.levels.{i}"
        yield f"{level}.stem"
        yield from (name for block in range(2) for name in separable(f"{level}.class_tower.{block}"))
        yield f"{level}.classes"
        yield from (name for block in range(2) for name in separable(f"{level}.box_tower.{block}"))
        yield from (f"{level}.boxes", f"{level}.objectness")


def csp_block(name: str, num_bottlenecks: int) -> Iterator[str]:
    """The convolutions of a CSP block."""
    yield from (f"{name}.main", f"{name}.bypass")
    for i in range(num_bottlenecks):
        yield f"{name}.bottlenecks.{i}.conv1"
        yield from separable(f"{name}.bottlenecks.{i}.conv2")
    yield f"{name}.join"


def separable(name: str) -> Iterator[str]:
    """The convolutions of a depthwise separable one."""
    yield from (f"{name}.depthwise", f"{name}.pointwise")


def for_rgb(weight: Tensor) -> Tensor:
    """The weights (C, 12, 3, 3) of the first convolution for RGB in 0..1, from those for BGR in 0..255.

    Its inputs are four pixels, each with its three colours.
    """
    pixels: Tensor = weight.unflatten(1, (4, 3))
    return 255 * pixels.flip(2).flatten(1, 2)


def evenly(folders: Sequence[Sequence[Path]], count: int) -> list[Path]:
    """About `count` files, as many of each folder where it has enough, spread over its files."""
    share = count // max(len(folders), 1)
    return [
        files[i]
        for files in folders
        for i in np.unique(np.linspace(0, len(files) - 1, min(share, len(files))).astype(int))
    ]


def batches(files: Sequence[Path]) -> Iterator[Tensor]:
    """Images (B, 3, S, S), squared, RGB in 0..1."""
    for start in range(0, len(files), BATCH):
        squares = [resize(read_image(file), INPUT_SIZE) for file in files[start : start + BATCH]]
        yield torch.from_numpy(to_input(squares))


if __name__ == "__main__":
    sys.exit(main())
