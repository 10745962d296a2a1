"""`multibox report`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from multibox.commands.console import counting
from multibox.commands.options import Flag, data_of_record, read_named_data, require_together, say
from multibox.errors import DataError, DependencyError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from multibox.data.coco import CocoData
    from multibox.report.data_view import DataExamination
    from multibox.report.run import DataSources

LIBRARIES = ("matplotlib", "jinja2")
"""Libraries that a report needs and an installation may lack."""


def report(
    work_dirs: Annotated[list[Path], Parameter(negative=())],
    /,
    *,
    save_to: Path | None = None,
    val_ann_files: str = "",
    val_data_roots: str = "",
    paths: Flag = False,
) -> int:
    """Write what is known about a detector as one HTML page, or compare several.

    Everything that train, eval, export, compress, bench and doctor left in a work directory is put together: accuracy
    with intervals, errors by kind, a threshold chooser, the best and worst images, parity, INT8, speed, provenance.
    What is missing is named with the command that adds it. The page opens from disk, without a network; its figures
    lie beside it as JSON.

    Args:
        work_dirs: The work directory. Of several, the others are compared with the first.
        save_to: The page. Default: report.html in the work directory; comparison.html here if there are several.
        val_ann_files: Annotation files (COCO json) to measure on, separated by commas, if the data have moved or others
            are wanted. Default: those of the last evaluation.
        val_data_roots: The folder of images of each of these.
        paths: Show whole paths of files. Default: relative to the work directory, or the names alone.
    """
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if missing:
        raise DependencyError(f'A report needs {", ".join(missing)}. Install with: pip install "multibox[report]"')
    sources = data_sources(val_ann_files, val_data_roots)

    from multibox.report import run

    page = run.report(work_dirs, save_to=save_to, sources=sources, has_full_paths=paths, say=say, count=counting)
    say(f"Report: {page} ({page.stat().st_size / 1e6:.1f} MB). It opens in any browser.")
    return 0


def data_sources(val_ann_files: str, val_data_roots: str) -> DataSources:
    """Where a report or a model card takes images from: what these options name, or what the training recorded."""
    require_together(val_ann_files, val_data_roots, "--val-ann-files", "--val-data-roots")
    from multibox.report.run import DataSources

    def named(classes: Sequence[str]) -> CocoData:
        return read_named_data(val_ann_files, val_data_roots, classes, skip_bad=True, allow_missing_classes=True)

    return DataSources(named if val_ann_files else None, data_of_record, _examine)


def _examine(splits: Mapping[str, CocoData], with_findings: bool) -> DataExamination:
    """What the doctor finds in the data of a run, and samples of them."""
    from multibox.doctor.contact_sheet import contact_sheet
    from multibox.doctor.run import find_faults
    from multibox.report.data_view import DataExamination, DataFinding

    shown = "train" if "train" in splits else next(iter(splits))
    try:
        sheet = contact_sheet(splits[shown])
    except DataError:  # an image is gone or broken; the findings say which
        sheet = None
    sheet_of = "training" if shown == "train" else "validation"
    if not with_findings:
        return DataExamination(sheet=sheet, sheet_of=sheet_of)
    findings = tuple(
        DataFinding(one.severity, one.split, one.text, one.examples, one.remedy) for one in find_faults(splits)
    )
    return DataExamination(findings, "looked for in these images now", sheet, sheet_of)
