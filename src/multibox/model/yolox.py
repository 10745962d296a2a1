"""The detector YOLOX-Nano: backbone, neck and a decoupled head with one anchor for each place.

It answers as the SSD does: `RawOutput`, scores, and boxes that are deltas on anchors.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from multibox.model.csp_darknet import TAPS, CSPDarknet
from multibox.model.decoupled_head import DecoupledHead
from multibox.model.pafpn import PAFPN
from multibox.structures import RawOutput


class YOLOX(nn.Module):
    """Single-shot detector of `num_classes` classes with one anchor at each place of strides 8, 16 and 32.

    Output order: level by level, finest first; within a level row by row, cell by cell.
    """

    has_background_rows: ClassVar[bool] = False
    """Whether the layers of classes have a row for background: objectness is a layer of its own."""

    def __init__(self, *, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.backbone = CSPDarknet()
        self.neck = PAFPN(TAPS)
        self.bbox_head = DecoupledHead(TAPS, num_classes)

    def forward(self, images: Tensor) -> RawOutput:
        """Images (B, 3, H, W), RGB in 0..1, to deltas (B, A, 4) and logits (B, A, num_classes + 1)."""
        return self.from_block(0, images)

    def from_block(self, first_block: int, x: Tensor) -> RawOutput:
        """The output that follows from `x`, what the blocks of the backbone before `first_block` make of the images."""
        raw: RawOutput = self.bbox_head(self.neck(self.backbone.from_block(first_block, x)))
        return raw

    def blocks_up_to(self, stride: int) -> list[nn.Module]:
        """The blocks of the backbone, from the first, that shrink the image to 1 / `stride` at most."""
        return self.backbone.blocks_up_to(stride)

    @staticmethod
    def is_class_layer(key: str) -> bool:
        """Whether a key of the state dict is that of a layer with one row per class."""
        return key.startswith("bbox_head.levels.") and key.split(".")[3] == "classes"

    def scores(self, logits: Tensor) -> Tensor:
        """Scores (B, A, num_classes + 1) of logits: class x objectness, and for background what objectness leaves.

        Unlike those of the SSD, the scores of a place need not add up to 1: classes do not exclude each other.
        """
        objectness = logits[..., -1:].sigmoid()
        return torch.cat([logits[..., :-1].sigmoid() * objectness, 1 - objectness], dim=-1)
