"""Whether two runs of one network agree up to rounding: the comparison that the parity gate rests on.

Two runs of one network whose boxes and scores differ by rounding alone mostly give lists that pair up. Not always:
where greedy suppression hangs on a hair, a hair decides, and one list has a detection that the other has not. Which
ones can that be? Let no box move by more than the tolerance in going from one run to the other, and no score by more
than half of it. A detection d of the first run that the second has not was, in the second run,

- below the score threshold: then its score is within the tolerance of it;
- not among the `max_per_class` best of its class: then its score is within the tolerance of the last one's;
- suppressed by a box that is at least as good and overlaps it: against d as the first list has it, that box is still
  at least as good and overlaps enough, within the tolerances. (Where the second list has no room for that box, it is
  full of better ones: the next case);
- beyond the `max_detections` best: then the second list is full, and d no better than its last, within the tolerance.

So a detection that only one list has is *undecided* if one of these cases holds for the other list, and if it may stand
where it is: it is a candidate of the reference (a box and score that the network gave, before suppression), it is above
the threshold and the limits, and nothing in its own list plainly suppresses it. Otherwise it is *unexplained*: no
rounding makes it. One unexplained detection fails a comparison.

Candidates are what tells apart two anchors that are equally good at one object, of which each run keeps another, from
one box in the wrong place: the latter is no candidate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multibox import boxes as geometry
from multibox.config import PostprocessConfig
from multibox.structures import Detections, IntArray

UNDECIDED_SHARE = 0.02
"""Largest share of the detections of both lists that may be undecided.

A systematic error that touches only what is close to a limit shows as many undecided detections, so they must be few.
Rounding made none among 9,000 of trained networks, and, where scores lie closest together (random heads on one-coloured
images), 0.3 %. An error that changes one detection in fifty, each within the tolerances of a limit, is left to AP.
"""

UNDECIDED_ALWAYS = 4
"""Number of detections that may be undecided however few there are: a tie changes two, and each may hide another."""

CANDIDATES_PER_PLACE = 2
"""Number of candidates kept for each one that the limit per class lets through: enough to know where it falls."""

SAME_OBJECT = 0.5
"""IoU from which two detections that do not match are reported as one detection that differs."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far an export may be from its reference.

    `box_px`: each side of a box, in pixels of the network input. `score`: a score. `ap_points`: AP, of 100. With
    `only_ap`, single detections are counted but not judged, as for quantised networks.
    """

    box_px: float = 0.1
    score: float = 1e-3
    ap_points: float = 0.1
    only_ap: bool = False


@dataclass(frozen=True, slots=True)
class Difference:
    """A detection that only one list has and rounding does not explain; only the reference has it if `is_missing`.

    `box_px`: pixels of the network input. Where the other list has something else on the same object, `other_label`,
    `box_error_px` and `score_error` say what.
    """

    is_missing: bool
    label: int
    score: float
    box_px: tuple[float, ...]
    other_label: int | None = None
    box_error_px: float | None = None
    score_error: float | None = None


@dataclass(frozen=True, slots=True)
class ImageComparison:
    """Two lists of detections of one image; the largest differences are those of pairs with the same label.

    Undecided and unexplained detections of both lists are counted. `difference`: the unexplained one of highest score.
    """

    num_reference: int
    num_found: int
    num_matched: int
    num_undecided: int
    num_unexplained: int
    largest_box_px: float
    largest_score: float
    difference: Difference | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The comparisons of all images together.

    `worst_image` is the position of the image that differs most, and `worst_difference` its difference; both are None
    if no image differs.
    """

    num_reference: int
    num_found: int
    num_matched: int
    num_undecided: int
    num_unexplained: int
    largest_box_px: float
    largest_score: float
    num_differing_images: int
    worst_image: int | None
    worst_difference: Difference | None

    @property
    def max_undecided(self) -> int:
        """How many undecided detections chance may explain."""
        return max(UNDECIDED_ALWAYS, int(UNDECIDED_SHARE * (self.num_reference + self.num_found)))


def compare(
    reference: Detections,
    exported: Detections,
    *,
    candidates: Detections,
    rules: PostprocessConfig,
    input_size: int,
    tolerance: Tolerance,
) -> ImageComparison:
    """How the detections of an export in one image differ from those of the reference.

    Detections match if their labels agree and their boxes and scores do within the tolerance; closest first, each once.
    `candidates`: what the reference had before suppression, see `parity.Reference`. `rules`: thresholds and limits.
    """
    box_errors, score_errors = _errors(reference, exported, input_size)
    rows, columns = _pairs(np.maximum(box_errors / tolerance.box_px, score_errors / tolerance.score))
    missing = np.setdiff1d(np.arange(len(reference)), rows)
    extra = np.setdiff1d(np.arange(len(exported)), columns)
    judge = _Judge(candidates, rules, input_size, tolerance)
    unexplained_missing = [i for i in missing if not judge.is_undecided(i, reference, exported)]
    unexplained_extra = [
        i for i in extra if not (judge.is_candidate(exported, i) and judge.is_undecided(i, exported, reference))
    ]
    differences = [
        *(_difference(i, reference, exported, extra, input_size, is_missing=True) for i in unexplained_missing),
        *(_difference(i, exported, reference, missing, input_size, is_missing=False) for i in unexplained_extra),
    ]
    return ImageComparison(
        num_reference=len(reference),
        num_found=len(exported),
        num_matched=len(rows),
        num_undecided=len(missing) + len(extra) - len(differences),
        num_unexplained=len(differences),
        largest_box_px=float(
            max([0.0, *box_errors[rows, columns], *(shift.box_error_px or 0 for shift in differences)])
        ),
        largest_score=float(
            max([0.0, *score_errors[rows, columns], *(shift.score_error or 0 for shift in differences)])
        ),
        difference=max(differences, key=lambda difference: difference.score, default=None),
    )


def summarise(comparisons: Sequence[ImageComparison]) -> Comparison:
    """All images together; the worst has the most that is unexplained, else undecided, else the largest shift."""

    def badness(index: int) -> tuple[float, ...]:
        image = comparisons[index]
        return image.num_unexplained, image.num_undecided, image.largest_box_px, image.largest_score

    worst = max(range(len(comparisons)), key=badness, default=None)
    if worst is not None and not any(badness(worst)):
        worst = None
    return Comparison(
        num_reference=sum(image.num_reference for image in comparisons),
        num_found=sum(image.num_found for image in comparisons),
        num_matched=sum(image.num_matched for image in comparisons),
        num_undecided=sum(image.num_undecided for image in comparisons),
        num_unexplained=sum(image.num_unexplained for image in comparisons),
        largest_box_px=max((image.largest_box_px for image in comparisons), default=0.0),
        largest_score=max((image.largest_score for image in comparisons), default=0.0),
        num_differing_images=sum(image.num_unexplained > 0 for image in comparisons),
        worst_image=worst,
        worst_difference=None if worst is None else comparisons[worst].difference,
    )


def describe_disagreement(difference: Difference, classes: Sequence[str]) -> str:
    """A difference in words: which detection, where, and what is wrong with it."""
    corners = ", ".join(f"{side:.1f}" for side in difference.box_px)
    what = f"{classes[difference.label]} of score {difference.score:.3f} at ({corners}) px"
    if difference.other_label is None:
        return f"{what} is missing" if difference.is_missing else f"{what} is not in the reference"
    if difference.box_error_px is None or difference.score_error is None:
        whom = "here" if difference.is_missing else "in the reference"
        return f"{what} is {classes[difference.other_label]} {whom}"
    return f"{what} is off by {difference.box_error_px:.3f} px and a score of {difference.score_error:.5f}"


@dataclass(frozen=True, slots=True)
class _Judge:
    """Says of a detection that only one list has whether rounding can have made it; see the head of this file."""

    candidates: Detections
    rules: PostprocessConfig
    input_size: int
    tolerance: Tolerance

    def is_undecided(self, index: int, own: Detections, other: Detections) -> bool:
        """Whether detection `index` may stand in its own list, and may be absent from the other."""
        return self._may_be_here(index, own) and self._may_be_absent(index, own, other)

    def is_candidate(self, exported: Detections, index: int) -> bool:
        """Whether the network gave this box and score in the reference."""
        box_errors, score_errors = _errors(_pick(exported, [index]), self.candidates, self.input_size)
        if bool(((box_errors <= self.tolerance.box_px) & (score_errors <= self.tolerance.score)).any()):
            return True
        # Flat images give hundreds of equal scores; which of them the list of candidates ends with is chance.
        scores = self._candidate_scores(exported.labels[index])
        is_cut = len(scores) >= CANDIDATES_PER_PLACE * self.rules.max_per_class
        return is_cut and bool(exported.scores[index] <= scores[-1] + self.tolerance.score)

    def _may_be_here(self, index: int, own: Detections) -> bool:
        score, slack = own.scores[index], self.tolerance.score
        least, _ = self._overlaps(index, own, own)
        rivals = own.labels == own.labels[index]
        rivals[index] = False
        return bool(
            len(own) <= self.rules.max_detections
            and score >= max(self.rules.score_threshold, self._class_limit(own.labels[index])) - slack
            and not (rivals & (least > self.rules.iou_threshold)).any()
        )

    def _may_be_absent(self, index: int, own: Detections, other: Detections) -> bool:
        score, slack = own.scores[index], self.tolerance.score
        if score <= max(self.rules.score_threshold, self._class_limit(own.labels[index])) + slack:
            return True
        if len(other) >= self.rules.max_detections and score <= other.scores.min() + slack:
            return True
        _, largest = self._overlaps(index, own, other)
        as_good = (other.labels == own.labels[index]) & (other.scores >= score - slack)
        return bool((as_good & (largest >= self.rules.iou_threshold)).any())

    def _class_limit(self, label: int) -> float:
        """The score of the last candidate that the limit per class lets through; 0 if it lets through all."""
        scores = self._candidate_scores(label)
        return float(scores[self.rules.max_per_class - 1]) if len(scores) >= self.rules.max_per_class else 0.0

    def _candidate_scores(self, label: int) -> Floats:
        return -np.sort(-self.candidates.scores[self.candidates.labels == label].astype(np.float64))

    def _overlaps(self, index: int, own: Detections, other: Detections) -> tuple[Floats, Floats]:
        """The least and the largest IoU (M,) that a box may have with the others, moved by up to the tolerance.

        Bounds: the overlap of the box drawn in or out on all sides over the union that the opposite would leave.
        """
        box, others = own.boxes[index].astype(np.float64), other.boxes.astype(np.float64)
        outward = np.array([-1, -1, 1, 1]) * self.tolerance.box_px / self.input_size
        areas = geometry.area(others)
        inner, outer = (geometry.intersection(moved[None], others)[0] for moved in (box - outward, box + outward))
        least_union = geometry.area(box - outward) + areas - outer
        largest_union = geometry.area(box + outward) + areas - inner
        return inner / largest_union.clip(min=1e-12), outer / least_union.clip(min=1e-12)


def _errors(some: Detections, others: Detections, input_size: int) -> tuple[Floats, Floats]:
    """Of each pair (N, M), the largest difference of a side in pixels, and that of the scores.

    Infinite where the labels differ or a value is no number.
    """
    with np.errstate(invalid="ignore"):
        box_errors = np.abs(some.boxes[:, None].astype(np.float64) - others.boxes[None]).max(axis=2) * input_size
        score_errors = np.abs(some.scores[:, None].astype(np.float64) - others.scores[None])
    differ = some.labels[:, None] != others.labels[None]
    hopeless = differ | np.isnan(box_errors) | np.isnan(score_errors)
    return np.where(hopeless, np.inf, box_errors), np.where(hopeless, np.inf, score_errors)


def _pairs(errors: Floats) -> tuple[list[int], list[int]]:
    """Rows and columns of pairs whose error is at most 1, the closest first, each row and column in one at most."""
    rows, columns = (errors <= 1).nonzero()
    chosen: dict[int, int] = {}
    taken: set[int] = set()
    for place in np.argsort(errors[rows, columns], kind="stable"):
        row, column = int(rows[place]), int(columns[place])
        if row not in chosen and column not in taken:
            chosen[row] = column
            taken.add(column)
    return list(chosen.keys()), list(chosen.values())


def _difference(
    index: int, own: Detections, other: Detections, free: IntArray, input_size: int, *, is_missing: bool
) -> Difference:
    """Tells of an unexplained detection, with what the other list has on the same object among its `free` ones."""
    unexplained, rest = _pick(own, [index]), _pick(other, free)
    box_errors, score_errors = (errors[0] for errors in _errors(unexplained, rest, input_size))
    overlaps = geometry.iou(unexplained.boxes.astype(np.float64), rest.boxes.astype(np.float64))[0]
    # The same label goes before a larger overlap.
    near = [i for i in np.argsort(-overlaps - np.isfinite(box_errors)) if overlaps[i] >= SAME_OBJECT][:1]
    is_same = bool(near) and bool(np.isfinite(box_errors[near[0]]))
    return Difference(
        is_missing=is_missing,
        label=int(unexplained.labels[0]),
        score=float(unexplained.scores[0]),
        box_px=tuple(round(float(side) * input_size, 2) for side in unexplained.boxes[0]),
        other_label=int(rest.labels[near[0]]) if near else None,
        box_error_px=float(box_errors[near[0]]) if is_same else None,
        score_error=float(score_errors[near[0]]) if is_same else None,
    )


def _pick(some: Detections, indices: Sequence[int] | IntArray) -> Detections:
    chosen = np.asarray(indices, dtype=np.int64)
    return Detections(some.boxes[chosen], some.scores[chosen], some.labels[chosen])
