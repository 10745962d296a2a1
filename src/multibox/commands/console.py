"""What commands show: lines that stay and one line of progress, plain where there is no terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from multibox.machine import made_by
from multibox.runs.display import TrainingDisplay, print_line
from multibox.wording import without_details

# A log file or a pipe has no width; rich would take 80 columns and cut tables.
WIDTH_OF_FILES = 120


class _Spoken(Console):
    """A console whose reader may leave, as in `multibox train ... | head -1`: the command does its work without one.

    `is_all`: what is said is all that the command gives; without a reader it ends, as if it had been terminated.
    `has_details`: the user asked for details (--verbose). What has any is said by `say` and `show_table`, which decide.
    """

    is_all = False
    has_details = False

    def on_broken_pipe(self) -> None:
        """Say nothing more to anybody who is gone."""
        self.quiet = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.file.fileno())
        os.close(nowhere)
        if self.is_all:
            raise SystemExit(EXIT_WITHOUT_READER)
        if not self.stderr:
            complain("Nobody reads the output any more; the work goes on.")


EXIT_WITHOUT_READER = 141
"""What a shell expects of a program whose reader left: 128 and the number of SIGPIPE."""

console = _Spoken(
    soft_wrap=True,
    highlight=False,
    width=None if (sys.stdout is not None and sys.stdout.isatty()) or "COLUMNS" in os.environ else WIDTH_OF_FILES,
)
errors = _Spoken(stderr=True, soft_wrap=True, highlight=False)


def begin(*, verbose: bool) -> None:
    """What a command does first: note whether details are wanted, the first of which are versions and machine."""
    console.has_details = verbose
    if verbose:
        say(made_by())


def say(text: str, *, indent: int = 0) -> None:
    """One line to the user, without its details unless they were asked for; no part of it is markup.

    Where it is broken, what follows is indented by so many columns.
    """
    shown = text if console.has_details else without_details(text)
    for line in [] if shown is None else shown.split("\n"):
        print_line(console, line, indent=indent)


def say_command(line: str) -> None:
    """A command to paste, on a line of its own that is never broken, whatever the width."""
    console.print(f"  {line}", markup=False, soft_wrap=True)


def training_display() -> TrainingDisplay:
    """What shows a training of a command."""
    return TrainingDisplay(console, has_details=console.has_details)


def complain(text: str) -> None:
    """One line about what went wrong, beside the output proper."""
    print_line(errors, text)


@contextmanager
def counting(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar that counts up to `total`; the value is told how many more are done."""
    bar = Progress(
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    with _drawn(bar):
        task = bar.add_task("", total=total)
        yield lambda count: bar.advance(task, count)


@contextmanager
def downloading(num_bytes: int | None) -> Iterator[Callable[[int], object]]:
    """A bar for a download of so many bytes, if that is known; it draws only on a terminal."""
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn())
    bar = Progress(*columns, console=errors, transient=True)
    with _drawn(bar):
        task = bar.add_task("", total=num_bytes)
        yield lambda count: bar.advance(task, count)


class Tracker:
    """Counts up to a number that becomes known on the way."""

    def __init__(self, bar: Progress, total: int) -> None:
        self._bar = bar
        self._total: int | None = total
        self._task = bar.add_task("", total=total)

    def advance(self) -> None:
        """One more is done."""
        self._bar.advance(self._task)

    def expect(self, more: int | None) -> None:
        """So many more are to come than was said; None: nobody knows how many."""
        self._total = None if more is None or self._total is None else self._total + more
        self._bar.update(self._task, total=self._total)


@contextmanager
def tracking(what: str, total: int) -> Iterator[Tracker]:
    """A bar with speed and the time that is left, while `total` or more things are done."""
    bar = Progress(
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        _SpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with _drawn(bar):
        yield Tracker(bar, total)


def _drawn(bar: Progress) -> AbstractContextManager[object]:
    """Draws a bar on a terminal. Elsewhere some versions of rich would end even an invisible one with an empty line."""
    return bar if bar.console.is_terminal else nullcontext()


class _SpeedColumn(ProgressColumn):
    """How many are done in a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:.1f}/s")
