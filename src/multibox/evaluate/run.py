"""Any runtime on any data set: what it finds, and how good that is."""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from multibox.data.coco import CocoData, Record
from multibox.data.loader import cut, evaluation_images
from multibox.errors import OptionError
from multibox.evaluate.average_precision import Metrics, measure
from multibox.runtime.protocol import Runtime
from multibox.structures import Detections, Image
from multibox.threads import in_a_thread
from multibox.wording import counted


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a runtime found, one entry per record of the data set in its order, and how good that is."""

    metrics: Metrics
    detections: tuple[Detections, ...]


def evaluate(
    runtime: Runtime,
    data: CocoData,
    *,
    num_workers: int = 1,
    progress: Callable[[int], None] | None = None,
    on_image: Callable[[Record, Image, Detections], None] | None = None,
) -> Evaluation:
    """Detections and metrics of a runtime on a data set whose classes are the runtime's, in its order.

    `progress` is told how many more images are done; `on_image` gets each record with its full-size
    BGR image and the detections on it, for drawing: one after the other, in a thread of its own. `num_workers` threads
    read images ahead. Reading, detecting and drawing go on side by side.
    """
    assert tuple(data.classes) == tuple(runtime.classes), f"data has {data.classes}, runtime {runtime.classes}"
    detections = detect(runtime, data.records, num_workers=num_workers, progress=progress, on_image=on_image)
    return Evaluation(measure(detections, data), tuple(detections))


def detect(
    runtime: Runtime,
    records: Sequence[Record],
    *,
    num_workers: int = 1,
    progress: Callable[[int], None] | None = None,
    on_image: Callable[[Record, Image, Detections], None] | None = None,
) -> list[Detections]:
    """What a runtime finds in the image of each record; see `evaluate`."""
    detections: list[Detections] = []
    with contextlib.closing(evaluation_images(records, num_workers=num_workers)) as images:
        # Part by part, so that no more full-size images than one part has can wait to be drawn.
        for indices in cut(records):
            ours = [records[index] for index in indices]
            part = itertools.islice(images, len(ours))
            for detected in (
                runtime.stream(part) if on_image is None else _detect_and_draw(runtime, ours, part, on_image)
            ):
                detections.append(detected)
                if progress is not None:
                    progress(1)
    return detections


def check_classes(model_classes: Sequence[str], requested: Sequence[str] | None) -> tuple[str, ...]:
    """The classes to evaluate, which are always the model's: another order would swap their names.

    Raises:
        OptionError: `requested` (the option --classes) is not exactly the model's classes in the model's order.
    """
    classes = tuple(model_classes)
    if requested and tuple(requested) != classes:
        raise OptionError(
            f"The checkpoint knows {counted(len(classes), 'class', 'classes')} ({', '.join(classes)}); "
            f"{_difference(classes, requested)} "
            "Leave --classes out to use the checkpoint's."
        )
    return classes


def _detect_and_draw(
    runtime: Runtime,
    records: Sequence[Record],
    images: Iterable[Image],
    on_image: Callable[[Record, Image, Detections], None],
) -> Iterator[Detections]:
    """Detections of the image of each record; when the last is out, all are drawn."""
    kept: deque[Image] = deque()

    def keep() -> Iterator[Image]:
        for image in images:
            kept.append(image)
            yield image

    with in_a_thread(on_image) as draw:
        for record, detected in zip(records, runtime.stream(keep()), strict=True):
            draw(record, kept.popleft(), detected)
            yield detected


def _difference(classes: tuple[str, ...], requested: Sequence[str]) -> str:
    if len(requested) != len(classes):
        return f"--classes names {len(requested)}."
    if sorted(requested) == sorted(classes):
        return "--classes has them in another order."
    return f"--classes names {', '.join(requested)}."
