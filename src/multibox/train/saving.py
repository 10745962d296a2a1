"""The record of a run: one line of JSON per epoch and TensorBoard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from multibox.files import write_atomically


class RunLog:
    """Appends scalars of each epoch to `metrics.jsonl` and, where a folder is given, to TensorBoard.

    `first_epoch`: lines of this epoch and later ones, left by a run that was killed after its last checkpoint, go.
    """

    def __init__(self, output: Path, tensorboard_dir: Path | None, *, first_epoch: int) -> None:
        self._path = output / "metrics.jsonl"
        kept = _lines_before(self._path, first_epoch) if first_epoch > 1 else []
        write_atomically(self._path, "".join(kept))
        self._writer: Any = None
        if tensorboard_dir is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(tensorboard_dir), purge_step=first_epoch)

    def write(self, epoch: int, scalars: dict[str, float | int | None]) -> None:
        """One epoch; a value that does not exist is None."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"epoch": epoch, **scalars}) + "\n")
        if self._writer is not None:
            for name, value in scalars.items():
                if value is not None:
                    self._writer.add_scalar(name, value, epoch)
            self._writer.flush()

    def close(self) -> None:
        """Finish writing."""
        if self._writer is not None:
            self._writer.close()


def _lines_before(path: Path, epoch: int) -> list[str]:
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [line for line in lines if line.endswith("\n") and json.loads(line)["epoch"] < epoch]
