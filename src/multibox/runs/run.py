"""A run: the folder of a training, what it holds, and what can be done with it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from multibox.errors import OptionError
from multibox.files import read_limited
from multibox.weights.resolve import model_in

if TYPE_CHECKING:
    from multibox.data.coco import CocoData
    from multibox.data.reading import DataFiles
    from multibox.evaluate.average_precision import Metrics
    from multibox.train.loop import TrainingResult

RECORD, LOG, TEMPLATE = "run.json", "metrics.jsonl", "template.yaml"
"""What every run has: what it is made of, a line for each epoch, and the template."""

OUTPUTS = "outputs"
"""The folder in a work directory of `multibox new` that a training writes to."""

DATA = "data"
"""The folder in a run for the annotation files that were made for it."""

MAX_BYTES = 64 << 20
"""Largest size of a record that is read."""


@dataclass(frozen=True)
class Run:
    """The folder of a training: template, record of the data, weights, results of the commands.

    `training` says how the training went that this process has just done; None of a run that was found on disk.
    """

    folder: Path
    training: TrainingResult | None = field(default=None, compare=False)

    def __fspath__(self) -> str:
        return os.fspath(self.folder)

    @property
    def weights(self) -> Path:
        """The file of the best weights; of a run without validation data, of the last ones.

        Raises:
            OptionError: none have been saved.
        """
        path = model_in(self.folder)
        if path is None:
            raise OptionError(f"{self.folder}: this run has saved no weights yet.")
        return path

    @property
    def home(self) -> Path:
        """The folder for what the commands make of the run: itself, or the work directory that it is the outputs of."""
        around = self.folder.parent
        is_outputs = self.folder.resolve().name == OUTPUTS and (around / TEMPLATE).is_file()
        return around if is_outputs else self.folder

    @cached_property
    def facts(self) -> Mapping[str, Any]:
        """What the run is made of: its run.json as it is."""
        content = _read_json(self.folder / RECORD)
        return content if isinstance(content, Mapping) else {}

    @property
    def history(self) -> list[dict[str, Any]]:
        """What each epoch came to (`epoch`, `step`, `seconds`, `loss`, `ap`, ...), in order; whole lines only."""
        try:
            lines = read_limited(self.folder / LOG, MAX_BYTES).splitlines()
        except OSError:
            return []
        epochs = []
        for line in lines:
            with suppress(msgspec.DecodeError):  # a killed run may have left half a line
                epochs.append(msgspec.convert(msgspec.json.decode(line), dict[str, Any]))
        return epochs

    @cached_property
    def metrics(self) -> Metrics | None:
        """How good the best weights are on the run's own validation data; None of a run without any."""
        from multibox.evaluate.average_precision import measure
        from multibox.evaluate.record import NAME, read_record

        if not (self.folder / NAME).exists():
            return None
        recorded = read_record(self.folder / NAME)
        return measure(recorded.detections, recorded.data)

    @property
    def is_brief(self) -> bool:
        """Whether the training ended too soon to judge the data or the model by: see `train.progress`."""
        from multibox.train.progress import is_too_brief

        return is_too_brief(self.history)

    def train_data(self, classes: Sequence[str] | None) -> CocoData:
        """The images that the run was trained on, read again.

        Raises:
            DataError: they are not where they were.
        """
        data = self._data("train_data", classes)
        assert data is not None
        return data

    def val_data(self, classes: Sequence[str] | None) -> CocoData | None:
        """The images that the run validated on, read again; None if it had none.

        Raises:
            DataError: they are not where they were.
        """
        return self._data("val_data", classes)

    def files(self, key: Literal["train_data", "val_data"]) -> DataFiles:
        """The annotation files that the run was trained (`train_data`) or validates on, with their folders."""
        from multibox.data.reading import DataFiles, as_item

        files, roots = self.places(self.facts.get(key) or {})
        return DataFiles(",".join(map(as_item, files)), ",".join(map(as_item, roots)))

    def _data(self, key: str, classes: Sequence[str] | None) -> CocoData | None:
        from multibox.data import coco

        recorded = self.facts.get(key)
        if not recorded:
            return None
        return coco.read(*self.places(recorded), classes=classes, skip_bad=True, allow_missing_classes=True)

    def places(self, recorded: Mapping[str, Any]) -> tuple[list[Path], list[str]]:
        """The annotation files and folders of a record; those that lie in the run are found when it has moved."""
        files = [Path(file) for file in recorded.get("annotation_files", ())]
        near = [self.folder / DATA / file.name for file in files]
        found = [
            other if not file.exists() and other.exists() else file for file, other in zip(files, near, strict=True)
        ]
        return found, list(recorded.get("data_roots", ()))


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a training with weights."""
    return (folder / RECORD).is_file() and model_in(folder) is not None


def _read_json(path: Path) -> Any:
    try:
        return msgspec.json.decode(read_limited(path, MAX_BYTES))
    except (OSError, msgspec.DecodeError) as error:
        raise OptionError(f"{path}: the record of the run cannot be read: {error}.") from error
