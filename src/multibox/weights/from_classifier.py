"""Starting weights from a classifier: the backbone of a MobileNetV2 1.0 in any format that OpenVINO reads (.tflite).

What a classifier of a thousand kinds of things has learnt to tell apart serves objects of any kind; it knows nothing of
where they are. Measured: "Starting weights" in benchmarks/notebook.md.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from multibox.errors import CheckpointError
from multibox.openvino_graph import core
from multibox.weights.graph_reader import GraphReader, compile_outputs, key_of

if TYPE_CHECKING:
    from torch import Tensor

SUFFIX = ".tflite"

EXPANSION_OF_ONE = "stage1.unit1.conv1"
"""The 1x1 convolution 32 -> 32 that the published snapshots have and the paper's network has not; an identity here."""


def read_classifier(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The weights of our backbone, under its names, from a classifier whose input is RGB.

    Batch normalisation that is folded into the convolutions becomes a shift without scale and statistics (see
    `multibox.train.batch_norm`); quantised weights are taken as the numbers that they stand for. Where such networks
    pad a strided convolution on the right and below only, ours pads all around: it sees the same shapes one pixel
    further.

    Raises:
        CheckpointError: the file cannot be read, or holds another network.
    """
    import torch

    from multibox.model.layers import ConvBlock
    from multibox.model.mobilenet_v2 import MobileNetV2
    from multibox.weights.checked import check_tensors

    source = Path(path)
    if not source.is_file():
        raise CheckpointError(f"{source}: there is no such file.")
    try:
        graph = core().read_model(source)
    except RuntimeError as error:
        raise CheckpointError(
            f"{source}: OpenVINO cannot read this model; it is damaged or of no known kind."
        ) from error
    reader = GraphReader(graph, source=source.name)
    convolutions = [node for node in graph.get_ordered_ops() if node.get_type_name().endswith("Convolution")]
    backbone = MobileNetV2()
    blocks = [(name, module) for name, module in backbone.features.named_modules() if isinstance(module, ConvBlock)]
    read = [(name, module) for name, module in blocks if name != EXPANSION_OF_ONE]
    reader.check(len(convolutions) >= len(read), f"{len(read)} convolutions of a MobileNetV2", str(len(convolutions)))
    for (name, block), node in zip(read, convolutions, strict=False):
        weight, shift = _weight_and_shift(reader, name, block, node)
        if name == "init_block":
            weight, shift = _for_our_input(reader, node, weight, shift)
        reader.arrays[f"{name}.conv.weight"] = weight
        reader.shift(f"{name}.bn", block.bn, shift)
    channels = dict(blocks)[EXPANSION_OF_ONE].conv.out_channels
    reader.arrays[f"{EXPANSION_OF_ONE}.conv.weight"] = np.eye(channels)[:, :, None, None]
    reader.shift(f"{EXPANSION_OF_ONE}.bn", dict(blocks)[EXPANSION_OF_ONE].bn, np.zeros(channels))
    # What a batch normalisation counts is in no file of a classifier.
    weights = {key: value for key, value in backbone.state_dict().items() if "num_batches" in key}
    for name, array in reader.arrays.items():
        weights[f"features.{name}"] = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    check_tensors(weights, source=source)
    return {f"backbone.{key}": value for key, value in weights.items()}


def _weight_and_shift(
    reader: GraphReader, name: str, block: Any, node: Any
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of a convolution, with all scales and shifts behind it."""
    shape = tuple(block.conv.weight.shape)
    weight = reader.constants.get(key_of(node.input_value(1)))
    is_like_ours = weight is not None and weight.size == np.prod(shape) and weight.shape[-3:] == shape[-3:]
    reader.check(is_like_ours, f"weights {list(shape)} for {name}", str(node.input_value(1).get_partial_shape()))
    assert weight is not None
    strides = tuple(node.get_attributes()["strides"])
    reader.check(strides == block.conv.stride, f"strides {block.conv.stride} for {name}", str(strides))
    scale, shift = np.ones(shape[0]), np.zeros(shape[0])
    while len(consumers := list(node.output(0).get_target_inputs())) == 1:
        node = consumers[0].get_node()
        step = reader.constant_step(node, shape[0])
        if step is None:
            break
        factor, summand, _ = step
        scale, shift = scale * factor, shift * factor + summand
    return weight.astype(np.float64).reshape(shape) * scale.reshape(-1, 1, 1, 1), shift


def _for_our_input(
    reader: GraphReader, first: Any, weight: NDArray[np.float64], shift: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The first convolution, made to read RGB in 0..1 instead of what the graph makes of an image of 0..255.

    The graph's scaling is measured: black gives its offset, white its scale. The offset moves into the shift, which is
    exact but for the outermost pixels, where padding would have to be that offset.
    """
    (parameter,) = reader.graph.get_parameters()
    shape = [3 if dimension.is_dynamic else dimension.get_length() for dimension in parameter.get_partial_shape()]
    shape[0] = 1
    run = compile_outputs([first.input_value(0)], [parameter])
    dtype = parameter.get_element_type().to_dtype()
    black, white = (run(np.full(shape, value, dtype))[0][0].astype(np.float64) for value in (0, 255))
    is_scaling = all(np.allclose(plane, plane.flat[0], atol=1e-3) for plane in (black, white))
    reader.check(is_scaling, "the same scaling of all colours before the first convolution", "more")
    offset, scale = float(black.mean()), float((white - black).mean())
    return weight * scale, shift + offset * weight.sum(axis=(1, 2, 3))
