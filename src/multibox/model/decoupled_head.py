"""The head of YOLOX-Nano: classes and boxes from towers of their own, one prediction for each place."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from multibox.model.csp_layers import ConvSiLU, SeparableConv
from multibox.model.layers import flatten_level
from multibox.structures import RawOutput

HIDDEN = 64
"""Channels of all towers: a quarter of 256."""

FIRST_SCORE = 0.01
"""Score of every class, and of objectness, in a fresh head: most places see nothing.

Source: Lin et al., "Focal Loss for Dense Object Detection", 2017, section 4.1.
"""


class DecoupledHead(nn.Module):
    """Deltas and logits of each place of all levels: one logit for each class, then that of objectness.

    Source: Ge et al., "YOLOX: Exceeding YOLO Series in 2021", 2021, figure 2.
    """

    def __init__(self, channels: Sequence[int], num_classes: int) -> None:
        super().__init__()
        self.num_outputs = num_classes + 1
        self.levels = nn.ModuleList(Level(c, num_classes) for c in channels)

    def forward(self, features: Sequence[Tensor]) -> RawOutput:
        """Feature maps (B, C_i, H_i, W_i) to deltas (B, A, 4) and logits (B, A, num_classes + 1)."""
        outputs = [level(x) for level, x in zip(self.levels, features, strict=True)]
        deltas = [flatten_level(of_boxes, 4) for of_boxes, _ in outputs]
        logits = [flatten_level(of_classes, self.num_outputs) for _, of_classes in outputs]
        return RawOutput(torch.cat(deltas, dim=1), torch.cat(logits, dim=1))


class Level(nn.Module):
    """The towers and predictions of one feature map."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.stem = ConvSiLU(channels, HIDDEN)
        self.class_tower = _tower()
        self.box_tower = _tower()
        self.classes = nn.Conv2d(HIDDEN, num_classes, 1)
        self.boxes = nn.Conv2d(HIDDEN, 4, 1)
        self.objectness = nn.Conv2d(HIDDEN, 1, 1)
        for scores in (self.classes, self.objectness):
            assert scores.bias is not None
            nn.init.constant_(scores.bias, math.log(FIRST_SCORE / (1 - FIRST_SCORE)))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) to deltas (B, 4, H, W) and logits (B, num_classes + 1, H, W)."""
        x = self.stem(x)
        of_classes, of_boxes = self.class_tower(x), self.box_tower(x)
        return self.boxes(of_boxes), torch.cat([self.classes(of_classes), self.objectness(of_boxes)], dim=1)


def _tower() -> nn.Sequential:
    return nn.Sequential(SeparableConv(HIDDEN, HIDDEN), SeparableConv(HIDDEN, HIDDEN))
