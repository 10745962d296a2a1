"""All that a report says about one evaluation, in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multibox.data.coco import CocoData
from multibox.evaluate import thresholds
from multibox.evaluate.average_precision import Metrics, measure
from multibox.evaluate.confusion import Confusion, confusion_matrix
from multibox.evaluate.error_kinds import KindOfError, Mistake, find_mistakes, gains
from multibox.evaluate.hits import Hits, find_hits
from multibox.evaluate.intervals import RESAMPLES, Intervals, ap_intervals
from multibox.evaluate.object_size import SizeRange, ap_by_size
from multibox.evaluate.record import RecordedEvaluation
from multibox.structures import Detections, shown_from

MANY_DETECTIONS, MANY_CLASSES = 20_000, 20
"""Numbers of detections and of classes from which 200 draws have to do: 1,000 would take minutes."""


@dataclass(frozen=True, slots=True)
class Figures:
    """All that a report says about one evaluation, in numbers.

    `threshold` is the suggested one, or the default where nothing is ever hit. `confusion` (K + 1, K + 1) and
    `confusions` are those at the threshold.
    """

    evaluation: RecordedEvaluation
    metrics: Metrics
    hits: Hits
    intervals: Intervals
    num_draws: int
    counts: thresholds.Counts
    threshold: float
    threshold_per_class: tuple[float | None, ...]
    confusion: NDArray[np.int64]
    confusions: tuple[Confusion, ...]
    mistakes: tuple[Mistake, ...]
    kinds: tuple[KindOfError, ...]
    sizes: tuple[SizeRange, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the labels."""
        return self.evaluation.data.classes

    @property
    def worst_kind(self) -> KindOfError | None:
        """The kind of error that is worth fixing first; None where no fix would give anything."""
        worst = max(self.kinds, key=lambda kind: kind.gain)
        return worst if worst.gain > 0 else None


def figures_of(evaluation: RecordedEvaluation) -> Figures | None:
    """Compute what a report says about an evaluation; None if its data have no object."""
    data, detections = evaluation.data, evaluation.detections
    if not sum(data.objects_per_class):
        return None
    hits = find_hits(detections, data)
    counts = thresholds.count(hits)
    threshold, _ = shown_from(None, thresholds.suggest(counts))
    confusion, confusions = confusion_matrix(detections, data, hits, threshold=threshold)
    mistakes = find_mistakes(detections, data, hits)
    num_draws = num_draws_for(detections, data)
    return Figures(
        evaluation=evaluation,
        metrics=measure(detections, data),
        hits=hits,
        intervals=ap_intervals(detections, data, resamples=num_draws),
        num_draws=num_draws,
        counts=counts,
        threshold=threshold,
        threshold_per_class=thresholds.suggest_per_class(counts),
        confusion=confusion,
        confusions=confusions,
        mistakes=mistakes,
        kinds=gains(detections, data, hits, mistakes),
        sizes=ap_by_size(detections, data, input_size=evaluation.input_size),
    )


def num_draws_for(detections: Sequence[Detections], data: CocoData) -> int:
    """Number of draws of the bootstrap that a report can afford."""
    is_small = sum(map(len, detections)) < MANY_DETECTIONS and len(data.classes) < MANY_CLASSES
    return 1000 if is_small else RESAMPLES
