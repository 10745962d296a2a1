"""A window that shows drawings as they come. Most machines that predict have no screen, so nothing here is required."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import cv2

from multibox.errors import DependencyError, OptionError
from multibox.predict.frames import Frame
from multibox.signals import Interruption
from multibox.structures import Image

TITLE = "multibox - q or Esc ends"
MAX_SIDE_PX = 1280
"""A larger drawing is shown smaller: many screens have no more room."""

KEYS_TO_END = {ord("q"), ord("Q"), 27}
NO_KEY = 0xFF
DEFAULT_RATE = 25.0
"""Frames per second of a video that does not say its own."""

POLL_MS = 50


class Window:
    """Shows one drawing after the other: images until a key is pressed, videos no faster than they were taken.

    q, Esc, and the button that closes it ask for the end of the run.
    """

    def __init__(self, stop: Interruption) -> None:
        self._stop = stop
        self._due_s = 0.0

    def show(self, frame: Frame, drawing: Image) -> None:
        """Show a drawing, and wait for as long as it is to be seen."""
        if self._stop.is_set():
            return
        scale = MAX_SIDE_PX / max(drawing.shape[:2])
        if scale < 1:
            drawing = cv2.resize(drawing, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        cv2.imshow(TITLE, drawing)
        if frame.index is None:
            while not (self._stop.is_set() or self._has_key(POLL_MS)):
                pass
            return
        now_s = time.monotonic()
        self._due_s = max(self._due_s, now_s) + (0 if frame.source.is_live else 1 / (frame.rate or DEFAULT_RATE))
        self._has_key(max(1, round(1000 * (self._due_s - now_s))))

    def _has_key(self, milliseconds: int) -> bool:
        """Whether a key was pressed within that time. Meanwhile the window is drawn."""
        key = cv2.waitKey(milliseconds) & 0xFF
        is_closed = cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1
        if is_closed or key in KEYS_TO_END:
            self._stop.ask()
        return key != NO_KEY


@contextmanager
def open_window(stop: Interruption) -> Iterator[Window]:
    """A window for as long as the context lasts."""
    try:
        yield Window(stop)
    finally:
        cv2.destroyAllWindows()


def require_screen() -> None:
    """Fail where nothing can be shown, before any work is done.

    Raises:
        DependencyError: this build of OpenCV has no windows.
        OptionError: there is no screen.
    """
    found = re.search(r"^ *GUI: *(\S+)", cv2.getBuildInformation(), re.MULTILINE)
    if found is not None and found[1] == "NONE":
        raise DependencyError(
            "--show needs an OpenCV that has windows. Install it with: pip uninstall -y opencv-python-headless && "
            "pip install opencv-python"
        )
    if sys.platform.startswith("linux") and not any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")):
        raise OptionError("--show needs a screen, and there is none (DISPLAY is not set). Leave it out.")
