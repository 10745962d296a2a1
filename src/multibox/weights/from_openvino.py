"""Starting weights from elsewhere: an OpenVINO SSD becomes a state dict of our own network.

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

from multibox.openvino_graph import read_graph
from multibox.weights.graph_reader import key_of
from multibox.weights.graph_walk import RESHAPING, ROUNDING, GraphWalk, behind, name_of_node

if TYPE_CHECKING:
    from torch import Tensor

    from multibox.model.layers import ConvBlock
    from multibox.model.ssd import SSD


@dataclass(frozen=True, slots=True)
class ImportedWeights:
    """What an exported detector holds: the weights, and the figures that they were trained with.

    `state_dict` fits an SSD of `num_classes` classes strictly; its background is the last class and its input RGB in
    0..1, whatever those of the file are. `anchors_px`: for each level the (width, height) of its anchors in pixels of
    the network input. `background_index` and the last four are as the file has them: the class that its own outputs
    call background, and how it turns scores into detections (`top_k` per class, -1 for all; `keep_top_k` per image).
    `classes`: their names, if the file has them, as ours do.
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
    classes: tuple[str, ...] | None = None


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
    input_size = walk.input_layer(image, first="backbone.features.init_block.conv")
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
        classes=walk.classes(num_outputs - 1),
    )


class _Walk(GraphWalk):
    """The way from the outputs of an SSD to the image."""

    what = "a 2-level MobileNetV2 SSD"

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
        keys = [key_of(behind(feature, ROUNDING)) for feature in features]
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
                is_chained = x is None or key_of(behind(x, ROUNDING)) == key_of(behind(tap, ROUNDING))
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
        is_around = key_of(behind(x, ROUNDING)) == key_of(behind(shortcut, ROUNDING))
        self.check(is_around, f"an addition around {name}", name_of_node(shortcut.get_node()))
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

    def move_background_to_the_end(self, num_anchors: list[int], num_outputs: int, background: int) -> None:
        order = [index for index in range(num_outputs) if index != background] + [background]
        for level, count in enumerate(num_anchors):
            for part in ("weight", "bias"):
                name = f"bbox_head.cls_convs.{level}.3.{part}"
                rows = self.arrays[name].reshape(count, num_outputs, -1)[:, order]
                self.arrays[name] = rows.reshape(self.arrays[name].shape)


def _matching_model(num_anchors: Sequence[int], *, num_classes: int) -> SSD:
    from multibox.model.ssd import BACKBONES, SSD

    return SSD(BACKBONES["mobilenet_v2"](), num_anchors=num_anchors, num_classes=num_classes)


def _short(number: float) -> float:
    """The shortest number with the same float32: attributes say 0.02, files 0.019999999552965164."""
    return float(str(np.float32(number)))
