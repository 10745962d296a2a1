"""The one form in which the networks of all families are built and asked: see docs/decisions/0014.

Whatever runs a network needs four things: `build`, `forward` of the network to `RawOutput`, `scores` of the logits, and
`anchors`, on which the deltas are decoded.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from multibox.config import SSDConfig, Template
from multibox.model import csp_darknet, ssd
from multibox.model.anchors import make_anchors
from multibox.model.postprocess import softmax
from multibox.model.ssd import SSD
from multibox.model.yolox import YOLOX
from multibox.structures import FloatArray

Detector = SSD | YOLOX


def build(template: Template, *, num_classes: int) -> Detector:
    """The freshly initialised network of a template of any family, in training mode.

    Raises:
        TemplateError: there is no such backbone.
    """
    if isinstance(template.model, SSDConfig):
        return ssd.build_ssd(template, num_classes=num_classes)
    return YOLOX(num_classes=num_classes)


def strides_of(network: Detector) -> list[int]:
    """Pixels of the network input per cell, for each level."""
    return ssd.strides(network) if isinstance(network, SSD) else list(csp_darknet.STRIDES)


def count_classes(template: Template, weights: Mapping[str, Tensor]) -> int | None:
    """Of how many classes the weights of a network of this template are; None if they are of another network."""
    if isinstance(template.model, SSDConfig):
        bias = weights.get(f"{ssd.CLASS_BRANCH}0.3.bias")
        rows_of_each, num_others = len(template.model.anchors_px[0]), 1
    else:
        bias = weights.get("bbox_head.levels.0.classes.bias")
        rows_of_each, num_others = 1, 0
    if bias is None or bias.ndim != 1 or bias.shape[0] % rows_of_each:
        return None
    num_classes = bias.shape[0] // rows_of_each - num_others
    return num_classes if num_classes > 0 else None


def anchors(network: Detector, template: Template) -> FloatArray:
    """Anchors (A, 4) as fractions of the image, in the order of the network's output."""
    model = template.model
    return make_anchors(model.anchors_px, strides_of(network), template.input.size, offset=model.anchor_offset)


def scores(network: Detector, logits: FloatArray) -> FloatArray:
    """Scores (B, A, K + 1) of logits (B, A, K + 1), as the network's own `scores` gives them.

    An SSD's are computed by numpy as everywhere else: PyTorch's softmax differs from it in the last bit.
    """
    if isinstance(network, SSD):
        return softmax(logits)
    computed: FloatArray = network.scores(torch.from_numpy(logits)).numpy()
    return computed


def cell_middles(network: Detector, template: Template) -> FloatArray:
    """The middle (A, 2) of the cell of each anchor, as fractions of the image, in the order of the network's output."""
    centred = make_anchors(template.model.anchors_px, strides_of(network), template.input.size, offset=0.5)
    middles: FloatArray = (centred[:, :2] + centred[:, 2:]) / np.float32(2)
    return middles
