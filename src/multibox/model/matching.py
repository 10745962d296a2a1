"""Which anchor learns which box: ground truth x anchors, for a whole batch at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from multibox import boxes as box
from multibox.structures import Targets

BACKGROUND = -1


class PaddedTargets(NamedTuple):
    """Ground truth of B images, padded to the N of the fullest one.

    `boxes` (B, N, 4), `labels` (B, N), `is_object` (B, N): false where a row is padding.
    """

    boxes: Tensor
    labels: Tensor
    is_object: Tensor


def pad(targets: Sequence[Targets], device: torch.device | str) -> PaddedTargets:
    """One tensor of each kind for a batch; N is at least 1, so that reductions over it are defined."""
    shape = (len(targets), max([1, *map(len, targets)]))
    boxes, labels, is_object = np.zeros((*shape, 4), np.float32), np.zeros(shape, np.int64), np.zeros(shape, np.bool_)
    for i, target in enumerate(targets):
        count = len(target)
        boxes[i, :count], labels[i, :count], is_object[i, :count] = target.boxes, target.labels, True
    return PaddedTargets(*(torch.from_numpy(array).to(device) for array in (boxes, labels, is_object)))


def match(targets: PaddedTargets, anchors: Tensor, *, iou_threshold: float) -> Tensor:
    """For each anchor (B, A) the row of the object that it learns, or `BACKGROUND`.

    1. An anchor learns the object with which its IoU is largest, if that reaches `iou_threshold`; the first on ties.
    2. Each object's best anchor (the first on ties) learns that object whatever the IoU; of two objects with the same
       best anchor, the later one has it. Otherwise small objects would never be learnt.

    Source: Liu et al., "SSD", 2016, section 2.2; ties and theft as in the original.
    """
    overlap = box.iou(targets.boxes, anchors.expand(len(targets.boxes), -1, -1))
    overlap = overlap.masked_fill(~targets.is_object[..., None], -1)
    best_iou, best_object = overlap.max(dim=1)
    matched = torch.where(best_iou >= iou_threshold, best_object, BACKGROUND)

    num_images, num_objects, num_anchors = overlap.shape
    best_anchor = overlap.argmax(dim=2).masked_fill(~targets.is_object, num_anchors)
    rows = torch.arange(num_objects, device=overlap.device).expand(num_images, -1)
    # One column more than anchors takes the padding; the largest row wins, which is the later object.
    claimed = torch.full((num_images, num_anchors + 1), BACKGROUND, device=overlap.device)
    claimed = claimed.scatter_reduce(1, best_anchor, rows, reduce="amax")[:, :num_anchors]
    return torch.where(claimed == BACKGROUND, matched, claimed)
