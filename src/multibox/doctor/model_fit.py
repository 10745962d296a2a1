"""What a data set means for a model: sizes at each input, what anchors can reach, which template, how long it takes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from multibox.anchors import fit_anchors, make_anchors, measure_fit
from multibox.config import Template
from multibox.data.coco import CocoData
from multibox.doctor.contents import sides
from multibox.schedule import passes_per_epoch
from multibox.structures import FloatArray

SMALL_PX = (8, 16, 32)
FINEST_STRIDE = 16
"""Of the levels: an object smaller than a cell shares it with whatever is beside it."""

TOLERATED_SMALL = 0.05
"""Share of objects under `FINEST_STRIDE` px that is not worth a larger input, which costs twice the time and more."""

LEAST_RECALL = 0.8
"""Of the worst class with fitted anchors. Objects that no anchor meets are learnt by one anchor each, and poorly: the
platelets of BCCD, met by 57 % at 256 px, come last in every training."""

STRIDES = (16, 32)
"""Of the levels of this family; the network is not built where nothing but this is wanted of it."""

TIMED_STEPS = 3
VALIDATION_SECONDS = 0.02
"""Per image, in PyTorch on two cores; a guess that only matters for large validation sets."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A data set at one input size.

    `small`: share of the objects whose side is under 8, 16 and 32 px of the network input. `recall_given`,
    `recall_fitted`: share that some anchor meets at the matching threshold, the template's and fitted ones.
    `worst_class` is that of the lowest recall with fitted anchors, with this. `images_per_second` and `minutes`: of
    training on this machine for the template's epochs; None if not measured.
    """

    template: str
    input_size: int
    small: tuple[float, float, float]
    recall_given: float
    recall_fitted: float
    worst_class: str
    worst_recall: float
    images_per_second: float | None = None
    minutes: float | None = None


@dataclass(frozen=True, slots=True)
class Advice:
    """A template, and why, in a sentence."""

    template: str
    reason: str


def fit(data: CocoData, template: Template, *, num_val_images: int, is_timed: bool) -> Fit:
    """How a data set with at least one object suits a template."""
    boxes = np.concatenate([record.targets.boxes for record in data.records])
    labels = np.concatenate([record.targets.labels for record in data.records])
    size, threshold = template.input.size, template.train.loss.match_iou_threshold
    wide = sides(boxes) * size
    fitted, before, after = fit_anchors(
        boxes, template.model.anchors_px, STRIDES, size, iou_threshold=threshold, seed=0
    )
    anchors = make_anchors(fitted, STRIDES, size)
    recalls = {label: _recall(boxes[labels == label], anchors, threshold) for label in np.unique(labels).tolist()}
    worst = min(recalls, key=lambda label: recalls[label])
    speed = measure_speed(template, num_classes=len(data.classes)) if is_timed else None
    return Fit(
        template=template.name,
        input_size=size,
        small=_shares(wide),
        recall_given=before.recall,
        recall_fitted=after.recall,
        worst_class=data.classes[worst],
        worst_recall=recalls[worst],
        images_per_second=speed,
        minutes=None if speed is None else _minutes(template, len(data.records), num_val_images, speed),
    )


def advise(fits: Mapping[int, Fit]) -> Advice:
    """The smallest input at which few objects are smaller than a cell and anchors meet each class; else the largest."""
    sizes = sorted(fits)
    for position, size in enumerate(sizes):
        found = fits[size]
        if found.small[1] > TOLERATED_SMALL or found.worst_recall < LEAST_RECALL:
            continue
        reason = (
            f"at {size} px, {found.small[1]:.0%} of the objects are under {FINEST_STRIDE} px, the finest cell, and "
            f"anchors meet {found.worst_recall:.0%} or more of each class"
        )
        if position:
            smaller = fits[sizes[position - 1]]
            reason += (
                f" (at {smaller.input_size} px: {smaller.small[1]:.0%} under {FINEST_STRIDE} px, "
                f"{smaller.worst_recall:.0%} of {smaller.worst_class})"
            )
        if size < sizes[-1]:
            reason += f"; {sizes[-1]} px would cost {(sizes[-1] / size) ** 2:.1f} times the time for little"
        return Advice(found.template, reason)
    largest = fits[sizes[-1]]
    return Advice(
        largest.template,
        f"even at {largest.input_size} px, {largest.small[1]:.0%} of the objects are under {FINEST_STRIDE} px, the "
        f"finest cell, and anchors meet {largest.worst_recall:.0%} of {largest.worst_class}; cutting images into tiles "
        "(`multibox predict --tile`) may serve better than any template",
    )


def measure_speed(template: Template, *, num_classes: int) -> float:
    """Images per second of training steps on random numbers, as `multibox train` with a trained start does them."""
    import torch

    from multibox.data.dataset import Batch
    from multibox.frozen import freeze, frozen_stages
    from multibox.loss import multibox_loss
    from multibox.matching import pad
    from multibox.model import ssd
    from multibox.structures import Targets
    from multibox.train import connect

    fabric = connect("auto", template.train.precision)
    size, batch_size = template.input.size, template.hyper_parameters.basic.batch_size
    model = ssd.build(template, num_classes=num_classes).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    stride = template.train.frozen_stride
    num_frozen = freeze(model, stride)
    optimizer = torch.optim.SGD([one for one in model.parameters() if one.requires_grad], lr=1e-6, momentum=0.9)
    network, optimizer = fabric.setup(model, optimizer)
    with fabric.autocast():
        device = fabric.device.type
        precision = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32
    run = frozen_stages(model, stride, input_size=size, device=fabric.device, precision=precision)
    anchors = torch.from_numpy(make_anchors(template.model.anchors_px, STRIDES, size)).to(fabric.device)
    rng = np.random.default_rng(0)
    box = np.array([[0.3, 0.3, 0.6, 0.7]], dtype=np.float32)
    batch = Batch(
        rng.random((batch_size, 3, size, size), dtype=np.float32),
        [Targets(box, np.zeros(1, dtype=np.int64))] * batch_size,
        [],
    )

    def step() -> None:
        raw = network(run(batch.images), num_frozen)
        losses = multibox_loss(
            raw,
            pad(batch.targets, fabric.device),
            anchors,
            model.bbox_head.loss_weights,
            config=template.train.loss,
            variances=template.model.box_variances,
        )
        optimizer.zero_grad()
        fabric.backward(losses.total)
        optimizer.step()

    step()  # the first pays for memory and the choice of algorithms
    seconds = []
    for _ in range(TIMED_STEPS):
        started_at = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - started_at)
    # Whatever else the machine does makes steps slower, never faster.
    return batch_size / min(seconds)


def _minutes(template: Template, num_images: int, num_val_images: int, speed: float) -> float:
    basic = template.hyper_parameters.basic
    passes = passes_per_epoch(num_images, basic.batch_size, config=template.train.schedule)
    validation = num_val_images * VALIDATION_SECONDS * (template.input.size / 256) ** 2
    return basic.epochs * (num_images * passes / speed + validation) / 60


def _recall(boxes: FloatArray, anchors: FloatArray, threshold: float) -> float:
    return measure_fit(boxes, anchors, iou_threshold=threshold).recall


def _shares(wide_px: np.ndarray) -> tuple[float, float, float]:
    eight, sixteen, thirty_two = (float((wide_px < limit).mean()) for limit in SMALL_PX)
    return eight, sixteen, thirty_two
