"""An examination as tables and sentences for a console."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from multibox.doctor.checks import Finding
from multibox.doctor.contents import Contents
from multibox.doctor.model_fit import SMALL_PX, TemplateFit
from multibox.doctor.run import Examination
from multibox.wording import NO_VALUE, counted

STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}

NUM_EXAMPLES = 3
"""Number of examples of a finding that a console shows; JSON has them all."""

SIDES = "Side: object size (square root of its area) in percent of the image's: 10th, 50th and 90th percentile."
FITS = (
    "Share of the training objects smaller than 8, 16 and 32 px at each input size; share that some anchor matches, "
    "with the template's anchors and with fitted ones; the class that fitted anchors match least."
)
MINUTES = "Measured here, by training for a few steps: minutes of all epochs of the template, validations included."


def doctor_tables(examination: Examination) -> RenderableType:
    """Show an examination: contents of each split, findings, how it suits each input size, and the advice."""
    parts: list[RenderableType] = [_contents_table(split, contents) for split, contents in examination.contents.items()]
    parts += [Text(SIDES, style="dim"), Text(), *_findings(examination.findings)]
    if examination.fits:
        fits = list(examination.fits.values())
        parts += [Text(), _fit_table(fits), Text(FITS, style="dim")]
        if any(fit.minutes is not None for fit in fits):
            parts.append(Text(MINUTES, style="dim"))
    if examination.advice is not None:
        parts += [Text(), Text(f"Take {examination.advice.template}: {examination.advice.reason}.")]
    return Group(*parts)


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
        table.add_row(escape(row.name), str(row.num_objects), str(row.num_images), *sides)
    return table


def _findings(findings: Sequence[Finding]) -> list[RenderableType]:
    if not findings:
        return [Text("Nothing is wrong.", style="green")]
    lines: list[RenderableType] = []
    for finding in findings:
        line = Text(f"{finding.severity:8}", style=STYLES[finding.severity])
        line.append(f"{finding.split + ': ' if finding.split else ''}{finding.text}", style="default")
        lines.append(line)
        lines += [Text(f"          {example}", style="dim") for example in finding.examples[:NUM_EXAMPLES]]
        num_others = len(finding.examples) - NUM_EXAMPLES
        if num_others > 0:
            lines.append(Text(f"          and {num_others} more", style="dim"))
    return lines


def _fit_table(fits: Sequence[TemplateFit]) -> Table:
    is_timed = any(fit.minutes is not None for fit in fits)
    table = Table(title="What it means for a model", title_justify="left", title_style="bold")
    table.add_column("input", justify="right", no_wrap=True)
    for limit in SMALL_PX:
        table.add_column(f"< {limit} px", justify="right", no_wrap=True)
    for name in ("given", "fitted", "worst class"):
        table.add_column(name, justify="right", overflow="fold")
    for name in ("img/s", "minutes") if is_timed else ():
        table.add_column(name, justify="right", no_wrap=True)
    for fit in fits:
        row = [
            str(fit.input_size),
            *(f"{share:.1%}" for share in fit.small),
            f"{fit.recall_given:.1%}",
            f"{fit.recall_fitted:.1%}",
            f"{escape(fit.worst_class)} {fit.worst_recall:.1%}",
        ]
        if fit.images_per_second is not None and fit.minutes is not None:
            row += [f"{fit.images_per_second:.0f}", f"{fit.minutes:.0f}" if fit.minutes >= 10 else f"{fit.minutes:.1f}"]
        table.add_row(*row)
    return table
