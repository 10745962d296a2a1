"""`multibox train`."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
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
    make_folder,
    read_data,
    require,
    require_together,
    say,
    work_template,
)
from multibox.errors import DataError, OptionError
from multibox.files import write_atomically

if TYPE_CHECKING:
    from multibox.config import Template
    from multibox.data.coco import CocoData
    from multibox.train.loop import Result
    from multibox.weights.checkpoint import Checkpoint
    from multibox.weights.start import StartingPoint


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
            multibox, `bundled` for the one of the two that does better in a short trial, or `random`. Default: those
            of the work directory, else `bundled`.
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

    from multibox.data import coco
    from multibox.train import distributed
    from multibox.weights import resolve
    from multibox.weights.start import knows_all_objects

    device, num_processes = _processes(device, gpu_num, template.gpu_num)
    if num_processes > 1 and not distributed.is_launched():
        return distributed.launch(num_processes, command_line)

    resume_from = _restarted_from(save_checkpoints_to) or resume_from
    start, resume = _open_start(template, config, load_weights, resume_from)
    template = resume.template if resume is not None else template
    wanted = coco.split_list(classes) or (resume.classes if resume is not None else None)
    if resume is not None and wanted is not None and tuple(wanted) != resume.classes:
        raise OptionError(
            f"{resume_from} was trained for {', '.join(resume.classes)}; --classes names {', '.join(wanted)}. "
            "Leave --classes out, or start a new run with --load-weights."
        )
    keep_empty = template.train.keep_images_without_objects
    train_data = read_data(train_ann_files, train_data_roots, wanted, skip_bad, keep_images_without_objects=keep_empty)
    if not sum(train_data.objects_per_class):
        raise DataError(f"{train_ann_files}: there is no object of {', '.join(train_data.classes)} to learn from.")
    is_default = start is None and resume is None and load_weights != resolve.RANDOM
    starts = _default_starts(template, config, load_weights, train_data.classes) if is_default else _some(start)
    refining = template.train.refine
    refine = bool(starts) and knows_all_objects(starts[0].classes, train_data)
    if refine:
        say("The starting weights know these classes: they are refined, at a lower learning rate.")
        if base_learning_rate is None:
            base_learning_rate = template.hyper_parameters.basic.base_learning_rate * refining.rate_factor
    given = {"epochs": epochs, "batch_size": batch_size, "base_learning_rate": base_learning_rate}
    template = _with_basic(template, {name: value for name, value in given.items() if value is not None})
    val_data = None
    if val_ann_files:
        val_data = read_data(val_ann_files, val_data_roots, train_data.classes, skip_bad, allow_missing_classes=True)
    _warn(train_data, val_data)
    make_folder(save_checkpoints_to)
    _list_skipped([*train_data.skipped, *(val_data.skipped if val_data else ())], save_checkpoints_to / "skipped.txt")
    if tensorboard_dir is None and template.tensorboard:
        tensorboard_dir = save_checkpoints_to / "tf_logs"

    from multibox.train.run import train as run
    from multibox.train.trial import choose_start

    start = choose_start(
        starts,
        template,
        train_data,
        val_data,
        seed=seed,
        device=device,
        is_alone=not distributed.is_launched(),
        time_budget_minutes=time_budget,
        say=say,
    )
    with TrainingDisplay() as display:
        result = run(
            template,
            train_data,
            save_checkpoints_to,
            display=display,
            val_data=val_data,
            start=start,
            refine=refine,
            resume=resume,
            seed=seed,
            device=device,
            time_budget_minutes=time_budget,
            started_at=started_at,
            tensorboard_dir=tensorboard_dir,
            command=shlex.join(["multibox", *command_line]),
        )
    if distributed.is_main_process():
        _report(result, time.monotonic() - started_at)
    return 130 if result.is_interrupted else 0


def _list_skipped(lines: Sequence[str], file: Path) -> None:
    if lines:
        write_atomically(file, "".join(f"{line}\n" for line in lines))
        say(f"{len(lines)} bad images or annotations left out; they are listed in {file}.")


def _warn(train_data: CocoData, val_data: CocoData | None) -> None:
    """The checks of `multibox doctor` that look at no picture."""
    from multibox.doctor.checks import cheap

    found = cheap({"train": train_data, **({"val": val_data} if val_data else {})})
    for finding in found:
        example = f"; for one, {finding.examples[0]}" if finding.examples else ""
        say(f"{finding.split}: {finding.text}{example}")
    if found:
        say("`multibox doctor` tells more of this.")


def _with_basic(template: Template, changes: dict[str, int | float]) -> Template:
    from multibox.config import replace

    hyper_parameters = template.hyper_parameters
    basic = replace(hyper_parameters.basic, **changes)
    return replace(template, hyper_parameters=replace(hyper_parameters, basic=basic))


def _open_start(
    template: Template, config: str, load_weights: str, resume_from: str
) -> tuple[StartingPoint | None, Checkpoint | None]:
    """The named start of a run, and what it goes on with; a resumed snapshot that holds no run is only a start."""
    from multibox.weights import checkpoint, resolve
    from multibox.weights.start import open_starting_point

    if resume_from:
        resume = checkpoint.load(resume_from, template=template)
        if resume.training is not None:
            return None, resume
        say(f"{resume_from} holds weights but no run to go on with: starting a new run from these weights.")
        load_weights = resume_from
    if load_weights == resolve.RANDOM or _is_default(template, config, load_weights):
        return None, None
    return open_starting_point(load_weights, template), None


def _is_default(template: Template, config: str, load_weights: str) -> bool:
    """Whether no file is named, or just the snapshot that a work directory may have, and it has not."""
    from multibox.weights import resolve

    if load_weights == resolve.BUNDLED:
        return True
    snapshot = _work_directory(config) / template.initial_weights
    return not load_weights or (not Path(load_weights).exists() and Path(load_weights).resolve() == snapshot)


def _some(start: StartingPoint | None) -> list[StartingPoint]:
    return [] if start is None else [start]


def _default_starts(template: Template, config: str, load_weights: str, classes: Sequence[str]) -> list[StartingPoint]:
    """Where a training of these classes may start if no file is named; the first is taken if none is tried."""
    from multibox.weights import resolve
    from multibox.weights.start import open_starting_point

    found = load_weights
    if found != resolve.BUNDLED:
        found = resolve.find(_work_directory(config), template, classes)
        say(f"{load_weights or 'No --load-weights'}: {'not there; ' if load_weights else ''}starting from {found}.")
    names = [resolve.CLASSIFIER, resolve.DETECTOR] if found == resolve.BUNDLED else [found]
    return [open_starting_point(name, template) for name in names]


def _work_directory(config: str) -> Path:
    return Path(config or TEMPLATE_NAME).resolve().parent


def _restarted_from(output: Path) -> str:
    """The checkpoint to go on with if torchrun restarts this very run; empty if it does not, or nothing was saved."""
    from multibox.train import distributed
    from multibox.weights import checkpoint

    latest = output / "latest.pth"
    if not distributed.is_restarted() or not latest.exists():
        return ""
    saved = checkpoint.load(latest)
    if saved.training is None or saved.meta.get("launch") != distributed.run_id():
        return ""
    if distributed.is_main_process():
        say(f"A process failed, and torchrun started anew: going on from {latest}.")
    return str(latest)


def _processes(device: str, gpu_num: int | None, template_gpu_num: int) -> tuple[str, int]:
    """The device, and how many processes: one per graphics card, or as many as asked for with `--device cpu`."""
    if device == "cpu":
        return device, max(1, gpu_num or 1)
    if gpu_num == 0 and device == "auto":
        return "cpu", 1
    import torch

    from multibox.runtime.torch_runtime import pick_device

    pick_device(device)
    available = torch.cuda.device_count()
    if gpu_num is not None and gpu_num > available:
        instead = f"using {available}" if available else "training on the processor"
        say(f"--gpu-num {gpu_num}: this machine has {available} graphics cards; {instead}.")
    return device, max(1, min(gpu_num if gpu_num is not None else template_gpu_num, available))


def _report(result: Result, seconds: float) -> None:
    took = f"{result.epochs} epochs, {result.steps} steps in {duration(seconds)}"
    if result.is_interrupted:
        say(f"Stopped after {took}. Go on with --resume-from {shlex.quote(str(result.latest))}.")
        return
    say(f"Done: {took}, {result.images_per_second:.1f} img/s. Last weights: {result.latest}")
    if result.best is not None:
        when = f"after epoch {result.best_epoch}" if result.best_epoch else "of the starting weights"
        say(f"Best: AP {result.best_ap:.3f} {when}. Weights: {result.best}")
