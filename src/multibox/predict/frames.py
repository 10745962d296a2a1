"""Sources -> frames: images decoded ahead, videos frame by frame, of live sources always the latest frame."""

from __future__ import annotations

import itertools
import math
import os
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

import cv2

from multibox.data import images
from multibox.errors import DataError
from multibox.machine import usable_cores
from multibox.predict.sources import Source
from multibox.structures import Image
from multibox.threads import ahead

FRAMES_AHEAD = 3
"""Number of frames that are decoded before they are asked for: none is waited for, and those of 4K take 75 MB."""

LIVE_TIMEOUT_S = 10
"""Seconds that a camera or stream may take to open or to give the next frame before it is given up."""

POLL_S = 0.1
"""Seconds after which a wait for a live source looks whether it is to end."""

BROKEN_OFF = 0.9
"""A video that gives less than this share of the frames it promises is broken off. A few may always be missing: the
number in a file's header counts what was put in, not what can be shown."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Where and when an image was taken: `index` counts the frames of its source from 0, `time_s` is since the first.

    Both are None for an image file. `rate` is the frames per second of its source, None where it does not say. Of a
    live source, the indices of frames that were left out are missing.
    """

    source: Source
    width: int
    height: int
    index: int | None = None
    time_s: float | None = None
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """A source that cannot be read, or not any further; `reason` is a line that names it."""

    source: Source
    reason: str


class Stop(Protocol):
    """Whether to come to an end before there are no more frames."""

    def is_set(self) -> bool:
        """True from the moment on that the end is wanted."""
        ...


Item = tuple[Frame, Image] | Failure


def read_frames(
    sources: Sequence[Source],
    *,
    stop: Stop,
    on_open: Callable[[Source, int | None], None] | None = None,
) -> Generator[Item, None, None]:
    """Every frame of every source with its BGR image, in order, or why there is none.

    A few images and frames are decoded ahead by threads. Of files none is left out; of a live source, what comes while
    the last frame is still in use is. `on_open` is told how many frames a source will give, None if nobody knows.

    An image is turned as its EXIF data say, a video as its header does.
    """
    _silence()
    for is_image, group in itertools.groupby(sources, key=lambda source: source.kind == "image"):
        for item in _images(list(group)) if is_image else _videos(group, stop, on_open):
            if stop.is_set():
                return
            yield item


def _silence() -> None:
    """What goes wrong is told once, by us; FFmpeg and OpenCV would say it in several lines of their own.

    FFmpeg's level is read when the process opens its first video.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    if hasattr(cv2.utils, "logging"):
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    else:  # OpenCV 4.10 and older
        cv2.setLogLevel(0)  # type: ignore[attr-defined]


def _images(sources: Sequence[Source]) -> Iterator[Item]:
    # Half of the cores; the network has the others. Full-size images are large, so no more than one ahead for each.
    num_threads = min(4, max(1, usable_cores() // 2), len(sources))
    with closing(ahead(_read_image, sources, num_threads=num_threads, num_ahead=num_threads)) as items:
        yield from items


def _read_image(source: Source) -> Item:
    try:
        image = images.read_image(str(source.address))
    except DataError as error:
        return Failure(source, str(error))
    return Frame(source, width=image.shape[1], height=image.shape[0]), image


def _videos(
    sources: Iterator[Source], stop: Stop, on_open: Callable[[Source, int | None], None] | None
) -> Iterator[Item]:
    for source in sources:
        capture = _open(source, stop)
        if capture is None:
            yield Failure(source, _cannot_open(source))
            continue
        promised = _number(capture, cv2.CAP_PROP_FRAME_COUNT, 1, 1e9)
        if on_open is not None:
            on_open(source, None if promised is None else round(promised))
        # A stream that knows its length is a file that lies on a server.
        read = _live_frames if source.is_live and promised is None else _all_frames
        count = 0
        with closing(read(source, capture, stop)) as items:
            for item in items:
                if isinstance(item, Failure):
                    yield item
                    return
                count += 1
                yield item
        if stop.is_set():
            return
        if count == 0:
            yield Failure(source, f"{source.title}: it has no frame that can be decoded.")
        elif promised is not None and count < BROKEN_OFF * promised:
            yield Failure(source, f"{source.title}: it breaks off after {count} of {promised:.0f} frames.")


def _all_frames(source: Source, capture: Any, stop: Stop) -> Generator[Item, None, None]:
    rate = _number(capture, cv2.CAP_PROP_FPS, 0.01, 1000)

    def read(_: int) -> tuple[bool, Image, float]:
        is_there, image = capture.read()
        return is_there, image, capture.get(cv2.CAP_PROP_POS_MSEC) / 1000

    # One thread, so one frame after the other; the tasks behind the last frame find nothing.
    try:
        with closing(ahead(read, itertools.count(), num_threads=1, num_ahead=FRAMES_AHEAD)) as frames:
            for index, (is_there, image, position_s) in enumerate(frames):
                if not is_there or stop.is_set():
                    return
                # Some containers do not say when a frame is shown; then they come evenly.
                is_known = math.isfinite(position_s) and position_s > 0
                time_s = position_s if is_known else index / (rate or 25)
                yield _frame(source, image, index, time_s, rate), image
    finally:
        capture.release()


def _live_frames(source: Source, capture: Any, stop: Stop) -> Generator[Item, None, None]:
    rate = _number(capture, cv2.CAP_PROP_FPS, 1, 240)
    latest = _Latest(capture)
    try:
        for index, taken_s, image in latest.frames(stop):
            yield _frame(source, image, index, taken_s, rate), image
        if not stop.is_set() and (source.kind == "camera" or not latest.has_ended):
            yield Failure(source, f"{source.title}: it gives no more frames.")
    finally:
        latest.close()


class _Latest:
    """Reads a live source all the time, so that the frame that is asked for is new and not one from a queue."""

    def __init__(self, capture: Any) -> None:
        self._capture = capture
        self._changed = threading.Condition()
        self._newest: tuple[int, float, Image] | None = None
        self.has_ended = False
        """Whether the source came to its end, or the reading was closed."""
        # A read that hangs must not keep the program from ending.
        self._thread = threading.Thread(target=self._read, name="multibox-live", daemon=True)
        self._thread.start()

    def frames(self, stop: Stop) -> Iterator[tuple[int, float, Image]]:
        """Index, seconds since the first frame, and image, until the source ends or gives nothing any more."""
        given_up_at = time.monotonic() + LIVE_TIMEOUT_S
        while not stop.is_set():
            with self._changed:
                # Not without an end: a signal is only looked at between two waits.
                if self._newest is None and not self.has_ended:
                    self._changed.wait(POLL_S)
                newest, self._newest = self._newest, None
                has_ended = self.has_ended
            if newest is not None:
                yield newest
                given_up_at = time.monotonic() + LIVE_TIMEOUT_S
            elif has_ended or time.monotonic() > given_up_at:
                return

    def close(self) -> None:
        """Have the reading end; what hangs in the driver is left to itself."""
        self.has_ended = True
        self._thread.join(1)
        if not self._thread.is_alive():
            self._capture.release()

    def _read(self) -> None:
        first_s: float | None = None
        for index in itertools.count():
            is_there, image = self._capture.read()
            now_s = time.monotonic()
            first_s = now_s if first_s is None else first_s
            with self._changed:
                if is_there and not self.has_ended:
                    self._newest = (index, now_s - first_s, image)
                else:
                    self.has_ended = True
                self._changed.notify()
                if self.has_ended:
                    return


def _open(source: Source, stop: Stop) -> Any | None:
    """An open `cv2.VideoCapture`, None if that fails."""
    if not source.is_live:
        return _capture(source)
    # In a thread: connecting may take seconds, in which Ctrl-C must work.
    opened: list[Any] = []
    thread = threading.Thread(target=lambda: opened.append(_capture(source)), name="multibox-open", daemon=True)
    thread.start()
    while thread.is_alive() and not stop.is_set():
        thread.join(POLL_S)
    return opened[0] if opened else None


def _capture(source: Source) -> Any | None:
    if source.kind == "camera":
        capture = cv2.VideoCapture(source.address)
    else:
        timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 1000 * LIVE_TIMEOUT_S]
        # For the frames themselves our own comes first.
        timeouts += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, 2000 * LIVE_TIMEOUT_S]
        # FFmpeg would take a name with a colon for a protocol; another reader would take one with a number for the
        # first of a series of images.
        address = str(source.address) if source.is_live else os.path.abspath(str(source.address))  # noqa: PTH100
        capture = cv2.VideoCapture(address, cv2.CAP_FFMPEG, timeouts)
    return capture if capture.isOpened() else None


def _cannot_open(source: Source) -> str:
    if source.kind == "camera":
        return f"{source.title}: there is no such camera, or another program uses it."
    if source.kind == "stream":
        return f"{source.title}: the stream cannot be opened. Is the address right, and the server running?"
    if not os.path.exists(str(source.address)):  # noqa: PTH110
        return f"{source.title}: the video is missing."
    return f"{source.title}: the video cannot be decoded. Is it complete?"


def _frame(source: Source, image: Image, index: int, time_s: float, rate: float | None) -> Frame:
    return Frame(source, width=image.shape[1], height=image.shape[0], index=index, time_s=time_s, rate=rate)


def _number(capture: Any, key: int, low: float, high: float) -> float | None:
    """A property of a video; None where it does not say, which looks like 0, NaN or a number out of all reason."""
    value = float(capture.get(key))
    return value if low <= value <= high else None
