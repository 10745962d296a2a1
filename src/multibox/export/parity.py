"""The parity gate: each exported form against the checkpoint, over real images; what fails is rejected."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from multibox import config
from multibox.config import PostprocessConfig, Template
from multibox.data import images
from multibox.data.coco import CocoData
from multibox.data.images import resize
from multibox.data.loader import evaluation_batches
from multibox.evaluate.average_precision import Metrics, measure
from multibox.evaluate.intervals import Interval, ap_difference
from multibox.export.agreement import (
    CANDIDATES_PER_PLACE,
    Comparison,
    ImageComparison,
    Tolerance,
    compare,
    describe_disagreement,
    summarise,
)
from multibox.runtime.protocol import Runtime
from multibox.runtime.torch_runtime import TorchRuntime
from multibox.structures import DEFAULT_THRESHOLD, Detections, Image
from multibox.wording import counted

if TYPE_CHECKING:
    from multibox.model.detector import Detector

CANDIDATE_SLACK = 0.01
"""Distance below the score threshold down to which candidates are kept; more than the tolerance of a score."""

NO_IOU = 2.0
"""IoU threshold that no IoU reaches, so that nothing is suppressed."""

LOST_SHARE = 0.05
"""Share of the confident detections of a form in 8 bits that may have no partner.

In trained networks it was 0 to 0.2 % (BCCD, playing cards, face masks: 61 to 2,382 detections at 256).
"""

LOST_ALWAYS = 2
"""Number of confident detections of a form in 8 bits that may have no partner however few there are."""

SURE = 3.3
"""Number of standard deviations that AP must be below the tolerance to fail a form with rounded weights.

Chance does that once in two thousand rows. Within the 95 % of the intervals that are shown, it would be once in forty,
and an export has three rows or more: two of a dozen runs of `make quickstart`, on 16 images, refused a good file.
"""


@dataclass(frozen=True, slots=True)
class ComparedForm:
    """Something that is compared: `name` is its key in what `collect` gives.

    `precision`: what computed ("float32", "bfloat16"). `reference`: the name of the form that it must equal; None for a
    reference itself. Where `is_judged` is False, its row is shown, whatever it says.

    `is_int8`: it computes in 8 bits. A value between two integers becomes one in one engine and the other in the next,
    and each such difference makes more in the next layer, so two engines agree to about the error of 8 bits itself.
    Hence AP decides, and may differ if images may explain it; without annotations the confident detections of either
    side, the only ones that are compared.
    """

    name: str
    file: str
    precision: str
    size_bytes: int | None
    reference: str | None = None
    tolerance: Tolerance = field(default_factory=Tolerance)
    is_judged: bool = True
    is_int8: bool = False


@dataclass(frozen=True, slots=True)
class ParityRow:
    """A form and how it compares; AP is a fraction, None without annotations, `comparison` None for a reference.

    `passed`: None where the row is not judged. `reason`: why it failed, in a sentence.
    """

    form: ComparedForm
    ap: float | None
    ap50: float | None
    comparison: Comparison | None
    median_ms: float | None
    passed: bool | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Parity:
    """The rows of all forms over `num_images` images, in their order."""

    rows: tuple[ParityRow, ...]
    num_images: int

    @property
    def passed(self) -> bool:
        """Whether no judged row failed."""
        return all(row.passed is not False for row in self.rows)

    @property
    def is_empty(self) -> bool:
        """Whether no reference found anything, so that there was nothing to compare."""
        return not any(row.comparison and row.comparison.num_reference for row in self.rows)

    @property
    def reasons(self) -> tuple[str, ...]:
        """A sentence for each row that failed."""
        return tuple(f"{row.form.name}: {row.reason}" for row in self.rows if row.passed is False)

    def to_plain(self) -> dict[str, Any]:
        """Verdict, number of images and rows as dictionaries and numbers, ready for JSON."""
        return {
            "passed": self.passed,
            "num_images": self.num_images,
            "rows": [dataclasses.asdict(r) for r in self.rows],
        }


def check_parity(
    forms: Sequence[ComparedForm],
    detections: Iterable[Mapping[str, Detections]],
    *,
    image_names: Sequence[str],
    data: CocoData | None,
    classes: Sequence[str],
    rules: PostprocessConfig,
    input_size: int,
    median_ms: Mapping[str, float],
) -> Parity:
    """How each form compares with its reference; `detections` has for each image what `collect` gives.

    AP is measured where there are annotations: `data`, whose records are the images. `rules` and `input_size` are those
    of the network, which all forms share.
    """
    kept: dict[str, list[Detections]] = {form.name: [] for form in forms}
    compared: dict[str, list[ImageComparison]] = {form.name: [] for form in forms}
    for of_image in detections:
        for form in forms:
            kept[form.name].append(of_image[form.name])
            if form.reference is not None:
                lists = of_image[form.reference], of_image[form.name]
                candidates = of_image[candidates_of(form.reference)]
                comparing = _compare_confident if form.is_int8 else compare
                comparison = comparing(
                    *lists, candidates=candidates, rules=rules, input_size=input_size, tolerance=form.tolerance
                )
                compared[form.name].append(comparison)
    metrics = {name: measure(lists, data) for name, lists in kept.items()} if data is not None else {}
    rows = []
    for form in forms:
        summary = summarise(compared[form.name])
        faults: list[str] = []
        if form.is_judged and form.reference is not None and form.is_int8:
            faults = _faults_of_int8(form, summary, kept, metrics, data)
        elif form.is_judged and form.reference is not None:
            faults = _faults(form, summary, image_names, classes) + _ap_faults(form, kept, metrics, data)
        rows.append(_row(form, summary, metrics.get(form.name), faults, median_ms.get(form.name)))
    return Parity(tuple(rows), num_images=len(image_names))


def collect(
    runtimes: Mapping[str, Runtime],
    data: CocoData | Sequence[Path],
    *,
    batch_size: int = 8,
    num_workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Iterator[dict[str, Detections]]:
    """The detections of each runtime in one image after the other; each image is decoded once.

    A `Reference` gives its candidates too, by the key `candidates_of` its name. All come lazily, so that the candidates
    of a large data set are never all in memory. `progress` is told after each batch how many images that was.

    Raises:
        DataError: an image cannot be read.
    """
    with contextlib.closing(_batches(data, batch_size, num_workers)) as batches:
        for batch in batches:
            results: dict[str, Sequence[Detections]] = {}
            for name, runtime in runtimes.items():
                if isinstance(runtime, Reference):
                    pairs = runtime.detect_with_candidates(batch)
                    results[name], results[candidates_of(name)] = zip(*pairs, strict=True)
                else:
                    results[name] = runtime(batch)
            for of_image in zip(*results.values(), strict=True):
                yield dict(zip(results, of_image, strict=True))
            if progress is not None:
                progress(len(batch))


class Reference(TorchRuntime):
    """A checkpoint's network, whose detections a form is compared with, and what it had before suppression."""

    def __init__(self, model: Detector, template: Template, classes: Sequence[str]) -> None:
        in_order: Detector = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        super().__init__(in_order, template, classes)
        rules = template.postprocess
        self._every = config.replace(
            rules,
            score_threshold=max(0.0, rules.score_threshold - CANDIDATE_SLACK),
            iou_threshold=NO_IOU,  # no template may have it
            max_per_class=CANDIDATES_PER_PLACE * rules.max_per_class,
            max_detections=sys.maxsize,
        )

    def detect_with_candidates(self, images: Sequence[Image]) -> list[tuple[Detections, Detections]]:
        """The detections of each image, and its candidates, from one pass of the network.

        Candidates are all that is above the threshold or just below it: what suppression drops and the limits cut off
        is among them.
        """
        raw = self._run([resize(image, self.input_size) for image in images])
        kept, every = (self._select(raw, rules) for rules in (self.template.postprocess, self._every))
        return list(zip(kept, every, strict=True))


def candidates_of(reference: str) -> str:
    """The key, in what `collect` gives, of the candidates of a reference."""
    return f"{reference}, candidates"


def _row(
    form: ComparedForm,
    comparison: Comparison,
    metrics: Metrics | None,
    faults: Sequence[str],
    milliseconds: float | None,
) -> ParityRow:
    is_judged = form.is_judged and form.reference is not None
    return ParityRow(
        form=form,
        ap=None if metrics is None else metrics.ap,
        ap50=None if metrics is None else metrics.ap50,
        comparison=None if form.reference is None else comparison,
        median_ms=milliseconds,
        passed=not faults if is_judged else None,
        reason=" ".join(faults) or None,
    )


def _compare_confident(
    reference: Detections,
    exported: Detections,
    *,
    candidates: Detections,
    rules: PostprocessConfig,
    input_size: int,
    tolerance: Tolerance,
) -> ImageComparison:
    """Compare the confident detections of either list with all detections of the other.

    `num_reference` counts those of both lists, `num_matched` those that have a partner; nothing is judged singly.
    """

    def matches(own: Detections, other: Detections) -> ImageComparison:
        likely = own.scores >= DEFAULT_THRESHOLD
        confident = Detections(own.boxes[likely], own.scores[likely], own.labels[likely])
        return compare(confident, other, candidates=candidates, rules=rules, input_size=input_size, tolerance=tolerance)

    there, back = matches(reference, exported), matches(exported, reference)
    return ImageComparison(
        num_reference=there.num_reference + back.num_reference,
        num_found=there.num_reference + back.num_reference,
        num_matched=there.num_matched + back.num_matched,
        num_undecided=0,
        num_unexplained=0,
        largest_box_px=max(there.largest_box_px, back.largest_box_px),
        largest_score=max(there.largest_score, back.largest_score),
        difference=None,
    )


def _faults_of_int8(
    form: ComparedForm,
    comparison: Comparison,
    kept: Mapping[str, Sequence[Detections]],
    metrics: Mapping[str, Metrics],
    data: CocoData | None,
) -> list[str]:
    assert form.reference is not None
    ap, expected = (metrics[name].ap if name in metrics else None for name in (form.name, form.reference))
    if data is None or ap is None or expected is None:
        num_lost = comparison.num_reference - comparison.num_matched
        if num_lost <= max(LOST_ALWAYS, int(LOST_SHARE * comparison.num_reference)):
            return []
        return [f"{num_lost} of {comparison.num_reference} confident detections have no partner."]
    # Where objects are known, they decide: in a network that was hardly trained, confident detections are many and hang
    # on the last bit.
    return _ap_faults(form, kept, metrics, data)


def _ap_faults(
    form: ComparedForm,
    kept: Mapping[str, Sequence[Detections]],
    metrics: Mapping[str, Metrics],
    data: CocoData | None,
) -> list[str]:
    """A sentence if AP is out of tolerance.

    A form with rounded weights may be further below if that can be chance: on a few images, one detection is a tenth of
    a point. It may be above: another engine's rounding can be kinder than ours, and what finds more of the annotated
    objects has lost nothing.
    """
    assert form.reference is not None
    ap, expected = (metrics[name].ap if name in metrics else None for name in (form.name, form.reference))
    if ap is None or expected is None or abs(ap - expected) * 100 <= form.tolerance.ap_points:
        return []
    text = f"AP is {100 * ap:.2f}, that of {form.reference} {100 * expected:.2f}"
    if not form.tolerance.only_ap or data is None:
        return [f"{text}."]
    interval = ap_difference(kept[form.reference], kept[form.name], data)
    if not is_surely_below(interval, -form.tolerance.ap_points):
        return []
    return [f"{text}, which is no chance of the images: {interval}."]


def is_surely_below(difference: Interval, points: float) -> bool:
    """Whether a difference in AP is so far below so many points that chance would put it there once in two thousand."""
    return difference.value + SURE * difference.deviation < points


def _faults(
    form: ComparedForm,
    comparison: Comparison,
    image_names: Sequence[str],
    classes: Sequence[str],
) -> list[str]:
    """A sentence for each way in which the detections of a form are out of tolerance, the plainest first."""
    faults = []
    worst = "" if comparison.worst_image is None else image_names[comparison.worst_image]
    if comparison.num_unexplained and not form.tolerance.only_ap:
        assert comparison.worst_difference is not None
        where = counted(comparison.num_differing_images, "image")
        faults.append(
            f"{counted(comparison.num_unexplained, 'detection')} out of tolerance in {where}, most in {worst}: "
            f"{describe_disagreement(comparison.worst_difference, classes)}."
        )
    elif comparison.num_undecided > comparison.max_undecided and not form.tolerance.only_ap:
        faults.append(
            f"{comparison.num_undecided} detections hang on rounding, more than the {comparison.max_undecided} that "
            f"chance explains, most in {worst}."
        )
    return faults


def _batches(data: CocoData | Sequence[Path], batch_size: int, num_workers: int) -> Generator[list[Image], None, None]:
    if isinstance(data, CocoData):
        for _, batch in evaluation_batches(data.records, batch_size=batch_size, num_workers=num_workers):
            yield batch
    else:
        for path in data:
            yield [images.read_image(path)]
