"""Everything that is found out about a data set, and how it is told: as a table, and as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from multibox import config
from multibox.data.coco import CocoData
from multibox.doctor import findings, picture_files
from multibox.doctor.contents import Contents, contents
from multibox.doctor.findings import Finding
from multibox.doctor.model_fit import SMALL_PX, Advice, Fit, advise, fit
from multibox.doctor.picture_files import Twins
from multibox.instantiate import bundled_templates

EXIT_WARNINGS, EXIT_ERRORS = 1, 2

MARKS = {"error": ("error", "bold red"), "warning": ("warning", "yellow"), "note": ("note", "dim")}


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


def examine(splits: Mapping[str, CocoData], *, is_timed: bool) -> Examination:
    """Look at all there is. `is_timed`: measure the speed of training too, which needs PyTorch and some seconds."""
    found: list[Finding] = []
    for split, data in splits.items():
        found += findings.unusable(split, data)
        found += findings.questionable(split, data)
        found += picture_files.check_orientation(split, data)
        found += picture_files.check_sizes(split, data)
    found += findings.classes_with_few_objects(splits)
    twins = picture_files.find_twins(splits)
    found += picture_files.report_twins(twins)
    train = splits.get("train", next(iter(splits.values())))
    fits: dict[int, Fit] = {}
    if sum(train.objects_per_class):
        num_val_images = len(splits["val"].records) if "val" in splits else 0
        for path in bundled_templates().values():
            template = config.load(path)
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
    parts += _findings(examination.findings)
    if examination.fits:
        parts += [Text(), _fit_table(list(examination.fits.values()))]
    if examination.advice is not None:
        parts += [Text(), Text(f"Take {examination.advice.template}: {examination.advice.reason}.")]
    return Group(*parts)


def _contents_table(split: str, one: Contents) -> Table:
    width, height = one.commonest_size
    sizes = f"{width} x {height} px" + (
        f" ({one.num_of_commonest}), {one.num_sizes} sizes" if one.num_sizes > 1 else ""
    )
    title = (
        f"{split}: {one.num_images} images of {sizes}; {one.num_objects} objects, {one.num_empty} images without any"
    )
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("class", overflow="fold")
    for name in ("objects", "images", "side in % of the image: 10th", "median", "90th percentile"):
        table.add_column(name, justify="right")
    for row in one.classes:
        sides = ("-",) * 3 if row.sides is None else tuple(f"{value:.1f}" for value in row.sides)
        table.add_row(escape(row.name), str(row.num_objects), str(row.num_images), *sides)
    return table


def _findings(found: Sequence[Finding]) -> list[RenderableType]:
    if not found:
        return [Text(), Text("Nothing is wrong.", style="green")]
    lines: list[RenderableType] = [Text()]
    for finding in found:
        word, style = MARKS[finding.severity]
        line = Text(f"{word:8}", style=style)
        line.append(f"{finding.split + ': ' if finding.split else ''}{finding.text}", style="default")
        lines.append(line)
        lines += [Text(f"          {example}", style="dim") for example in finding.examples]
    return lines


def _fit_table(fits: Sequence[Fit]) -> Table:
    table = Table(
        caption="of the training set; an anchor meets a box at the template's matching threshold. Minutes: the "
        "template's epochs from a trained start, measured on this machine",
        caption_justify="left",
    )
    table.add_column("input", justify="right")
    for limit in SMALL_PX:
        table.add_column(f"< {limit} px", justify="right")
    for name in ("met by given anchors", "by fitted", "worst class", "img/s", "minutes"):
        table.add_column(name, justify="right")
    for one in fits:
        table.add_row(
            str(one.input_size),
            *(f"{share:.1%}" for share in one.small),
            f"{one.recall_given:.1%}",
            f"{one.recall_fitted:.1%}",
            f"{escape(one.worst_class)} {one.worst_recall:.1%}",
            "-" if one.images_per_second is None else f"{one.images_per_second:.0f}",
            "-" if one.minutes is None else f"{one.minutes:.1f}",
        )
    return table
