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
    is_positive = matched != BACKGROUND
    image_of, anchor_of = is_positive.nonzero(as_tuple=True)
    object_of = matched[image_of, anchor_of]
    anchors_of_object = torch.zeros(targets.labels.shape, device=deltas.device)
    anchors_of_object.index_put_((image_of, object_of), torch.ones((), device=deltas.device), accumulate=True)
    object_weights = torch.where(anchors_of_object > 0, anchors_of_object**config.object_exponent, 0)
    sums = torch.stack([anchors_of_object.sum(dim=1), object_weights.sum(dim=1)])
    num_positive, sum_of_weights = average_over_processes(sums.clamp(min=1).sum(dim=1))
    shares = anchors_of_object[image_of, object_of] ** (config.object_exponent - 1) / sum_of_weights

    encoded = box.encode(targets.boxes[image_of, object_of], anchors[anchor_of], variances)
    box_errors = F.smooth_l1_loss(deltas[image_of, anchor_of], encoded, reduction="none").sum(dim=1)
    box_loss = (box_errors * shares).sum()

    background = logits.shape[-1] - 1
    labels = targets.labels.gather(1, matched.clamp(min=0)).masked_fill(~is_positive, background)
    errors = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(labels)
    is_hard = hard_negatives(errors.detach(), is_positive, ratio=config.negatives_per_positive)
    raw_classes = (errors * is_hard).sum() / num_positive + (errors[image_of, anchor_of] * shares).sum()

    if not config.learn_balance:
        return Losses(raw_classes, box_loss, raw_classes)
    weight = loss_weights[0]
    return Losses(torch.exp(-weight) * raw_classes + 0.5 * weight, box_loss, raw_classes)


def hard_negatives(errors: Tensor, is_positive: Tensor, *, ratio: float) -> Tensor:
    """Truth values (B, A): the negative anchors with the largest errors, `ratio` times as many as positives per image.

    An image without positives gets none.
    """
    num_wanted = (is_positive.sum(dim=1, keepdim=True) * ratio).long()
    # Sorting twice ranks each negative by loss; the sort must be stable so that two runs agree.
    order = errors.masked_fill(is_positive, -1).argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(
        1, order, torch.arange(order.shape[1], device=order.device).expand_as(order)
    )
    return (rank < num_wanted) & ~is_positive
