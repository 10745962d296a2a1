"""How fast models are, alone and on the whole way from a JPEG on disk to boxes, several of them in one run.

The speed of a machine changes from minute to minute, often by more than two models differ. So models take turns of a
fraction of a second, and each turn is compared with that of the first file in the same round: the ratios are the
result, absolute figures are context. What a result holds, and how it is shown, is in `multibox.evaluate.speed_table`.
"""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import cycle, islice, takewhile
from pathlib import Path

import cv2
import numpy as np

from multibox.config import Template
from multibox.data import images
from multibox.data.builtin_images import builtin_images
from multibox.errors import OptionError
from multibox.evaluate.speed_networks import Part, Setting, open_network
from multibox.evaluate.speed_table import Precision, ProcessorTime, SpeedResult, SpeedRow, Spread, Timing
from multibox.files import kind_of, model_files
from multibox.machine import usable_cores
from multibox.openvino_graph import core
from multibox.runtime.opening import open_runtime
from multibox.runtime.openvino_runtime import OpenVINORuntime
from multibox.runtime.protocol import Runtime
from multibox.structures import Image
from multibox.threads import ahead

SLICE_SECONDS = 0.3
"""Length of a turn: some tens of images, and still many turns within a minute."""

LEAD_IN_SECONDS = 0.05
"""How long a turn is kept busy before its clock starts, so that every queue is filled."""

MAX_PICTURES = 48
"""Number of images taken from a folder, evenly spread; they lie in the cache of the system after the first turn."""

NUM_TENSORS = 4
"""Number of images that the network alone is given: how long suppression takes depends on what is to be seen."""

NUM_TURNS = 4
"""Number of turns of each model in a round: latency and throughput, alone and on the whole way."""

READ_ENDINGS = {".jpg", ".jpeg", ".png", ".bmp"}

PRECISIONS: tuple[Precision, ...] = ("f32", "default")
"""What OpenVINO can be asked to compute in: float32, or what the device takes by itself."""


def compare_speed(
    paths: Sequence[str | os.PathLike[str]],
    *,
    image_files: Sequence[Path],
    devices: Sequence[str] | None = None,
    precisions: Sequence[Precision] = PRECISIONS,
    seconds: float = 20,
    decode_threads: int | None = None,
    template: Template | None = None,
    classes: Sequence[str] | None = None,
    progress: Callable[[int], None] | None = None,
) -> SpeedResult:
    """The speed of models on images (see `find_image_files`), in `seconds` for each row of the result.

    `devices`: OpenVINO's names; by default all that it finds. An IR gets a row for each device and each of
    `precisions`; a .pth or .onnx gets one, float32 on the CPU. Rows are compared with the first file's row of the same
    device and precision, where there is one, else with its first. `decode_threads` read images on the whole way; half
    as many as there are cores by default. `template` serves a snapshot that carries none, `classes` a file that
    names none. `progress` is told of each of the `num_rounds`.

    Raises:
        CheckpointError: a file cannot be read or is no detector.
        OptionError: there is no such device; nothing to measure; a file that takes several images at a time only.
        DataError: an image cannot be read.
    """
    if not (paths and precisions and image_files):
        raise OptionError("There is nothing to measure: name at least one model, one precision and one image.")
    settings = _settings(paths, find_devices(devices), precisions)
    # As for training and evaluation: the threads are the parallelism, OpenCV's own would only be in their way.
    cv2.setNumThreads(1)
    decode_threads = decode_threads or max(1, usable_cores() // 2)
    rounds = num_rounds(seconds)
    feed = _Feed(image_files, decode_threads)
    contestants = [_Contestant(setting, feed, _open(setting, template, classes)) for setting in settings]
    slice_seconds = min(SLICE_SECONDS, seconds / NUM_TURNS)
    _one_round(contestants, 0, slice_seconds)
    for contestant in contestants:
        contestant.forget()  # that was to warm up
    for number in range(rounds):
        _one_round(contestants, number, slice_seconds)
        if progress is not None:
            progress(1)
    references = [_reference(settings, index) for index in range(len(settings))]
    rows = tuple(
        contestant.row(contestants[index], index) for contestant, index in zip(contestants, references, strict=True)
    )
    return SpeedResult(rows, rounds, seconds, len(image_files), _middle_size(image_files), decode_threads)


def num_rounds(seconds: float) -> int:
    """How many rounds are made when each row is measured for so many seconds; at least one."""
    return max(1, round(seconds / (NUM_TURNS * SLICE_SECONDS)))


def find_image_files(folder: str | os.PathLike[str] | None = None) -> list[Path]:
    """Up to 48 images of a folder and those in it, evenly spread over the names; without a folder, built-in ones.

    Raises:
        OptionError: there are none.
    """
    if folder is None:
        return builtin_images()
    paths = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in READ_ENDINGS)
    if not paths:
        raise OptionError(f"{folder}: there is no image ({', '.join(sorted(READ_ENDINGS))}) in this folder.")
    return paths[:: -(-len(paths) // MAX_PICTURES)]


def find_devices(wanted: Sequence[str] | None = None) -> list[str]:
    """OpenVINO's names of the wanted devices, of all that it finds by default; `GPU` is the first of several.

    Raises:
        OptionError: there is no such device.
    """
    available = core().available_devices
    chosen = list(available) if not wanted else [name.upper() for name in wanted]
    for name in chosen:
        if name != "AUTO" and name not in {known for device in available for known in (device, device.split(".")[0])}:
            raise OptionError(f"--device {name}: OpenVINO finds no such device here, only {', '.join(available)}.")
    return chosen


def read_ahead(paths: Iterable[Path], *, size: int, num_threads: int) -> Iterator[Image]:
    """The images in order as squares of `size` pixels, read ahead by threads."""

    def read(path: Path) -> Image:
        # Resizing belongs to the thread that decodes: the image is still in the cache of its core.
        return images.resize(images.read_image(path, min_size=(size, size)), size)

    return ahead(read, paths, num_threads=num_threads)


def _settings(
    paths: Sequence[str | os.PathLike[str]], devices: Sequence[str], precisions: Sequence[Precision]
) -> list[Setting]:
    settings: list[Setting] = []
    for path in map(Path, paths):
        if kind_of(path) == "openvino":
            settings += [(path, device, precision) for device in devices for precision in precisions]
        else:
            settings.append((path, "CPU", "f32"))
    return settings


def _reference(settings: Sequence[Setting], index: int) -> int:
    """The first file's setting that is like this one."""
    first, (_, *like) = settings[0][0], settings[index]
    alike = (i for i, (path, *setting) in enumerate(settings) if path == first and setting == like)
    return next(alike, 0)


@dataclass(frozen=True, slots=True)
class _Feed:
    """Where images come from."""

    image_files: Sequence[Path]
    num_threads: int

    def paths(self, turn: int) -> Iterator[Path]:
        """The images over and over; each turn begins at another one, the same for every model."""
        start = turn % len(self.image_files)
        return cycle([*self.image_files[start:], *self.image_files[:start]])


@dataclass(slots=True)
class _Samples:
    """What was measured of a part, an entry for each round."""

    latencies_ms: list[list[float]] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    processor_ms: list[float] = field(default_factory=list)

    def add_latencies(self, part: Part, turn: int, seconds: float) -> None:
        times: list[float] = []
        with closing(part.one_by_one(turn)) as images_done:
            end = time.perf_counter() + seconds
            while not times or time.perf_counter() < end:
                start = time.perf_counter()
                next(images_done)
                times.append(1e3 * (time.perf_counter() - start))
        self.latencies_ms.append(times)

    def add_rate(self, part: Part, turn: int, seconds: float) -> None:
        """Images per second between two arrivals while the part is busy: filling and emptying queues do not count."""
        num_images = 0
        with closing(part.kept_busy(turn)) as arrivals:
            ready_at = time.perf_counter() + LEAD_IN_SECONDS
            while next(arrivals) and time.perf_counter() < ready_at:
                pass
            start, start_processor = time.perf_counter(), time.process_time()
            now = start
            while now < start + seconds:
                num_images += next(arrivals)
                now = time.perf_counter()
            processor = time.process_time() - start_processor
        self.rates.append(num_images / (now - start))
        self.processor_ms.append(1e3 * processor / num_images)


class _Contestant:
    """One model on one device with all that was measured of it."""

    def __init__(self, setting: Setting, feed: _Feed, runtime: Runtime) -> None:
        self.path, self.device, self.precision = setting
        self.feed = feed
        self.input_size = runtime.input_size
        squares = [images.resize(images.read_image(path), self.input_size) for path in feed.image_files[:NUM_TENSORS]]
        self.network, self.computes_in = open_network(setting, runtime, squares)
        self.whole_way = _WholeWay(runtime, feed)
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self.alone, self.whole = _Samples(), _Samples()
        self.reading_ms: list[float] = []
        self.resizing_ms: list[float] = []

    def time_preparation(self, turn: int) -> None:
        """Processor time of this thread for reading some images, and for resizing them."""
        size = self.input_size
        for path in islice(self.feed.paths(turn), NUM_TENSORS):
            start = time.thread_time()
            image = images.read_image(path, min_size=(size, size))
            middle = time.thread_time()
            images.resize(image, size)
            self.reading_ms.append(1e3 * (middle - start))
            self.resizing_ms.append(1e3 * (time.thread_time() - middle))

    def row(self, other: _Contestant, compared_with: int) -> SpeedRow:
        """The result, with the ratios to another contestant of the same rounds."""
        shares = [whole / alone for whole, alone in zip(self.whole.rates, self.alone.rates, strict=True)]
        reading, resizing = statistics.fmean(self.reading_ms), statistics.fmean(self.resizing_ms)
        alone, whole = statistics.median(self.alone.processor_ms), statistics.median(self.whole.processor_ms)
        return SpeedRow(
            file=str(self.path),
            size_mb=sum(path.stat().st_size for path in model_files(self.path)) / 1e6,
            device=self.device,
            precision_hint=self.precision,
            computes_in=self.computes_in,
            input_size=self.input_size,
            compared_with=compared_with,
            network=_speed(self.alone, other.alone),
            whole_way=_speed(self.whole, other.whole),
            whole_way_share=_spread(shares),
            processor_ms=ProcessorTime(reading, resizing, alone, whole - reading - resizing - alone),
        )


def _one_round(contestants: Sequence[_Contestant], number: int, slice_seconds: float) -> None:
    """A turn of everyone at each of the measurements, in an order that changes."""
    start = number % len(contestants)
    order = [*contestants[start:], *contestants[:start]]
    # What is compared with each other is measured one right after the other.
    for contestant in order:
        contestant.alone.add_latencies(contestant.network, number, slice_seconds)
    for contestant in order:
        contestant.whole.add_latencies(contestant.whole_way, number, slice_seconds)
    for contestant in order:
        contestant.alone.add_rate(contestant.network, number, slice_seconds)
        contestant.whole.add_rate(contestant.whole_way, number, slice_seconds)
    for contestant in order:
        contestant.time_preparation(number)


def _speed(samples: _Samples, other: _Samples) -> Timing:
    times = [time for turn in samples.latencies_ms for time in turn]
    own, others = ([statistics.median(turn) for turn in measured.latencies_ms] for measured in (samples, other))
    p50, p95 = np.percentile(times, [50, 95])
    return Timing(
        p50_ms=float(p50),
        p95_ms=float(p95),
        images_per_second=statistics.median(samples.rates),
        latency_ratio=_spread([b / a for a, b in zip(own, others, strict=True)]),
        throughput_ratio=_spread([a / b for a, b in zip(samples.rates, other.rates, strict=True)]),
    )


def _spread(ratios: Sequence[float]) -> Spread:
    lower, median, upper = (float(value) for value in np.percentile(ratios, [25, 50, 75]))
    return Spread(median, lower, upper)


class _WholeWay:
    """From a file to detections, by the runtime that evaluates and predicts."""

    def __init__(self, runtime: Runtime, feed: _Feed) -> None:
        self._runtime = runtime
        self._feed = feed

    def one_by_one(self, turn: int) -> Generator[int, None, None]:
        size = self._runtime.input_size
        for path in self._feed.paths(turn):
            self._runtime([images.read_image(path, min_size=(size, size))])
            yield 1

    def kept_busy(self, turn: int) -> Generator[int, None, None]:
        stop = threading.Event()
        paths = takewhile(lambda _: not stop.is_set(), self._feed.paths(turn))
        squares = read_ahead(paths, size=self._runtime.input_size, num_threads=self._feed.num_threads)
        results = self._runtime.stream(squares)
        try:
            for _ in results:
                yield 1
        finally:
            stop.set()
            for _ in results:  # what is under way must not disturb the next turn
                pass


def _open(setting: Setting, template: Template | None, classes: Sequence[str] | None) -> Runtime:
    path, device, precision = setting
    if kind_of(path) == "openvino":
        return OpenVINORuntime(path, classes=classes, device=device, precision="f32" if precision == "f32" else None)
    return open_runtime(path, template=template, classes=classes, device="cpu")


def _middle_size(image_files: Sequence[Path]) -> tuple[int, int]:
    sizes = sorted((images.read_size(path) for path in image_files), key=lambda size: size[0] * size[1])
    return sizes[len(sizes) // 2]
