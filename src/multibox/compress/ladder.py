"""The ladder of `multibox.compress.run`: which rung is tried, what it costs, which is the best."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from multibox.compress import result
from multibox.compress.candidates import Candidate, Model, Squares
from multibox.compress.result import MEANINGS, Attempt, CompressResult, Measured, Rung
from multibox.data.coco import CocoData
from multibox.data.images import resize
from multibox.data.loader import evaluation_images
from multibox.errors import DataError
from multibox.evaluate.average_precision import Metrics
from multibox.evaluate.intervals import ap_difference
from multibox.evaluate.run import Evaluation, evaluate
from multibox.evaluate.thresholds import suggested
from multibox.files import model_files
from multibox.runtime.protocol import Runtime
from multibox.unfinished import publish, unfinished_folder

if TYPE_CHECKING:
    from multibox.train.loop import Display

Method = Literal["auto", "ptq", "qat"]

Rungs = Mapping[Rung, Callable[[], Candidate | None]]
"""Functions that make the candidate of each rung, in order; None if making it was interrupted."""

FAST_IMAGES = 64
"""Number of images for the quick rung; more gave no better ranges on BCCD, playing cards and face masks."""

THOROUGH_IMAGES = 300
"""Number of images for the thorough rung, which is NNCF's own default."""

STEP_COST = 3
"""Duration of a training step in evaluations of its images: forward, and backward for inputs and for weights."""

MIN_STEPS = 20
"""Number of steps below which training in 8 bits is not begun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to climb: `max_drop` in AP points, see `Attempt.is_within`; `deadline` a time of `time.monotonic` or None.

    A rung that does not fit before the deadline is left out, and training is cut short.
    """

    method: Method = "auto"
    max_drop: float = 0.5
    deadline: float | None = None
    seed: int = 0


class Ladder:
    """Tries rungs, measures each, and publishes the best so far at once.

    Raises:
        DataError: the validation data have no object to measure AP on.
    """

    def __init__(
        self,
        model: Model,
        train_data: CocoData,
        val_data: CocoData | None,
        output: Path,
        display: Display,
        plan: Plan,
    ) -> None:
        if val_data is not None and not sum(val_data.objects_per_class):
            raise DataError(f"The validation data have no object of {', '.join(val_data.classes)} to measure AP on.")
        self._model, self._output, self._display, self._plan = model, output, display, plan
        self._train_data, self._val_data = train_data, val_data
        self._float: Evaluation | None = None
        self._candidates: list[Candidate] = []
        self._attempts: list[Attempt] = []
        self._left_out: list[str] = []
        self._times = _Times()
        self._path = output

    def climb(self, rungs: Rungs, *, batch_size: int = 0) -> CompressResult:
        """Try the rungs in order until one is within the budget. `batch_size`: of a training, to guess its time."""
        if self._val_data is not None:
            self._display.line(f"Measuring the FP32 file on {len(self._val_data.records)} images.")
            self._float = evaluate(self._model.open(self._model.float_xml), self._val_data)
        for rung, make in rungs.items():
            # Whoever asks for training gets it, though the rung before it may be good enough.
            if self._attempts and self._is_good() and self._plan.method != "qat":
                break
            if self._attempts and (self._repeats(rung) or not self._fits(rung, batch_size)):
                continue
            self._display.line(f"{rung}: {MEANINGS[rung]}.")
            started_at = time.monotonic()
            candidate = make()
            if candidate is None:
                return self._result(is_interrupted=True)
            self._judge(rung, candidate, started_at)
        return self._result()

    def quantise(self, count: int, *, thorough: bool) -> Candidate:
        """The candidate of a rung that does not train: quantised on `count` training images."""
        return self._model.quantise(self._squares(count), thorough=thorough)

    @property
    def best(self) -> Candidate:
        """The candidate of the highest AP so far."""
        return self._candidates[self._best]

    @property
    def deadline_of_training(self) -> float | None:
        """When training has to end, so that there is time to export and measure; a time of `time.monotonic`."""
        return None if self._plan.deadline is None else self._plan.deadline - self._times.measure

    @property
    def _best(self) -> int:
        """The position of the first with the highest AP; where nothing is measured, of the last."""
        if self._val_data is None:
            return len(self._attempts) - 1
        return int(
            np.argmax([attempt.measured.metrics.ap or 0.0 if attempt.measured else 0.0 for attempt in self._attempts])
        )

    def _is_good(self) -> bool:
        return self._attempts[self._best].is_within(self._plan.max_drop)

    def _squares(self, count: int) -> Squares:
        return calibration_squares(self._train_data, count, self._model.input_size, seed=self._plan.seed)

    def _repeats(self, rung: Rung) -> bool:
        """Whether a rung would make the same candidate as the one before it."""
        has_no_more_images = len(self._train_data.records) <= FAST_IMAGES
        return rung == "ptq-thorough" and has_no_more_images and not self._model.is_thorough_more

    def _fits(self, rung: Rung, batch_size: int) -> bool:
        if self._plan.deadline is None:
            return True
        seconds = self._times.estimate(rung, num_images=len(self._train_data.records), batch_size=batch_size)
        if time.monotonic() + seconds <= self._plan.deadline:
            return True
        self._left_out.append(f"{rung} was left out: the time budget has no {seconds / 60:.1f} minutes left for it.")
        return False

    def _judge(self, rung: Rung, candidate: Candidate, started_at: float) -> None:
        made_at = time.monotonic()
        measured = self._measure(candidate)
        done_at = time.monotonic()
        self._times.learn(rung, make=made_at - started_at, measure=done_at - made_at, num_images=candidate.num_images)
        minutes = (done_at - started_at) / 60
        self._attempts.append(Attempt(rung, candidate.num_images, minutes, measured))
        self._candidates.append(candidate)
        self._publish(candidate)

    def _publish(self, candidate: Candidate) -> None:
        """Put the candidate that was judged into the folder if it is the best, with compress.json beside it."""
        with unfinished_folder(self._output) as folder:
            names: list[str] = []
            if self._best == len(self._attempts) - 1:
                made = self._model.write(candidate, folder, self._facts())
                self._path = self._output / made.name
                names += [part.name for part in model_files(made)]
            result.write_result(
                folder,
                self._result(),
                source=self._model.source.name,
                images={"calibration": _described(self._train_data), "validation": _described(self._val_data)},
            )
            names.append(result.NAME)
            publish(folder, [(folder / name, self._output / name) for name in names])

    def _measure(self, candidate: Candidate) -> Measured | None:
        data, reference = self._val_data, self._float
        if data is None or reference is None:
            return None
        exported = evaluate(self._model.open(candidate.xml), data)
        measured = Measured(
            metrics=exported.metrics,
            drop=-ap_difference(reference.detections, exported.detections, data, seed=self._plan.seed),
            drop_per_class=_drops(reference.metrics, exported.metrics),
            threshold=suggested(exported.detections, data),
        )
        simulation = self._model.simulation(candidate)
        if simulation is not None:
            simulated = self._simulate(simulation, data)
            apart = ap_difference(simulated.detections, exported.detections, data, seed=self._plan.seed)
            measured = dataclasses.replace(measured, ap_torch=simulated.metrics.ap, apart=apart)
        return measured

    def _simulate(self, simulation: Runtime, data: CocoData) -> Evaluation:
        started_at = time.monotonic()
        simulated = evaluate(simulation, data)
        self._times.torch_image = (time.monotonic() - started_at) / len(data.records)
        return simulated

    def _facts(self) -> dict[str, Any]:
        """What a checkpoint says of its compression, in plain values."""
        attempt = self._attempts[-1]
        measured = None if attempt.measured is None else dataclasses.asdict(attempt.measured)
        return {
            "method": attempt.rung,
            "calibration_images": {"count": attempt.num_images, "fingerprint": self._train_data.fingerprint},
            "floating_layers": [],
            "max_drop": self._plan.max_drop,
            "is_within_budget": self._result().is_within_budget,
            "ap_float": None if self._float is None else self._float.metrics.ap,
            "ap_int8": None if attempt.measured is None else attempt.measured.metrics.ap,
            **(
                {key: measured[key] for key in ("ap_torch", "drop", "drop_per_class", "threshold", "metrics")}
                if measured
                else {}
            ),
        }

    def _result(self, *, is_interrupted: bool = False) -> CompressResult:
        return CompressResult(
            path=self._path,
            attempts=tuple(self._attempts),
            chosen=self._attempts[self._best],
            max_drop=self._plan.max_drop,
            ap_float=None if self._float is None else self._float.metrics.ap,
            num_val_images=0 if self._val_data is None else len(self._val_data.records),
            left_out=tuple(self._left_out),
            is_interrupted=is_interrupted,
        )


def calibration_squares(data: CocoData, count: int, size: int, *, seed: int) -> Squares:
    """Training images as squares of `size` pixels, uint8 BGR: `count`, or all there are, spread over the data set.

    From each of `count` equal stretches one is drawn, so that neighbours, often much alike, do not crowd out others.

    Raises:
        DataError: there are none, or one cannot be read.
    """
    if not data.records:
        raise DataError("There is no training image to measure the ranges of values on.")
    count = min(count, len(data.records))
    edges = [i * len(data.records) // count for i in range(count + 1)]
    rng = np.random.default_rng(seed)
    chosen = [data.records[int(rng.integers(*stretch))] for stretch in pairwise(edges)]
    with closing(evaluation_images(chosen, num_workers=1)) as images:
        return [resize(image, size) for image in images]


@dataclass(slots=True)
class _Times:
    """Seconds that parts of rungs took, to estimate the time of the next one, rather too long than too short."""

    make: float = 0.0
    measure: float = 0.0
    torch_image: float = 0.0
    num_images: int = 1

    def learn(self, rung: Rung, *, make: float, measure: float, num_images: int) -> None:
        """Take in how long it took to make and to measure a rung."""
        self.measure = max(self.measure, measure)
        if rung == "ptq":
            self.make, self.num_images = make, num_images

    def estimate(self, rung: Rung, *, num_images: int, batch_size: int) -> float:
        """Seconds that a rung will take, its measuring included; `num_images` are there to train on."""
        if rung == "ptq-thorough":
            # Correcting biases layer by layer takes about as long again as all else.
            return 2 * self.make * min(THOROUGH_IMAGES, num_images) / self.num_images + self.measure
        return MIN_STEPS * batch_size * STEP_COST * self.torch_image + self.make + self.measure


def _drops(reference: Metrics, exported: Metrics) -> dict[str, float | None]:
    """AP points that each class loses; None for a class without objects."""
    pairs = {name: (of_class.ap, exported.per_class[name].ap) for name, of_class in reference.per_class.items()}
    return {
        name: None if before is None or after is None else 100 * (before - after)
        for name, (before, after) in pairs.items()
    }


def _described(data: CocoData | None) -> dict[str, Any] | None:
    """Which data set it was; the folders of a machine are nobody else's business."""
    if data is None:
        return None
    files = [file.name for file, _ in data.sources]
    return {"annotation_files": files, "num_images": len(data.records), "fingerprint": data.fingerprint}
