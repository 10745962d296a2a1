"""A runtime on any number of sources: reading, detecting, and drawing or writing go on side by side.

Memory is bounded whatever there is to read: a few images are decoded ahead, a few are under way in the runtime, a few
wait for being drawn.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from multibox.drawing import draw
from multibox.predict.frames import Failure, Frame, Item, Stop, read_frames
from multibox.predict.result_files import PredictionFile
from multibox.predict.sources import Source
from multibox.runtime.protocol import Runtime
from multibox.structures import Detections, Image
from multibox.threads import in_a_thread

MAX_WAITING = 2
"""Number of images that may wait for being drawn and written; beyond, detecting waits for them."""

OnDrawing = Callable[[Frame, Image], None]


@dataclass(frozen=True, slots=True, eq=False)
class FrameResult:
    """What was found on a frame. `image` is None where nobody wants to draw on it."""

    frame: Frame
    detections: Detections
    image: Image | None


@dataclass
class Tally:
    """What a run did, counted as it goes on.

    `num_dropped` are the frames of a live source that came while another one was in use, `objects` the detections of
    each class.
    """

    num_images: int = 0
    num_frames: int = 0
    num_dropped: int = 0
    objects: Counter[int] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)

    @property
    def num_read(self) -> int:
        """Images and frames that were looked at."""
        return self.num_images + self.num_frames

    def count(self, result: FrameResult | Failure) -> None:
        """Add one result."""
        if isinstance(result, Failure):
            self.failures.append(result)
            return
        index = result.frame.index
        if index is None:
            self.num_images += 1
        else:
            self.num_frames += 1
        if index is not None and result.frame.source.is_live:
            self.num_dropped = index + 1 - self.num_frames
        self.objects.update(result.detections.labels.tolist())


def predict(
    runtime: Runtime,
    sources: Sequence[Source],
    *,
    threshold: float,
    stop: Stop,
    files: Sequence[PredictionFile] = (),
    save_drawing: OnDrawing | None = None,
    on_open: Callable[[Source, int | None], None] | None = None,
    on_result: Callable[[FrameResult | Failure], None] | None = None,
) -> Tally:
    """Detections of at least `threshold` of every frame of every source, given to whoever wants them, in order.

    `files` and `save_drawing` are used in a thread of their own, `on_result` in the caller's.
    What cannot be read is passed over and counted. When `stop` is set, what is under way is finished.
    """
    tally = Tally()

    def deliver(result: FrameResult | Failure) -> None:
        for file in files:
            if isinstance(result, Failure):
                file.fail(result)
            else:
                file.write(result.frame, result.detections)
        if save_drawing is not None and isinstance(result, FrameResult):
            assert result.image is not None
            drawing = draw(result.image, result.detections, runtime.classes, threshold=threshold)
            save_drawing(result.frame, drawing)

    keep_images = save_drawing is not None
    results = detect_frames(runtime, sources, threshold=threshold, stop=stop, keep_images=keep_images, on_open=on_open)
    with closing(results), in_a_thread(deliver, max_waiting=MAX_WAITING) as begin:
        for result in results:
            tally.count(result)
            begin(result)
            if on_result is not None:
                on_result(result)
    return tally


def detect_frames(
    runtime: Runtime,
    sources: Sequence[Source],
    *,
    threshold: float,
    stop: Stop,
    keep_images: bool,
    on_open: Callable[[Source, int | None], None] | None = None,
) -> Generator[FrameResult | Failure, None, None]:
    """The results of every frame of every source, in order, and its failures where they belong.

    Of files, several frames are under way at any time. A live source is handled frame by frame: all cores for the
    latest one, and its result before the next is taken. So is a single image, whose result then comes soonest.
    """
    is_single_image = len(sources) == 1 and sources[0].kind == "image"
    with closing(read_frames(sources, stop=stop, on_open=on_open)) as items:
        if is_single_image or any(source.is_live for source in sources):
            yield from _one_by_one(runtime, items, threshold, keep_images)
        else:
            yield from _side_by_side(runtime, items, threshold, keep_images)


def _one_by_one(
    runtime: Runtime, items: Iterator[Item], threshold: float, keep_images: bool
) -> Iterator[FrameResult | Failure]:
    for item in items:
        if isinstance(item, Failure):
            yield item
        else:
            frame, image = item
            yield FrameResult(frame, runtime(image).above(threshold), image if keep_images else None)


def _side_by_side(
    runtime: Runtime, items: Iterator[Item], threshold: float, keep_images: bool
) -> Iterator[FrameResult | Failure]:
    waiting: deque[tuple[Frame, Image | None] | Failure] = deque()

    def images() -> Iterator[Image]:
        for item in items:
            if isinstance(item, Failure):
                waiting.append(item)
            else:
                waiting.append((item[0], item[1] if keep_images else None))
                yield item[1]

    for detections in runtime.stream(images()):
        while isinstance(first := waiting.popleft(), Failure):
            yield first
        frame, image = first
        yield FrameResult(frame, detections.above(threshold), image)
    yield from (failure for failure in waiting if isinstance(failure, Failure))
