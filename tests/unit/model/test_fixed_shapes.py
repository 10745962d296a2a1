"""Losses of fixed shapes: whatever the numbers are, the same kernels run, and none waits for the answer of another.

A graphics card works behind the program that feeds it. An operation whose shape depends on numbers, or that reads one,
stops the program until the card is done. On a processor both are free, so only a test keeps them away.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from multibox import boxes as box
from multibox.config import LossConfig, TaskAlignedConfig
from multibox.model.anchors import make_anchors
from multibox.model.loss import FEW_LOGITS, hard_negatives, multibox_loss
from multibox.model.matching import BACKGROUND, PaddedTargets, match, pad
from multibox.model.task_aligned import assign, paired_iou, task_aligned_loss
from multibox.structures import RawOutput, Targets

SIZE = 64
SSD = LossConfig(match_iou_threshold=0.4, negatives_per_positive=3, object_exponent=0.5)
YOLOX = TaskAlignedConfig(num_places=10, score_exponent=0.5, iou_exponent=6, min_object_px=16, box_weight=5)
VARIANCES = {"SSD": (0.1, 0.2), "YOLOX-Nano": (1.0, 1.0)}
SIDES = {"SSD": [[(s, s), (2 * s, s)] for s in (12, 24, 40)], "YOLOX-Nano": [[(s, s)] for s in (8, 16, 32)]}

WAITING = {
    torch.ops.aten.nonzero.default,
    torch.ops.aten.nonzero_numpy.default,
    torch.ops.aten.masked_select.default,
    torch.ops.aten._local_scalar_dense.default,
    torch.ops.aten.is_nonzero.default,
    torch.ops.aten.equal.default,
    torch.ops.aten._unique2.default,
    torch.ops.aten.unique_dim.default,
    torch.ops.aten.bincount.default,
    torch.ops.aten.repeat_interleave.Tensor,
    # Its gradient reads whether a factor is 0, by another way when something watches.
    torch.ops.aten.prod.dim_int,
    torch.ops.aten.prod.default,
}
INDEXING = {torch.ops.aten.index.Tensor, torch.ops.aten.index_put.default, torch.ops.aten.index_put_.default}


class WithoutWaiting(TorchDispatchMode):
    """Refuses what would wait for a graphics card, and notes the operations and the shapes of their results."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[tuple[str, str]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        masks = [value for value in (args[1] if func in INDEXING else ()) if value is not None]
        assert func not in WAITING and all(mask.dtype not in (torch.bool, torch.uint8) for mask in masks), str(func)
        result = func(*args, **(kwargs or {}))
        results = result if isinstance(result, (tuple, list)) else (result,)
        shapes = [tuple(each.shape) for each in results if isinstance(each, Tensor)]
        self.done.append((str(func), str(shapes)))
        return result


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x[x > 0],
        lambda x: (x > 0).nonzero(),
        lambda x: x.sum().item(),
        lambda x: bool(x.any()),
        lambda x: x.prod(dim=0).sum().backward(),
        lambda x: x.detach().clone().index_put_((x > 0,), torch.zeros(())),
    ],
)
def test_what_waits_is_refused(wait):
    with pytest.raises(AssertionError, match="aten"), WithoutWaiting():
        wait(torch.tensor([0.0, 1.0, 2.0], requires_grad=True))


def anchors_of(family: str) -> Tensor:
    offset = 0.5 if family == "SSD" else 0.0
    return torch.from_numpy(make_anchors(SIDES[family], (8, 16, 32), SIZE, offset=offset))


def middles() -> Tensor:
    squares = torch.from_numpy(make_anchors(SIDES["YOLOX-Nano"], (8, 16, 32), SIZE, offset=0.5))
    return (squares[:, :2] + squares[:, 2:]) / 2


def batch(family: str, counts: list[int], *, seed: int, num_classes: int = 3) -> tuple[RawOutput, PaddedTargets]:
    """Random output, that asks for its gradient, and random objects, `counts` in each image."""
    rng = np.random.default_rng(seed)
    images = []
    for count in counts:
        corner = rng.uniform(0, 0.7, (count, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(0.05, 0.3, (count, 2))], axis=1).astype(np.float32)
        images.append(Targets(boxes, rng.integers(0, num_classes, count)))
    shape = (len(counts), len(anchors_of(family)))
    deltas = torch.from_numpy(rng.normal(0, 1, (*shape, 4)).astype(np.float32)).requires_grad_()
    logits = torch.from_numpy(rng.normal(0, 2, (*shape, num_classes + 1)).astype(np.float32)).requires_grad_()
    return RawOutput(deltas, logits), pad(images, "cpu")


def loss_of(family: str) -> Callable[[RawOutput, PaddedTargets], Any]:
    anchors, weights, points = anchors_of(family), torch.zeros(2), middles()

    def run(raw: RawOutput, targets: PaddedTargets) -> Any:
        variances = VARIANCES[family]
        if family == "SSD":
            return multibox_loss(raw, targets, anchors, weights, config=SSD, variances=variances)
        return task_aligned_loss(raw, targets, anchors, points, config=YOLOX, variances=variances, input_size=SIZE)

    return run


@pytest.mark.parametrize("family", ["SSD", "YOLOX-Nano"])
@pytest.mark.parametrize("num_classes", [3, FEW_LOGITS])
def test_losses_and_their_gradients_wait_for_nothing_and_run_the_same_whatever_the_numbers(family, num_classes):
    loss = loss_of(family)
    ways = []
    for seed, counts in enumerate(([5, 0, 2], [5, 5, 5], [1, 0, 5])):
        raw, targets = batch(family, counts, seed=seed, num_classes=num_classes)
        with WithoutWaiting() as mode:
            loss(raw, targets).total.backward()
        ways.append(mode.done)
    assert len(ways[0]) > 50
    assert ways[0] == ways[1] == ways[2]


def selected_losses(family: str, raw: RawOutput, targets: PaddedTargets) -> dict[str, Tensor]:
    """The losses computed of the rows that learn an object, one image after the other, and nothing of the others."""
    return _selected_ssd(raw, targets) if family == "SSD" else _selected_yolox(raw, targets)


def _selected_ssd(raw: RawOutput, targets: PaddedTargets) -> dict[str, Tensor]:
    anchors = anchors_of("SSD")
    matched = match(targets, anchors, iou_threshold=SSD.match_iou_threshold)
    num_positive = sum_of_weights = 0.0
    box_terms, positive_terms, negative_terms = [], [], []
    for image, rows in enumerate(matched):
        (places,) = (rows != BACKGROUND).nonzero(as_tuple=True)
        objects = rows[places]
        counts = objects.bincount(minlength=targets.labels.shape[1]).float()
        num_positive += max(1, len(places))
        sum_of_weights += max(1.0, counts[counts > 0].pow(SSD.object_exponent).sum().item())
        weights = counts[objects].pow(SSD.object_exponent - 1)
        wanted = box.encode(targets.boxes[image, objects], anchors[places], VARIANCES["SSD"])
        errors = F.smooth_l1_loss(raw.deltas[image, places], wanted, reduction="none").sum(dim=1)
        box_terms.append((errors * weights).sum())
        labels = torch.full((len(rows),), raw.logits.shape[-1] - 1)
        labels[places] = targets.labels[image, objects]
        costs = F.cross_entropy(raw.logits[image], labels, reduction="none")
        positive_terms.append((costs[places] * weights).sum())
        (is_hard,) = hard_negatives(costs[None].detach(), (rows != BACKGROUND)[None], ratio=SSD.negatives_per_positive)
        negative_terms.append(costs[is_hard].sum())
    classes = sum(negative_terms) / num_positive + sum(positive_terms) / sum_of_weights
    return {"classes": classes, "boxes": sum(box_terms) / sum_of_weights}


def _selected_yolox(raw: RawOutput, targets: PaddedTargets) -> dict[str, Tensor]:
    boxes = box.decode(raw.deltas, anchors_of("YOLOX-Nano"), VARIANCES["YOLOX-Nano"])
    scores = (raw.logits[..., :-1].sigmoid() * raw.logits[..., -1:].sigmoid()).detach()
    matched = assign(scores, boxes.detach(), middles(), targets, config=YOLOX, input_size=SIZE)
    class_terms, object_terms, box_terms, num_positive = [], [], [], 0
    for image, rows in enumerate(matched):
        (places,) = (rows != BACKGROUND).nonzero(as_tuple=True)
        num_positive += max(1, len(places))
        overlap, giou = paired_iou(boxes[image, places], targets.boxes[image, rows[places]])
        wanted = torch.zeros(len(places), raw.logits.shape[-1] - 1)
        wanted[range(len(places)), targets.labels[image, rows[places]]] = 1
        logits = raw.logits[image]
        class_terms.append(F.binary_cross_entropy_with_logits(logits[places, :-1], wanted, reduction="sum"))
        objectness = torch.zeros(len(rows))
        objectness[places] = overlap.detach()
        object_terms.append(F.binary_cross_entropy_with_logits(logits[:, -1], objectness, reduction="sum"))
        box_terms.append(YOLOX.box_weight * (1 - giou).sum())
    terms = {"classes": class_terms, "objectness": object_terms, "boxes": box_terms}
    return {name: sum(values) / num_positive for name, values in terms.items()}


@pytest.mark.parametrize("family", ["SSD", "YOLOX-Nano"])
@pytest.mark.parametrize("counts", [[1], [0, 0], [4, 0, 1], [12, 3], [60, 0, 7]])
@pytest.mark.parametrize("num_classes", [1, 3, FEW_LOGITS])
def test_losses_and_gradients_are_those_of_the_rows_that_learn_an_object(family, counts, num_classes):
    for seed in range(3):
        raw, targets = batch(family, counts, seed=seed, num_classes=num_classes)
        expected = selected_losses(family, raw, targets)
        expected_gradients = torch.autograd.grad(sum(expected.values()), raw)
        losses = loss_of(family)(raw, targets)
        for name, value in expected.items():
            torch.testing.assert_close(losses.parts[name], value, rtol=1e-5, atol=1e-6)
        gradients = torch.autograd.grad(losses.total, raw)
        for gradient, wanted in zip(gradients, expected_gradients, strict=True):
            torch.testing.assert_close(gradient, wanted, rtol=1e-4, atol=1e-6)
