"""The command to type after a command, ready to paste where the user stands."""

from __future__ import annotations

import os
import shlex
from importlib.util import find_spec
from pathlib import Path

from multibox.runs.finding import default_run
from multibox.runs.places import COMPRESSED, EXPORT
from multibox.runs.run import Run

NEXT = {
    "train": "predict",
    "predict": "eval",
    "eval": "export",
    "export": "compress",
    "compress": "report",
    "bench": "report",
    "report": "demo",
}
"""The command that follows another one."""

LEFT_BEHIND = {"export": EXPORT, "compress": COMPRESSED}
"""What tells in a run that a command was used on it."""

WITHOUT_DEMO = {"report": "card"}
"""What follows where the libraries of the page to try a detector are not installed."""

WHAT = {
    "predict": "look at what it finds, here in its own images",
    "eval": "measure it",
    "export": "write the files to deploy, checked against these weights",
    "compress": "make it compute in 8 bits",
    "report": "have a page that explains it",
    "demo": "try it in the browser",
    "card": "write down for others what it is and what its limits are",
}
"""What each command is for, as the end of a sentence."""


def next_step_of(run: Run, command: str) -> tuple[str, str]:
    """What to do after a command on a run, as a sentence that the other text, a command, follows.

    What was done on this run already is not named again.
    """
    following = NEXT[command]
    while following in LEFT_BEHIND and (run.home / LEFT_BEHIND[following]).exists():
        following = NEXT[following]
    if following == "demo" and find_spec("starlette") is None:
        following = WITHOUT_DEMO[command]
    words = [str(place) for place in _images(run)] if following == "predict" else []
    return f"Next, {WHAT[following]}:", next_command(following, run, *words)


def next_command(command: str, run: Run, *words: str, option: str = "", named: Path | None = None) -> str:
    """The command line for a run, which is left out of it where the command would find the run by itself.

    `named`: a folder in the run that is meant instead. `option`: that names it.
    """
    found = default_run() if not option and named is None else None
    is_default = found is not None and found.folder.resolve() == run.folder.resolve()
    places = [] if is_default else [shown(named or run.folder)]
    if command == "predict" and places:
        option = "--model"
    return shlex.join(["multibox", command, *words, *([option] if option and places else []), *places])


def shown(path: Path) -> str:
    """A path as it is typed from here: relative if it lies below this folder or near it."""
    relative = os.path.relpath(path)
    is_far = Path(os.path.commonpath([Path.cwd(), path.absolute()])) == Path(path.anchor or "/")
    return str(path) if is_far or Path(relative).parts[:3] == ("..", "..", "..") else relative


def _images(run: Run) -> list[str]:
    """The folder of the images that the run is measured on, or was trained on."""
    recorded = run.facts.get("val_data") or run.facts.get("train_data") or {}
    return [shown(Path(root)) for root in recorded.get("data_roots", ())[:1]]
