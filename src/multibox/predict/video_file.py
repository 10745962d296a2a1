"""Writing an mp4: whole or not at all, also when the source has no frame rate, or one that it does not keep."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2

from multibox.errors import OptionError
from multibox.files import atomic_path
from multibox.overwriting import MARK_BEHIND
from multibox.predict.frames import Frame
from multibox.structures import Image

DEFAULT_RATE = 25.0
"""Frames per second of the video of a source that does not say its own."""

CODEC = "mp4v"
"""MPEG-4 part 2, which every build of OpenCV can write and every player can show."""

MAX_REPEATS_S = 10
"""A live source that was silent for longer leaves a shorter gap in the video."""


@contextmanager
def open_video(path: str | os.PathLike[str], first: Frame) -> Iterator[Callable[[Frame, Image], None]]:
    """A function that adds a drawing of a frame to an mp4 that has the size and frame rate of the first one.

    The file is there under its name when the context ends. A video has as many frames as its source. What a live
    source left out is made up for by repeating the frame before, so that a second of the video is a second.

    MPEG-4 knows no odd sides: the last row or column of such a frame is lost.

    Raises:
        OptionError: the file cannot be written.
    """
    target = Path(path)
    rate = first.rate or DEFAULT_RATE
    size = first.width, first.height
    is_live = first.source.is_live
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(target) as temporary:
        writer = _open(temporary, rate, size, target)
        num_written = 0

        def write(frame: Frame, drawing: Image) -> None:
            nonlocal num_written
            if (frame.width, frame.height) != size:  # a stream may change it; the writer would leave it out unsaid
                drawing = cv2.resize(drawing, size, interpolation=cv2.INTER_AREA)
            for _ in range(_times(frame, rate, num_written) if is_live else 1):
                writer.write(drawing)
                num_written += 1

        try:
            yield write
        finally:
            writer.release()
        with temporary.open("ab") as file:
            file.write(MARK_BEHIND)


def _times(frame: Frame, rate: float, num_written: int) -> int:
    """How often a frame of a live source comes, so that the video is as long as what it shows."""
    due = round((frame.time_s or 0) * rate) + 1
    return min(max(due - num_written, 0), round(MAX_REPEATS_S * rate))


def _open(temporary: Path, rate: float, size: tuple[int, int], target: Path) -> Any:
    writer = cv2.VideoWriter(str(temporary), cv2.VideoWriter.fourcc(*CODEC), rate, size)
    if not writer.isOpened():
        writer.release()
        raise OptionError(
            f"{target}: cannot write a video of {size[0]}x{size[1]} pixels there. "
            "Is the folder writable, and the image at least 2x2 pixels?"
        )
    return writer
