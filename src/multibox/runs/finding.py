"""Which model a command takes: the named one, else that of the run around this folder, else of the newest run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from multibox.errors import CheckpointError, OptionError
from multibox.files import kind_of
from multibox.runs.run import OUTPUTS, Run, is_run
from multibox.weights.resolve import model_in
from multibox.wording import typed

RUNS = Path("runs")
"""The folder that new runs are made in."""


@dataclass(frozen=True)
class FoundModel:
    """The file of a model, the run that it belongs to, if any, and in words why it was taken."""

    path: Path
    run: Run | None
    account: str

    @property
    def folder(self) -> Path | None:
        """The folder for what is found out about this model: that of its run, or the one in it that the file lies in.

        None for a file that belongs to no run.
        """
        if self.run is None:
            return None
        return self.run.home if self.path.parent.resolve() == self.run.folder.resolve() else self.path.parent


def find_model(named: str | os.PathLike[str] | None) -> FoundModel:
    """The model that a user means by a file, a folder, the name of a run, or by nothing.

    A folder is a run, a work directory, a folder of runs, or any that has a model in it. By nothing is meant the run
    that the command runs in, else the newest in the folder `runs`.

    Raises:
        OptionError: there is none.
        CheckpointError: there is no such file or folder.
    """
    if named is None:
        return _default()
    path = Path(named)
    if path.is_dir():
        return _in_folder(path)
    if path.exists():
        return _of_file(path)
    if not path.is_absolute() and is_run(RUNS / path):
        return _of_run(RUNS / path, f"the run of this name in {RUNS}")
    raise CheckpointError(f"{path}: there is no such file, folder or run.{_nearest(path)}")


def default_run() -> Run | None:
    """The run that a command takes where none is named; None where there is none."""
    here = Path()
    for folder in (here, *(Path(*[".."] * depth) for depth in range(1, len(Path.cwd().parts)))):
        found = run_at(folder)
        if found is not None:
            return found
        if folder != here and folder.resolve() == Path.home():
            break
    newest = max(_runs_in(RUNS), key=_saved_at, default=None)
    return None if newest is None else Run(newest)


def run_of(path: Path) -> Run | None:
    """The run that a file lies in, however deep; of several, the outermost that is near."""
    found = None
    for folder in list(path.parents)[:MAX_DEPTH]:
        if is_run(folder):
            found = Run(folder)
    return found


MAX_DEPTH = 4
"""Number of folders above a file that are looked at for its run."""


def _default() -> FoundModel:
    run = default_run()
    if run is None:
        raise OptionError(
            f"There is no run: this folder is none, and none is in {RUNS}. Train one with `multibox train DATA`, or "
            "name a model."
        )
    is_here = not run.folder.is_relative_to(RUNS)
    return _of_run(run.folder, "the run of this folder" if is_here else f"the newest run in {RUNS}")


def _in_folder(folder: Path) -> FoundModel:
    found = run_at(folder)
    if found is not None:
        return _of_run(found.folder, "")
    inside = model_in(folder)
    if inside is not None:
        return FoundModel(inside, run_of(inside), "")
    newest = max(_runs_in(folder), key=_saved_at, default=None)
    if newest is not None:
        return _of_run(newest, f"the newest run in {typed(folder)}")
    if not folder.is_absolute() and is_run(RUNS / folder):
        return _of_run(RUNS / folder, f"the run of this name in {RUNS}; {typed(folder)} itself has no model")
    raise CheckpointError(f"{folder}: there is no model in this folder. Name a run, or a .pth, .xml or .onnx.")


def _of_file(path: Path) -> FoundModel:
    run = run_of(path)
    if kind_of(path) is None and run is not None:
        return _of_run(run.folder, f"the run of {typed(path.name)}")
    return FoundModel(path, run, "")


def _of_run(folder: Path, why: str) -> FoundModel:
    run = Run(folder)
    what = "the best weights" if run.weights.name == "best.pth" else "the last weights"
    return FoundModel(run.weights, run, f"{what} of {why}" if why else what)


def run_at(folder: Path) -> Run | None:
    """The run that a folder is, or that lies in it as a work directory; None of any other folder."""
    place = next((place for place in (folder, folder / OUTPUTS) if is_run(place)), None)
    return None if place is None else Run(place)


def _runs_in(folder: Path) -> Iterator[Path]:
    for place in sorted(folder.iterdir()) if folder.is_dir() else ():
        found = run_at(place) if place.is_dir() else None
        if found is not None:
            yield found.folder


def _saved_at(folder: Path) -> float:
    return max((path.stat().st_mtime for path in folder.glob("*.pth")), default=0.0)


def _nearest(path: Path) -> str:
    """A hint at what may be meant by a name that is not there."""
    parent = path.parent
    names = [entry.name for entry in parent.iterdir()] if parent.is_dir() else []
    close = [str(parent / name) for name in get_close_matches(path.name, names, n=1)]
    close += [str(RUNS / run.name) for run in _runs_in(RUNS) if get_close_matches(path.name, [run.name])]
    return f" Is {close[0]} meant?" if close else ""
