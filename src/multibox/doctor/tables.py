"""An examination as tables and sentences on a console."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import rich.box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from multibox.doctor.checks import Finding
from multibox.doctor.contents import Contents
from multibox.doctor.model_fit import SMALL_PX, Advice, TemplateFit
from multibox.wording import NO_VALUE, cell, counted, listed, visible, wrapped

STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}

INDENT = " " * 8

NUM_EXAMPLES = 3
"""Number of examples of a finding that a console shows; JSON has them all."""

SIDES = "Side: object size (square root of its area) in percent of the image's: 10th, 50th and 90th percentile."
FITS = (
    "Share of the training objects smaller than 8, 16 and 32 px at each input size; share that some anchor matches, "
    "with the SSD template's anchors and with fitted ones; the class that fitted anchors match least. No cell: share "
    "whose centre is in the finest cell of another object."
)
SIDE_COLUMNS = ("side: 10 %", "50 %", "90 %")
NOTHING_WRONG = "Nothing is wrong."


class ConsoleDisplay:
    """Shows an examination on a console while it goes on.

    `doing` hears what is being looked at, for a line that changes. With `has_details`, the sizes of objects, a table of
    how every model suits them, and the times of training at all sizes are shown too.
    """

    def __init__(self, console: Console, doing: Callable[[str], None], *, has_details: bool = True) -> None:
        self._console = console
        self.doing = doing
        self._has_details = has_details
        self._num_findings = 0

    def findings(self, findings: Sequence[Finding]) -> None:
        """Each finding with examples and what to do about it."""
        self._num_findings += len(findings)
        for finding in findings:
            where = f"{finding.split}: " if finding.split else ""
            self._print(
                f"{finding.severity:8}{where}{finding.text}", indent=len(INDENT), begin=STYLES[finding.severity]
            )
            for example in finding.examples[:NUM_EXAMPLES]:
                self._print(f"{INDENT}{example}", style="dim", indent=len(INDENT))
            num_others = len(finding.examples) - NUM_EXAMPLES
            if num_others > 0:
                self._print(f"{INDENT}and {num_others} more", style="dim")
            self._print(f"{INDENT}-> {finding.remedy}", indent=len(INDENT) + 3)

    def contents(self, contents: Mapping[str, Contents]) -> None:
        """A table for each split."""
        if not self._num_findings:
            self._print(NOTHING_WRONG, style="green")
        for split, held in contents.items():
            self._print("")
            self._print(_contents_title(split, held), style="bold")
            self._console.print(_contents_table(held, has_sides=self._has_details))
        if contents and self._has_details:
            self._print(SIDES, style="dim")

    def fits(self, fits: Mapping[str, TemplateFit], advice: Advice) -> None:
        """A table of all templates, and the advice."""
        if self._has_details:
            self._print("")
            self._print("What it means for a model", style="bold")
            self._console.print(_fit_table(list(fits.values()), width=self._console.width))
            self._print(FITS, style="dim")
        self._print("")
        is_plain = not self._has_details and fits[advice.template].is_suitable
        reason = "the smallest input at which these objects are large enough" if is_plain else advice.reason
        self._print(f"Take {advice.template}: {reason}.")

    def times(self, fits: Mapping[str, TemplateFit]) -> None:
        """The rough times of a training, in a sentence."""
        self._print("")
        self._print(times_sentence(fits, has_others=self._has_details))

    def _print(self, text: str, *, style: str = "", indent: int = 0, begin: str = "") -> None:
        """A line, wrapped between words on a terminal; `begin` is the style of its first `indent` letters."""
        shown = visible(text)
        lines = wrapped(shown, self._console.width, indent=indent) if self._console.is_terminal else [shown]
        line = Text("\n".join(lines), style=style)
        if begin:
            line.stylize(begin, 0, indent)
        self._console.print(line, soft_wrap=True)


def times_sentence(fits: Mapping[str, TemplateFit], *, has_others: bool = True) -> str:
    """How long all epochs take here, roughly: as measured at one size, and by the number of pixels at the others."""
    measured = next(fit for fit in fits.values() if fit.is_measured)
    if not has_others:
        return f"Training {measured.template} takes about {_minutes(measured)} here (--minutes sets another length)."
    others = [
        f"{_minutes(fit)} at {fit.input_size} px"
        for fit in fits.values()
        if not fit.is_measured and fit.minutes is not None
    ]
    return (
        f"Training {measured.template} takes about {_minutes(measured)} here, all epochs and validations "
        f"included ({measured.images_per_second:.1f} images per second over a few steps), and by the number of pixels "
        f"{listed(others)}. Both are rough."
    )


def _minutes(fit: TemplateFit) -> str:
    assert fit.minutes is not None, "it is timed"
    return counted(max(1, round(fit.minutes)), "minute")


def _contents_title(split: str, contents: Contents) -> str:
    width, height = contents.commonest_size
    sizes = f"{width} x {height} px"
    if contents.num_sizes > 1:
        sizes += f" ({contents.num_of_commonest}), {contents.num_sizes} sizes in all"
    title = f"{split}: {counted(contents.num_images, 'image')}, {sizes}; {counted(contents.num_objects, 'object')}"
    return title + (f"; {counted(contents.num_empty, 'image')} without any" if contents.num_empty else "")


def _contents_table(contents: Contents, *, has_sides: bool) -> Table:
    table = Table()
    table.add_column("class", overflow="fold")
    for name in ("objects", "images", *(SIDE_COLUMNS if has_sides else ())):
        table.add_column(name, justify="right", no_wrap=True)
    for row in contents.classes:
        sides = (NO_VALUE,) * 3 if row.sides is None else tuple(f"{value:.1f}" for value in row.sides)
        table.add_row(cell(row.name), str(row.num_objects), str(row.num_images), *(sides if has_sides else ()))
    return table


def _fit_table(fits: Sequence[TemplateFit], *, width: int) -> Table:
    """The fits of all templates, for a console of 80 columns or more; what has no room below 100 is in the JSON."""
    small = [f"< {limit} px" for limit in SMALL_PX]
    left_out = {small[0], "given"} if width < 100 else set()
    table = Table(box=rich.box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), collapse_padding=True)
    table.add_column("model", no_wrap=True)
    figures = (*small, "no cell", "given", "fitted", "worst")
    for name in figures:
        if name not in left_out:
            table.add_column(name, justify="right", no_wrap=True)
    table.add_column("class", overflow="fold")
    for fit in fits:
        recalls = (fit.recall_given, fit.recall_fitted, fit.worst_recall)
        shares = (*fit.small, fit.without_own_cell, *recalls)
        cells = [NO_VALUE if share is None else f"{share:.1%}" for share in shares]
        shown = [text for name, text in zip(figures, cells, strict=True) if name not in left_out]
        name_of_class = "" if fit.worst_recall is None else cell(fit.worst_class or "")
        table.add_row(f"{fit.family} {fit.input_size}", *shown, name_of_class)
    return table
