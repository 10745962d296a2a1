"""The network as an ONNX model of standard operators: layer by layer from PyTorch, and one of two ends.

`raw`           deltas and scores of all anchors
`boxes_labels`  decoded, class-wise non-maximum suppression, padded to a fixed number

The layers are written here and not by `torch.onnx`: they are of few kinds, and this way takes a tenth of a second
instead of 17, needs no onnxscript, and gives the same bytes with any torch, without paths of this machine in them.

A quantised network becomes one with weights in 8 bits, and with QuantizeLinear and DequantizeLinear after each value
that is rounded, for accelerators that make 8-bit arithmetic of that. ONNX Runtime on a processor makes it of few
layers only: there such a file is a quarter of the size and takes twice the time.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import multibox
from multibox.boxes import MAX_LOG_RATIO
from multibox.errors import DependencyError
from multibox.model.anchors import make_anchors
from multibox.model.depthwise import DepthwiseConv2d
from multibox.model.detector import Detector
from multibox.model.layer_writer import LayerWriter
from multibox.model.layers import flatten_level
from multibox.model.quantized import QuantizedConv2d, Quantizer
from multibox.model.ssd import SSD
from multibox.model.yolox import YOLOX
from multibox.runtime import contract as metadata
from multibox.runtime.contract import ExportInfo
from multibox.structures import RawOutput

OPSET = 13
"""Version of the operators: the oldest in which all that are used here have their present form (Softmax: 13).

Whatever runs ONNX at all runs this version without converting.
"""

IR_VERSION = 7
"""Version of the file format, of the time of that opset; `onnx` would write its newest, which older runtimes refuse."""

Input = str | float | Sequence[float] | NDArray[Any]
"""Input of a node: the name of a value, or a constant."""


def build_onnx_model(folded: Detector, info: ExportInfo) -> Any:
    """The `onnx.ModelProto` of a folded network, quantised or not, in the form that `info` says, which it carries.

    Its input is RGB divided by 255. Equal weights and `info` give equal bytes.

    Raises:
        DependencyError: onnx is not installed.
    """
    assert (info.channel_order, info.input_maximum) == ("RGB", 1), "an ONNX file takes RGB divided by 255"
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise DependencyError('Exporting ONNX needs onnx. Install it with: pip install "multibox[onnx]"') from error
    graph = _Graph()
    deltas, logits = LayerWriter(folded, graph, layers=LAYERS, functions=FUNCTIONS).run("image")
    graph.rename(deltas, "deltas")
    SCORES[type(folded)](graph, logits)
    append = {"raw": _raw, "boxes_labels": _boxes_labels}[info.form]
    outputs, contract = append(graph, info)
    side = info.input_size
    batch = info.batch or "batch"
    model = onnx.helper.make_model(
        graph.to_proto({"image": (batch, 3, side, side)}, {name: (batch, *shape) for name, shape in outputs.items()}),
        producer_name="multibox",
        producer_version=multibox.__version__,
        doc_string=f"The input `image` ({batch}, 3, {side}, {side}) is float32 RGB from 0 to 1. {contract}",
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    onnx.helper.set_model_props(model, metadata.to_onnx_properties(info))
    onnx.checker.check_model(model, full_check=True)
    return model


class _Graph:
    """A graph in the making. Values go by name; what is computed once is written once."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: dict[str, NDArray[Any]] = {}
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def add(self, kind: str, *inputs: Input, name: str | None = None, **attributes: Any) -> str:
        """The name of the output of a new node."""
        return self.add_pair(kind, *inputs, name=name, num_outputs=1, **attributes)[0]

    def add_pair(
        self, kind: str, *inputs: Input, name: str | None = None, num_outputs: int = 2, **attributes: Any
    ) -> list[str]:
        """The names of the outputs of a new node that has two."""
        import onnx

        name = name or f"{kind}_{len(self._nodes)}"
        names = [name, *(f"{name}_{i}" for i in range(1, num_outputs))]
        values = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        self._nodes.append(onnx.helper.make_node(kind, values, names, name=name, **attributes))
        return names

    def constant(self, value: Input, name: str | None = None) -> str:
        """The name of a constant: whole numbers are int64 (arrays of one byte each stay so), others float32."""
        array = np.asarray(value)
        if array.dtype not in {np.dtype(np.int8), np.dtype(np.uint8)}:
            array = array.astype(np.int64 if array.dtype.kind == "i" else np.float32)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = name or f"constant_{len(self._known)}"
            self._constants[self._known[key]] = array
        return self._known[key]

    def rename(self, old: str, new: str) -> None:
        """Give a value another name."""
        for node in self._nodes:
            for names in (node.input, node.output):
                names[:] = [new if name == old else name for name in names]

    def to_proto(self, inputs: Mapping[str, Sequence[int | str]], outputs: Mapping[str, Sequence[int | str]]) -> Any:
        """The `onnx.GraphProto`; inputs and outputs are named with their shapes, `labels` are int64."""
        from onnx import TensorProto, helper, numpy_helper

        described = [
            [
                helper.make_tensor_value_info(name, TensorProto.INT64 if name == "labels" else TensorProto.FLOAT, shape)
                for name, shape in values.items()
            ]
            for values in (inputs, outputs)
        ]
        constants = [numpy_helper.from_array(array, name) for name, array in self._constants.items()]
        return helper.make_graph(self._nodes, "multibox", *described, initializer=constants)


def _convolution(graph: _Graph, name: str, layer: nn.Conv2d, x: str) -> str:
    return _convolve(graph, name, layer, x, graph.constant(layer.weight.detach().cpu().numpy(), f"{name}.weight"))


def _quantized_convolution(graph: _Graph, name: str, layer: QuantizedConv2d, x: str) -> str:
    steps = layer.quantizer.step
    with torch.no_grad():
        integers = (layer.quantizer(layer.weight) / steps.reshape(-1, 1, 1, 1)).round().to(torch.int8)
    weight = graph.add(
        "DequantizeLinear",
        graph.constant(integers.cpu().numpy(), f"{name}.weight"),
        steps.expand(len(integers)).cpu().numpy(),
        np.zeros(len(integers), dtype=np.int8),
        axis=0,
        name=f"{name}.weight.dequantized",
    )
    return _convolve(graph, name, layer, x, weight)


def _quantizer(graph: _Graph, name: str, layer: Quantizer, x: str) -> str:
    assert (layer.low, layer.high) in {(0, 255), (-128, 127)}, f"{name}: integers {layer.low}..{layer.high}"
    step, zero = ((values if len(values) > 1 else values[0]).cpu().numpy() for values in (layer.step, layer.zero))
    zero = zero.astype(np.int8 if layer.low else np.uint8)
    axis = {"axis": layer.axis} if step.ndim else {}
    if layer.factor is not None:
        x = graph.add("Mul", x, layer.factor.cpu().numpy(), name=f"{name}.smoothed")
    integers = graph.add("QuantizeLinear", x, step, zero, name=f"{name}.quantized", **axis)
    return graph.add("DequantizeLinear", integers, step, zero, name=name, **axis)


def _convolve(graph: _Graph, name: str, layer: nn.Conv2d, x: str, weight: str) -> str:
    assert isinstance(layer.padding, tuple) and layer.padding_mode == "zeros", f"{name}: padding {layer.padding}"
    bias = [] if layer.bias is None else [graph.constant(layer.bias.detach().cpu().numpy(), f"{name}.bias")]
    return graph.add(
        "Conv",
        x,
        weight,
        *bias,
        name=name,
        kernel_shape=layer.kernel_size,
        strides=layer.stride,
        pads=[*layer.padding, *layer.padding],
        dilations=layer.dilation,
        group=layer.groups,
    )


def _flatten_level(graph: _Graph, _: str, level: str, last: int) -> str:
    # In the shape, 0 means "as it is": any number of images.
    return graph.add("Reshape", graph.add("Transpose", level, perm=[0, 2, 3, 1]), [0, -1, last])


def _upsample(graph: _Graph, name: str, layer: nn.Upsample, x: str) -> str:
    assert layer.mode == "nearest" and layer.size is None, f"{name}: no ONNX is known here for {layer}"
    return graph.add(
        "Resize",
        x,
        "",
        np.array([1, 1, layer.scale_factor, layer.scale_factor], dtype=np.float32),
        name=name,
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


def _max_pool(graph: _Graph, name: str, layer: nn.MaxPool2d, x: str) -> str:
    side, stride, padding = layer.kernel_size, layer.stride, layer.padding
    assert isinstance(side, int) and isinstance(stride, int) and isinstance(padding, int), f"{name}: {layer}"
    return graph.add("MaxPool", x, name=name, kernel_shape=[side] * 2, strides=[stride] * 2, pads=[padding] * 4)


LAYERS: dict[type[nn.Module], Callable[..., str]] = {
    nn.Conv2d: _convolution,
    DepthwiseConv2d: _convolution,
    QuantizedConv2d: _quantized_convolution,
    Quantizer: _quantizer,
    nn.ReLU: lambda graph, name, _, x: graph.add("Relu", x, name=name),
    nn.ReLU6: lambda graph, name, _, x: graph.add("Clip", x, 0.0, 6.0, name=name),
    nn.SiLU: lambda graph, name, _, x: graph.add("Mul", x, graph.add("Sigmoid", x), name=name),
    nn.MaxPool2d: _max_pool,
    nn.Upsample: _upsample,
    nn.Identity: lambda graph, name, _, x: x,
}

FUNCTIONS: dict[Any, Callable[..., Any]] = {
    operator.add: lambda graph, _, a, b: graph.add("Add", a, b),
    torch.cat: lambda graph, _, values, dim: graph.add("Concat", *values, axis=dim),
    flatten_level: _flatten_level,
    RawOutput: lambda graph, _, deltas, logits: RawOutput(deltas, logits),
}


def _class_times_objectness(graph: _Graph, logits: str) -> str:
    probabilities = graph.add("Sigmoid", logits)
    of_classes = graph.add("Slice", probabilities, [0], [-1], [2])
    objectness = graph.add("Slice", probabilities, [-1], [np.iinfo(np.int64).max], [2])
    products = graph.add("Mul", of_classes, objectness)
    return graph.add("Concat", products, graph.add("Sub", 1.0, objectness), axis=2, name="scores")


SCORES: dict[type[nn.Module], Callable[[_Graph, str], str]] = {
    SSD: lambda graph, logits: graph.add("Softmax", logits, axis=-1, name="scores"),
    YOLOX: _class_times_objectness,
}


def _raw(graph: _Graph, info: ExportInfo) -> tuple[dict[str, tuple[int, ...]], str]:
    num_anchors = len(_anchors(info))
    return (
        {"deltas": (num_anchors, 4), "scores": (num_anchors, len(info.classes) + 1)},
        "Of each anchor in the metadata, `deltas` are (dx, dy, dw, dh) and `scores` the score of each class and, last, "
        "that of no object.",
    )


def _boxes_labels(graph: _Graph, info: ExportInfo) -> tuple[dict[str, tuple[int, ...]], str]:
    candidates, scores, per_class = _candidates(graph, info)
    survivors = _suppress(graph, candidates, scores, per_class, info)
    num_candidates = per_class * len(info.classes)
    count = min(info.max_detections, num_candidates)
    best, place = graph.add_pair("TopK", graph.add("Reshape", survivors, [-1, num_candidates]), [count], axis=1)
    is_detection = graph.add("Greater", best, info.min_score)
    corners = graph.add("GatherND", candidates, graph.add("Unsqueeze", place, [2]), batch_dims=1)
    corners_px = graph.add("Mul", corners, float(info.input_size))
    boxes = graph.add("Concat", corners_px, graph.add("Unsqueeze", best, [2]), axis=2)
    boxes = graph.add("Where", graph.add("Unsqueeze", is_detection, [2]), boxes, 0.0)
    # Candidates lie class by class, so the place of one tells its class.
    labels = graph.add("Where", is_detection, graph.add("Div", place, per_class), -1)
    missing = info.max_detections - count
    if missing:
        boxes = graph.add("Pad", boxes, [0, 0, 0, 0, missing, 0], 0.0)
        labels = graph.add("Pad", labels, [0, 0, 0, missing], -1)
    graph.rename(boxes, "boxes")
    graph.rename(labels, "labels")
    return (
        {"boxes": (info.max_detections, 5), "labels": (info.max_detections,)},
        "`boxes` are (x1, y1, x2, y2, score) in pixels of the input, best first, and `labels` the positions of their "
        "classes in the metadata, -1 where there is no further box.",
    )


def _candidates(graph: _Graph, info: ExportInfo) -> tuple[str, str, int]:
    """The best anchors of each class: their boxes (B, K M, 4), their scores (B, K, M), best first, and M."""
    num_classes = len(info.classes)
    per_class = min(info.max_per_class, len(_anchors(info)))
    # Background, the last column, is not a class to look for.
    of_classes = graph.add("Slice", "scores", [0], [num_classes], [2])
    scores, anchor = graph.add_pair("TopK", graph.add("Transpose", of_classes, perm=[0, 2, 1]), [per_class], axis=2)
    index = graph.add("Reshape", anchor, [0, num_classes * per_class, 1])
    return graph.add("GatherND", _decode(graph, info), index, batch_dims=1), scores, per_class


def _decode(graph: _Graph, info: ExportInfo) -> str:
    """Boxes (B, A, 4) as `multibox.boxes.decode` makes them of `deltas`, cut at the border of the image."""
    anchors = _anchors(info)
    centres, sizes = (anchors[:, :2] + anchors[:, 2:]) / 2, anchors[:, 2:] - anchors[:, :2]
    scaled = graph.add("Mul", "deltas", np.repeat(info.box_variances, 2))
    shift = graph.add("Slice", scaled, [0], [2], [2])
    ratio = graph.add("Clip", graph.add("Slice", scaled, [2], [4], [2]), -MAX_LOG_RATIO, MAX_LOG_RATIO)
    centre = graph.add("Add", centres, graph.add("Mul", sizes, shift))
    half_size = graph.add("Mul", sizes / 2, graph.add("Exp", ratio))
    corners = [graph.add(kind, centre, half_size) for kind in ("Sub", "Add")]
    return graph.add("Clip", graph.add("Concat", *corners, axis=2), 0.0, 1.0)


def _suppress(graph: _Graph, candidates: str, scores: str, per_class: int, info: ExportInfo) -> str:
    """The scores (B K, 1, M) of the candidates, 0 where a better one of the same class covers the box."""
    # The operator gives all classes the same boxes. Here each has its own: each is an image with one class.
    boxes = graph.add("Reshape", candidates, [-1, per_class, 4])
    scores = graph.add("Reshape", scores, [-1, 1, per_class])
    # A box at the IoU threshold goes, the operator would keep it.
    iou_threshold = float(np.nextafter(np.float32(info.iou_threshold), np.float32(0)))
    kept = graph.add("NonMaxSuppression", boxes, scores, [per_class], [iou_threshold], [info.min_score])
    # How many are kept differs between images: as scores in their old places they are a batch again.
    nothing = graph.add("ConstantOfShape", graph.add("Shape", scores))
    return graph.add("ScatterND", nothing, kept, graph.add("GatherND", scores, kept))


def _anchors(info: ExportInfo) -> NDArray[np.float32]:
    return make_anchors(info.anchors_px, info.strides, info.input_size, offset=info.anchor_offset)
