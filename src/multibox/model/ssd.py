"""The detector: a backbone and, on each of its levels, one branch for deltas and one for class logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from multibox.config import Template
from multibox.errors import TemplateError
from multibox.model.layers import flatten_level
from multibox.model.mobilenet_v2 import MobileNetV2
from multibox.structures import RawOutput
from multibox.wording import counted

BACKBONES = {"mobilenet_v2": MobileNetV2}

CLASS_BRANCH = "bbox_head.cls_convs."


class SSD(nn.Module):
    """Single-shot detector of `num_classes` classes with `num_anchors[i]` anchors in each cell of level i.

    Output order: level by level; within a level row by row, cell by cell, the anchors of a cell innermost.

    Raises:
        TemplateError: the backbone has another number of levels than there are anchors for.
    """

    has_background_rows: ClassVar[bool] = True
    """Whether the layers of classes have a row for background, the last."""

    def __init__(self, backbone: nn.Module, *, num_anchors: Sequence[int], num_classes: int) -> None:
        super().__init__()
        channels = [feature.shape[1] for feature in _dry_run(backbone)]
        if len(channels) != len(num_anchors):
            raise TemplateError(
                f"There are anchors for {counted(len(num_anchors), 'level')} (model.anchors_px), but the backbone has "
                f"{len(channels)}. List the anchors of each."
            )
        self.num_classes = num_classes
        self.backbone = backbone
        self.bbox_head = Head(channels, num_anchors, num_classes)

    def forward(self, images: Tensor) -> RawOutput:
        """Images (B, 3, H, W), RGB in 0..1, to deltas (B, A, 4) and logits (B, A, num_classes + 1)."""
        raw: RawOutput = self.bbox_head(self.backbone(images))
        return raw

    def from_block(self, first_block: int, x: Tensor) -> RawOutput:
        """Deltas and logits, as `forward` gives them, from what the blocks before `first_block` make of the images."""
        backbone: Any = self.backbone
        raw: RawOutput = self.bbox_head(backbone.from_block(first_block, x))
        return raw

    def blocks_up_to(self, stride: int) -> list[nn.Module]:
        """The blocks of the backbone, from the first, that shrink the image to 1 / `stride` at most."""
        backbone: Any = self.backbone
        blocks: list[nn.Module] = backbone.blocks_up_to(stride)
        return blocks

    @staticmethod
    def is_class_layer(key: str) -> bool:
        """Whether a key of the state dict is that of a layer with one row per class, for each anchor."""
        return key.startswith(CLASS_BRANCH) and key.split(".")[3] == "3"

    def scores(self, logits: Tensor) -> Tensor:
        """Scores (B, A, num_classes + 1) of logits: softmax over the classes and background."""
        return logits.softmax(dim=-1)


class Head(nn.Module):
    """The prediction layers of all levels, and the learnt weights that balance the losses."""

    def __init__(self, channels: Sequence[int], num_anchors: Sequence[int], num_classes: int) -> None:
        super().__init__()
        self.num_outputs = num_classes + 1
        self.loss_weights = nn.Parameter(torch.zeros(2))
        self.reg_convs = nn.ModuleList(_branch(c, n * 4) for c, n in zip(channels, num_anchors, strict=True))
        self.cls_convs = nn.ModuleList(
            _branch(c, n * self.num_outputs) for c, n in zip(channels, num_anchors, strict=True)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                assert module.bias is not None
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, features: Sequence[Tensor]) -> RawOutput:
        """Feature maps (B, C_i, H_i, W_i) to deltas (B, A, 4) and logits (B, A, num_outputs)."""
        deltas = [flatten_level(branch(x), 4) for branch, x in zip(self.reg_convs, features, strict=True)]
        logits = [
            flatten_level(branch(x), self.num_outputs) for branch, x in zip(self.cls_convs, features, strict=True)
        ]
        return RawOutput(torch.cat(deltas, dim=1), torch.cat(logits, dim=1))


def build_ssd(template: Template, *, num_classes: int) -> SSD:
    """The freshly initialised network of a template, in training mode.

    Raises:
        TemplateError: there is no such backbone, or it has another number of levels.
    """
    if template.model.backbone not in BACKBONES:
        raise TemplateError(
            f"{template.name}: there is no backbone {template.model.backbone!r} (model.backbone). "
            f"Choose from: {', '.join(BACKBONES)}."
        )
    backbone = BACKBONES[template.model.backbone]()
    num_anchors = [len(sizes) for sizes in template.model.anchors_px]
    return SSD(backbone, num_anchors=num_anchors, num_classes=num_classes)


def strides(model: SSD) -> list[int]:
    """Pixels of the network input per cell, for each level."""
    side = 64
    return [side // feature.shape[-1] for feature in _dry_run(model.backbone, side)]


def _branch(channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, groups=channels),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, out_channels, 1),
    )


@torch.no_grad()
def _dry_run(backbone: nn.Module, side: int = 64) -> list[Tensor]:
    was_training = backbone.training
    weight = next(backbone.parameters())
    features: list[Tensor] = backbone.eval()(torch.zeros(1, 3, side, side, device=weight.device))
    backbone.train(was_training)
    return features
