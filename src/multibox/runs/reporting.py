"""A page explains a run: by `multibox report` and by `Run.report`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from multibox.errors import DependencyError
from multibox.runs.display import SILENT, Audience
from multibox.runs.measuring import NO_DATA, NamedData

REPORT_LIBRARIES = ("matplotlib", "jinja2")
"""Libraries that a report needs and an installation may lack."""


def report_on(
    folders: Sequence[Path],
    *,
    out: Path | None = None,
    named: NamedData = NO_DATA,
    has_full_paths: bool = False,
    audience: Audience = SILENT,
) -> Path:
    """Write a page about a run or work directory, or about several that are compared with the first; where it lies.

    `named` is what to measure on, if not what is recorded. Paths on the page are relative, unless `has_full_paths`.

    Raises:
        DependencyError: a library for pages is not installed.
        OptionError: a folder has nothing of multibox in it, or the page cannot be written.
    """
    missing = [name for name in REPORT_LIBRARIES if find_spec(name) is None]
    if missing:
        raise DependencyError(f'A report needs {", ".join(missing)}. Install with: pip install "multibox[report]"')

    from multibox.report.run import report
    from multibox.runs.explaining import report_sources

    return report(
        folders,
        save_to=out,
        sources=report_sources(named, audience),
        has_full_paths=has_full_paths,
        say=audience.say,
        count=audience.count,
    )
