"""One line of JSON for each epoch of a run, which loggers get as well."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from multibox.data.coco import CocoData
from multibox.errors import OptionError
from multibox.evaluate import record
from multibox.evaluate.run import Evaluation
from multibox.files import check_regular, write_atomically
from multibox.prepared import prepared
from multibox.train.loggers import Logger, glance_at
from multibox.train.saving import saying_where

LOGGED_FILES = ("best.pth", "template.yaml", "run.json", "metrics.jsonl", record.NAME)
"""What loggers that keep files get of a run when it ends."""


class RunLog:
    """Appends scalars of each epoch to `metrics.jsonl`, and tells the loggers of them.

    `first_epoch`: lines of this epoch and later ones, left by a run that was killed after its last checkpoint, go.
    """

    def __init__(self, output: Path, loggers: Sequence[Logger] = (), *, first_epoch: int) -> None:
        self._path = output / "metrics.jsonl"
        kept = _lines_before(self._path, first_epoch) if first_epoch > 1 else []
        write_atomically(self._path, "".join(kept))
        self._loggers = tuple(loggers)

    def write(self, epoch: int, scalars: dict[str, float | int | None]) -> None:
        """One epoch; a value that does not exist is None.

        Raises:
            TrainingError: there is no room for it.
        """
        known = {name: float(value) for name, value in scalars.items() if value is not None}
        with saying_where(self._path.with_name("latest.pth")):
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"epoch": epoch, **scalars}) + "\n")
            for logger in self._loggers:
                logger.write(epoch, known)

    def show(self, epoch: int, evaluation: Evaluation, data: CocoData) -> None:
        """What a validation looks like, for the loggers.

        Raises:
            TrainingError: there is no room for it.
        """
        if not self._loggers:
            return
        glance = glance_at(evaluation, data)
        with saying_where(self._path.with_name("latest.pth")):
            for logger in self._loggers:
                logger.show(epoch, glance)

    def close(self) -> None:
        """Finish writing."""
        files = [self._path.with_name(name) for name in LOGGED_FILES]
        for logger in self._loggers:
            logger.end([file for file in files if file.is_file()])


def _lines_before(path: Path, epoch: int) -> list[str]:
    if not path.exists():
        return []
    try:
        check_regular(path)
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    except OSError as error:
        raise OptionError(f"{path}: cannot read the record of the run: {error.strerror}. Move it away.") from error
    return [line for line in lines if line.endswith("\n") and 0 <= _epoch_of(line) < epoch]


class _Line(Struct, frozen=True):
    epoch: Annotated[int, Meta(ge=0)]


def _epoch_of(line: str) -> int:
    """The epoch of a line of metrics.jsonl; -1 of one that is damaged, which is of no use to anybody."""
    try:
        return msgspec.json.decode(line, type=prepared(_Line)).epoch
    except (msgspec.DecodeError, RecursionError):
        return -1
