"""The one form in which the networks of all families are built and asked: see docs/decisions/0014.

Whatever runs a network needs four things from here and from the network: `build`, `forward` to `RawOutput`, `scores` of
the logits, and `anchors`, on which the deltas are decoded.
"""

from __future__ import annotations

from multibox.config import SSDConfig, Template
from multibox.model import csp_darknet, ssd
from multibox.model.anchors import make_anchors
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


def anchors(network: Detector, template: Template) -> FloatArray:
    """Anchors (A, 4) as fractions of the image, in the order of the network's output."""
    model = template.model
    return make_anchors(model.anchors_px, strides_of(network), template.input.size, offset=model.anchor_offset)
