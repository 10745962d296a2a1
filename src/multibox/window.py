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
from multibox.frames import Frame, Stop
from multibox.images import Image

TITLE = "multibox - q or Esc ends"
MAX_SIDE_PX = 1280
"""A larger drawing is shown smaller: many screens have no more room."""

KEYS_TO_END = {ord("q"), ord("Q"), 27}
POLL_MS = 50


class Window:
    """Shows one drawing after the other: images until a key is pressed, videos no faster than they were taken."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._due_s = 0.0
        self.is_closed = False
        """Whether q, Esc or the closing of the window asked for the end."""

    def show(self, frame: Frame, drawing: Image) -> None:
        """Show a drawing, and wait for as long as it is to be seen."""
        if self.is_closed:
            return
        longest = max(drawing.shape[:2])
        if longest > MAX_SIDE_PX:
            scale = MAX_SIDE_PX / longest
            drawing = cv2.resize(drawing, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        cv2.imshow(TITLE, drawing)
        if frame.index is None:
            self._wait_for_key()
            return
        now_s = time.monotonic()
        self._due_s = max(self._due_s, now_s) + (0 if frame.source.is_live else 1 / (frame.rate or 25))
        self._look_for_key(max(1, round(1000 * (self._due_s - now_s))))

    def _wait_for_key(self) -> None:
        while not (self.is_closed or self._stop.is_set()):
            if self._look_for_key(POLL_MS):
                return

    def _look_for_key(self, milliseconds: int) -> bool:
        key = cv2.waitKey(milliseconds) & 0xFF
        # The window's own button for closing is no key.
        is_gone = cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1
        self.is_closed = self.is_closed or is_gone or key in KEYS_TO_END
        return key != 0xFF


@contextmanager
def open_window(stop: Stop) -> Iterator[Window]:
    """A window for as long as the context lasts.

    Raises:
        DependencyError: this build of OpenCV has no windows.
        OptionError: there is no screen.
    """
    _check()
    yield Window(stop)
    cv2.destroyAllWindows()


def _check() -> None:
    found = re.search(r"^ *GUI: *(\S+)", cv2.getBuildInformation(), re.MULTILINE)
    if found is not None and found[1] == "NONE":
        raise DependencyError(
            "--show needs an OpenCV that has windows. Install it with: pip uninstall -y opencv-python-headless && "
            "pip install opencv-python"
        )
    is_linux = sys.platform.startswith("linux")
    if is_linux and not any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")):
        raise OptionError("--show needs a screen, and there is none (DISPLAY is not set). Leave it out.")
