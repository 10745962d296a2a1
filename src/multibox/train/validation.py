"""What the averaged weights find in the validation data, each process in its part of the images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import dataclass

from multibox.data.coco import CocoData
from multibox.data.loader import evaluation_images
from multibox.evaluate.average_precision import Metrics, measure
from multibox.evaluate.run import Evaluation, detect
from multibox.evaluate.thresholds import suggested
from multibox.runtime.torch_runtime import TorchRuntime
from multibox.structures import Detections
from multibox.train.devices import num_readers
from multibox.train.distributed import shard, share_state
from multibox.train.step import Learner

COMPILE_FROM_IMAGES = 100
"""Number of validation images from which compiling the averaged weights takes less time than it saves."""

TIMED_IMAGES = 4
"""Number of images that the time of a validation is guessed by."""

SECONDS_TO_MEASURE = 1.0
"""Seconds that measuring the detections of some hundred images takes beside finding them."""


@dataclass(frozen=True)
class Validation:
    """How good the averaged weights are: `metrics` in every process, the rest in the main one alone.

    `threshold` is the score from which a detection is worth showing; None without an object.
    """

    metrics: Metrics
    evaluation: Evaluation | None
    threshold: float | None = None


class Validator:
    """Measures the averaged weights of a learner on `data`; label i is `classes[i]`.

    With `is_simulation`, the network computes in 8 bits as an exported one will, which no other engine does alike.
    """

    def __init__(self, learner: Learner, data: CocoData, classes: Sequence[str], *, is_simulation: bool) -> None:
        self.data = data
        self._learner = learner
        self._runtime = TorchRuntime(
            learner.average.model, learner.template, classes, device=str(learner.fabric.device)
        )
        part = shard(data.records, learner.processes.rank, learner.processes.count)
        is_on_processor = learner.fabric.device.type == "cpu"
        self._is_compiled = is_on_processor and not is_simulation and len(part) >= COMPILE_FROM_IMAGES
        self._part = part
        # Beside a graphics card, the cores have nothing else to do now.
        self._num_readers = 1 if is_on_processor else num_readers(learner.fabric.device.type, is_remote=False)

    def validate(self) -> Validation:
        """Metrics and detections of the averaged weights as they are now."""
        detections = self._detect()
        if detections is not None:
            validation = self._measured(detections)
            self._learner.processes.from_main(validation.metrics)
            return validation
        metrics: Metrics | None = self._learner.processes.from_main(None)
        assert metrics is not None
        return Validation(metrics, None)

    def begin(self, pool: Executor) -> Callable[[], Validation]:
        """Run the network as it is now, and have `pool` find out what it found; a function that waits for that.

        For a run in one process. The function may be called in the pool, as its next task.
        """
        with closing(evaluation_images(self._part, num_workers=self._num_readers)) as images:
            parts = list(self._runtime.stream_behind(images, pool))
        return lambda: self._measured([found for part in parts for found in part.result()])

    def _measured(self, detections: Sequence[Detections]) -> Validation:
        evaluation = Evaluation(measure(detections, self.data), tuple(detections))
        return Validation(evaluation.metrics, evaluation, suggested(detections, self.data))

    def seconds(self, clock: Callable[[], float]) -> float:
        """Seconds that a validation will take, by the time that a few images take: a guess from above."""
        few = self._part[:: max(1, len(self._part) // TIMED_IMAGES)][:TIMED_IMAGES]
        detect(self._runtime, few[:1])  # the first call pays for memory
        began_at = clock()
        detect(self._runtime, few)
        return (clock() - began_at) * len(self._part) / max(1, len(few)) + SECONDS_TO_MEASURE

    def _detect(self) -> list[Detections] | None:
        """What is found in each image of the data set; None but in the main process."""
        processes = self._learner.processes
        if processes.count > 1:
            # Statistics that are not synchronised differ between processes; what is measured is what is saved.
            share_state(self._learner.average.model)
        detections = detect(
            self._runtime.compiled() if self._is_compiled else self._runtime, self._part, num_workers=self._num_readers
        )
        return processes.gather(detections)
