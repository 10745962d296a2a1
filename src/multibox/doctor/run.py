"""Everything that is found out about a data set, and how it is told: as a table, and as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from multibox import config
from multibox.config import bundled_templates
from multibox.data.coco import CocoData
from multibox.data.layouts import Split
from multibox.doctor import checks, duplicates, orientation, pixels
from multibox.doctor.checks import Finding
from multibox.doctor.contents import Contents, contents
from multibox.doctor.duplicates import Twins
from multibox.doctor.model_fit import SMALL_PX, Advice, Fit, advise, fit
from multibox.wording import counted

EXIT_WARNINGS, EXIT_ERRORS = 1, 2

MARKS = {"error": ("error", "bold red"), "warning": ("warning", "yellow"), "note": ("note", "dim")}

NUM_EXAMPLES = 3
"""Shown on a console; JSON has them all."""

SIDES = "Sides are square roots of the area, in percent of the image's; so many percent of the objects are smaller."
FITS = (
    "Of the training set: objects whose side is under so many pixels of the network input; those that an anchor meets "
    "at the matching threshold, the template's anchors or fitted ones; the class that fitted ones meet least."
)
MINUTES = "Measured here, by training for a few steps: minutes of all epochs of the template, validations included."


@dataclass(frozen=True)
class Examination:
    """What a data set holds (`contents` by split), what is wrong with it, and how it suits each input size."""

    contents: Mapping[str, Contents]
    findings: tuple[Finding, ...]
    fits: Mapping[int, Fit]
    advice: Advice | None
    twins: tuple[Twins, ...]

    @property
    def exit_code(self) -> int:
        """0 if there is nothing above a note, 1 with warnings, 2 with errors."""
        severities = {finding.severity for finding in self.findings}
        return EXIT_ERRORS if "error" in severities else EXIT_WARNINGS if "warning" in severities else 0


def examine(
    splits: Mapping[str, CocoData],
    *,
    is_timed: bool,
    parts: Mapping[str, Sequence[Split]] | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> Examination:
    """Look at all there is.

    `is_timed`: measure the speed of training too, which needs PyTorch and some seconds. `parts`: the annotation files
    that each split was read from, for what only they tell. `report` hears what is being looked at.
    """
    found: list[Finding] = []
    for split, data in splits.items():
        report(f"Looking at {split}")
        found += checks.converted(split, (parts or {}).get(split, ()))
        found += checks.unusable(split, data)
        found += checks.doubtful(split, data)
        found += checks.questionable(split, data)
        found += orientation.check_orientation(split, data)
        found += pixels.check_pixels(split, data)
        found += pixels.check_odd_sizes(split, data)
        found += duplicates.check_sizes(split, data)
    found += checks.classes_with_few_objects(splits)
    report("Comparing pictures")
    twins = duplicates.find_twins(splits)
    found += duplicates.report_twins(twins)
    found += duplicates.check_boxes_of_twins(splits, twins)
    train = splits.get("train", next(iter(splits.values())))
    fits: dict[int, Fit] = {}
    if sum(train.objects_per_class):
        num_val_images = len(splits["val"].records) if "val" in splits else 0
        for path in bundled_templates().values():
            template = config.load(path)
            report(f"{'Timing' if is_timed else 'Fitting'} {template.input.size} px")
            fits[template.input.size] = fit(train, template, num_val_images=num_val_images, is_timed=is_timed)
    order = list(MARKS)
    return Examination(
        contents={split: contents(data) for split, data in splits.items()},
        findings=tuple(sorted(found, key=lambda finding: order.index(finding.severity))),
        fits=fits,
        advice=advise(fits) if fits else None,
        twins=tuple(twins),
    )


def to_plain(examination: Examination) -> dict[str, Any]:
    """The same as dictionaries and numbers, ready for JSON."""
    return {
        "contents": {split: dataclasses.asdict(one) for split, one in examination.contents.items()},
        "findings": [dataclasses.asdict(finding) for finding in examination.findings],
        "twins": [dataclasses.asdict(twin) for twin in examination.twins],
        "fits": [dataclasses.asdict(one) for one in examination.fits.values()],
        "advice": dataclasses.asdict(examination.advice) if examination.advice else None,
        "exit_code": examination.exit_code,
    }


def tables(examination: Examination) -> RenderableType:
    """The examination for a console."""
    parts: list[RenderableType] = [_contents_table(split, one) for split, one in examination.contents.items()]
    parts += [Text(SIDES, style="dim"), Text(), *_findings(examination.findings)]
    if examination.fits:
        fits = list(examination.fits.values())
        parts += [Text(), _fit_table(fits), Text(FITS, style="dim")]
        if any(one.minutes is not None for one in fits):
            parts.append(Text(MINUTES, style="dim"))
    if examination.advice is not None:
        parts += [Text(), Text(f"Take {examination.advice.template}: {examination.advice.reason}.")]
    return Group(*parts)


def _contents_table(split: str, one: Contents) -> Table:
    width, height = one.commonest_size
    sizes = f"{width} x {height} px"
    if one.num_sizes > 1:
        sizes += f" ({one.num_of_commonest}), {one.num_sizes} sizes in all"
    title = f"{split}: {counted(one.num_images, 'image')}, {sizes}; {counted(one.num_objects, 'object')}"
    if one.num_empty:
        title += f"; {counted(one.num_empty, 'image')} without any"
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("class", overflow="fold")
    for name in ("objects", "images", "side: 10 %", "50 %", "90 %"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in one.classes:
        sides = ("-",) * 3 if row.sides is None else tuple(f"{value:.1f}" for value in row.sides)
        table.add_row(escape(row.name), str(row.num_objects), str(row.num_images), *sides)
    return table


def _findings(found: Sequence[Finding]) -> list[RenderableType]:
    if not found:
        return [Text("Nothing is wrong.", style="green")]
    lines: list[RenderableType] = []
    for finding in found:
        word, style = MARKS[finding.severity]
        line = Text(f"{word:8}", style=style)
        line.append(f"{finding.split + ': ' if finding.split else ''}{finding.text}", style="default")
        lines.append(line)
        lines += [Text(f"          {example}", style="dim") for example in finding.examples[:NUM_EXAMPLES]]
        num_others = len(finding.examples) - NUM_EXAMPLES
        if num_others > 0:
            lines.append(Text(f"          and {num_others} more", style="dim"))
    return lines


def _fit_table(fits: Sequence[Fit]) -> Table:
    is_timed = any(one.minutes is not None for one in fits)
    table = Table(title="What it means for a model", title_justify="left", title_style="bold")
    table.add_column("input", justify="right", no_wrap=True)
    for limit in SMALL_PX:
        table.add_column(f"< {limit} px", justify="right", no_wrap=True)
    for name in ("given", "fitted", "worst class"):
        table.add_column(name, justify="right", overflow="fold")
    for name in ("img/s", "minutes") if is_timed else ():
        table.add_column(name, justify="right", no_wrap=True)
    for one in fits:
        row = [
            str(one.input_size),
            *(f"{share:.1%}" for share in one.small),
            f"{one.recall_given:.1%}",
            f"{one.recall_fitted:.1%}",
            f"{escape(one.worst_class)} {one.worst_recall:.1%}",
        ]
        if one.images_per_second is not None and one.minutes is not None:
            row += [f"{one.images_per_second:.0f}", f"{one.minutes:.0f}" if one.minutes >= 10 else f"{one.minutes:.1f}"]
        table.add_row(*row)
    return table
