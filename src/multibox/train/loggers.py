"""Who is told of a run beside its own metrics.jsonl: TensorBoard, or MLflow; each is imported when it is used."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import cv2
import numpy as np

from multibox.data import images
from multibox.data.coco import CocoData
from multibox.drawing import draw
from multibox.errors import DataError, OptionError
from multibox.evaluate import thresholds
from multibox.evaluate.hits import find_hits
from multibox.evaluate.run import Evaluation
from multibox.evaluate.thresholds import Counts
from multibox.files import make_folder
from multibox.structures import Image, shown_from

NUM_IMAGES = 4
"""Number of validation images that are logged with what is found on them: a glance, which every validation repeats."""

SIDE_PX = 640
"""Longest side of a logged image."""

EXPERIMENT = "multibox"
"""Name of the MLflow experiment, unless MLFLOW_EXPERIMENT_NAME has another."""

STORE = "mlruns"
"""The folder where MLflow keeps runs unless MLFLOW_TRACKING_URI names another place; `mlflow ui` looks there, too."""

RUN_TAG = "multibox.run"
"""The tag by which a resumed run finds its MLflow run again."""

MOST_PARAMS = 100
"""Number of parameters that MLflow takes at once."""

LONGEST_PARAM = 500
"""Number of letters of a parameter that every version of MLflow takes."""


@dataclass(frozen=True, slots=True)
class Glance:
    """What a validation looks like: some images (BGR) with the detections drawn, and hits at every threshold."""

    images: tuple[tuple[str, Image], ...]
    counts: Counts
    classes: tuple[str, ...]


class Logger(Protocol):
    """Who is told of a run, by the main process alone."""

    def begin(self, params: Mapping[str, str]) -> None:
        """What the run is made of: settings by their names."""

    def write(self, epoch: int, scalars: Mapping[str, float]) -> None:
        """The numbers of an epoch."""

    def show(self, epoch: int, glance: Glance) -> None:
        """What a validation looks like."""

    def end(self, files: Sequence[Path]) -> None:
        """The run is over, or interrupted, and has left these files."""


class TensorBoardLogger:
    """Writes event files for TensorBoard into a folder; of an earlier attempt, epochs from `first_epoch` on go."""

    def __init__(self, folder: Path, *, first_epoch: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder), purge_step=first_epoch)

    def begin(self, params: Mapping[str, str]) -> None:
        """A table of the settings."""
        rows = "".join(f"| {name} | {value} |\n" for name, value in params.items())
        self._writer.add_text("settings", f"| setting | value |\n|---|---|\n{rows}")

    def write(self, epoch: int, scalars: Mapping[str, float]) -> None:
        """Each number under its name."""
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()

    def show(self, epoch: int, glance: Glance) -> None:
        """The images, and for each class the curve of precision against recall at IoU 0.5."""
        for name, image in glance.images:
            self._writer.add_image(f"validation/{name}", image[:, :, ::-1], epoch, dataformats="HWC")
        counts = glance.counts
        for label, name in enumerate(glance.classes):
            if not counts.num_objects[label]:
                continue
            # TensorBoard wants ascending thresholds; there is no number of background boxes that are rightly left out.
            hits, shown = counts.hits[label], counts.shown[label]
            self._writer.add_pr_curve_raw(
                f"precision_recall/{name}",
                true_positive_counts=hits,
                false_positive_counts=shown - hits,
                true_negative_counts=np.zeros_like(hits),
                false_negative_counts=counts.num_objects[label] - hits,
                precision=counts.precision[label],
                recall=counts.recall[label],
                global_step=epoch,
                num_thresholds=len(hits),
            )
        self._writer.flush()

    def end(self, files: Sequence[Path]) -> None:
        """Finish the event file."""
        self._writer.close()


class MlflowLogger:
    """Tells MLflow of a run: where MLFLOW_TRACKING_URI says, else in files in the folder mlruns.

    A run that is resumed goes on as the same run of MLflow, which `run` (the id in run.json) tells. A training is worth
    more than its log: if the store fails on the way, that is said once, and the training goes on.
    """

    def __init__(self, *, run: str, name: str, say: Callable[[str], None]) -> None:
        if not os.environ.get("MLFLOW_TRACKING_URI"):
            if os.path.lexists(STORE):
                make_folder(Path(STORE))
            # Newer versions want a database and refuse files unless one insists; files need no further library.
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        self._say = say
        self._faults = (MlflowException, OSError)
        self._is_failing = False
        place = os.environ.get("MLFLOW_TRACKING_URI") or Path(STORE).resolve().as_uri()
        experiment_name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        try:
            self._client: Any = MlflowClient(tracking_uri=place)
            known = self._client.get_experiment_by_name(experiment_name)
            experiment = known.experiment_id if known else self._client.create_experiment(experiment_name)
            found = self._client.search_runs([experiment], filter_string=f"tags.`{RUN_TAG}` = '{run}'", max_results=1)
            self._is_resumed = bool(found)
            one = found[0] if found else self._client.create_run(experiment, tags={RUN_TAG: run}, run_name=name)
            self._id = one.info.run_id
            self._client.update_run(self._id, status="RUNNING")
        except self._faults as error:
            raise OptionError(f"--log-to mlflow: {place} cannot be written to: {_first_line(error)}") from error

    def begin(self, params: Mapping[str, str]) -> None:
        """The settings as parameters, which MLflow never changes: those of the first attempt stay."""
        if self._is_resumed:
            return
        from mlflow.entities import Param

        items = [Param(name, value[:LONGEST_PARAM]) for name, value in params.items()]
        with self._kept_going():
            for start in range(0, len(items), MOST_PARAMS):
                self._client.log_batch(self._id, params=items[start : start + MOST_PARAMS])

    def write(self, epoch: int, scalars: Mapping[str, float]) -> None:
        """Each number as a metric; its step is the epoch."""
        with self._kept_going():
            for name, value in scalars.items():
                self._client.log_metric(self._id, name, value, step=epoch)

    def show(self, epoch: int, glance: Glance) -> None:
        """The images as artefacts, a folder for each epoch, and the curves as a table."""
        with TemporaryDirectory() as folder, self._kept_going():
            for number, (_, image) in enumerate(glance.images):
                path = Path(folder) / f"{number}.jpg"
                path.write_bytes(cv2.imencode(".jpg", image)[1].tobytes())
                self._client.log_artifact(self._id, str(path), f"validation/{epoch:05d}")
            table = Path(folder) / "precision_recall.csv"
            table.write_text(_curves_as_csv(glance), encoding="utf-8")
            self._client.log_artifact(self._id, str(table))

    def end(self, files: Sequence[Path]) -> None:
        """The files as artefacts."""
        with self._kept_going():
            for file in files:
                self._client.log_artifact(self._id, str(file))
            self._client.set_terminated(self._id)

    @contextmanager
    def _kept_going(self) -> Iterator[None]:
        """Go on where the store fails, and say so the first time: whatever comes later is tried again."""
        try:
            yield
        except self._faults as error:
            if not self._is_failing:
                self._say(f"MLflow misses a part of this run: {_first_line(error)} The training goes on.")
            self._is_failing = True


def glance_at(evaluation: Evaluation, data: CocoData) -> Glance:
    """What a validation of these data looks like; images that cannot be read are left out."""
    counts = thresholds.count(find_hits(evaluation.detections, data))
    threshold, _ = shown_from(None, thresholds.suggest(counts))
    seen = []
    for record, detections in list(zip(data.records, evaluation.detections, strict=True))[:NUM_IMAGES]:
        try:
            image = images.read_image(record.path, expected_size=(record.width, record.height))
        except DataError:
            continue
        scale = min(1.0, SIDE_PX / max(image.shape[:2]))
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        seen.append((record.file_name, draw(small, detections, data.classes, threshold=threshold)))
    return Glance(tuple(seen), counts, data.classes)


def as_params(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as text by their dotted names, as MLflow and tables have them."""
    params: dict[str, str] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            params |= as_params(value, f"{name}.")
        else:
            params[name] = str(value)
    return params


def _curves_as_csv(glance: Glance) -> str:
    counts = glance.counts
    lines = ["class_number,threshold,precision,recall"]
    for label in np.flatnonzero(counts.num_objects).tolist():
        rows = zip(thresholds.THRESHOLDS.tolist(), counts.precision[label], counts.recall[label], strict=True)
        lines += [f"{label},{threshold},{precision:.6f},{recall:.6f}" for threshold, precision, recall in rows]
    return "\n".join(lines) + "\n"


def _first_line(error: Exception) -> str:
    return f"{str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__}."
