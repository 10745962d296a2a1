"""`multibox train`."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from multibox.commands.console import begin, say, say_command, training_display
from multibox.commands.options import (
    Flag,
    Positive,
    PositiveFloat,
    Verbose,
    command_line,
    require,
    require_together,
    say_next,
)
from multibox.errors import OptionError
from multibox.runs.display import duration
from multibox.wording import Detailed, counted, typed

if TYPE_CHECKING:
    from multibox.runs.run import Run

Share = Annotated[
    float | None, Parameter(validator=lambda _, value: require(value is None or 0 <= value < 1, "from 0 to below 1"))
]


def train(
    data: Annotated[Path | None, Parameter(name=["--data"])] = None,
    *,
    minutes: Annotated[PositiveFloat | None, Parameter(name=["--minutes", "--time-budget"])] = None,
    size: str = "",
    val: Path | None = None,
    val_share: Share = None,
    model: Annotated[str, Parameter(name=["--model", "--config"])] = "",
    out: Annotated[Path | None, Parameter(name=["--out", "--save-checkpoints-to"])] = None,
    name: str = "",
    epochs: Positive | None = None,
    load_weights: str = "",
    resume_from: str = "",
    classes: str = "",
    batch_size: Positive | None = None,
    base_learning_rate: PositiveFloat | None = None,
    seed: int = 0,
    device: str = "auto",
    gpu_num: Annotated[int, Parameter(validator=lambda _, n: require(n is None or n >= 0, "0 or more"))] | None = None,
    skip_bad: Flag = False,
    tensorboard_dir: Path | None = None,
    log_to: Literal["tensorboard", "mlflow"] | None = None,
    train_ann_files: str = "",
    train_data_roots: str = "",
    val_ann_files: str = "",
    val_data_roots: str = "",
    verbose: Verbose = False,
) -> int:
    """Train a detector on your own labelled images.

    Example: multibox train my_photos --minutes 15

    The run is a new folder, runs/my_photos: weights, template, records. Without validation images, a fifth of the
    images is held out to measure on; images that are alike stay together.

    Args:
        data: A labelled data set: a folder, annotation file (.json), data.yaml or .zip of COCO, YOLO, Pascal VOC,
            labelme, CVAT, Label Studio, VIA or Open Images.
        minutes: Train for about this many minutes; the number of epochs is set to fit. Default: the epochs of the
            model.
        size: Side of the network's input in pixels: 256, 384, 512, 640 (yolox_nano alone), or auto for what suits the
            objects and the time. Default: auto; in a work directory, as its template says.
        val: A data set to validate on. Default: the validation part of the data, else images that are held out.
        val_share: Share of the images to hold out where there is no validation part; 0 for none, and then nothing is
            measured. Default: 0.2, but 10 images or more.
        model: A model or template: ssd, yolox_nano, the name of a model such as yolox_nano-384x384, or a template.yaml.
            Default: template.yaml of the work directory, else yolox_nano.
        out: The folder of the run. Default: the next free one in runs; with --train-ann-files, outputs.
        name: Name of the run in the folder runs. Default: that of the data.
        epochs: Total number of epochs. An epoch has 100 steps or more: it repeats a small set.
        load_weights: Weights to start from: a .pth, an OpenVINO model of this family (.xml), a .safetensors, a
            MobileNetV2 classifier (.tflite), or a name. `bundled-classifier` and `bundled-detector` come with
            multibox; `bundled` takes the one that does better in a short trial; `random` takes none. A yolox_nano
            starts from a .pth, `bundled` (its COCO weights), or `random`. Default: those of the work directory, else
            `bundled`.
        resume_from: Run or checkpoint (latest.pth) to resume; without data, on the data of that run and in its folder.
        classes: Names of the classes, separated by commas; a name with a comma goes in double quotes. The order is that
            of the labels. Default: all classes of the annotations, by id.
        batch_size: Images per step and process. Default: the template's, 8 in those of multibox.
        base_learning_rate: The highest learning rate; not scaled by the number of processes. An ssd learns with SGD, as
            the original did, at a rate above 0.01. Default: the template's.
        seed: Of initial weights, order and augmentation.
        device: auto, cpu, cuda, ...
        gpu_num: Graphics cards to use, if there are as many; with --device cpu, the number of processes.
        skip_bad: Skip unusable images and annotations; they are listed in skipped.txt.
        tensorboard_dir: Folder for TensorBoard. Default: tf_logs in the folder of the run.
        log_to: Where settings, metrics and images go beside the files of the run. MLflow is the one of
            MLFLOW_TRACKING_URI, else the folder mlruns here. Default: tensorboard, or as the template says.
        train_ann_files: Instead of a data set: annotation files (COCO json), separated by commas.
        train_data_roots: The folder of images of each annotation file, separated by commas.
        val_ann_files: Annotation files to validate on after each epoch.
        val_data_roots: The folder of images of each of these.
        verbose: Show details: parts of the loss, speed, what the trial of weights measured, versions.
    """
    started_at = time.monotonic()
    begin(verbose=verbose)
    require_together(train_ann_files, train_data_roots, "--train-ann-files", "--train-data-roots")
    require_together(val_ann_files, val_data_roots, "--val-ann-files", "--val-data-roots")
    if minutes is not None and epochs is not None:
        raise OptionError("--minutes and --epochs each set the length of the run. Leave one out.")
    if data is not None and (train_ann_files or val_ann_files or resume_from):
        other = "--resume-from" if resume_from else "--train-ann-files" if train_ann_files else "--val-ann-files"
        raise OptionError(f"{data} and {other} each say what to train on. Leave one out.")
    is_by_files = bool(train_ann_files)
    if not (is_by_files or data or resume_from):
        raise OptionError("Name a data set, such as the folder of your images: multibox train my_photos")

    from multibox.data.coco import split_list
    from multibox.data.reading import DataFiles
    from multibox.runs.training import Wish, resume_run, train_by_files, train_on

    wish = Wish(
        val=val,
        val_share=val_share,
        minutes=minutes,
        epochs=epochs,
        size=size,
        model=model,
        out=out,
        name=name,
        load_weights=load_weights,
        resume_from=resume_from,
        classes=tuple(split_list(classes)),
        batch_size=batch_size,
        base_learning_rate=base_learning_rate,
        gpu_num=gpu_num,
        tensorboard_dir=tensorboard_dir,
        log_to=log_to,
        seed=seed,
        device=device,
        skip_bad=skip_bad,
        started_at=started_at,
        command=shlex.join(["multibox", *command_line]),
        is_verbose=verbose,
    )
    with training_display() as display:
        if is_by_files:
            run = train_by_files(
                DataFiles(train_ann_files, train_data_roots),
                DataFiles(val_ann_files, val_data_roots),
                wish,
                display=display,
                words=command_line,
            )
        elif data is not None:
            run = train_on(data, wish, display=display)
        else:
            run = resume_run(wish, display=display)
    return _report(run, time.monotonic() - started_at, minutes)


def _report(run: Run, seconds: float, minutes: float | None) -> int:
    """Say how the training ended and what to do next; the exit code."""
    from multibox.runs.next_command import next_command
    from multibox.train import distributed
    from multibox.train.progress import TOO_BRIEF

    result = run.training
    if result is None or not distributed.is_main_process():
        return 0
    took = f"{duration(seconds)} ({counted(result.epochs, 'epoch')}, {counted(result.steps, 'step')})"
    if result.is_interrupted:
        left = [] if minutes is None else ["--minutes", f"{max(1, round(minutes - seconds / 60))}"]
        say(f"Stopped after {took}. Go on with:")
        say_command(next_command("train", run, *left, option="--resume-from"))
        return 130
    if run.is_brief:
        say(TOO_BRIEF)
    best = ""
    if result.best is not None and result.best_ap is not None:
        when = f"after epoch {result.best_epoch}" if result.best_epoch else "of the starting weights"
        best = f" Best AP {result.best_ap:.3f}, {when}."
    say(f"Done in {took}.{best}")
    weights = f"Weights: {typed(result.best or result.latest)}"
    say(Detailed(f"{weights}. All of the run: {typed(run.folder)}", brief=weights))
    say_next(run, "train")
    return 0
