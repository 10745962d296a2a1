"""`multibox train`."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from multibox.commands.console import TrainingDisplay, duration
from multibox.commands.options import (
    TEMPLATE_NAME,
    Flag,
    Positive,
    PositiveFloat,
    command_line,
    require,
    require_together,
    say,
    work_directory,
    work_template,
)
from multibox.errors import OptionError

if TYPE_CHECKING:
    from multibox.data.coco import CocoData
    from multibox.train.loop import TrainingResult


def train(
    *,
    train_ann_files: str,
    train_data_roots: str,
    val_ann_files: str = "",
    val_data_roots: str = "",
    load_weights: str = "",
    resume_from: str = "",
    save_checkpoints_to: Path = Path("outputs"),
    epochs: Positive | None = None,
    batch_size: Positive | None = None,
    base_learning_rate: PositiveFloat | None = None,
    gpu_num: Annotated[int, Parameter(validator=lambda _, n: require(n is None or n >= 0, "0 or more"))] | None = None,
    classes: str = "",
    tensorboard_dir: Path | None = None,
    config: str = "",
    seed: int = 0,
    device: str = "auto",
    time_budget: PositiveFloat | None = None,
    skip_bad: Flag = False,
) -> int:
    """Train a detector on COCO data.

    Args:
        train_ann_files: Annotation files (COCO json), separated by commas.
        train_data_roots: The folder of images of each annotation file, separated by commas.
        val_ann_files: Annotation files to validate on after each epoch.
        val_data_roots: The folder of images of each of these.
        load_weights: Weights to start from: a .pth, an OpenVINO model of this family (.xml), a .safetensors, a
            MobileNetV2 classifier (.tflite), `bundled-classifier` or `bundled-detector` for those that come with
            multibox, `bundled` for the one of the two that does better in a short trial, or `random`. A yolox_nano
            starts from a .pth, `bundled` (its COCO weights), or `random`. Default: those of the work directory, else
            `bundled`.
        resume_from: Checkpoint of a run to go on with, as if it had never stopped.
        save_checkpoints_to: Folder for latest.pth, best.pth and the records of the run.
        epochs: Total number of epochs. A set too small for 50 steps is shown several times in an epoch.
        batch_size: Images per step and process.
        base_learning_rate: The highest learning rate; not scaled by the number of processes.
        gpu_num: Graphics cards to use, if there are as many; with --device cpu, the number of processes.
        classes: Names of the classes, separated by commas; a name with a comma goes in double quotes. The order is that
            of the labels. Default: all classes of the annotations, by id.
        tensorboard_dir: Folder for TensorBoard. Default: tf_logs in the folder of the checkpoints.
        config: The template, by path or by the name of a model. Default: template.yaml of the work directory.
        seed: Of initial weights, order and augmentation.
        device: auto, cpu, cuda, ...
        time_budget: Minutes after which the best weights are to be there; the number of epochs follows from it.
        skip_bad: Leave out images and annotations that cannot be used, and list them in skipped.txt.
    """
    started_at = time.monotonic()
    template = work_template(config)
    require_together(val_ann_files, val_data_roots, "--val-ann-files", "--val-data-roots")
    if time_budget is not None and epochs is not None:
        raise OptionError("--time-budget and --epochs each set the length of the run. Leave one out.")

    from multibox.data.coco import split_list
    from multibox.data.reading import DataFiles
    from multibox.train import distributed
    from multibox.train.devices import processes_wanted
    from multibox.train.request import TrainingRequest, prepare_training

    device, num_processes, remark = processes_wanted(device, gpu_num, template.gpu_num)
    if remark:
        say(remark)
    if num_processes > 1 and not distributed.is_launched():
        return distributed.launch(num_processes, command_line)
    request = TrainingRequest(
        template=template,
        work_directory=work_directory(config),
        train_files=DataFiles(train_ann_files, train_data_roots),
        val_files=DataFiles(val_ann_files, val_data_roots),
        output=save_checkpoints_to,
        load_weights=load_weights,
        resume_from=resume_from,
        epochs=epochs,
        batch_size=batch_size,
        base_learning_rate=base_learning_rate,
        classes=tuple(split_list(classes)),
        tensorboard_dir=tensorboard_dir,
        seed=seed,
        device=device,
        time_budget_minutes=time_budget,
        skip_bad=skip_bad,
        started_at=started_at,
        command=shlex.join(["multibox", *command_line]),
        template_file=config or TEMPLATE_NAME,
    )
    with TrainingDisplay() as display:
        train_now = prepare_training(request, display, check=_warn)
        result = train_now()
    if distributed.is_main_process():
        _report(result, time.monotonic() - started_at)
    return 130 if result.is_interrupted else 0


def _warn(splits: Mapping[str, CocoData]) -> None:
    """Say what the checks of `multibox doctor` find that look at no image."""
    from multibox.doctor.checks import cheap

    findings = cheap(splits)
    for finding in findings:
        example = f"; for one, {finding.examples[0]}" if finding.examples else ""
        say(f"{finding.split}: {finding.text}{example}")
    if findings:
        say("`multibox doctor` tells more of this.")


def _report(result: TrainingResult, seconds: float) -> None:
    took = f"{result.epochs} epochs, {result.steps} steps in {duration(seconds)}"
    if result.is_interrupted:
        say(f"Stopped after {took}. Go on with --resume-from {shlex.quote(str(result.latest))}.")
        return
    say(f"Done: {took}, {result.images_per_second:.1f} img/s. Last weights: {result.latest}")
    if result.best is not None:
        when = f"after epoch {result.best_epoch}" if result.best_epoch else "of the starting weights"
        say(f"Best: AP {result.best_ap:.3f} {when}. Weights: {result.best}")
