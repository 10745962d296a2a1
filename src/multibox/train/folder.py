"""The folder of a run: who may write there, and what lies there from before.

earlier-1/          the run that was there, whole, when another one began
earlier-2.moving/   one that is on its way there: the next training goes on with it
.training.lock      held by the run that writes
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from multibox.data.coco import CocoData
from multibox.errors import OptionError
from multibox.evaluate import record
from multibox.files import atomic_path, check_regular, write_atomically
from multibox.locks import held
from multibox.overwriting import IsOurs, Output, check_outputs, is_anybodys, is_nobodys
from multibox.unfinished import tidy

LATEST, BEST, LOG, FACTS, TEMPLATE = "latest.pth", "best.pth", "metrics.jsonl", "run.json", "template.yaml"
SKIPPED = "skipped.txt"
"""Name of the file that lists what was left out of the data."""

BOARD = "tf_logs"
"""Name of the folder for TensorBoard."""

CHECKPOINTS = (BEST, LATEST)
# In the order in which they are moved: as long as run.json is there, a run is.
RUN_FILES = (record.NAME, LOG, SKIPPED, BOARD, TEMPLATE, *CHECKPOINTS, FACTS)
"""What a run leaves in its folder."""

EARLIER = re.compile(r"earlier-(\d+)(\.moving)?")
"""The names of folders with runs that were there before."""

PATIENCE_S = 1.0
"""Seconds that the check before a training waits for another one's check, which takes no time."""

OPTION = "--save-checkpoints-to"


def check_folder(folder: Path, *, read: Iterable[str | Path], resumed_from: Path | None) -> None:
    """Refuse a folder for a run early: one in which another run is being written, or files of nobody knows whom.

    `read` are files that the training reads, which its own would replace.

    Raises:
        OptionError: it is refused.
    """
    if folder.is_dir():
        with _held(folder, patience_s=PATIENCE_S):
            _check_files(folder, read, resumed_from)


@contextmanager
def run_folder(
    folder: Path, *, run: str, resumed_from: Path | None, is_resumed: bool, say: Callable[[str], None]
) -> Iterator[None]:
    """Make a folder ready for the run of this id, and keep any other out as long as it lasts.

    An earlier run moves to a folder `earlier-NUMBER` within. A run that is resumed in its own folder finds everything
    as it left it; in another one, its best weights and its log come along.

    Raises:
        OptionError: another training is writing there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tidy(folder)
    with _held(folder):
        is_own = resumed_from is not None and _is_inside(resumed_from, folder)
        if is_own or (is_resumed and _run_in(folder) == run):
            _move_back(folder)
        else:
            _check_files(folder, [], resumed_from)
            _move_away(folder, say)
            if resumed_from is not None:
                _bring_along(resumed_from.parent, folder, run, say)
        yield


@contextmanager
def _held(folder: Path, *, patience_s: float = 0) -> Iterator[None]:
    """Keep any other training out of a folder.

    Raises:
        OptionError: one is there, and still so after `patience_s` seconds.
    """
    with held(folder / ".training.lock", patience_s=patience_s) as is_mine:
        if not is_mine:
            raise OptionError(
                f"{OPTION} {folder}: another training is writing there. Wait for it, stop it, or name another folder."
            )
        yield


def _check_files(folder: Path, read: Iterable[str | Path], resumed_from: Path | None) -> None:
    if resumed_from is not None and _is_inside(resumed_from, folder):
        return
    is_ours: IsOurs = is_anybodys if (folder / FACTS).is_file() else is_nobodys
    names = (name for name in RUN_FILES if name not in {SKIPPED, BOARD})
    check_outputs([Output(OPTION, folder / name, is_ours) for name in names], read, say=_say_nothing)


def _say_nothing(_: str) -> None:
    """That an earlier run makes room is said when it does."""


def _is_inside(path: Path, folder: Path) -> bool:
    return path.resolve().parent == folder.resolve()


def list_skipped(data: Iterable[CocoData | None], folder: Path, say: Callable[[str], None]) -> None:
    """Write what was left out of the data into the folder, if anything was."""
    lines = [line for part in data if part is not None for line in part.skipped]
    if lines:
        write_atomically(folder / SKIPPED, "".join(f"{line}\n" for line in lines))
        say(f"{len(lines)} bad images or annotations left out; they are listed in {folder / SKIPPED}.")


def _run_in(folder: Path) -> str | None:
    """The id of the run in a folder; None where none is, or one of before runs had ids."""
    path = folder / FACTS
    try:
        check_regular(path)
        facts: Any = msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError, RecursionError):
        return None
    return facts.get("run") if isinstance(facts, dict) else None


def _move_away(folder: Path, say: Callable[[str], None]) -> None:
    """Move an earlier run, if it has saved anything; of one that has not, what there is goes."""
    numbers = {int(found[1]): found for path in folder.iterdir() if (found := EARLIER.fullmatch(path.name))}
    last = max(numbers, default=0)
    is_begun = last > 0 and numbers[last][2] is not None
    there = [name for name in RUN_FILES if (folder / name).exists()]
    if not is_begun and not any((folder / name).exists() for name in CHECKPOINTS):
        for name in {record.NAME, LOG, SKIPPED} & set(there):
            (folder / name).unlink()
        return
    target = folder / f"earlier-{last if is_begun else last + 1}"
    moving = target.with_name(f"{target.name}.moving")
    moving.mkdir(exist_ok=True)
    for name in there:
        (folder / name).replace(moving / name)
    moving.rename(target)
    say(f"{folder} holds an earlier run. It is in {target} now.")


def _move_back(folder: Path) -> None:
    """Undo a move that was begun."""
    for moving in folder.glob("earlier-*.moving"):
        for path in list(moving.iterdir()):
            if not (folder / path.name).exists():
                path.replace(folder / path.name)
        if not any(moving.iterdir()):
            moving.rmdir()


def _bring_along(source: Path, folder: Path, run: str, say: Callable[[str], None]) -> None:
    """Copy what lies beside the checkpoint to go on from, if that is of the same run."""
    if _run_in(source) != run:
        return
    names = [name for name in (BEST, record.NAME, LOG) if (source / name).is_file()]
    for name in names:
        with atomic_path(folder / name) as temporary:
            shutil.copyfile(source / name, temporary)
    if BEST in names:
        say(f"The best weights so far and the log come along from {source}.")
