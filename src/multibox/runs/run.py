"""A run: the folder of a training, what it holds, and what can be done with it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from multibox.errors import OptionError
from multibox.files import make_folder, read_limited
from multibox.weights.resolve import model_in

if TYPE_CHECKING:
    from multibox.compress.ladder import Method
    from multibox.compress.result import CompressResult
    from multibox.data.coco import CocoData
    from multibox.data.reading import DataFiles
    from multibox.evaluate.average_precision import Metrics
    from multibox.export.run import Export
    from multibox.runs.evaluating import MeasuredModel
    from multibox.runs.finding import FoundModel
    from multibox.train.loop import Display, TrainingResult

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

        run = multibox.Run("runs/my_photos")
        run.metrics.ap50, run.weights
        run.export()

    `training` says how the training went that this process has just done; None of a run that was found on disk.
    """

    folder: Path
    training: TrainingResult | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder))  # who names a run types text

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
        """What each epoch came to (`epoch`, `step`, `seconds`, `loss`, `ap`, ...), in order; whole lines only.

        [epoch["ap"] for epoch in run.history]
        """
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
        """How good the best weights are on the run's own validation data; None of a run without any.

        run.metrics.ap50, run.metrics.per_class["cat"].ap
        """
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

    def evaluate(
        self,
        data: str | os.PathLike[str] | None = None,
        *,
        device: str = "auto",
        drawings_to: str | os.PathLike[str] | None = None,
        skip_bad: bool = False,
    ) -> MeasuredModel:
        """Measure the best weights, on another data set or on the run's own validation images, as `multibox eval` does.

            run.evaluate("more_photos").metrics.ap50

        The run gets metrics.yaml and what a report needs.

        Raises:
            MultiboxError: there is nothing to measure on, or it cannot be read.
        """
        from multibox.runs.evaluating import EvaluationPlan, evaluate_model
        from multibox.runs.measuring import NamedData

        named = NamedData(None if data is None else Path(data), skip_bad=skip_bad)
        drawings = None if drawings_to is None else Path(drawings_to)
        return evaluate_model(self._model, named, EvaluationPlan(device=device, drawings_to=drawings))

    def export(
        self,
        out: str | os.PathLike[str] | None = None,
        *,
        openvino: bool | None = None,
        onnx: bool | None = None,
        raw: bool = False,
        precision: Literal["FP32", "FP16"] = "FP32",
        batch: int = 1,
    ) -> Export:
        """Write the best weights as OpenVINO and ONNX files that are compared with them, as `multibox export` does.

            run.export().paths

        They lie in the folder `export` of the run unless `out` names another. `batch` is the number of images per call,
        0 for any number.

        Raises:
            ParityError: a file finds something else than the weights do; it is kept under another name.
            MultiboxError: something cannot be read or written.
        """
        from multibox.runs.exporting import ExportPlan, export_model, require_parity
        from multibox.runs.measuring import NamedData

        plan = ExportPlan(
            out=None if out is None else Path(out),
            openvino=openvino,
            onnx=onnx,
            raw=raw,
            precision=precision,
            batch=batch,
        )
        result = export_model(self._model, NamedData(), plan)
        require_parity(result)
        return result

    def compress(
        self,
        out: str | os.PathLike[str] | None = None,
        *,
        max_drop: float = 0.5,
        minutes: float | None = None,
        method: Method = "auto",
        display: Display | None = None,
    ) -> CompressResult:
        """Make the best weights compute in 8 bits at a loss of at most `max_drop` AP points, as `multibox compress`.

            run.compress(max_drop=1).path

        The result lies in the folder `compressed` of the run unless `out` names another; `multibox.load` opens it.

        Raises:
            MultiboxError: the images of the training are gone, or something cannot be read or written.
        """
        from multibox.compress.ladder import Plan
        from multibox.runs.compressing import CompressionPlan, compress_model
        from multibox.runs.display import display_here
        from multibox.runs.measuring import NamedData
        from multibox.runs.places import COMPRESSED, place_in_run

        deadline = None if minutes is None else time.monotonic() + 60 * minutes
        plan = CompressionPlan(
            out=place_in_run(self._model, COMPRESSED) if out is None else Path(out),
            ladder=Plan(method=method, max_drop=max_drop, deadline=deadline, seed=0),
            command="multibox.load(run).compress(...)",
        )
        if display is not None:
            return compress_model(self._model, NamedData(), plan, display=display)
        with display_here() as shown:
            return compress_model(self._model, NamedData(), plan, display=shown)

    def report(self, out: str | os.PathLike[str] | None = None) -> Path:
        """Write all that is known about the run as one HTML page, as `multibox report` does; where it lies.

            run.report()

        Raises:
            MultiboxError: a library for pages is not installed, or the page cannot be written.
        """
        from multibox.runs.reporting import report_on

        return report_on([self.home], out=None if out is None else Path(out))

    def predict(
        self,
        images: Any,
        *,
        threshold: float | None = None,
        classes: Sequence[str] = (),
        agnostic_nms: bool = False,
        device: str = "auto",
    ) -> Any:
        """Find objects with the best weights, from the recommended score on unless `threshold` says otherwise.

            run.predict("photo.jpg")

        `images` is whatever `multibox.load(run)` takes; so is the result.

        Raises:
            MultiboxError: an image cannot be read, or there is no such class.
        """
        from multibox.runtime.choosing_runtime import chosen_only
        from multibox.runtime.opening import open_runtime

        detector = chosen_only(open_runtime(self, device=device), classes, is_agnostic=agnostic_nms)
        least = detector.threshold if threshold is None else threshold
        found = detector(images)
        return [each.above(least) for each in found] if isinstance(found, list) else found.above(least)

    @property
    def _model(self) -> FoundModel:
        from multibox.runs.finding import FoundModel

        return FoundModel(self.weights, self, "")

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


def next_free(parent: Path, name: str) -> Path:
    """Make the folder `name` in `parent`, or `name-2` and so on if it is there; which one it became.

    Raises:
        OptionError: it cannot be made.
    """
    make_folder(parent)
    number = 1
    while True:
        folder = parent / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir()  # which is one step: of two commands at the same time, one goes on to the next name
        except FileExistsError:
            number += 1
        except OSError as error:
            raise OptionError(f"{folder}: cannot make this folder: {error.strerror}.") from error
        else:
            return folder


def _read_json(path: Path) -> Any:
    try:
        return msgspec.json.decode(read_limited(path, MAX_BYTES))
    except (OSError, msgspec.DecodeError) as error:
        raise OptionError(f"{path}: the record of the run cannot be read: {error}.") from error
