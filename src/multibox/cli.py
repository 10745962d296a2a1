"""The command line: options to one call, errors to one line and an exit code. Heavy imports wait for their command."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, CycloptsError, Parameter

from multibox import __version__
from multibox.console import TrainingDisplay, console, counting, duration, errors
from multibox.errors import DataError, MultiboxError, OptionError
from multibox.files import write_atomically

if TYPE_CHECKING:
    from multibox.checkpoint import Checkpoint
    from multibox.config import Template
    from multibox.data.coco import CocoData, Record
    from multibox.images import Image
    from multibox.loop import Result
    from multibox.starting_point import StartingPoint
    from multibox.structures import Detections

app = App(
    name="multibox",
    help="Train a lightweight detector on your own objects and deploy it to OpenVINO.",
    version=__version__,
    help_flags=["--help", "-h"],
)

TEMPLATE_NAME = "template.yaml"

EXTRA_OF = {"torch": "train", "lightning_fabric": "train", "tensorboard": "train", "faster_coco_eval": "eval"}
"""The extra of this package that brings a library."""

_command_line: list[str] = []
"""The words of the running command, for the record of a run and for the processes that it starts."""

Positive = Annotated[int, Parameter(validator=lambda _, value: _require(value is None or value > 0, "above 0"))]
PositiveFloat = Annotated[float, Parameter(validator=lambda _, value: _require(value is None or value > 0, "above 0"))]


def main(arguments: Sequence[str] | None = None, *, template: Path | None = None) -> int:
    """Run a command and return its exit code: 0, 1 a failed training, 2 bad input, 130 interrupted.

    `template`: the template of the work directory that the command belongs to; it stands in for `--config`.
    """
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    if template is not None and not any(token.split("=")[0] == "--config" for token in tokens):
        tokens += ["--config", str(template)]
    _command_line[:] = tokens
    try:
        code = app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        errors.print(f"multibox: {' '.join(str(error).split())}", markup=False)
        return 2
    except MultiboxError as error:
        errors.print(str(error), markup=False)
        return error.exit_code
    except ModuleNotFoundError as error:
        name = (error.name or "").split(".")[0]
        if name not in EXTRA_OF:
            raise
        errors.print(f'This needs {name}. Install it with: pip install "multibox[{EXTRA_OF[name]}]"', markup=False)
        return 2
    except KeyboardInterrupt:
        errors.print("Interrupted.")
        return 130
    except OSError as error:
        # The ways of a file system are endless: full, read-only, gone. The system's own words say which.
        where = f"{error.filename}: " if error.filename else ""
        errors.print(f"{where}{error.strerror or error}.", markup=False)
        return 2
    return code if isinstance(code, int) else 0


@app.command
def new(
    template: str,
    output: Path,
    /,
    *,
    do_not_load_snapshot: Annotated[bool, Parameter(negative=())] = False,
    verbose: Annotated[bool, Parameter(name=["--verbose", "-v"], negative=())] = False,
) -> int:
    """Make a work directory for a model: its template, the commands, and weights to start from.

    Args:
        template: Path of a template.yaml, or the name of a model: mobilenet_v2-2s_ssd-256x256, -384x384 or -512x512.
        output: The work directory; made if it is not there. Files that are there and differ are kept.
        do_not_load_snapshot: Do not download the published starting weights.
        verbose: Say what each file is.
    """
    from multibox.instantiate import instantiate

    folder = instantiate(template, output, load_snapshot=not do_not_load_snapshot, report=_say)
    _say(f"{folder} is ready: go there and run `multibox train --help`.")
    if verbose:
        for path in sorted(output.iterdir()):
            _say(f"{path} ({path.stat().st_size} bytes)")
    return 0


@app.command
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
    gpu_num: Annotated[int, Parameter(validator=lambda _, n: _require(n is None or n >= 0, "0 or more"))] | None = None,
    classes: str = "",
    tensorboard_dir: Path | None = None,
    config: str = "",
    seed: int = 0,
    device: str = "auto",
    time_budget: PositiveFloat | None = None,
    skip_bad: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Train a detector on COCO data.

    Args:
        train_ann_files: Annotation files (COCO json), separated by commas.
        train_data_roots: The folder of images of each annotation file, separated by commas.
        val_ann_files: Annotation files to validate on after each epoch.
        val_data_roots: The folder of images of each of these.
        load_weights: Weights to start from: a .pth, or an OpenVINO model of this family (.xml).
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
    template = _template(config)
    _require_together(val_ann_files, val_data_roots, "--val-ann-files", "--val-data-roots")
    if time_budget is not None and epochs is not None:
        raise OptionError("--time-budget and --epochs each set the length of the run. Leave one out.")

    from multibox import distributed
    from multibox.data import coco
    from multibox.starting_point import knows_all_objects

    device, num_processes = _processes(device, gpu_num, template.gpu_num)
    if num_processes > 1 and not distributed.is_launched():
        return distributed.launch(num_processes, _command_line)

    start, resume = _open_start(template, config, load_weights, resume_from)
    template = resume.template if resume is not None else template
    wanted = coco.split_list(classes) or (resume.classes if resume is not None else None)
    if resume is not None and wanted is not None and tuple(wanted) != resume.classes:
        raise OptionError(
            f"{resume_from} was trained for {', '.join(resume.classes)}; --classes names {', '.join(wanted)}. "
            "Leave --classes out, or start a new run with --load-weights."
        )
    keep_empty = template.train.keep_images_without_objects
    train_data = _read(train_ann_files, train_data_roots, wanted, skip_bad, keep_images_without_objects=keep_empty)
    if not sum(train_data.objects_per_class):
        raise DataError(f"{train_ann_files}: there is no object of {', '.join(train_data.classes)} to learn from.")
    refining = template.train.refine
    refine = start is not None and knows_all_objects(start.classes, train_data)
    if refine:
        _say("The starting weights know these classes: they are refined, at a lower learning rate.")
        if base_learning_rate is None:
            base_learning_rate = template.hyper_parameters.basic.base_learning_rate * refining.rate_factor
    given = {"epochs": epochs, "batch_size": batch_size, "base_learning_rate": base_learning_rate}
    template = _with_basic(template, {name: value for name, value in given.items() if value is not None})
    val_data = None
    if val_ann_files:
        val_data = _read(val_ann_files, val_data_roots, train_data.classes, skip_bad, allow_missing_classes=True)
    _make_folder(save_checkpoints_to)
    skipped = [*train_data.skipped, *(val_data.skipped if val_data else ())]
    if skipped:
        write_atomically(save_checkpoints_to / "skipped.txt", "".join(f"{line}\n" for line in skipped))
        _say(
            f"{len(skipped)} bad images or annotations left out; "
            f"they are listed in {save_checkpoints_to / 'skipped.txt'}."
        )
    if tensorboard_dir is None and template.tensorboard:
        tensorboard_dir = save_checkpoints_to / "tf_logs"

    from multibox.train import train as run

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
            command=shlex.join(["multibox", *_command_line]),
        )
    if distributed.is_main_process():
        _report(result, time.monotonic() - started_at)
    return 130 if result.is_interrupted else 0


@app.command(name="eval")
def evaluate(
    *,
    load_weights: Path,
    test_ann_files: str,
    test_data_roots: str,
    save_metrics_to: Path | None = None,
    save_output_to: Path | None = None,
    save_detections_to: Path | None = None,
    classes: str = "",
    config: str = "",
    device: str = "auto",
    threshold: Annotated[float, Parameter(validator=lambda _, v: _require(0 <= v <= 1, "from 0 to 1"))] = 0.3,
    skip_bad: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Measure a detector on COCO data: average precision, in total and of each class.

    Args:
        load_weights: The model.
        test_ann_files: Annotation files (COCO json), separated by commas.
        test_data_roots: The folder of images of each annotation file, separated by commas.
        save_metrics_to: YAML file for size, complexity and AP; a .json with all metrics is written beside it.
        save_output_to: Folder for the images with their detections drawn.
        save_detections_to: JSON file for the detections in the COCO result format.
        classes: Must name the classes of the model, in its order; default: these.
        config: Template of a snapshot that carries none. Default: template.yaml of the work directory.
        device: auto, cpu, cuda, ...
        threshold: Score from which a detection is drawn.
        skip_bad: Leave out images and annotations that cannot be used.
    """
    from multibox import evaluate as evaluation
    from multibox import report
    from multibox.data import coco
    from multibox.draw import draw, save_drawing
    from multibox.runtimes import open_runtime

    template = _find_template(config)
    wanted = coco.split_list(classes)
    runtime = open_runtime(load_weights, template=template, classes=wanted or None, device=device)
    names = evaluation.check_classes(runtime.classes, wanted)
    data = _read(test_ann_files, test_data_roots, names, skip_bad, allow_missing_classes=True)

    def save_picture(record: Record, image: Image, detections: Detections) -> None:
        if save_output_to is not None:
            save_drawing(
                save_output_to, record.file_name, draw(image, detections, runtime.classes, threshold=threshold)
            )

    with counting("Evaluating", len(data.records)) as progress:
        found = evaluation.evaluate(runtime, data, progress=progress, on_image=save_picture)
    console.print(report.table(found.metrics))
    if save_metrics_to is not None:
        size, complexity = _size_and_complexity(len(names), runtime.input_size)
        for path, write in (
            (save_metrics_to, report.write_metrics_yaml),
            (save_metrics_to.with_suffix(".json"), report.write_metrics_json),
        ):
            write(
                path,
                weights_path=load_weights,
                metrics=found.metrics,
                size_mp=size,
                complexity_gflops=complexity,
            )
        _say(f"Metrics: {save_metrics_to} and {save_metrics_to.with_suffix('.json').name}")
    if save_detections_to is not None:
        report.write_detections(save_detections_to, found.detections, data)
        _say(f"Detections: {save_detections_to}")
    if save_output_to is not None:
        _say(f"Pictures: {save_output_to}")
    return 0


def _template(name: str) -> Template:
    """The template that `--config` names, or that of the folder the command runs in."""
    found = _find_template(name)
    if found is None:
        raise OptionError(
            f"There is no {TEMPLATE_NAME} in this folder. Make a work directory with `multibox new`, "
            "or name a model or a template with --config."
        )
    return found


def _find_template(name: str) -> Template | None:
    from multibox import config
    from multibox.instantiate import bundled_templates

    bundled = bundled_templates()
    if name in bundled:
        return config.load(bundled[name])
    if name or Path(TEMPLATE_NAME).exists():
        return config.load(name or TEMPLATE_NAME)
    return None


def _with_basic(template: Template, changes: dict[str, int | float]) -> Template:
    from multibox.config import replace

    hyper_parameters = template.hyper_parameters
    basic = replace(hyper_parameters.basic, **changes)
    return replace(template, hyper_parameters=replace(hyper_parameters, basic=basic))


def _size_and_complexity(num_classes: int, input_size: int) -> tuple[float, float] | tuple[None, None]:
    """Mp and GFLOPs of a network of this family, whatever form it is in, as the original reported them."""
    from multibox import config
    from multibox.complexity import complexity_gflops, size_mp
    from multibox.instantiate import bundled_templates

    template = config.load(next(iter(bundled_templates().values())))
    try:
        from multibox.model import ssd
    except ModuleNotFoundError:
        _say('Size and complexity are not reported: computing them needs PyTorch (pip install "multibox[train]").')
        return None, None
    network = ssd.build(template, num_classes=num_classes)
    return size_mp(network), complexity_gflops(network, input_size)


def _open_start(
    template: Template, config: str, load_weights: str, resume_from: str
) -> tuple[StartingPoint | None, Checkpoint | None]:
    """What a run starts from, and what it goes on with; a resumed snapshot that holds no run is only a start."""
    from multibox import checkpoint
    from multibox.starting_point import open_starting_point

    if resume_from:
        resume = checkpoint.load(resume_from, template=template)
        if resume.training is not None:
            return None, resume
        _say(f"{resume_from} holds weights but no run to go on with: starting a new run from these weights.")
        load_weights = resume_from
    if not load_weights:
        return None, None
    snapshot = Path(config or TEMPLATE_NAME).resolve().parent / template.initial_weights
    if not Path(load_weights).exists() and Path(load_weights).resolve() == snapshot:
        _say(f"{load_weights} was never downloaded: starting from random weights.")
        return None, None
    return open_starting_point(load_weights, template), None


def _processes(device: str, gpu_num: int | None, template_gpu_num: int) -> tuple[str, int]:
    """The device, and how many processes: one per graphics card, or as many as asked for with `--device cpu`."""
    if device == "cpu":
        return device, max(1, gpu_num or 1)
    if gpu_num == 0 and device == "auto":
        return "cpu", 1
    import torch

    from multibox.runtimes import pick_device

    pick_device(device)
    available = torch.cuda.device_count()
    if gpu_num is not None and gpu_num > available:
        instead = f"using {available}" if available else "training on the processor"
        _say(f"--gpu-num {gpu_num}: this machine has {available} graphics cards; {instead}.")
    return device, max(1, min(gpu_num if gpu_num is not None else template_gpu_num, available))


def _read(
    annotation_files: str,
    data_roots: str,
    classes: Sequence[str] | None,
    skip_bad: bool,
    *,
    keep_images_without_objects: bool = True,
    allow_missing_classes: bool = False,
) -> CocoData:
    from multibox.data import coco

    data = coco.read(
        coco.split_list(annotation_files),
        coco.split_list(data_roots),
        classes=classes,
        skip_bad=skip_bad,
        keep_images_without_objects=keep_images_without_objects,
        allow_missing_classes=allow_missing_classes,
    )
    missing = [name for name, category in zip(data.classes, data.category_ids, strict=True) if category is None]
    if missing:
        _say(f"{annotation_files}: there are no annotations of {', '.join(missing)}; nothing is measured for them.")
    if data.num_clipped:
        _say(f"{annotation_files}: {data.num_clipped} boxes reach over the border of their image; clipped.")
    return data


def _report(result: Result, seconds: float) -> None:
    took = f"{result.epochs} epochs, {result.steps} steps in {duration(seconds)}"
    if result.is_interrupted:
        _say(f"Stopped after {took}. Go on with --resume-from {shlex.quote(str(result.latest))}.")
        return
    _say(f"Done: {took}, {result.images_per_second:.1f} img/s. Last weights: {result.latest}")
    if result.best is not None:
        when = f"after epoch {result.best_epoch}" if result.best_epoch else "of the starting weights"
        _say(f"Best: AP {result.best_ap:.3f} {when}. Weights: {result.best}")


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
        writable = os.access(path, os.W_OK)
    except OSError as error:
        raise OptionError(f"{path}: cannot make this folder: {error.strerror}.") from error
    if not writable:
        raise OptionError(f"{path}: this folder cannot be written to. Name another one.")


def _require(is_met: bool, what: str) -> None:
    if not is_met:
        raise ValueError(f"must be {what}")


def _require_together(first: str, second: str, first_name: str, second_name: str) -> None:
    if bool(first) != bool(second):
        raise OptionError(f"{first_name} and {second_name} go together: give both or neither.")


def _say(text: str) -> None:
    console.print(text, markup=False)
