"""What `--load-weights` names, for every command: a model to run, or what a training starts from.

A training may start from a file, from words that stand for the weights of the package, from what lies in its work
directory, or from a checkpoint that holds a run to go on with.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from multibox.config import SSDConfig, Template
from multibox.errors import CheckpointError
from multibox.weights.bundled import BUNDLED, CLASSIFIER, DETECTOR
from multibox.weights.origin import known_classes

if TYPE_CHECKING:
    from multibox.weights.checkpoint import Checkpoint
    from multibox.weights.start import StartingPoint

RANDOM = "random"
"""What stands for fresh weights."""


@dataclass(frozen=True)
class NamedStart:
    """What a user names to start a training from.

    `start` is the weights of a file, `resume` a run to go on with; neither for random weights, nor where `is_default`:
    then `default_starts` has what is there. `remark` is a line to say, if there is one.
    """

    start: StartingPoint | None = None
    resume: Checkpoint | None = None
    is_default: bool = False
    remark: str | None = None


MODEL_NAMES = ("best.pth", "latest.pth", "model.xml", "model.onnx")
"""Names of the files of a folder's model, the one to take first."""


def model_in(folder: str | os.PathLike[str]) -> Path | None:
    """The file of the model that a folder holds: the best weights of a run, else its last, else an exported model."""
    files = (Path(folder) / name for name in MODEL_NAMES)
    return next((file for file in files if file.is_file()), None)


def model_file(path: str | os.PathLike[str]) -> Path:
    """The file of the model that a user names, which is there.

    Raises:
        CheckpointError: there is no such file.
    """
    file = Path(path)
    if not file.is_file():
        what = "this is a folder, not a file" if file.is_dir() else "there is no such file"
        raise CheckpointError(f"{path}: {what}.")
    return file


def named_start(load_weights: str, resume_from: str, template: Template, work_directory: Path) -> NamedStart:
    """What `--load-weights` and `--resume-from` of a training name, opened.

    A file to go on with that holds weights but no run is only a start.

    Raises:
        CheckpointError: a file cannot be read or holds another network.
    """
    from multibox.weights import checkpoint
    from multibox.weights.start import open_starting_point

    if resume_from:
        resume = checkpoint.load(resume_from, template=template)
        if resume.training is not None:
            return NamedStart(resume=resume)
        remark = f"{resume_from} holds weights but no run to go on with: starting a new run from these weights."
        return NamedStart(start=open_starting_point(resume_from, template), remark=remark)
    if load_weights == RANDOM:
        return NamedStart()
    if _is_default(load_weights, work_directory / template.initial_weights):
        return NamedStart(is_default=True)
    return NamedStart(start=open_starting_point(load_weights, template))


def default_starts(
    load_weights: str, template: Template, work_directory: Path, classes: Sequence[str]
) -> tuple[list[StartingPoint], str | None]:
    """Where a training of these classes may start if no file is named, and a line to say; the first is taken untried.

    Raises:
        CheckpointError: a file cannot be read or holds another network.
    """
    from multibox.weights.start import open_starting_point

    name, remark = load_weights, None
    if load_weights != BUNDLED:
        name = initial_weights(work_directory, template, classes)
        what = "the pretrained weights that come with multibox" if name == BUNDLED else name
        remark = f"{load_weights}: not there; starting from {what}." if load_weights else f"Starting from {what}."
    has_two = name == BUNDLED and isinstance(template.model, SSDConfig)
    names = [CLASSIFIER, DETECTOR] if has_two else [name]
    return [open_starting_point(each, template) for each in names], remark


def initial_weights(work_directory: Path, template: Template, classes: Sequence[str]) -> str:
    """The weights that a training of these classes starts from, of those in a work directory, or `BUNDLED`.

    A snapshot comes first. The public detector is left out if it knows none of the classes: for others, the package's
    own weights are the better start (docs/decisions/0009).
    """
    from multibox.weights.fetch import are_initial_weights  # and with it what fetches files over a network

    snapshot = work_directory / template.initial_weights
    if snapshot.exists():
        return str(snapshot)
    for dependency in filter(are_initial_weights, template.dependencies):
        path = work_directory / dependency.destination
        is_there = path.suffix == ".xml" and path.exists() and path.with_suffix(".bin").exists()
        known = known_classes(path) if is_there else ()
        if is_there and (known is None or set(known) & set(classes)):
            return str(path)
    return BUNDLED


def _is_default(load_weights: str, snapshot: Path) -> bool:
    """Whether no file is named, or just the snapshot that a work directory may have, and this one has not."""
    if load_weights in ("", BUNDLED):
        return True
    return not Path(load_weights).exists() and Path(load_weights).resolve() == snapshot
