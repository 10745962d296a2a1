"""Ctrl-C, and a request to terminate, as a wish to come to an end in good order."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Whether the end was asked for, by a signal or by the program itself."""

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._is_asked = False

    def ask(self) -> None:
        """Ask for the end without a signal."""
        self._is_asked = True

    def is_set(self) -> bool:
        """True from the first signal or question on."""
        return self._is_asked or self.signal_number is not None

    @property
    def exit_code(self) -> int:
        """What a shell expects of a program that a signal ended: 130 for Ctrl-C, 143 for a request to terminate.

        0 without a signal.
        """
        return 0 if self.signal_number is None else 128 + self.signal_number


@contextmanager
def interruption(on_signal: Callable[[], None] = lambda: None) -> Iterator[Interruption]:
    """An `Interruption` that the first signal sets, after which `on_signal` is called.

    The second signal ends the program at once, as it would without us. Outside the main thread, where signals do not
    arrive, the interruption is never set.
    """
    told = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield told
        return

    def tell(number: int, _: FrameType | None) -> None:
        told.signal_number = number
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        on_signal()

    before = {number: signal.signal(number, tell) for number in SIGNALS}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
