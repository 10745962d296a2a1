"""`multibox report`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from multibox.commands.console import counting
from multibox.commands.options import data_of_record, found_model, read_named_data, require_together, say
from multibox.errors import DependencyError, OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from multibox.data.coco import CocoData

LIBRARIES = ("matplotlib", "jinja2")
"""Libraries that a report needs and an installation may lack."""


def report(
    work_dirs: Annotated[list[Path] | None, Parameter(negative=())] = None,
    /,
    *,
    save_to: Annotated[Path | None, Parameter(name=["--out", "--save-to"])] = None,
    val_ann_files: str = "",
    val_data_roots: str = "",
) -> int:
    """Write what is known about a detector as one HTML page, or compare several.

    Example: multibox report

    Everything that train, eval, export, compress and bench left in a run is put together: accuracy with
    intervals, errors by kind, a threshold chooser, images of the worst mistakes, parity, INT8, speed, provenance.
    What is missing is named with the command that adds it. The page opens from disk, without a network.

    Args:
        work_dirs: A run, or a work directory. Of several, the others are compared with the first. Default: the run of
            this folder, else the newest in runs.
        save_to: The page. Default: report.html in the run; comparison.html here if there are several.
        val_ann_files: Annotation files (COCO json) to measure on, separated by commas, if the data have moved or others
            are wanted. Default: those of the last evaluation.
        val_data_roots: The folder of images of each of these.
    """
    require_together(val_ann_files, val_data_roots, "--val-ann-files", "--val-data-roots")
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if missing:
        raise DependencyError(f'A report needs {", ".join(missing)}. Install with: pip install "multibox[report]"')

    from multibox.report import run

    def named(classes: Sequence[str]) -> CocoData:
        return read_named_data(val_ann_files, val_data_roots, classes, skip_bad=True, allow_missing_classes=True)

    sources = run.DataSources(named if val_ann_files else None, data_of_record)
    folders = [_folder(named) for named in work_dirs] if work_dirs else [_folder(None)]
    page = run.report(folders, save_to=save_to, sources=sources, say=say, count=counting)
    say(f"Report: {page} ({page.stat().st_size / 1e6:.1f} MB). It opens in any browser.")
    return 0


def _folder(named: Path | None) -> Path:
    """The folder to report on: the one that is named as it is, the run of a file or name, or the run that is found."""
    if named is not None and named.is_dir():
        return named
    found = found_model(named)
    if found.run is None:
        raise OptionError(f"{named}: this model belongs to no run. Name a run, or a work directory.")
    return found.run.home
