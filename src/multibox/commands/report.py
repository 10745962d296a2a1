"""`multibox report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from multibox.commands.console import counting, say
from multibox.commands.options import Flag, found_model, require_together, say_if_brief, say_next
from multibox.errors import OptionError
from multibox.wording import typed


def report(
    work_dirs: Annotated[list[Path] | None, Parameter(negative=())] = None,
    /,
    *,
    save_to: Annotated[Path | None, Parameter(name=["--out", "--save-to"])] = None,
    val_ann_files: str = "",
    val_data_roots: str = "",
    paths: Flag = False,
) -> int:
    """Write what is known about a detector as one HTML page, or compare several.

    Example: multibox report

    The page shows what train, eval, export, compress, bench and doctor wrote into a run. It has accuracy with
    intervals, errors by kind, a threshold chooser, the best and worst images, parity, INT8, speed and provenance. For
    each missing part, it names the command that adds it. The page opens from disk, without a network; its figures
    lie beside it as JSON.

    Args:
        work_dirs: A run, or a work directory. Of several, the others are compared with the first. Default: the run of
            this folder, else the newest in runs.
        save_to: The page. Default: report.html in the run; comparison.html here if there are several.
        val_ann_files: Annotation files (COCO json) to measure on, separated by commas, if the data have moved or others
            are wanted. Default: those of the last evaluation.
        val_data_roots: The folder of images of each of these.
        paths: Show whole paths of files. Default: relative to the run, or the names alone.
    """
    require_together(val_ann_files, val_data_roots, "--val-ann-files", "--val-data-roots")

    from multibox.data.reading import DataFiles
    from multibox.runs.display import Audience
    from multibox.runs.finding import run_at
    from multibox.runs.measuring import NamedData
    from multibox.runs.reporting import report_on

    folders = [reported_folder(named) for named in work_dirs] if work_dirs else [reported_folder(None)]
    files = DataFiles(val_ann_files, val_data_roots)
    named = NamedData(files=files, skip_bad=True)
    page = report_on(folders, out=save_to, named=named, has_full_paths=paths, audience=Audience(say, counting))
    size = page.stat().st_size
    words = f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.0f} kB"
    say(f"Report: {typed(page)} ({words}). It opens in any browser.")
    run = run_at(folders[0])
    if run is not None and len(folders) == 1:
        say_next(run, "report")
    return 0


def reported_folder(named: Path | None) -> Path:
    """The folder to report on: the one that is named as it is, the run of a file or name, or the run that is found."""
    from multibox.runs.finding import run_at

    if named is not None and named.is_dir():
        run = run_at(named)
        if run is not None:
            say_if_brief(run)
        return named
    found = found_model(named)
    if found.run is None:
        raise OptionError(f"{named}: this model belongs to no run. Name a run, or a work directory.")
    return found.run.home
