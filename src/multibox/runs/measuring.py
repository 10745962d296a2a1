"""Measuring a model: on which images, and what is written of it where."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from multibox.data import coco
from multibox.data.sets import open_set
from multibox.errors import DataError
from multibox.files import make_folder
from multibox.runs.run import DATA, Run

if TYPE_CHECKING:
    from multibox.data.coco import CocoData


def open_to_measure(
    named: Path, run: Run | None, classes: Sequence[str], *, say: Callable[[str], None], skip_bad: bool
) -> CocoData:
    """The images of a data set that somebody names to measure a model on: of its part to validate on, if it has one.

    What has to be written for that lies in the run, or nowhere for longer than the reading takes.

    Raises:
        DataError: it is no data set, or cannot be read.
    """
    if not named.exists():
        raise DataError(f"{named}: there is no such folder or file. Correct --data.")
    with ExitStack() as stack:
        if run is None:
            workplace = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        else:
            workplace = run.folder / DATA / named.resolve().stem
            make_folder(workplace)
        opened = open_set(named, workplace, guess=False)
        say(opened.lines[0])
        split = opened.splits.get("val") or opened.splits["train"]
        titles = [split.title] if split.title else None
        if run is not None and not any(workplace.iterdir()):
            workplace.rmdir()
        return coco.read(
            [split.annotation_file],
            [split.root],
            classes=classes,
            skip_bad=skip_bad,
            allow_missing_classes=True,
            titles=titles,
        )
