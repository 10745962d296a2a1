"""A training from what a user names: files of data, weights by name, options. `run.train` does it."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from multibox import config
from multibox.config import Template
from multibox.data.coco import CocoData
from multibox.data.reading import DataFiles, read_data
from multibox.errors import DataError, DependencyError, OptionError
from multibox.files import make_folder
from multibox.train.distributed import is_launched, is_main_process, is_restarted, run_id
from multibox.train.folder import BOARD, check_folder
from multibox.train.loop import Display, TrainingResult
from multibox.train.run import train
from multibox.train.trial import choose_start
from multibox.weights import checkpoint
from multibox.weights.resolve import NamedStart, default_starts, named_start
from multibox.weights.start import StartingPoint, knows_all_objects
from multibox.wording import Detailed

LogTo = Literal["tensorboard", "mlflow"]
"""Whom a run tells of its epochs, beside its own files."""

NO_TENSORBOARD = 'TensorBoard is not installed. Install it with: pip install "multibox[tensorboard]"'
"""What is said where records for TensorBoard are wanted and cannot be made."""


@dataclass(frozen=True, kw_only=True)
class TrainingRequest:
    """What a user asks of a training. Options that are None are left to the template.

    `work_directory` is the folder of the template, whose weights serve if `load_weights` names none. `started_at` is
    the time of `time.monotonic` from which `time_budget_minutes` counts. `command` is what was typed, for the record;
    `template_file` the file of the template, if it is one.
    """

    template: Template
    work_directory: Path
    train_files: DataFiles
    val_files: DataFiles
    output: Path
    load_weights: str = ""
    resume_from: str = ""
    epochs: int | None = None
    batch_size: int | None = None
    base_learning_rate: float | None = None
    classes: tuple[str, ...] = ()
    tensorboard_dir: Path | None = None
    log_to: LogTo | None = None
    seed: int = 0
    device: str = "auto"
    time_budget_minutes: float | None = None
    skip_bad: bool = False
    started_at: float | None = None
    command: str = ""
    template_file: str = ""


def prepare_training(
    request: TrainingRequest, display: Display, *, check: Callable[[Mapping[str, CocoData]], None]
) -> Callable[[], TrainingResult]:
    """Read the data and find what to start from; what is returned trains. All worth knowing is a line on the display.

    `check` is called with the data of each split ("train", "val") before anything slow begins.

    Raises:
        DependencyError: a folder for TensorBoard is named and TensorBoard is not installed.
        DataError: the data cannot be read, or have nothing to learn from.
        CheckpointError: weights that are named cannot be read or are of another network.
        OptionError: the options contradict each other, or a folder cannot be written to.
        DependencyError: a library that the options need is not installed.
        TrainingError: see `run.train`.
    """
    check_loggers(request.log_to, request.tensorboard_dir)
    started_at = time.monotonic() if request.started_at is None else request.started_at
    say = display.line
    tensorboard_dir = _tensorboard_dir(request, say)
    resume_from = _restarted_from(request.output, say) or request.resume_from
    named = named_start(request.load_weights, resume_from, request.template, request.work_directory)
    if named.remark:
        say(named.remark)
    template = request.template if named.resume is None else named.resume.template
    train_data = _train_data(request, template, _wanted_classes(request, named, resume_from), say)
    starts = [named.start] if named.start is not None else []
    if named.is_default:
        starts, remark = default_starts(request.load_weights, template, request.work_directory, train_data.classes)
        if remark:
            say(remark)
    refine = bool(starts) and knows_all_objects(starts[0].classes, train_data)
    if refine:
        say("The starting weights know these classes: they are refined, at a lower learning rate.")
    template = _with_options(template, request, say, refine=refine, is_resumed=named.resume is not None)
    val_data = _val_data(request, train_data, say)
    check({"train": train_data} | ({"val": val_data} if val_data else {}))
    resumed_from = Path(resume_from) if named.resume is not None else None
    if is_main_process():
        read = [name for name in (request.load_weights, resume_from, request.template_file) if name]
        files = [file for part in (train_data, val_data) if part is not None for file, _ in part.sources]
        check_folder(request.output, read=[*read, *files], resumed_from=resumed_from)
        make_folder(request.output)
    return partial(
        train,
        template,
        train_data,
        request.output,
        display=display,
        val_data=val_data,
        start=_chosen(starts, template, train_data, val_data, request, say),
        refine=refine,
        resume=named.resume,
        resumed_from=resumed_from,
        seed=request.seed,
        device=request.device,
        time_budget_minutes=request.time_budget_minutes,
        started_at=started_at,
        tensorboard_dir=tensorboard_dir,
        has_mlflow=request.log_to == "mlflow",
        command=request.command,
    )


def check_loggers(log_to: str | None, tensorboard_dir: Path | None) -> None:
    """Refuse to tell of a run what is not installed, see `TrainingRequest`.

    Raises:
        DependencyError: MLflow or TensorBoard is asked for and missing.
    """
    if log_to == "mlflow" and importlib.util.find_spec("mlflow") is None:
        raise DependencyError('--log-to mlflow needs MLflow. Install it with: pip install "multibox[mlflow]"')
    is_board_named = tensorboard_dir is not None or log_to == "tensorboard"
    if is_board_named and importlib.util.find_spec("tensorboard") is None:
        raise DependencyError(NO_TENSORBOARD)


def _tensorboard_dir(request: TrainingRequest, say: Callable[[str], None]) -> Path | None:
    """The folder for TensorBoard: the one that is named, or the usual one if option or template want it."""
    is_wanted = request.template.tensorboard if request.log_to is None else request.log_to == "tensorboard"
    if request.tensorboard_dir is None and not is_wanted:
        return None
    if importlib.util.find_spec("tensorboard") is not None:
        return request.tensorboard_dir or request.output / BOARD
    say(Detailed(f"No records for TensorBoard: {NO_TENSORBOARD}"))
    return None


def _restarted_from(output: Path, say: Callable[[str], None]) -> str:
    """The checkpoint to go on with if torchrun restarts this very run; empty if it does not, or nothing was saved."""
    latest = output / "latest.pth"
    if not is_restarted() or not latest.exists():
        return ""
    saved = checkpoint.load(latest)
    if saved.training is None or saved.meta.get("launch") != run_id():
        return ""
    if is_main_process():
        say(f"A process failed, and torchrun started again: resuming from {latest}.")
    return str(latest)


def _wanted_classes(request: TrainingRequest, named: NamedStart, resume_from: str) -> tuple[str, ...] | None:
    """The classes to train: those that are named, those of a run to go on with, or None for all of the data."""
    resume = named.resume
    if resume is None:
        return request.classes or None
    if request.classes and request.classes != resume.classes:
        raise OptionError(
            f"{resume_from} was trained for {', '.join(resume.classes)}; --classes names {', '.join(request.classes)}. "
            "Leave --classes out, or start a new run with --load-weights."
        )
    return resume.classes


def _train_data(
    request: TrainingRequest, template: Template, classes: Sequence[str] | None, say: Callable[[str], None]
) -> CocoData:
    data = read_data(
        request.train_files,
        classes,
        say,
        skip_bad=request.skip_bad,
        keep_images_without_objects=template.train.keep_images_without_objects,
    )
    if not sum(data.objects_per_class):
        raise DataError(f"{request.train_files.name}: there is no object of {', '.join(data.classes)} to learn from.")
    return data


def _val_data(request: TrainingRequest, train_data: CocoData, say: Callable[[str], None]) -> CocoData | None:
    if not request.val_files.annotations:
        return None
    return read_data(request.val_files, train_data.classes, say, skip_bad=request.skip_bad, allow_missing_classes=True)


LARGEST_ADAMW_RATE = 0.01
"""Learning rate above which AdamW does not learn, and SGD does."""


def _with_options(
    template: Template, request: TrainingRequest, say: Callable[[str], None], *, refine: bool, is_resumed: bool = False
) -> Template:
    """The template with what the options say; a run that refines its start has a lower learning rate unless told.

    The original learned with SGD: an SSD does so with a rate that is only good for that.

    Raises:
        OptionError: the rate is for SGD, and the run to resume began with AdamW.
    """
    basic = template.hyper_parameters.basic
    rate = request.base_learning_rate
    if refine and rate is None:
        rate = basic.base_learning_rate * template.train.refine.rate_factor
    options = {"epochs": request.epochs, "batch_size": request.batch_size, "base_learning_rate": rate}
    changes: dict[str, float | str] = {
        f"hyper_parameters.basic.{name}": value for name, value in options.items() if value is not None
    }
    is_for_sgd = template.train.optimizer == "adamw" and rate is not None and rate > LARGEST_ADAMW_RATE
    if is_for_sgd and config.family_of(template) == "ssd":
        if is_resumed:
            raise OptionError(
                f"--base-learning-rate {rate:g}: the run to resume learns with AdamW, for which that is too much. "
                f"Leave it out, or take {LARGEST_ADAMW_RATE:g} at most."
            )
        say(f"--base-learning-rate {rate:g} is a rate of SGD: this run learns with SGD, not with AdamW.")
        changes["train.optimizer"] = "sgd"
    return config.changed(template, changes)


def _chosen(
    starts: Sequence[StartingPoint],
    template: Template,
    train_data: CocoData,
    val_data: CocoData | None,
    request: TrainingRequest,
    say: Callable[[str], None],
) -> StartingPoint | None:
    return choose_start(
        starts,
        template,
        train_data,
        val_data,
        seed=request.seed,
        device=request.device,
        is_alone=not is_launched(),
        time_budget_minutes=request.time_budget_minutes,
        say=say,
    )
