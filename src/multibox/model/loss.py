"""The MultiBox loss: class scores with hard negative mining, box offsets, and their learnt balance."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from multibox import boxes as box
from multibox.config import LossConfig
from multibox.model.matching import BACKGROUND, PaddedTargets, match
from multibox.structures import RawOutput

FEW_LOGITS = 16
"""Number of logits of an anchor below which a processor takes a third of the time if they do not lie side by side:
PyTorch computes the softmax of a row in vectors of so many numbers, and a shorter row number by number."""


class Losses(NamedTuple):
    """Scalars. `classes` and `boxes` add up to `total`; `raw_classes` is the class loss before balancing."""

    classes: Tensor
    boxes: Tensor
    raw_classes: Tensor

    @property
    def total(self) -> Tensor:
        """What is minimised."""
        return self.classes + self.boxes

    @property
    def parts(self) -> dict[str, Tensor]:
        """What adds up to `total`, by its names."""
        return {"classes": self.classes, "boxes": self.boxes}


def multibox_loss(
    raw: RawOutput,
    targets: PaddedTargets,
    anchors: Tensor,
    loss_weights: Tensor,
    *,
    config: LossConfig,
    variances: tuple[float, float],
    average_over_processes: Callable[[Tensor], Tensor] = lambda count: count,
) -> Losses:
    """Losses of a batch, for anchors (A, 4) as fractions of the image and the head's `loss_weights` (2,).

    An object's loss is the mean over the anchors that meet it, and it counts as their number to the power of
    `config.object_exponent`: with 1, as in SSD and in the original, all positive anchors count the same, and so large
    objects more than small ones; with 0, all objects count the same. The sum over objects is divided by that of their
    weights, the sum over negatives by the number of positive anchors, each at least 1 per image, in the whole batch.
    With several processes, `average_over_processes` makes the divisors means over them, so that averaged gradients are
    those of one process with all images.

    With `config.learn_balance`, the class loss is balanced as exp(-w) * loss + w / 2 (Kendall et al., "Multi-Task
    Learning Using Uncertainty", 2018, eq. 10). The box loss is not: the original computed its balanced value and then
    returned the plain one, and its published weights were learnt that way.
    """
    deltas, logits = raw.deltas.float(), raw.logits.float()
    matched = match(targets, anchors, iou_threshold=config.match_iou_threshold)
    # Every anchor is computed, and those that learn no object count 0: a graphics card need not tell how many do.
    is_positive, object_of = matched != BACKGROUND, matched.clamp(min=0)
    anchors_of_object = torch.zeros(targets.labels.shape, device=deltas.device)
    anchors_of_object.scatter_add_(1, object_of, is_positive.float())
    object_weights = torch.where(anchors_of_object > 0, anchors_of_object**config.object_exponent, 0)
    sums = torch.stack([anchors_of_object.sum(dim=1), object_weights.sum(dim=1)])
    num_positive, sum_of_weights = average_over_processes(sums.clamp(min=1).sum(dim=1))
    shares = anchors_of_object.clamp(min=1) ** (config.object_exponent - 1) / sum_of_weights
    shares = shares.gather(1, object_of) * is_positive

    # An anchor without an object stands in for one: its deltas are finite, whatever padding holds.
    boxes = torch.where(
        is_positive[..., None], targets.boxes.gather(1, object_of[..., None].expand(-1, -1, 4)), anchors
    )
    encoded = box.encode(boxes, anchors, variances)
    box_errors = F.smooth_l1_loss(deltas, encoded, reduction="none").sum(dim=2)
    box_loss = (box_errors * shares).sum()

    background = logits.shape[-1] - 1
    labels = targets.labels.gather(1, object_of).masked_fill(~is_positive, background)
    errors = _cross_entropies(logits, labels)
    is_hard = hard_negatives(errors.detach(), is_positive, ratio=config.negatives_per_positive)
    raw_classes = (errors * is_hard).sum() / num_positive + (errors * shares).sum()

    if not config.learn_balance:
        return Losses(raw_classes, box_loss, raw_classes)
    weight = loss_weights[0]
    return Losses(torch.exp(-weight) * raw_classes + 0.5 * weight, box_loss, raw_classes)


def hard_negatives(errors: Tensor, is_positive: Tensor, *, ratio: float) -> Tensor:
    """Truth values (B, A): the negative anchors with the largest errors, `ratio` times as many as positives per image.

    An image without positives gets none.
    """
    num_wanted = (is_positive.sum(dim=1, keepdim=True) * ratio).long()
    # The sort must be stable so that two runs agree.
    order = errors.masked_fill(is_positive, -1).argsort(dim=1, descending=True, stable=True)
    is_wanted = torch.arange(order.shape[1], device=order.device) < num_wanted
    return torch.zeros_like(is_positive).scatter_(1, order, is_wanted) & ~is_positive


def _cross_entropies(logits: Tensor, labels: Tensor) -> Tensor:
    """The cross-entropy (B, A) of each anchor's logits (B, A, K + 1) with its label (B, A)."""
    if logits.shape[-1] < FEW_LOGITS:
        return F.cross_entropy(logits.transpose(1, 2), labels, reduction="none")
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(labels)
