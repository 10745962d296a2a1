"""Starting weights from elsewhere: an OpenVINO SSD of this family becomes a state dict of our own network.

Exported networks have their batch normalisation folded away; `multibox.train.batch_norm` prepares them for
training. Our own checkpoints are in `multibox.weights.checkpoint`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from multibox.openvino_graph import read_graph
from multibox.weights.graph_reader import GraphReader, compile_outputs, key_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from multibox.model.layers import ConvBlock
    from multibox.model.ssd import SSD

# Nodes that leave the values of a trained network as they are: quantisation only rounds what comes from its training.
ROUNDING = ("FakeQuantize", "Convert")
RESHAPING = (*ROUNDING, "Reshape", "Squeeze", "Unsqueeze")


@dataclass(frozen=True, slots=True)
class ImportedWeights:
    """What an exported detector holds: the weights, and the figures that they were trained with.

    `state_dict` fits an SSD of `num_classes` classes strictly; its background is the last class and its input RGB in
    0..1, whatever those of the file are. `anchors_px`: for each level the (width, height) of its anchors in pixels of
    the network input. `background_index` and the last four are as the file has them: the class that its own outputs
    call background, and how it turns scores into detections (`top_k` per class, -1 for all; `keep_top_k` per image).
    """

    state_dict: dict[str, Tensor]
    anchors_px: tuple[tuple[tuple[float, float], ...], ...]
    input_size: int
    num_classes: int
    background_index: int
    box_variances: tuple[float, float]
    confidence_threshold: float
    nms_threshold: float
    top_k: int
    keep_top_k: int


def read_ir(path: str | os.PathLike[str]) -> ImportedWeights:
    """The weights of an OpenVINO SSD of this family, from its .xml or the .bin beside it.

    The tensors are found by walking the graph from `DetectionOutput` to the image, not by names. Batch normalisation
    that is folded into the convolutions becomes a shift without scale and statistics (see `multibox.train.batch_norm`);
    quantised weights are taken as the numbers that they stand for, and the rounding of activations is left out.

    Raises:
        CheckpointError: the file cannot be read, or holds another network.
    """
    from multibox.weights.checked import check_tensors

    walk = _Walk(read_graph(path), source=Path(path).name)
    detection, attributes = walk.detection_output()
    level_deltas = walk.levels(detection.input_value(0))
    softmax = walk.expect(detection.input_value(1), "Softmax", skip=RESHAPING)
    level_logits = walk.levels(softmax.input_value(0))
    anchors_px, box_variances = walk.anchors(detection.input_value(2))
    num_anchors = [len(level) for level in anchors_px]
    walk.check(len(level_deltas) == len(level_logits) == len(num_anchors) == 2, "2 levels", f"{len(num_anchors)}")
    num_outputs = walk.num_outputs(softmax)
    background = int(attributes["background_label_id"])
    walk.check(0 <= background < num_outputs, f"a background among its {num_outputs} classes", str(background))
    model = _matching_model(num_anchors, num_classes=num_outputs - 1)
    features = walk.head(model, level_deltas, level_logits)
    image = walk.backbone(model, features)
    input_size = walk.input_layer(image)
    walk.move_background_to_the_end(num_anchors, num_outputs, background)
    sides = [side for level in anchors_px for size in level for side in size]
    walk.check(all(0 < side < np.inf for side in [*sides, *box_variances]), "sizes of anchors above 0", "others")
    state_dict = walk.complete(model)
    check_tensors(state_dict, source=Path(path).name)
    return ImportedWeights(
        state_dict=state_dict,
        anchors_px=anchors_px,
        input_size=input_size,
        num_classes=num_outputs - 1,
        background_index=background,
        box_variances=box_variances,
        confidence_threshold=_short(attributes["confidence_threshold"]),
        nms_threshold=_short(attributes["nms_threshold"]),
        top_k=int(attributes["top_k"]),
        keep_top_k=int(attributes["keep_top_k"][0]),
    )


class _Walk(GraphReader):
    """Goes through a graph against the flow of data, checks each node against our network, and collects the weights."""

    def expect(self, output: Any, *kinds: str, skip: tuple[str, ...] = ROUNDING) -> Any:
        """The node that an output comes from, behind nodes of the kinds to `skip`."""
        node = _behind(output, skip).get_node()
        self.check(node.get_type_name() in kinds, " or ".join(kinds), _describe(node))
        return node

    def detection_output(self) -> tuple[Any, dict[str, Any]]:
        nodes = [node for node in self.graph.get_ordered_ops() if node.get_type_name() == "DetectionOutput"]
        self.check(len(nodes) == 1, "one DetectionOutput", f"{len(nodes)}")
        attributes = nodes[0].get_attributes()
        for key, value in {
            "share_location": True,
            "variance_encoded_in_target": False,
            "code_type": "caffe.PriorBoxParameter.CENTER_SIZE",
            "normalized": True,
        }.items():
            self.check(attributes[key] == value, f"a DetectionOutput with {key} {value}", str(attributes[key]))
        return nodes[0], attributes

    def levels(self, output: Any) -> list[Any]:
        """What each level of one kind of prediction comes from, channels not yet moved to the end."""
        flattened = self.expect(output, "Concat", skip=RESHAPING).input_values()
        transposes = [self.expect(level, "Transpose", skip=RESHAPING) for level in flattened]
        for transpose in transposes:
            order = self.constants.get(key_of(transpose.input_value(1)))
            self.check(order is not None and order.tolist() == [0, 2, 3, 1], "NHWC predictions", f"axes {order}")
        return [transpose.input_value(0) for transpose in transposes]

    def num_outputs(self, softmax: Any) -> int:
        shape = softmax.input_value(0).get_partial_shape()
        axis = softmax.get_attributes()["axis"]
        is_last = axis in (-1, len(shape) - 1) and shape[len(shape) - 1].is_static
        self.check(is_last, "a softmax along the last axis", f"axis {axis} of {shape}")
        return int(shape[len(shape) - 1].get_length())

    def anchors(self, output: Any) -> tuple[tuple[tuple[tuple[float, float], ...], ...], tuple[float, float]]:
        """Anchor sizes of each level in pixels, and the variances of centre and size."""
        levels = self.expect(output, "Concat", skip=RESHAPING).input_values()
        nodes = [self.expect(level, "PriorBoxClustered", skip=RESHAPING) for level in levels]
        attributes = [node.get_attributes() for node in nodes]
        for stride, level in zip((16, 32), attributes, strict=False):
            steps = {level["step"], level["step_w"], level["step_h"]} - {0}
            self.check(steps <= {stride}, f"anchors every {stride} pixels", f"{sorted(steps)}")
            is_centred = level["offset"] == 0.5 and not level["clip"]
            self.check(is_centred, "anchors in the middle of cells, not clipped", f"offset {level['offset']}")
        variances = {tuple(_short(number) for number in level["variance"]) for level in attributes}
        x, y, width, height = variances.pop() if variances else (0, 0, 0, 0)
        self.check(not variances and (x, width) == (y, height), "two variances, the same on all levels", "others")
        sizes = [zip(map(_short, level["width"]), map(_short, level["height"]), strict=True) for level in attributes]
        return tuple(tuple(level) for level in sizes), (x, width)

    def head(self, model: SSD, level_deltas: list[Any], level_logits: list[Any]) -> list[Any]:
        """Collect the weights of all prediction layers; the outputs of the backbone that they read."""
        features = []
        for kind, outputs in (("reg_convs", level_deltas), ("cls_convs", level_logits)):
            for level, output in enumerate(outputs):
                name = f"bbox_head.{kind}.{level}"
                features.append(self.branch(name, model.get_submodule(name), output))
        keys = [key_of(_behind(feature, ROUNDING)) for feature in features]
        self.check(keys[:2] == keys[2:], "deltas and logits of a level from one feature map", "two")
        return features[:2]

    def branch(self, name: str, branch: Any, output: Any) -> Any:
        depthwise, norm, _, pointwise = branch
        weight, shift, x = self.convolution(f"{name}.3", pointwise, output)
        self.arrays[f"{name}.3.weight"], self.arrays[f"{name}.3.bias"] = weight, shift
        relu = self.expect(x, "Relu")
        weight, shift, x = self.convolution(f"{name}.0", depthwise, relu.input_value(0))
        self.arrays[f"{name}.0.weight"], self.arrays[f"{name}.0.bias"] = weight, np.zeros_like(shift)
        self.shift(f"{name}.1", norm, shift)
        return x

    def backbone(self, model: SSD, features: list[Any]) -> Any:
        """Collect the weights of the backbone, last layer first; what its first convolution reads."""
        from multibox.model.layers import ConvBlock, InvertedResidual

        taps = {"stage4": features[0], "stage5": features[1]}
        x = None
        blocks = [
            (f"backbone.features.{name}", module)
            for name, module in model.backbone.get_submodule("features").named_modules()
            if isinstance(module, InvertedResidual) or name == "init_block"
        ]
        stage = ""
        for name, module in reversed(blocks):
            if name.split(".")[2] != stage:
                stage = name.split(".")[2]
                tap = taps.get(stage, x)
                is_chained = x is None or key_of(_behind(x, ROUNDING)) == key_of(_behind(tap, ROUNDING))
                self.check(is_chained, f"the head to read the end of {stage}", "another layer")
                x = tap
            x = self.block(name, module, x) if isinstance(module, ConvBlock) else self.unit(name, module, x)
        return x

    def unit(self, name: str, unit: Any, output: Any) -> Any:
        if not unit.has_residual:
            return self.chain(name, unit, output)
        addition = self.expect(output, "Add")
        first, second = addition.input_values()
        # Both sides may end in a convolution; the branch is the one that starts from the other.
        branch = first if self.leads_to(first, second, num_convolutions=3) else second
        shortcut = second if branch is first else first
        x = self.chain(name, unit, branch)
        is_around = key_of(_behind(x, ROUNDING)) == key_of(_behind(shortcut, ROUNDING))
        self.check(is_around, f"an addition around {name}", _describe(shortcut.get_node()))
        return x

    def chain(self, name: str, unit: Any, output: Any) -> Any:
        for part in ("conv3", "conv2", "conv1"):
            output = self.block(f"{name}.{part}", unit.get_submodule(part), output)
        return output

    def block(self, name: str, block: ConvBlock, output: Any) -> Any:
        from torch import nn

        if isinstance(block.activ, nn.ReLU6):
            clamp = self.expect(output, "Clamp")
            limits = clamp.get_attributes()
            is_relu6 = (limits["min"], limits["max"]) == (0, 6)
            self.check(is_relu6, "a Clamp to 0..6", f"{limits['min']}..{limits['max']}")
            output = clamp.input_value(0)
        weight, shift, x = self.convolution(f"{name}.conv", block.conv, output)
        self.arrays[f"{name}.conv.weight"] = weight
        self.shift(f"{name}.bn", block.bn, shift)
        return x

    def convolution(
        self, name: str, ours: nn.Conv2d, output: Any
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], Any]:
        """Weight and shift of a convolution with all scales and shifts behind it, and what it reads."""
        scale, shift, output = self.scale_and_shift(output, ours.out_channels)
        node = self.expect(output, "GroupConvolution" if ours.groups > 1 else "Convolution")
        weight = self.constants.get(key_of(node.input_value(1)))
        self.check(weight is not None, f"constant weights in {_describe(node)}", "computed ones")
        assert weight is not None
        shape = tuple(ours.weight.shape)
        is_like_ours = weight.size == np.prod(shape) and weight.shape[-3:] == shape[-3:]
        self.check(is_like_ours, f"weights {list(shape)} for {name}", f"{list(weight.shape)} in {_describe(node)}")
        attributes = node.get_attributes()
        for key, value in {
            "strides": ours.stride,
            "pads_begin": ours.padding,
            "pads_end": ours.padding,
            "dilations": ours.dilation,
        }.items():
            self.check(tuple(attributes[key]) == value, f"{key} {list(value)} for {name}", f"{list(attributes[key])}")
        folded = weight.astype(np.float64).reshape(shape) * scale.reshape(-1, 1, 1, 1)
        return folded, shift, node.input_value(0)

    def scale_and_shift(self, output: Any, channels: int) -> tuple[NDArray[np.float64], NDArray[np.float64], Any]:
        """What constants do to the channels on the way from a convolution to `output`: x * scale + shift."""
        scale, shift = np.ones(channels), np.zeros(channels)
        while True:
            output = _behind(output, ROUNDING)
            step = self.constant_step(output.get_node(), channels)
            if step is None:
                return scale, shift, output
            factor, summand, output = step
            shift = shift + scale * summand
            scale = scale * factor

    def leads_to(self, output: Any, goal: Any, *, num_convolutions: int) -> bool:
        """Whether, going back, the data that a convolution reads is `goal`, that many convolutions before `output`."""
        while num_convolutions:
            node = output.get_node()
            data = [value for value in node.input_values() if key_of(value) not in self.constants]
            if len(data) != 1:
                return False
            output = data[0]
            num_convolutions -= node.get_type_name() in ("Convolution", "GroupConvolution")
        return key_of(_behind(output, ROUNDING)) == key_of(_behind(goal, ROUNDING))

    def input_layer(self, output: Any) -> int:
        """Make the first convolution read RGB in 0..1 instead of the file's image; the side of that image."""
        output = _behind(output, ("FakeQuantize",))
        parameters = self.graph.get_parameters()
        self.check(len(parameters) == 1, "one input", f"{len(parameters)}")
        shape = parameters[0].get_partial_shape()
        is_square = len(shape) == 4 and all(shape[axis].is_static for axis in (1, 2, 3)) and shape[2] == shape[3]
        self.check(is_square and shape[1].get_length() == 3, "an input [1,3,S,S]", str(shape))
        side = int(shape[3].get_length())
        matrix = self.colour_matrix(output, parameters[0], side)
        # The file's image is raw BGR: 255 times ours, channels in opposite order.
        name = "backbone.features.init_block.conv.weight"
        self.arrays[name] = np.einsum("oihw,ij->ojhw", self.arrays[name], matrix * 255)[:, ::-1]
        return side

    def colour_matrix(self, output: Any, parameter: Any, side: int) -> NDArray[np.float64]:
        """The matrix (3, 3) by which the graph changes the colour of each pixel before the first convolution.

        It is measured, not read: however scales and swapped channels are written, each is a matrix.
        """
        run = compile_outputs([output], [parameter])
        dtype = parameter.get_element_type().to_dtype()
        colours = np.zeros((4, 3, side, side))
        colours[[1, 2, 3], [0, 1, 2]] = 255
        black, *primaries = [run(colour[None].astype(dtype))[0][0] for colour in colours]
        is_image = black.shape == (3, side, side)
        self.check(is_image, "the image to keep its shape before the first convolution", f"{black.shape}")
        matrix = np.stack([primary[:, 0, 0].astype(np.float64) for primary in primaries], axis=1) / 255
        image = np.random.default_rng(0).integers(0, 256, (3, side, side))
        expected = np.einsum("ij,jhw->ihw", matrix, image)
        # A constant added to colours cannot move into the convolution: its padding would have to be that constant.
        is_linear = np.allclose(
            run(image[None].astype(dtype))[0][0], expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max()
        )
        self.check(
            is_linear and not black.any(), "only scaled or swapped channels before the first convolution", "more"
        )
        return matrix

    def move_background_to_the_end(self, num_anchors: list[int], num_outputs: int, background: int) -> None:
        order = [index for index in range(num_outputs) if index != background] + [background]
        for level, count in enumerate(num_anchors):
            for part in ("weight", "bias"):
                name = f"bbox_head.cls_convs.{level}.3.{part}"
                rows = self.arrays[name].reshape(count, num_outputs, -1)[:, order]
                self.arrays[name] = rows.reshape(self.arrays[name].shape)

    def complete(self, model: SSD) -> dict[str, Tensor]:
        """All entries of our network's state dict, in its order; what no export holds is as in a fresh one."""
        import torch

        fresh = model.state_dict()
        for name, array in self.arrays.items():
            assert tuple(fresh[name].shape) == array.shape, name
            fresh[name] = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
        return dict(fresh)


def _matching_model(num_anchors: Sequence[int], *, num_classes: int) -> SSD:
    from multibox.model.ssd import BACKBONES, SSD

    return SSD(BACKBONES["mobilenet_v2"](), num_anchors=num_anchors, num_classes=num_classes)


def _behind(output: Any, kinds: tuple[str, ...]) -> Any:
    """The output itself, or the first one before it that is not made by a node of these kinds."""
    while output.get_node().get_type_name() in kinds:
        output = output.get_node().input_value(0)
    return output


def _describe(node: Any) -> str:
    return f"{node.get_type_name()} ({node.get_friendly_name()})"


def _short(number: float) -> float:
    """The shortest number with the same float32: attributes say 0.02, files 0.019999999552965164."""
    return float(str(np.float32(number)))
