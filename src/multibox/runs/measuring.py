"""Which images a model is measured or compared on: those that are named, or those of its run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multibox.data import coco, reading
from multibox.data.archives import archived
from multibox.data.reading import DataFiles
from multibox.data.sets import open_set
from multibox.errors import DataError, OptionError
from multibox.files import make_folder
from multibox.runs.run import DATA, Run
from multibox.unfinished import unfinished_folder
from multibox.wording import counted

if TYPE_CHECKING:
    from multibox.data.coco import CocoData
    from multibox.runs.finding import FoundModel


NO_FILES = DataFiles()
"""No annotation file is named."""


@dataclass(frozen=True)
class NamedData:
    """The images that somebody names: as a data set, or as annotation files with their folders; neither for none.

    `skip_bad`: whether images and annotations that cannot be used are left out.
    """

    data: Path | None = None
    files: DataFiles = NO_FILES
    skip_bad: bool = False

    def __post_init__(self) -> None:
        if self.data is not None and self.files.annotations:
            raise OptionError(f"--data {self.data} and the annotation files each name images. Leave one out.")
        if self.data is not None and not archived(self.data).exists():
            raise DataError(f"{self.data}: there is no such folder or file. Correct --data.")

    @property
    def is_empty(self) -> bool:
        """Whether nothing is named."""
        return self.data is None and not self.files.annotations


NO_DATA = NamedData()
"""Nothing is named."""


def named_images(
    named: NamedData, run: Run | None, classes: Sequence[str], *, say: Callable[[str], None]
) -> CocoData | None:
    """The images that are named, with these classes; of a data set, its part to validate on, if it has one.

    Raises:
        DataError: they cannot be read.
    """
    if named.files.annotations:
        return reading.read_data(named.files, classes, say, skip_bad=named.skip_bad, allow_missing_classes=True)
    if named.data is None:
        return None
    with ExitStack() as stack:
        workplace = (
            stack.enter_context(unfinished_folder(Path(tempfile.gettempdir())))
            if run is None
            else _workplace(run, named)
        )
        opened = open_set(named.data, workplace, guess=False)
        say(opened.lines[0])
        files = DataFiles.of(opened.splits.get("val") or opened.splits["train"])
        return reading.read_data(files, classes, say, skip_bad=named.skip_bad, allow_missing_classes=True)


def named_parts(named: NamedData, run: Run | None, *, say: Callable[[str], None]) -> tuple[DataFiles, DataFiles]:
    """The files of the parts of a data set to train and to validate on; the latter may be empty.

    Raises:
        DataError: it cannot be read.
        OptionError: what would have to be written has no place, because the model belongs to no run.
    """
    if named.data is None:
        return DataFiles(), DataFiles()
    if run is None:
        raise OptionError(f"--data {named.data}: the model belongs to no run. Name annotation files instead.")
    opened = open_set(named.data, _workplace(run, named), guess=False)
    say(opened.lines[0])
    parts = opened.splits
    return DataFiles.of(parts.get("train") or parts["val"]), DataFiles.of(*([parts["val"]] if "val" in parts else []))


def measured_images(
    found: FoundModel, named: NamedData, classes: Sequence[str], *, say: Callable[[str], None]
) -> CocoData:
    """The images to measure a model on: those that are named, else those that its training validated on.

    Raises:
        OptionError: there are none.
        DataError: they cannot be read.
    """
    if not named.is_empty:
        data = named_images(named, found.run, classes, say=say)
    else:
        data = None if found.run is None else found.run.val_data(classes)
        if data is not None:
            say(f"Measured on the {counted(len(data.records), 'image')} that the training validated on.")
    if data is None:
        raise OptionError(f"{found.path}: there are no images to measure it on. Name a data set by --data.")
    return data


def recorded_images(
    recorded: Mapping[str, Any] | None, run: Run | None, classes: Sequence[str] | None, *, say: Callable[[str], None]
) -> CocoData | None:
    """The data set that `data.description.describe` describes, read again; None, and a word why, if it is gone.

    Files that lie in the run are found there when it has moved.
    """
    recorded = recorded or {}
    files, roots = recorded.get("annotation_files"), recorded.get("data_roots")
    if not files or not roots:
        return None
    if run is not None:
        files, roots = run.places(recorded)
    try:
        data = coco.read(files, roots, classes=classes, skip_bad=True, allow_missing_classes=True)
    except DataError as error:
        say(f"The data of the training cannot be read again: {error}")
        return None
    if data.fingerprint != recorded.get("fingerprint"):
        say(f"{', '.join(map(str, files))}: this data set has changed since the training.")
    return data


def _workplace(run: Run, named: NamedData) -> Path:
    """The folder in a run for what is made of a data set that is named to measure on."""
    assert named.data is not None
    folder = run.folder / DATA / named.data.resolve().stem
    make_folder(folder)
    return folder
