"""What a data set means for a model: sizes at each input, what anchors can reach, which template, how long it takes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from multibox import config
from multibox.config import Template
from multibox.data import images
from multibox.data.coco import CocoData
from multibox.doctor.contents import sides
from multibox.model.anchors import fit_anchors, make_anchors, measure_fit
from multibox.structures import FloatArray
from multibox.train.schedule import passes_per_epoch

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

MAX_BOXES_PER_CLASS = 2000
"""Boxes of a class that its recall is measured on: a share is known to about 0.01 then."""

TIMED_STEPS = 6
"""The first two, which pay for memory and the choice of algorithms, do not count."""

TIMED_BATCH = 8
"""At most so many images a step: half of the templates' batch takes half the time and gives the same images per
second to a few percent."""

TIMED_VALIDATION = 4


@dataclass(frozen=True, slots=True)
class Fit:
    """A data set at one input size.

    `small`: share of the objects whose side is under 8, 16 and 32 px of the network input. `recall_given`,
    `recall_fitted`: share that some anchor meets at the matching threshold, the template's and fitted ones.
    `worst_class` is that of the lowest recall with fitted anchors, with this; `recall_by_class` has those of all that
    have objects. `images_per_second` and `minutes`: of training on this machine for the template's epochs; None if not
    measured.
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
    recall_by_class: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Advice:
    """A template, and why, in a sentence."""

    template: str
    reason: str


@dataclass(frozen=True, slots=True)
class Speed:
    """Of this machine: images per second in training, and seconds for each image of a validation."""

    images_per_second: float
    validation_seconds: float


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
    recalls = {
        data.classes[label]: _recall(boxes[labels == label], anchors, threshold) for label in np.unique(labels).tolist()
    }
    worst = min(recalls, key=lambda name: recalls[name])
    speed = measure_speed(data, template) if is_timed else None
    return Fit(
        template=template.name,
        input_size=size,
        small=_shares(wide),
        recall_given=before.recall,
        recall_fitted=after.recall,
        worst_class=worst,
        worst_recall=recalls[worst],
        images_per_second=None if speed is None else speed.images_per_second,
        minutes=None if speed is None else minutes(template, len(data.records), num_val_images, speed),
        recall_by_class=recalls,
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


def measure_speed(data: CocoData, template: Template) -> Speed:
    """How fast this machine trains the template on these images, by training a few steps of it, with all that belongs.

    The weights are random numbers, treated as a trained start: what a template freezes is frozen.
    """
    from multibox.model import ssd
    from multibox.runtime.opening import open_runtime
    from multibox.train.brief import brief_training
    from multibox.weights.start import StartingPoint

    batch_size = min(template.hyper_parameters.basic.batch_size, TIMED_BATCH)
    timed = config.changed(
        template,
        {"hyper_parameters.basic.batch_size": batch_size, "train.anchor_clustering.enabled": False},
    )
    weights = ssd.build(timed, num_classes=len(data.classes)).state_dict()
    start = StartingPoint(weights, None, template.model.anchors_px, False, "random numbers")
    with brief_training(timed, data, steps=TIMED_STEPS, start=start) as result:
        runtime = open_runtime(result.latest)
        shown = data.evenly(TIMED_VALIDATION).records
        seconds = []
        for _ in range(2):  # the first call pays for memory
            started_at = time.perf_counter()
            runtime([images.read(record.path, expected_size=(record.width, record.height)) for record in shown])
            seconds.append((time.perf_counter() - started_at) / len(shown))
    return Speed(result.images_per_second, min(seconds))


def minutes(template: Template, num_images: int, num_val_images: int, speed: Speed) -> float:
    """Of a training for the template's epochs, with a validation after each."""
    basic = template.hyper_parameters.basic
    passes = passes_per_epoch(num_images, basic.batch_size, config=template.train.schedule)
    epoch = num_images * passes / speed.images_per_second + num_val_images * speed.validation_seconds
    return basic.epochs * epoch / 60


def _recall(boxes: FloatArray, anchors: FloatArray, threshold: float) -> float:
    if len(boxes) > MAX_BOXES_PER_CLASS:
        rng = np.random.default_rng(0)
        boxes = boxes[rng.choice(len(boxes), MAX_BOXES_PER_CLASS, replace=False)]
    return measure_fit(boxes, anchors, iou_threshold=threshold).recall


def _shares(wide_px: np.ndarray) -> tuple[float, float, float]:
    eight, sixteen, thirty_two = (float((wide_px < limit).mean()) for limit in SMALL_PX)
    return eight, sixteen, thirty_two
