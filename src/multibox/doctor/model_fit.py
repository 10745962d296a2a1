"""What a data set means for a model: sizes at each input, what anchors can reach, which template, how long it takes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

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
"""Sides in pixels of the network input under which the share of the objects is told."""

TOLERATED_SMALL = 0.05
"""Share of objects smaller than the finest cell that is not worth a larger input, which costs twice the time and more.
Such an object shares its cell with whatever is beside it."""

LEAST_RECALL = 0.8
"""Share of the objects of the worst class that fitted anchors must match. The others are learnt by one anchor each, and
poorly: the platelets of BCCD, of which 57 % are matched at 256 px, come last in every training."""

MAX_BOXES_PER_CLASS = 2000
"""Number of boxes of a class that its recall is measured on: a share is known to about 0.01 then."""

TIMED_STEPS = 6
"""Number of steps that the speed is measured with. The first two, which pay for memory and the choice of algorithms, do
not count."""

TIMED_BATCH = 8
"""Largest number of images in such a step: half of the templates' batch takes half the time and gives the same images
per second to a few percent."""

TIMED_VALIDATION = 4
"""Number of images that the time of a validation is measured with."""


@dataclass(frozen=True, slots=True)
class TemplateFit:
    """How a data set suits a template.

    `small`: share of the objects whose side is under 8, 16 and 32 px of the network input. `recall_given`,
    `recall_fitted`: share that some anchor matches at the matching threshold, with the template's anchors and with
    fitted ones. `worst_class` is the one with the lowest recall with fitted anchors, `worst_recall`; `recall_by_class`
    has those of all classes with objects. `finest_cell_px` is the side of the network's finest cell in pixels of the
    input, `under_cell` the share of the objects that are smaller. `images_per_second` and `minutes`: rough speed
    and length of a training on this machine for the template's epochs; None if not timed. `is_measured`: whether they
    were measured with this template, or follow from another's by the number of pixels.
    """

    template: str
    input_size: int
    small: tuple[float, float, float]
    recall_given: float
    recall_fitted: float
    worst_class: str
    worst_recall: float
    finest_cell_px: int
    under_cell: float
    images_per_second: float | None = None
    minutes: float | None = None
    recall_by_class: Mapping[str, float] = field(default_factory=dict)
    is_measured: bool = False


@dataclass(frozen=True, slots=True)
class Advice:
    """A template, and why, in a sentence."""

    template: str
    reason: str


@dataclass(frozen=True, slots=True)
class Speed:
    """Speed of this machine: images per second in training, and seconds for each image of a validation."""

    images_per_second: float
    validation_seconds: float


def fit_templates(data: CocoData, templates: Iterable[Template]) -> dict[int, TemplateFit]:
    """Say how a data set with at least one object suits each template, by input size in pixels."""
    from multibox.model import ssd

    strides: dict[str, list[int]] = {}
    fits = {}
    for template in templates:
        backbone = template.model.backbone
        if backbone not in strides:  # they are found out by a run of the network, and the same at each input size
            strides[backbone] = ssd.strides(ssd.build_ssd(template, num_classes=len(data.classes)))
        fits[template.input.size] = _fit(data, template, strides[backbone])
    return fits


def advise(fits: Mapping[int, TemplateFit]) -> Advice:
    """Choose the smallest input at which few objects are smaller than a cell and anchors match each class.

    Where there is none, the largest is advised.
    """
    sizes = sorted(fits)
    for position, size in enumerate(sizes):
        chosen = fits[size]
        if chosen.under_cell > TOLERATED_SMALL or chosen.worst_recall < LEAST_RECALL:
            continue
        reason = (
            f"at {size} px, {chosen.under_cell:.0%} of the objects are under {chosen.finest_cell_px} px, the finest "
            f"cell, and anchors match {chosen.worst_recall:.0%} or more of each class"
        )
        if position:
            smaller = fits[sizes[position - 1]]
            reason += (
                f" (at {smaller.input_size} px: {smaller.under_cell:.0%} under {smaller.finest_cell_px} px, "
                f"{smaller.worst_recall:.0%} of {smaller.worst_class})"
            )
        if size < sizes[-1]:
            reason += (
                f"; training at {sizes[-1]} px takes about {(sizes[-1] / size) ** 2:.1f} times as long and gains little"
            )
        return Advice(chosen.template, reason)
    largest = fits[sizes[-1]]
    return Advice(
        largest.template,
        f"even at {largest.input_size} px, {largest.under_cell:.0%} of the objects are under "
        f"{largest.finest_cell_px} px, the finest cell, and anchors match {largest.worst_recall:.0%} of "
        f"{largest.worst_class}; cutting images into tiles (`multibox predict --tile`) may serve better than any "
        "template",
    )


def measure_speed(data: CocoData, template: Template) -> Speed:
    """Measure how fast this machine trains the template on these images, by training a few steps of it.

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
    weights = ssd.build_ssd(timed, num_classes=len(data.classes)).state_dict()
    start = StartingPoint(weights, None, template.model.anchors_px, False, "random numbers")
    with brief_training(timed, data, steps=TIMED_STEPS, start=start) as result:
        runtime = open_runtime(result.latest)
        shown = data.evenly(TIMED_VALIDATION).records
        seconds = []
        for _ in range(2):  # the first call pays for memory
            started_at = time.perf_counter()
            runtime([images.read_image(record.path, expected_size=(record.width, record.height)) for record in shown])
            seconds.append((time.perf_counter() - started_at) / len(shown))
    return Speed(result.images_per_second, min(seconds))


def scaled_speed(speed: Speed, measured_size: int, size: int) -> Speed:
    """The speed at another input size, by the number of pixels.

    The templates differ in nothing else that costs time, and a network of convolutions has as much to compute as there
    are pixels: 0.86, 1.92 and 3.42 GFLOPs at 256, 384 and 512 px, as the templates say. Reading images does not grow
    so, which is why small inputs come out a little too fast, and large ones too slow.
    """
    factor = (size / measured_size) ** 2
    return Speed(speed.images_per_second / factor, speed.validation_seconds * factor)


def with_times(
    fits: Mapping[int, TemplateFit],
    templates: Mapping[int, Template],
    speed: Speed,
    measured_size: int,
    *,
    num_images: int,
    num_val_images: int,
) -> dict[int, TemplateFit]:
    """The fits with the rough times that a training takes, by the speed that was measured at one size."""
    timed = {}
    for size, template_fit in fits.items():
        here = scaled_speed(speed, measured_size, size)
        timed[size] = replace(
            template_fit,
            images_per_second=here.images_per_second,
            minutes=minutes(templates[size], num_images, num_val_images, here),
            is_measured=size == measured_size,
        )
    return timed


def minutes(template: Template, num_images: int, num_val_images: int, speed: Speed) -> float:
    """Minutes that a training for the template's epochs takes, with a validation after each."""
    basic = template.hyper_parameters.basic
    passes = passes_per_epoch(num_images, basic.batch_size, config=template.train.schedule)
    epoch = num_images * passes / speed.images_per_second + num_val_images * speed.validation_seconds
    return basic.epochs * epoch / 60


def _fit(data: CocoData, template: Template, strides: Sequence[int]) -> TemplateFit:
    boxes = np.concatenate([record.targets.boxes for record in data.records])
    labels = np.concatenate([record.targets.labels for record in data.records])
    size, threshold = template.input.size, template.train.loss.match_iou_threshold
    wide = sides(boxes) * size
    fitted, before, after = fit_anchors(
        boxes, template.model.anchors_px, strides, size, iou_threshold=threshold, seed=0
    )
    anchors = make_anchors(fitted, strides, size)
    recalls = {
        data.classes[label]: _recall(boxes[labels == label], anchors, threshold) for label in np.unique(labels).tolist()
    }
    worst = min(recalls, key=lambda name: recalls[name])
    return TemplateFit(
        template=template.name,
        input_size=size,
        small=_shares(wide),
        recall_given=before.recall,
        recall_fitted=after.recall,
        worst_class=worst,
        worst_recall=recalls[worst],
        finest_cell_px=min(strides),
        under_cell=float((wide < min(strides)).mean()),
        recall_by_class=recalls,
    )


def _recall(boxes: FloatArray, anchors: FloatArray, threshold: float) -> float:
    if len(boxes) > MAX_BOXES_PER_CLASS:
        rng = np.random.default_rng(0)
        boxes = boxes[rng.choice(len(boxes), MAX_BOXES_PER_CLASS, replace=False)]
    return measure_fit(boxes, anchors, iou_threshold=threshold).recall


def _shares(wide_px: np.ndarray) -> tuple[float, float, float]:
    eight, sixteen, thirty_two = (float((wide_px < limit).mean()) for limit in SMALL_PX)
    return eight, sixteen, thirty_two
