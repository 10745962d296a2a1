"""An examination as tables and sentences on a console."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from multibox.doctor.checks import Finding
from multibox.doctor.contents import Contents
from multibox.doctor.model_fit import SMALL_PX, Advice, TemplateFit
from multibox.wording import NO_VALUE, cell, counted, listed, visible

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
NOTHING_WRONG = "Nothing is wrong."


class ConsoleDisplay:
    """Shows an examination on a console while it goes on.

    `doing` hears what is being looked at, for a line that changes.
    """

    def __init__(self, console: Console, doing: Callable[[str], None]) -> None:
        self._console = console
        self.doing = doing
        self._num_findings = 0

    def findings(self, findings: Sequence[Finding]) -> None:
        """Each finding with examples and what to do about it."""
        self._num_findings += len(findings)
        self._console.print(Group(*_finding_lines(findings)), end="")

    def contents(self, contents: Mapping[str, Contents]) -> None:
        """A table for each split."""
        if not self._num_findings:
            self._console.print(Text(NOTHING_WRONG, style="green"))
        doctor_tables = [_contents_table(split, held) for split, held in contents.items()]
        if doctor_tables:
            self._console.print(Group(Text(), *doctor_tables, Text(SIDES, style="dim")))

    def fits(self, fits: Mapping[str, TemplateFit], advice: Advice) -> None:
        """A table of all templates, and the advice."""
        self._console.print(Group(Text(), _fit_table(list(fits.values())), Text(FITS, style="dim")))
        self._console.print(Group(Text(), Text(visible(f"Take {advice.template}: {advice.reason}."))))

    def times(self, fits: Mapping[str, TemplateFit]) -> None:
        """The rough times of a training, in a sentence."""
        self._console.print(Group(Text(), Text(times_sentence(fits))))


def times_sentence(fits: Mapping[str, TemplateFit]) -> str:
    """How long all epochs take here, roughly: as measured at one size, and by the number of pixels at the others."""
    measured = next(fit for fit in fits.values() if fit.is_measured)
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


def _contents_table(split: str, contents: Contents) -> Table:
    width, height = contents.commonest_size
    sizes = f"{width} x {height} px"
    if contents.num_sizes > 1:
        sizes += f" ({contents.num_of_commonest}), {contents.num_sizes} sizes in all"
    title = f"{split}: {counted(contents.num_images, 'image')}, {sizes}; {counted(contents.num_objects, 'object')}"
    if contents.num_empty:
        title += f"; {counted(contents.num_empty, 'image')} without any"
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("class", overflow="fold")
    for name in ("objects", "images", "side: 10 %", "50 %", "90 %"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in contents.classes:
        sides = (NO_VALUE,) * 3 if row.sides is None else tuple(f"{value:.1f}" for value in row.sides)
        table.add_row(cell(row.name), str(row.num_objects), str(row.num_images), *sides)
    return table


def _finding_lines(findings: Sequence[Finding]) -> list[RenderableType]:
    lines: list[RenderableType] = []
    for finding in findings:
        line = Text(f"{finding.severity:8}", style=STYLES[finding.severity])
        line.append(visible(f"{finding.split + ': ' if finding.split else ''}{finding.text}"), style="default")
        lines.append(line)
        lines += [Text(f"{INDENT}{visible(example)}", style="dim") for example in finding.examples[:NUM_EXAMPLES]]
        num_others = len(finding.examples) - NUM_EXAMPLES
        if num_others > 0:
            lines.append(Text(f"{INDENT}and {num_others} more", style="dim"))
        lines.append(Text(f"{INDENT}-> {visible(finding.remedy)}"))
    return lines


def _fit_table(fits: Sequence[TemplateFit]) -> Table:
    table = Table(title="What it means for a model", title_justify="left", title_style="bold")
    table.add_column("model", no_wrap=True)
    for limit in SMALL_PX:
        table.add_column(f"< {limit} px", justify="right", no_wrap=True)
    for name in ("no cell", "given", "fitted", "worst class"):
        table.add_column(name, justify="right", overflow="fold")
    for fit in fits:
        row = [
            f"{fit.family} {fit.input_size}",
            *(f"{share:.1%}" for share in (*fit.small, fit.without_own_cell)),
            *(NO_VALUE if share is None else f"{share:.1%}" for share in (fit.recall_given, fit.recall_fitted)),
            NO_VALUE if fit.worst_recall is None else f"{cell(fit.worst_class or '')} {fit.worst_recall:.1%}",
        ]
        table.add_row(*row)
    return table
