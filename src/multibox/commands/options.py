"""What several commands share: kinds of options, the template and the data that options name, words to the user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from multibox.commands.console import console
from multibox.errors import DataError, OptionError
from multibox.wording import visible

if TYPE_CHECKING:
    from multibox.config import Template
    from multibox.data.coco import CocoData
    from multibox.runtime.protocol import Runtime
    from multibox.weights.checkpoint import Checkpoint

TEMPLATE_NAME = "template.yaml"

Positive = Annotated[int, Parameter(validator=lambda _, value: require(value is None or value > 0, "above 0"))]
PositiveFloat = Annotated[float, Parameter(validator=lambda _, value: require(value is None or value > 0, "above 0"))]
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

OutputFormat = Literal["coco", "yolo", "voc", "cvat", "label-studio"]
"""The formats of `data.label_formats.WRITERS`, which would take a heavy import here."""

MIN_TILE_PX = 32
"""Least side of a tile in pixels: with smaller ones, an image would fall into thousands of tiles."""

command_line: list[str] = []
"""The words of the running command, for the record of a run and for the processes that it starts."""


def work_template(name: str) -> Template:
    """The template that `--config` names, or that of the folder the command runs in."""
    template = find_template(name)
    if template is None:
        raise OptionError(
            f"There is no {TEMPLATE_NAME} in this folder. Make a work directory with `multibox new`, "
            "or name a model or a template with --config."
        )
    return template


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


def work_directory(config: str) -> Path:
    """The folder of the template that `--config` names, or the folder the command runs in."""
    return Path(config or TEMPLATE_NAME).resolve().parent


def recorded_data(checkpoint: Checkpoint, key: str) -> CocoData | None:
    """The data set that a training recorded as `train_data` or `val_data`; None, and a word why, if it is gone."""
    return data_of_record(checkpoint.meta.get(key) or {}, checkpoint.classes)


def data_of_record(recorded: Mapping[str, Any], classes: Sequence[str] | None) -> CocoData | None:
    """The data set that `data.summary.describe` describes, read again; None, and a word why, if it is gone."""
    from multibox.data import coco

    files, roots = recorded.get("annotation_files"), recorded.get("data_roots")
    if not files or not roots:
        return None
    try:
        data = coco.read(files, roots, classes=classes, skip_bad=True, allow_missing_classes=True)
    except DataError as error:
        say(f"The data of the training cannot be read again: {error}")
        return None
    if data.fingerprint != recorded.get("fingerprint"):
        say(f"{', '.join(files)}: this data set has changed since the training.")
    return data


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


def require(is_met: bool, what: str) -> None:
    """For validators of options: what the value must be."""
    if not is_met:
        raise ValueError(f"must be {what}")
