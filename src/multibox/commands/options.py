"""What several commands share: kinds of options, the template and the data that options name, words to the user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from multibox.commands.console import console
from multibox.errors import DataError, OptionError
from multibox.wording import counted, visible

if TYPE_CHECKING:
    from multibox.config import Template
    from multibox.data.coco import CocoData
    from multibox.data.reading import DataFiles
    from multibox.runs.finding import FoundModel
    from multibox.runs.run import Run
    from multibox.runtime.protocol import Runtime

TEMPLATE_NAME = "template.yaml"

Positive = Annotated[int, Parameter(validator=lambda _, value: require(value is None or value > 0, "above 0"))]
PositiveFloat = Annotated[float, Parameter(validator=lambda _, value: require(value is None or value > 0, "above 0"))]
ModelName = Annotated[Path | None, Parameter(name=["--model", "--load-weights"])]
"""A run, or a file in it, or any other model; of none, the run is found."""

Threshold = Annotated[
    float | None, Parameter(validator=lambda _, value: require(value is None or 0 <= value <= 1, "from 0 to 1"))
]
Flag = Annotated[bool, Parameter(negative=())]
Tile = Annotated[
    int | Literal["auto"] | None,
    Parameter(
        validator=lambda _, value: require(value in (None, "auto") or value >= MIN_TILE_PX, "auto, or 32 or more")
    ),
]
TileOverlap = Annotated[
    float | None, Parameter(validator=lambda _, value: require(value is None or 0 <= value <= 0.9, "from 0 to 0.9"))
]

COMPRESSED = "compressed"
"""Folder in a run for the model that computes in 8 bits."""

OutputFormat = Literal["coco", "yolo", "voc", "cvat", "label-studio"]
"""The formats of `data.label_formats.WRITERS`, which would take a heavy import here."""

MIN_TILE_PX = 32
"""Least side of a tile in pixels: with smaller ones, an image would fall into thousands of tiles."""

command_line: list[str] = []
"""The words of the running command, for the record of a run and for the processes that it starts."""


def find_template(name: str) -> Template | None:
    """The template that `--config` names, or that of the folder the command runs in; None where there is neither."""
    from multibox import config
    from multibox.config import bundled_templates

    bundled = bundled_templates()
    if name in bundled:
        return config.load_template(bundled[name])
    if name or Path(TEMPLATE_NAME).exists():
        return config.load_template(name or TEMPLATE_NAME)
    return None


def read_named_data(
    annotation_files: str,
    data_roots: str,
    classes: Sequence[str] | None,
    skip_bad: bool,
    *,
    allow_missing_classes: bool = False,
) -> CocoData:
    """The data set of comma-separated files and folders; what is odd about it, but no error, is said."""
    from multibox.data import reading

    return reading.read_data(
        reading.DataFiles(annotation_files, data_roots),
        classes,
        say,
        skip_bad=skip_bad,
        allow_missing_classes=allow_missing_classes,
    )


def data_of_record(
    recorded: Mapping[str, Any], classes: Sequence[str] | None, *, run: Run | None = None
) -> CocoData | None:
    """The data set that `data.description.describe` describes, read again; None, and a word why, if it is gone.

    Files that lie in the `run` are found there when it has moved.
    """
    from multibox.data import coco

    files, roots = recorded.get("annotation_files"), recorded.get("data_roots")
    if run is not None:
        files, roots = run.places(recorded)
    if not files or not roots:
        return None
    try:
        data = coco.read(files, roots, classes=classes, skip_bad=True, allow_missing_classes=True)
    except DataError as error:
        say(f"The data of the training cannot be read again: {error}")
        return None
    if data.fingerprint != recorded.get("fingerprint"):
        say(f"{', '.join(map(str, files))}: this data set has changed since the training.")
    return data


def found_model(named: Path | None) -> FoundModel:
    """The model that a command takes, see `runs.finding.find_model`; which one is said where its file was not named."""
    from multibox.runs.finding import find_model

    found = find_model(named)
    if found.account:
        say(f"Model: {found.path}, {found.account}.")
    if found.run is not None and found.run.is_brief:
        from multibox.runs.next_command import BRIEF

        say(BRIEF)
    return found


def measured_data(
    found: FoundModel, named: Path | None, files: DataFiles, classes: Sequence[str], skip_bad: bool
) -> CocoData | None:
    """The images to measure a model on: those of a data set that is named, of files, or of its run; None if unknown.

    Raises:
        DataError: they cannot be read.
    """
    if named is not None and files.annotations:
        raise OptionError(f"--data {named} and the annotation files each say what to measure on. Leave one out.")
    if files.annotations:
        return read_named_data(files.annotations, files.roots, classes, skip_bad, allow_missing_classes=True)
    if named is not None:
        from multibox.runs.measuring import open_to_measure

        return open_to_measure(named, found.run, classes, say=say, skip_bad=skip_bad)
    data = None if found.run is None else found.run.val_data(classes)
    if data is not None:
        say(f"Measured on the {counted(len(data.records), 'image')} that the training validated on.")
    return data


def known_data(
    found: FoundModel,
    named: Path | None,
    files: DataFiles,
    classes: Sequence[str],
    recorded: Mapping[str, Any] | None,
    *,
    skip_bad: bool = False,
) -> CocoData | None:
    """The images to compare a model on: those that are named, else those of its record, if they are still there."""
    if named is not None or files.annotations:
        return measured_data(found, named, files, classes, skip_bad)
    return data_of_record(recorded or {}, classes, run=found.run)


def place_in_run(found: FoundModel, name: str) -> Path:
    """The folder in a run for what is made of its model; `_int8` is added for a compressed one.

    Raises:
        OptionError: the model belongs to no run.
    """
    if found.run is None:
        raise OptionError(f"{found.path}: this model belongs to no run. Name a folder for the result by --out.")
    is_compressed = found.path.parent.name == COMPRESSED
    return found.run.home / (f"{name}_int8" if is_compressed else name)


def with_tiles(runtime: Runtime, tile: int | Literal["auto"] | None, overlap: float | None) -> Runtime:
    """The runtime, looking at tiles of `tile` pixels if that is given."""
    if tile is None:
        if overlap is not None:
            raise OptionError("--tile-overlap has no effect without --tile, which is the side of a tile or auto.")
        return runtime

    from multibox.runtime.tiling_runtime import DEFAULT_OVERLAP, TilingRuntime

    return TilingRuntime(
        runtime,
        tile_px=None if tile == "auto" else tile,
        overlap=DEFAULT_OVERLAP if overlap is None else overlap,
    )


def require_together(first: str, second: str, first_name: str, second_name: str) -> None:
    """Refuse one option without the other."""
    if bool(first) != bool(second):
        raise OptionError(f"{first_name} and {second_name} go together: give both or neither.")


def say(text: str) -> None:
    """One line to the user; no part of it is markup."""
    console.print("\n".join(map(visible, text.split("\n"))), markup=False)


def say_next(run: Run, command: str) -> None:
    """The command that follows, on a line of its own."""
    from multibox.runs.next_command import next_step_of

    words, line = next_step_of(run, command)
    say(words)
    say(f"  {line}")


def require(is_met: bool, what: str) -> None:
    """For validators of options: what the value must be."""
    if not is_met:
        raise ValueError(f"must be {what}")
