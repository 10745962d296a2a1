"""Who hears what a run does: a console or a notebook with a bar, or nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from multibox.wording import visible, without_details, wrapped

Counting = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""What shows the progress of a task of so many parts; what it gives is told how many more are done."""


@contextmanager
def count_silently(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Progress that nobody sees."""
    del what, total
    yield lambda _: None


@dataclass(frozen=True)
class Audience:
    """Who hears the lines of something that is done with a run, and sees how far it is. By default nobody does."""

    say: Callable[[str], None] = lambda _: None
    count: Counting = count_silently


SILENT = Audience()
"""Nobody hears."""


class TrainingDisplay:
    """Shows a training on a console or in a notebook: its lines, and below them a bar with the time that is left.

    Details of lines (`wording.Detailed`) are shown with `has_details`.
    """

    def __init__(self, console: Console, *, has_details: bool = False) -> None:
        self._console = console
        self._has_details = has_details
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            TextColumn("{task.percentage:5.1f}%  loss {task.fields[loss]:.3f}  {task.fields[left]} left"),
            console=console,
            transient=True,
            # A log file has no use for a bar; the lines of the epochs are in it.
            disable=not can_redraw(console),
        )
        self._task = self._bar.add_task("", total=1.0, epoch=1, loss=0.0, left="?", visible=False)

    def __enter__(self) -> TrainingDisplay:
        if not self._bar.disable:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Some versions of rich would end even an invisible bar with an empty line.
        if not self._bar.disable:
            self._bar.stop()

    def line(self, text: str) -> None:
        """One line that stays, above the bar."""
        shown = text if self._has_details else without_details(text)
        if shown is not None:
            print_line(self._console, shown)

    def progress(self, *, epoch: int, share: float, loss: float, seconds_left: float) -> None:
        """Move the bar."""
        self._bar.update(self._task, completed=share, epoch=epoch, loss=loss, left=duration(seconds_left), visible=True)


class SilentDisplay:
    """A display of a training of which nobody is to hear."""

    def __enter__(self) -> SilentDisplay:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing."""

    def line(self, text: str) -> None:
        """Nothing."""

    def progress(self, *, epoch: int, share: float, loss: float, seconds_left: float) -> None:
        """Nothing."""


def display_here() -> TrainingDisplay | SilentDisplay:
    """What shows a training that is called from Python: a bar in a terminal or notebook, nothing in a script's log."""
    console = Console(soft_wrap=True, highlight=False)
    return TrainingDisplay(console) if console.is_terminal or console.is_jupyter else SilentDisplay()


def print_line(console: Console, text: str, *, indent: int = 0) -> None:
    """Show a line: wrapped between words where it is read on a terminal, whole where it goes into a file or pipe.

    All of its lines but the first are indented by so many columns.
    """
    shown = visible(text)
    if console.is_terminal and not console.is_jupyter:
        shown = "\n".join(wrapped(shown, console.width, indent=indent))
    console.print(Text(shown), soft_wrap=True)


def can_redraw(console: Console) -> bool:
    """Whether a bar can move on this console; a notebook needs a library for that."""
    return console.is_terminal or (console.is_jupyter and find_spec("ipywidgets") is not None)


def duration(seconds: float) -> str:
    """A time span as h:mm:ss or m:ss."""
    whole = max(0, round(seconds))
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
