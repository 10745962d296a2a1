"""What a data set means for a model: sizes at each input, what anchors can reach, which template, how long it takes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from multibox import config
from multibox.config import LossConfig, Template
from multibox.data import images
from multibox.data.coco import CocoData
from multibox.doctor.contents import sides
from multibox.model.anchors import fit_anchors, make_anchors, measure_fit
from multibox.structures import FloatArray
from multibox.train.schedule import passes_per_epoch

SMALL_PX = (8, 16, 32)
"""Sides in pixels of the network input under which the share of the objects is told."""

TOLERATED_SMALL = 0.05
"""Share of objects smaller than `TemplateFit.least_px` that is not worth a larger input, which costs twice the time and
more; and share of objects without a cell of their own that YOLOX-Nano, which has one place in each, may have."""

LEAST_CELLS = {"ssd": 1, "yolox_nano": 2}
"""Side of the smallest object that a family learns well, in sides of its finest cell: 16 px of the input in both.

Below, an object of an SSD shares its cell with whatever is beside it, and one of YOLOX-Nano has fewer than four places.
"""

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
    has those of all classes with objects. All of these are None, or empty, where anchors are not fitted: YOLOX-Nano's.
    `finest_cell_px` is the side of the network's finest cell in pixels of the input, `under_cell` the share of the
    objects that are smaller. `least_px` is the side of objects that the family learns well, `under_least` the share of
    smaller ones. `without_own_cell`: share of the objects whose centre is in a finest cell that has another's already.
    `images_per_second` and `minutes`: rough speed and length of a training on this machine for the template's epochs;
    None if not timed. `is_measured`: whether they were measured with this template, or follow from another's by the
    number of pixels.
    """

    template: str
    input_size: int
    small: tuple[float, float, float]
    recall_given: float | None
    recall_fitted: float | None
    worst_class: str | None
    worst_recall: float | None
    finest_cell_px: int
    under_cell: float
    family: str
    least_px: int
    under_least: float
    without_own_cell: float
    images_per_second: float | None = None
    minutes: float | None = None
    recall_by_class: Mapping[str, float] = field(default_factory=dict)
    is_measured: bool = False

    @property
    def is_suitable(self) -> bool:
        """Whether few objects are too small, and anchors match those of each class, or the places suffice."""
        if self.worst_recall is None:
            return max(self.under_least, self.without_own_cell) <= TOLERATED_SMALL
        return self.under_least <= TOLERATED_SMALL and self.worst_recall >= LEAST_RECALL


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


def fit_templates(data: CocoData, templates: Iterable[Template]) -> dict[str, TemplateFit]:
    """Say how a data set with at least one object suits each template, by its name."""
    from multibox.model import detector

    strides: dict[str, list[int]] = {}
    fits = {}
    for template in templates:
        backbone = template.model.backbone
        if backbone not in strides:  # they are found out by a run of the network, and the same at each input size
            strides[backbone] = detector.strides_of(detector.build(template, num_classes=len(data.classes)))
        fits[template.name] = _fit(data, template, strides[backbone])
    return fits


def advise(fits: Mapping[str, TemplateFit], family: str = config.DEFAULT_FAMILY) -> Advice:
    """Choose the smallest input of a family at which objects are large enough and anchors match each class.

    Where this family has none, that of another is chosen, if it has one; else the input at which the fewest objects are
    too small.
    """
    in_order = sorted(fits.values(), key=lambda fit: (fit.family != family, fit.input_size))
    chosen = next((fit for fit in in_order if fit.is_suitable), None)
    if chosen is None:
        largest = min(in_order, key=lambda fit: (fit.under_least, fit.family != family, -fit.input_size))
        return Advice(
            largest.template,
            f"even at {largest.input_size} px, {_shortcomings(largest)}; cutting images into tiles (`multibox predict "
            "--tile`) may serve better than any template",
        )
    relatives = [fit for fit in in_order if fit.family == chosen.family]
    reason = f"at {chosen.input_size} px, {_shortcomings(chosen)}"
    smaller = [fit for fit in relatives if fit.input_size < chosen.input_size]
    if smaller:
        reason += f" (at {smaller[-1].input_size} px: {_shortcomings(smaller[-1])})"
    if chosen.family != family:
        reason += "; no template of the other family, which is taken by default, suits them"
    elif chosen is not relatives[-1]:
        largest = relatives[-1]
        times = (largest.input_size / chosen.input_size) ** 2
        reason += f"; training at {largest.input_size} px takes about {times:.1f} times as long and gains little"
    return Advice(chosen.template, reason)


def _shortcomings(fit: TemplateFit) -> str:
    """What a template does not see well, in words."""
    words = f"{fit.under_least:.0%} of the objects are under {fit.least_px} px"
    if fit.worst_recall is not None:
        return f"{words} and anchors match {fit.worst_recall:.0%} of {fit.worst_class}, the least of all classes"
    return f"{words} and {fit.without_own_cell:.0%} share a cell of {fit.finest_cell_px} px with another"


def measure_speed(data: CocoData, template: Template) -> Speed:
    """Measure how fast this machine trains the template on these images, by training a few steps of it.

    The weights are random numbers, treated as a trained start: what a template freezes is frozen.
    """
    from multibox.model import detector
    from multibox.runtime.opening import open_runtime
    from multibox.train.brief import brief_training
    from multibox.weights.start import StartingPoint

    batch_size = min(template.hyper_parameters.basic.batch_size, TIMED_BATCH)
    timed = config.changed(
        template,
        {"hyper_parameters.basic.batch_size": batch_size, "train.anchor_clustering.enabled": False},
    )
    weights = detector.build(timed, num_classes=len(data.classes)).state_dict()
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

    The templates of a family differ in nothing else that costs time, and a network of convolutions has as much to
    compute as there are pixels: 0.86, 1.92 and 3.42 GFLOPs at 256, 384 and 512 px, as the SSD's templates say. Reading
    images does not grow so, which is why small inputs come out a little too fast, and large ones too slow.
    """
    factor = (size / measured_size) ** 2
    return Speed(speed.images_per_second / factor, speed.validation_seconds * factor)


def with_times(
    fits: Mapping[str, TemplateFit],
    templates: Mapping[str, Template],
    speed: Speed,
    measured: Template,
    *,
    num_images: int,
    num_val_images: int,
) -> dict[str, TemplateFit]:
    """The fits with the rough times that a training takes, for the family of the template that was measured."""
    timed = dict(fits)
    for name, template_fit in fits.items():
        if template_fit.family == config.family_of(measured):
            here = scaled_speed(speed, measured.input.size, template_fit.input_size)
            timed[name] = replace(
                template_fit,
                images_per_second=here.images_per_second,
                minutes=minutes(templates[name], num_images, num_val_images, here),
                is_measured=name == measured.name,
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
    size, family, finest = template.input.size, config.family_of(template), min(strides)
    wide = sides(boxes) * size
    least = LEAST_CELLS[family] * finest
    measured = TemplateFit(
        template=template.name,
        input_size=size,
        small=_shares(wide),
        recall_given=None,
        recall_fitted=None,
        worst_class=None,
        worst_recall=None,
        finest_cell_px=finest,
        under_cell=float((wide < finest).mean()),
        family=family,
        least_px=least,
        under_least=float((wide < least).mean()),
        without_own_cell=_share_without_own_cell(data, size // finest),
    )
    if not isinstance(template.train.objective, LossConfig):
        return measured
    labels = np.concatenate([record.targets.labels for record in data.records])
    threshold = template.train.objective.match_iou_threshold
    fitted, before, after = fit_anchors(
        boxes, template.model.anchors_px, strides, size, iou_threshold=threshold, seed=0
    )
    anchors = make_anchors(fitted, strides, size)
    recalls = {
        data.classes[label]: _recall(boxes[labels == label], anchors, threshold) for label in np.unique(labels).tolist()
    }
    worst = min(recalls, key=lambda name: recalls[name])
    return replace(
        measured,
        recall_given=before.recall,
        recall_fitted=after.recall,
        worst_class=worst,
        worst_recall=recalls[worst],
        recall_by_class=recalls,
    )


def _share_without_own_cell(data: CocoData, cells_per_side: int) -> float:
    """Share of the objects whose centre is in a cell where that of another object of the image, of any class, is."""
    shared = 0
    for record in data.records:
        boxes = record.targets.boxes
        cells = ((boxes[:, :2] + boxes[:, 2:]) / 2 * cells_per_side).astype(np.int64)
        shared += len(cells) - len(np.unique(cells, axis=0))
    return shared / sum(len(record.targets) for record in data.records)


def _recall(boxes: FloatArray, anchors: FloatArray, threshold: float) -> float:
    if len(boxes) > MAX_BOXES_PER_CLASS:
        rng = np.random.default_rng(0)
        boxes = boxes[rng.choice(len(boxes), MAX_BOXES_PER_CLASS, replace=False)]
    return measure_fit(boxes, anchors, iou_threshold=threshold).recall


def _shares(wide_px: np.ndarray) -> tuple[float, float, float]:
    eight, sixteen, thirty_two = (float((wide_px < limit).mean()) for limit in SMALL_PX)
    return eight, sixteen, thirty_two
