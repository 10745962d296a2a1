"""What a run starts from: the anchors and frozen stages of this run, and the starting weights put into its model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor

from multibox import config
from multibox.config import SSDConfig, Template
from multibox.data.coco import CocoData
from multibox.data.dataset import Dataset
from multibox.data.images import resize, to_input
from multibox.errors import OptionError
from multibox.model import ssd
from multibox.model.anchors import Choice, choose_anchors
from multibox.model.detector import Detector
from multibox.structures import FloatArray
from multibox.train.batch_norm import estimate_statistics
from multibox.weights import origin
from multibox.weights.checkpoint import Checkpoint
from multibox.weights.start import StartingPoint
from multibox.weights.transfer import transfer
from multibox.wording import Detailed


def with_anchors(
    template: Template,
    data: CocoData,
    start: StartingPoint | None,
    resume: Checkpoint | None,
    *,
    seed: int,
    say: Callable[[str], None],
) -> Template:
    """The template with the anchors of this run: of the start, of the template, or fitted ones if clearly better.

    A family whose anchors follow from its strides has no others.
    """
    if resume is not None:
        return config.replace(template, model=resume.template.model)
    if not isinstance(template.model, SSDConfig):
        return template
    offered = [start.anchors_px if start is not None else template.model.anchors_px]
    if template.model.anchors_px not in offered:
        offered.append(template.model.anchors_px)
    chosen = offered[0]
    clustering = template.train.anchor_clustering
    boxes = all_boxes(data)
    if clustering.enabled and len(boxes) >= clustering.min_boxes:
        threshold = template.train.loss.match_iou_threshold
        choice = choose_anchors(
            boxes,
            offered,
            ssd.strides(ssd.build_ssd(template, num_classes=1)),
            template.input.size,
            iou_threshold=threshold,
            min_gain=clustering.min_gain,
            seed=seed,
        )
        say(_account_of(choice, of_start=start is not None))
        chosen = choice.anchors_px
    return config.changed(template, {"model.anchors_px": chosen})


def _account_of(choice: Choice, *, of_start: bool) -> str:
    """Which anchors a run takes, and how many boxes some anchor meets, in one line."""
    given, fitted = choice.fits[0], choice.fitted
    if choice.known is None:
        return Detailed(
            f"Anchors: fitted to your boxes (they fit {fitted.recall:.1%} of them, the given ones {given.recall:.1%})."
        )
    whose = "those of the pretrained weights" if choice.known == 0 and of_start else "the template's"
    return Detailed(f"Anchors: {whose} (they fit {choice.fits[choice.known].recall:.1%} of your boxes).")


def with_frozen_stages(template: Template, start: StartingPoint | None, resume: Checkpoint | None) -> Template:
    """The template with the stages that this run freezes: those it began with, or none if its weights are random."""
    stride = template.train.frozen_stride if start is not None else 0
    if resume is not None:
        stride = resume.template.train.frozen_stride
    return config.changed(template, {"train.frozen_stride": stride})


def put_start(
    start: StartingPoint, model: Detector, classes: Sequence[str], dataset: Dataset, template: Template
) -> str:
    """Put the starting weights into the model, and say in a line what was carried over.

    Raises:
        OptionError: the weights are for another number of anchors.
    """
    if start.anchors_px and [len(level) for level in start.anchors_px] != [
        len(level) for level in template.model.anchors_px
    ]:
        raise OptionError(f"{start.name}: the template has another number of anchors per level.")
    line, details = transfer(model, classes, start.weights, start.classes), ""
    if start.is_folded:
        count = min(len(dataset), template.train.calibration_images)
        estimate_statistics(model, _plain_batches(dataset, count, template.input.size))
        details = f" Batch statistics measured on {count} images."
    return Detailed(f"{start.name.partition(' (')[0]}: {line}{details}", brief=line[:1].upper() + line[1:])


def _plain_batches(dataset: Dataset, count: int, size: int) -> Iterator[Tensor]:
    """Images as they are, evenly spread over the data set."""
    chosen = [i * len(dataset) // count for i in range(count)]
    for first in range(0, count, 16):
        images = [resize(dataset.decoded(i), size) for i in chosen[first : first + 16]]
        yield torch.from_numpy(to_input(images))


def name_of_start(start: StartingPoint | None, resume: Checkpoint | None) -> str:
    """The name of what a run starts from; of a resumed run, of what its first part started from."""
    if resume is not None:
        return str(resume.meta.get("start", "unknown"))
    return start.name if start is not None else "random weights"


def origin_of_start(start: StartingPoint | None, resume: Checkpoint | None) -> Any:
    """What is known of where the starting weights come from, as plain data."""
    if resume is not None:
        return resume.meta.get("start_origin")
    known = start.origin if start is not None else origin.RANDOM
    return msgspec.to_builtins(known)


def all_boxes(data: CocoData) -> FloatArray:
    """The boxes (N, 4) of all images, as fractions of their image."""
    return np.concatenate([record.targets.boxes for record in data.records])
