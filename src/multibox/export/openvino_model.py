"""The network as an OpenVINO model: its layers (`model/openvino_layers.py`), and one of three ends appended to them.

`raw`               deltas and scores of all anchors
`boxes_labels`      decoded, class-wise non-maximum suppression, padded to a fixed number
`detection_output`  PriorBoxClustered and DetectionOutput, as Open Model Zoo's SSDs have them

What each holds precisely is in docs/deploy.md. A quantised network gives a model that computes in 8 bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from multibox.boxes import MAX_LOG_RATIO
from multibox.export.input_layer import take_raw_images
from multibox.model.detector import Detector
from multibox.model.openvino_layers import build_layers, build_scores
from multibox.model.quantized import activate_all
from multibox.runtime import contract
from multibox.runtime.contract import ExportInfo

NAME = "multibox"

IMAGE = "image"
"""Name of the input."""


def convert_network(folded: Detector, info: ExportInfo) -> Any:
    """The network as an `openvino.Model` without an end: deltas (N, A, 4) and scores (N, A, K + 1).

    Each node's name begins with that of the module that it comes from ("backbone.features.init_block.conv/..."), for
    whoever profiles a file, and for `compress.nncf.read`.
    """
    from openvino import Model, opset13

    network = take_raw_images(folded, channel_order=info.channel_order, input_maximum=info.input_maximum)
    activate_all(network)
    side = info.input_size
    image = opset13.parameter([info.batch or -1, 3, side, side], np.float32, name=IMAGE)
    image.output(0).set_names({IMAGE})
    deltas, logits = build_layers(network, image)
    return Model([deltas, build_scores(network, logits)], [image], NAME)


def finish(converted: Any, info: ExportInfo) -> Any:
    """A copy of a converted network with the end of `info.form`, and `info` in its `rt_info`."""
    import openvino

    network = converted.clone()
    deltas, scores = (result.input_value(0) for result in network.get_results())
    append = {"raw": _raw, "boxes_labels": _boxes_labels, "detection_output": _detection_output}[info.form]
    results = []
    for name, output in append(deltas, scores, info).items():
        output.set_names({name})
        result = openvino.opset13.result(output)
        result.set_friendly_name(name)
        results.append(result)
    model = openvino.Model(results, network.get_parameters(), NAME)
    contract.write_to_ir(model, info)
    return model


def _raw(deltas: Any, scores: Any, _: ExportInfo) -> dict[str, Any]:
    return {"deltas": deltas, "scores": scores}


def _detection_output(deltas: Any, scores: Any, info: ExportInfo) -> dict[str, Any]:
    from openvino import opset8 as ops

    attributes = {
        "background_label_id": len(info.classes),
        "top_k": info.max_per_class,
        "variance_encoded_in_target": False,
        "keep_top_k": [info.max_detections],
        "code_type": "caffe.PriorBoxParameter.CENTER_SIZE",
        "share_location": True,
        "nms_threshold": info.iou_threshold,
        "confidence_threshold": info.min_score,
        "clip_after_nms": False,
        # Open Model Zoo's have False. Boxes over the border would then suppress others than they do everywhere else in
        # multibox (docs/decisions/0005), and reach out of 0..1.
        "clip_before_nms": True,
        "decrease_label_id": False,
        "normalized": True,
        "input_height": 1,
        "input_width": 1,
        "objectness_score": 0.0,
    }
    flat_deltas, flat_scores = (ops.reshape(value, [0, -1], special_zero=True) for value in (deltas, scores))
    rows = ops.detection_output(flat_deltas, flat_scores, _anchors(info), attributes)
    return {"detection_out": rows.output(0)}


def _boxes_labels(deltas: Any, scores: Any, info: ExportInfo) -> dict[str, Any]:
    from openvino import opset13 as ops

    # Background, the last column, is not a class to look for.
    of_classes = _columns(scores, 0, len(info.classes))
    nms = ops.multiclass_nms(
        _decode(deltas, info),
        ops.transpose(of_classes, [0, 2, 1]),
        sort_result_type="score",
        output_type="i64",
        score_threshold=info.min_score,
        iou_threshold=info.iou_threshold,
        nms_top_k=info.max_per_class,
        keep_top_k=info.max_detections,
    )
    rows = _rows_of_each(nms.output(0), nms.output(2), info)  # class, score, x1, y1, x2, y2
    to_px = np.array([info.input_size] * 4 + [1], dtype=np.float32)
    boxes = ops.multiply(_picked(rows, 2, 3, 4, 5, 1), to_px)
    labels = ops.convert(ops.gather(rows, np.int64(0), np.int64(2)), "i64")
    return {"boxes": boxes.output(0), "labels": labels.output(0)}


def _decode(deltas: Any, info: ExportInfo) -> Any:
    """Boxes (N, A, 4) as `multibox.boxes.decode` makes them, cut at the border of the image.

    Both corners are computed side by side in four columns: few and large nodes, since at this size each costs more than
    its arithmetic.
    """
    from openvino import opset13 as ops

    # Anchors and variances come from PriorBoxClustered here as well: its attributes stay exact where the constants of a
    # file are stored in half precision. The other constants below are exact in both.
    anchors, variances = (
        ops.reshape(ops.slice(_anchors(info), [row], [row + 1], [1], [1]), [1, -1, 4], special_zero=False)
        for row in (0, 1)
    )
    top_left, bottom_right = _picked(anchors, 0, 1, 0, 1), _picked(anchors, 2, 3, 2, 3)
    centres = ops.multiply(ops.add(top_left, bottom_right), np.float32(0.5))
    sizes = ops.subtract(bottom_right, top_left)
    halves = ops.multiply(sizes, np.array([-0.5, -0.5, 0.5, 0.5], dtype=np.float32))
    shift = ops.multiply(_picked(deltas, 0, 1, 0, 1), ops.multiply(sizes, _picked(variances, 0, 1, 0, 1)))
    ratio = ops.multiply(_picked(deltas, 2, 3, 2, 3), _picked(variances, 2, 3, 2, 3))
    ratio = ops.exp(ops.clamp(ratio, -MAX_LOG_RATIO, MAX_LOG_RATIO))
    return ops.clamp(ops.add(ops.add(centres, shift), ops.multiply(halves, ratio)), 0.0, 1.0)


def _anchors(info: ExportInfo) -> Any:
    """Anchors and variances (1, 2, 4 A) as DetectionOutput takes them, in fractions of the image."""
    from openvino import opset8 as ops

    side = info.input_size
    centre, size = info.box_variances
    levels = []
    for sizes, stride in zip(info.anchors_px, info.strides, strict=True):
        attributes = {
            "width": np.array([width for width, _ in sizes], dtype=np.float32),
            "height": np.array([height for _, height in sizes], dtype=np.float32),
            "clip": False,
            "step": float(stride),
            # The operator takes 0 as well, but this function does not.
            "offset": 0.5,
            "variance": np.array([centre, centre, size, size], dtype=np.float32),
        }
        cells, image = (ops.constant(np.array([number, number], dtype=np.int64)) for number in (side // stride, side))
        level = ops.prior_box_clustered(cells, image, attributes)
        level.set_attribute("offset", info.anchor_offset)
        levels.append(ops.unsqueeze(level, [0]))
    return ops.concat(levels, 2)


def _rows_of_each(rows: Any, counts: Any, info: ExportInfo) -> Any:
    """The rows of each image, (N, `max_detections`, 6), from the rows of all images (M, 6) one after the other.

    `counts` (N,) says how many belong to each; what is missing is filled up by rows of class -1 and zeros.
    """
    from openvino import opset13 as ops

    length = info.max_detections
    padding = np.array([[-1, 0, 0, 0, 0, 0]], dtype=np.float32)
    if info.batch == 1:  # the general way costs a few percent of the whole network
        filled_up = ops.concat([rows, padding.repeat(length, axis=0)], 0)
        return ops.unsqueeze(ops.slice(filled_up, [0], [length], [1], [0]), [0])
    with_padding = ops.concat([padding, rows], 0)
    counts = ops.unsqueeze(counts, [1])
    places = np.arange(length, dtype=np.int64)[None]
    first = ops.cumsum(counts, np.int64(0), exclusive=True)
    # Row 0 is the padding, so each row of an image stands one further down.
    index = ops.add(ops.add(first, places), np.int64(1))
    index = ops.select(ops.less(places, counts), index, np.int64(0))
    return ops.gather(with_padding, index, np.int64(0))


def _columns(value: Any, start: int, stop: int) -> Any:
    from openvino import opset13 as ops

    return ops.slice(value, [start], [stop], [1], [-1])


def _picked(value: Any, *columns: int) -> Any:
    from openvino import opset13 as ops

    return ops.gather(value, np.array(columns, dtype=np.int64), np.int64(2))
