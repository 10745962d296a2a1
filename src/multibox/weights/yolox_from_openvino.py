"""Starting weights from an exported YOLOX-Nano: its OpenVINO graph becomes a state dict of our own network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from multibox.openvino_graph import read_graph
from multibox.weights.graph_reader import key_of
from multibox.weights.graph_walk import RESHAPING, ROUNDING, GraphWalk, behind, name_of_node

if TYPE_CHECKING:
    from torch import Tensor, nn

    from multibox.config import Template
    from multibox.model.csp_layers import ConvSiLU, CSPBlock, SeparableConv
    from multibox.model.yolox import YOLOX

FIRST = "backbone.features.stem.conv.conv"


def read_yolox_ir(path: str | os.PathLike[str], template: Template) -> tuple[dict[str, Tensor], tuple[str, ...] | None]:
    """The weights of an exported YOLOX-Nano, for a network of this template, and its classes, if it names them.

    `path` is its .xml or the .bin beside it.

    The tensors are found by walking the graph from `DetectionOutput` to the image, not by names. Batch normalisation,
    which is folded into the convolutions, becomes a shift without scale and statistics (see
    `multibox.train.batch_norm`); quantised weights are taken as the numbers that they stand for, and the rounding of
    activations is left out.

    Raises:
        CheckpointError: the file cannot be read, or holds another network.
    """
    from multibox.model.folding import fold, unfold
    from multibox.model.yolox import YOLOX
    from multibox.weights.checked import check_tensors

    walk = _Walk(read_graph(path), source=Path(path).name)
    detection, attributes = walk.detection_output()
    deltas, logits = walk.levels(detection.input_value(0)), walk.levels(walk.logits(detection.input_value(1)))
    num_classes = int(attributes["background_label_id"])
    walk.check(num_classes > 0, "a class", "none")
    model = fold(YOLOX(num_classes=num_classes))
    features = walk.head(model, deltas, logits)
    walk.input_layer(walk.backbone(model, *walk.neck(model, *features)), first=FIRST)
    model.load_state_dict(walk.complete(model))
    weights = unfold(model, template)
    check_tensors(weights, source=Path(path).name)
    return weights, walk.classes(num_classes)


class _Walk(GraphWalk):
    """The way from the outputs of a YOLOX-Nano to the image. Each step takes an output and gives what is before it."""

    what = "a YOLOX-Nano"

    def logits(self, scores: Any) -> Any:
        """The logits of classes and objectness, of which scores are made."""
        products = self.expect(scores, "Concat", skip=RESHAPING).input_value(0)
        probabilities = self.expect(products, "Multiply").input_value(0)
        of_classes = self.expect(probabilities, "Sigmoid").input_value(0)
        return self.expect(of_classes, "Slice", "StridedSlice").input_value(0)

    def head(self, model: YOLOX, deltas: list[Any], logits: list[Any]) -> list[Any]:
        levels = list(model.bbox_head.levels)
        self.check(len(deltas) == len(logits) == len(levels), f"{len(levels)} levels", f"{len(logits)}")
        return [self.level(f"bbox_head.levels.{i}", levels[i], deltas[i], logits[i]) for i in range(len(levels))]

    def level(self, name: str, level: Any, deltas: Any, logits: Any) -> Any:
        classes, objectness = self.parts(logits, 2)
        of_boxes = self.prediction(f"{name}.boxes", level.boxes, deltas)
        self.same(self.prediction(f"{name}.objectness", level.objectness, objectness), of_boxes, "objectness")
        of_classes = self.prediction(f"{name}.classes", level.classes, classes)
        towers = (("class_tower", of_classes), ("box_tower", of_boxes))
        starts = [self.tower(f"{name}.{tower}", level.get_submodule(tower), output) for tower, output in towers]
        self.same(starts[0], starts[1], "both towers")
        return self.block(f"{name}.stem", level.stem, starts[0])

    def tower(self, name: str, tower: Any, output: Any) -> Any:
        for number in reversed(range(len(tower))):
            output = self.separable(f"{name}.{number}", tower[number], output)
        return output

    def prediction(self, name: str, layer: nn.Conv2d, output: Any) -> Any:
        weight, self.arrays[f"{name}.bias"], x = self.convolution(name, layer, output)
        self.arrays[f"{name}.weight"], x = self.as_it_was_learnt(layer, weight, x)
        return x

    def as_it_was_learnt(
        self, layer: nn.Conv2d, weight: NDArray[np.float64], x: Any
    ) -> tuple[NDArray[np.float64], Any]:
        """The weights, and what the convolution reads, before channels were evened out for 8 bits.

        There each channel is multiplied by a factor, and weights are divided by it (see `compress/smoothing.py`).
        """
        step = self.constant_step(behind(x, ROUNDING).get_node(), layer.in_channels)
        if step is None or np.any(step[1]):
            return weight, x
        factor, _, x = step
        shape = (-1, 1, 1, 1) if layer.groups > 1 else (1, -1, 1, 1)
        return weight * np.broadcast_to(factor, layer.in_channels).reshape(shape), x

    def neck(self, model: YOLOX, fine: Any, middle: Any, coarse: Any) -> tuple[Any, Any, Any]:
        neck = model.neck
        below, from_coarse = self.parts(self.csp("neck.up_coarse", neck.up_coarse, coarse), 2)
        self.same(self.separable("neck.shrink_middle", neck.shrink_middle, below), middle, "shrinking")
        below, from_middle = self.parts(self.csp("neck.up_middle", neck.up_middle, middle), 2)
        self.same(self.separable("neck.shrink_fine", neck.shrink_fine, below), fine, "shrinking")
        above, first = self.parts(self.csp("neck.down_fine", neck.down_fine, fine), 2)
        self.same(self.expect(above, "Interpolate").input_value(0), from_middle, "enlarging")
        down_middle = self.block("neck.reduce_middle", neck.reduce_middle, from_middle)
        above, second = self.parts(self.csp("neck.down_middle", neck.down_middle, down_middle), 2)
        self.same(self.expect(above, "Interpolate").input_value(0), from_coarse, "enlarging")
        return first, second, self.block("neck.reduce_coarse", neck.reduce_coarse, from_coarse)

    def backbone(self, model: YOLOX, fine: Any, middle: Any, coarse: Any) -> Any:
        x, taps = coarse, {3: middle, 2: fine}
        for number in (4, 3, 2, 1):
            if number in taps:
                self.same(x, taps[number], f"the neck to read the end of stage{number}")
            name = f"backbone.features.stage{number}"
            stage: Any = model.get_submodule(name)
            x = self.csp(f"{name}.block", stage.block, x)
            if number == 4:
                x = self.pool(f"{name}.pool", stage.pool, x)
            x = self.separable(f"{name}.down", stage.down, x)
        return self.block("backbone.features.stem.conv", model.get_submodule("backbone.features.stem.conv"), x)

    def pool(self, name: str, pool: Any, output: Any) -> Any:
        x, *pooled = self.parts(self.block(f"{name}.join", pool.join, output), 1 + len(pool.pools))
        for each in pooled:
            self.expect(each, "MaxPool")
        return self.block(f"{name}.reduce", pool.reduce, x)

    def csp(self, name: str, block: CSPBlock, output: Any) -> Any:
        x, past = self.parts(self.block(f"{name}.join", block.join, output), 2)
        for number in reversed(range(len(block.bottlenecks))):
            x = self.bottleneck(f"{name}.bottlenecks.{number}", block.bottlenecks[number], x)
        start = self.block(f"{name}.main", block.main, x)
        self.same(self.block(f"{name}.bypass", block.bypass, past), start, "the bypass")
        return start

    def bottleneck(self, name: str, bottleneck: Any, output: Any) -> Any:
        branch = output
        if bottleneck.has_residual:
            first, second = self.expect(output, "Add").input_values()
            branch = first if self.leads_to(first, second, num_convolutions=3) else second
            shortcut = second if branch is first else first
        x = self.block(f"{name}.conv1", bottleneck.conv1, self.separable(f"{name}.conv2", bottleneck.conv2, branch))
        if bottleneck.has_residual:
            self.same(x, shortcut, f"an addition around {name}")
        return x

    def separable(self, name: str, block: SeparableConv, output: Any) -> Any:
        between = self.block(f"{name}.pointwise", block.pointwise, output)
        return self.block(f"{name}.depthwise", block.depthwise, between)

    def block(self, name: str, block: Any, output: Any) -> Any:
        silu: ConvSiLU = block
        return self.prediction(f"{name}.conv", silu.conv, self.expect(output, "Swish").input_value(0))

    def parts(self, output: Any, count: int) -> list[Any]:
        """The inputs of a concatenation."""
        node = self.expect(output, "Concat")
        parts: list[Any] = node.input_values()
        self.check(len(parts) == count, f"a Concat of {count}", f"{len(parts)} in {name_of_node(node)}")
        return parts

    def same(self, one: Any, other: Any, what: str) -> None:
        is_same = key_of(behind(one, ROUNDING)) == key_of(behind(other, ROUNDING))
        self.check(
            is_same, f"{what} from one value", f"{name_of_node(one.get_node())} and {name_of_node(other.get_node())}"
        )
