"""Which place learns which object, by what the network says already, and the losses of YOLOX-Nano that follow."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from multibox import boxes as box
from multibox.config import TaskAlignedConfig
from multibox.model.matching import BACKGROUND, PaddedTargets
from multibox.structures import RawOutput


class TaskAlignedLosses(NamedTuple):
    """Scalars that add up to `total`."""

    classes: Tensor
    objectness: Tensor
    boxes: Tensor

    @property
    def total(self) -> Tensor:
        """What is minimised."""
        return self.classes + self.objectness + self.boxes

    @property
    def parts(self) -> dict[str, Tensor]:
        """What adds up to `total`, by its names."""
        return {"classes": self.classes, "objectness": self.objectness, "boxes": self.boxes}


def task_aligned_loss(
    raw: RawOutput,
    targets: PaddedTargets,
    anchors: Tensor,
    points: Tensor,
    *,
    config: TaskAlignedConfig,
    variances: tuple[float, float],
    input_size: int,
    average_over_processes: Callable[[Tensor], Tensor] = lambda count: count,
) -> TaskAlignedLosses:
    """Losses of a batch, for anchors (A, 4) and the middles of their cells (A, 2), both as fractions of the image.

    Objectness is to be the IoU of the predicted box at places that learn an object, and 0 elsewhere. At those that
    learn one, its class is to be 1 and all others 0, and the box costs `config.box_weight` x (1 - GIoU). Each is a sum,
    divided by the number of those places, at least 1 per image, in the whole batch. With several processes,
    `average_over_processes` makes the divisor a mean over them.

    Source: Ge et al., "YOLOX: Exceeding YOLO Series in 2021", 2021, and its published code, for the losses. There, the
    class has the IoU as its target and objectness 1; the other way round does better on small sets, see "The recipe of
    YOLOX-Nano" in benchmarks/notebook.md.
    """
    deltas, logits = raw.deltas.float(), raw.logits.float()
    boxes = box.decode(deltas, anchors, variances)
    class_logits, object_logits = logits[..., :-1], logits[..., -1]
    with torch.no_grad():
        scores = class_logits.sigmoid() * object_logits[..., None].sigmoid()
        matched = assign(scores, boxes, points, targets, config=config, input_size=input_size)
    is_positive = matched != BACKGROUND
    num_positive = average_over_processes(is_positive.sum(dim=1).clamp(min=1).sum().float())

    # As many places of each image as could learn at most, not as many as do: that a graphics card would have to tell.
    most = min(len(points), config.num_places * targets.labels.shape[1])
    place_of, learns = _first_true(is_positive, most)
    object_of = matched.gather(1, place_of).clamp(min=0)
    overlap, giou = paired_iou(_rows(boxes, place_of), _rows(targets.boxes, object_of))
    is_class = targets.labels.gather(1, object_of)[..., None] == torch.arange(
        class_logits.shape[-1], device=boxes.device
    )
    class_errors = F.binary_cross_entropy_with_logits(
        _rows(class_logits, place_of), is_class.float(), weight=learns[..., None].float(), reduction="sum"
    )
    object_targets = torch.zeros_like(object_logits).scatter(1, place_of, overlap.detach() * learns)
    object_errors = F.binary_cross_entropy_with_logits(object_logits, object_targets, reduction="sum")
    return TaskAlignedLosses(
        classes=class_errors / num_positive,
        objectness=object_errors / num_positive,
        boxes=config.box_weight * ((1 - giou) * learns).sum() / num_positive,
    )


def assign(
    scores: Tensor,
    boxes: Tensor,
    points: Tensor,
    targets: PaddedTargets,
    *,
    config: TaskAlignedConfig,
    input_size: int,
) -> Tensor:
    """For each place (B, A) the row of the object that it learns, or `BACKGROUND`.

    `scores` (B, A, K) and `boxes` (B, A, 4) are what the network says, `points` (A, 2) the middles of the cells.

    1. A place is a candidate for an object when its point lies inside the object's box, whose sides count as at least
       `config.min_object_px`. Otherwise objects smaller than a cell would have no candidate.
    2. Of its candidates, an object takes the `config.num_places` with the largest
       score^`score_exponent` x IoU^`iou_exponent`, as far as that is more than 0; the score is that of its class.
    3. A place taken by several objects learns the one with which its IoU is largest; the first on ties.

    Source: Feng et al., "TOOD: Task-aligned One-stage Object Detection", 2021, section 3.2.
    """
    overlap = box.iou(targets.boxes, boxes)
    labels = targets.labels[..., None].expand_as(overlap)
    quality = scores.transpose(1, 2).gather(1, labels) ** config.score_exponent * overlap**config.iou_exponent
    is_candidate = _holds(targets.boxes, points, min_side=config.min_object_px / input_size)
    quality = quality.masked_fill(~(is_candidate & targets.is_object[..., None]), 0)
    best = quality.topk(min(config.num_places, quality.shape[2]), dim=2)
    is_taken = torch.zeros_like(is_candidate).scatter(2, best.indices, best.values > 0)
    best_overlap, best_object = overlap.masked_fill(~is_taken, -1).max(dim=1)
    return torch.where(best_overlap >= 0, best_object, BACKGROUND)


def paired_iou(boxes: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """IoU (...) and generalised IoU (...) of boxes (..., 4) with others (..., 4), one by one.

    Source: Rezatofighi et al., "Generalized Intersection over Union", 2019, algorithm 1.
    """
    shared = torch.minimum(boxes[..., 2:], others[..., 2:]) - torch.maximum(boxes[..., :2], others[..., :2])
    shared = shared.clamp(min=0)
    hull_sides = torch.maximum(boxes[..., 2:], others[..., 2:]) - torch.minimum(boxes[..., :2], others[..., :2])
    # Not `prod`: its gradient looks for zeros, and for that a graphics card is waited for.
    overlap, hull = shared[..., 0] * shared[..., 1], (hull_sides[..., 0] * hull_sides[..., 1]).clamp(min=1e-12)
    union = (box.area(boxes) + box.area(others) - overlap).clamp(min=1e-12)
    ious = overlap / union
    return ious, ious - (hull - union) / hull


def _holds(boxes: Tensor, points: Tensor, *, min_side: float) -> Tensor:
    """Whether (B, N, A) points (A, 2) lie inside boxes (B, N, 4), whose sides count as at least `min_side`."""
    centres = (boxes[..., :2] + boxes[..., 2:]) / 2
    half = (boxes[..., 2:] - boxes[..., :2]).clamp(min=min_side) / 2
    return ((points - centres[..., None, :]).abs() < half[..., None, :]).all(dim=-1)


def _first_true(mask: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Columns (B, count) of a mask (B, A), in each row those that are true first, and whether they are (B, count)."""
    place_from_behind = torch.arange(mask.shape[1], 0, -1, dtype=torch.int32, device=mask.device)
    first, columns = (place_from_behind * mask).topk(count, dim=1)
    return columns, first > 0


def _rows(table: Tensor, rows: Tensor) -> Tensor:
    """Rows (B, M) of tables (B, N, C): (B, M, C)."""
    return table.gather(1, rows[..., None].expand(-1, -1, table.shape[-1]))
