"""What several commands share: kinds of options, the template and the data that options name, words to the user."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from multibox.commands.console import say, say_command
from multibox.errors import OptionError
from multibox.wording import typed

if TYPE_CHECKING:
    from multibox.config import Template
    from multibox.runs.finding import FoundModel
    from multibox.runs.run import Run

TEMPLATE_NAME = "template.yaml"

Positive = Annotated[int, Parameter(validator=lambda _, value: require(value is None or value > 0, "above 0"))]
PositiveFloat = Annotated[float, Parameter(validator=lambda _, value: require(value is None or value > 0, "above 0"))]
ModelName = Annotated[Path | None, Parameter(name=["--model", "--load-weights"])]
"""A run, or a file in it, or any other model; of none, the run is found."""

Threshold = Annotated[
    float | None, Parameter(validator=lambda _, value: require(value is None or 0 <= value <= 1, "from 0 to 1"))
]
Flag = Annotated[bool, Parameter(negative=())]
Verbose = Annotated[bool, Parameter(name=["--verbose", "-v"], negative=())]
"""Whether details are shown: a command hands it to `console.has_details`, and `console.say` decides."""

Tile = Annotated[
    int | Literal["auto"] | None,
    Parameter(
        validator=lambda _, value: require(value in (None, "auto") or value >= MIN_TILE_PX, "auto, or 32 or more")
    ),
]
TileOverlap = Annotated[
    float | None, Parameter(validator=lambda _, value: require(value is None or 0 <= value <= 0.9, "from 0 to 0.9"))
]

OutputFormat = Literal["coco", "yolo", "voc", "cvat", "label-studio", "hf-folder"]
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


def found_model(named: Path | None, *, is_judged: bool = True) -> FoundModel:
    """The model that a command takes, see `runs.finding.find_model`; which one is said where its file was not named.

    If it `is_judged`, by figures or by advice, it is said of a training that was too brief; else only of a run that the
    user did not name.
    """
    from multibox.runs.finding import find_model

    found = find_model(named)
    if found.account:
        say(f"Model: {typed(found.path)}, {found.account}.")
    if found.run is not None and (is_judged or found.account):
        say_if_brief(found.run)
    return found


def say_if_brief(run: Run) -> None:
    """Say of a run that ended too soon that it did, before anything that is advised about it."""
    if run.is_brief:
        from multibox.train.progress import TOO_BRIEF

        say(TOO_BRIEF)


def require_together(first: str, second: str, first_name: str, second_name: str) -> None:
    """Refuse one option without the other."""
    if bool(first) != bool(second):
        raise OptionError(f"{first_name} and {second_name} go together: give both or neither.")


def say_next(run: Run, command: str) -> None:
    """The command that follows, on a line of its own."""
    from multibox.runs.next_command import next_step_of

    words, line = next_step_of(run, command)
    say(words)
    say_command(line)


def require(is_met: bool, what: str) -> None:
    """For validators of options: what the value must be."""
    if not is_met:
        raise ValueError(f"must be {what}")
