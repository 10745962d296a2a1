"""`multibox compress`."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from multibox.commands.console import TrainingDisplay, console, duration
from multibox.commands.options import (
    Flag,
    Positive,
    PositiveFloat,
    command_line,
    find_template,
    read_named_data,
    recorded_data,
    require,
    require_together,
    say,
)
from multibox.errors import CheckpointError, OptionError
from multibox.files import kind_of, make_folder

if TYPE_CHECKING:
    from multibox.compress.ladder import Plan
    from multibox.compress.result import CompressResult
    from multibox.data.coco import CocoData
    from multibox.data.reading import DataFiles
    from multibox.weights.checkpoint import Checkpoint


def compress(
    *,
    load_weights: Path,
    train_ann_files: str = "",
    train_data_roots: str = "",
    val_ann_files: str = "",
    val_data_roots: str = "",
    resume_from: str = "",
    save_checkpoints_to: Path = Path("compressed"),
    batch_size: Positive | None = None,
    gpu_num: Annotated[int, Parameter(validator=lambda _, n: require(n is None or n >= 0, "0 or more"))] | None = None,
    classes: str = "",
    nncf_quantization: Flag = True,
    max_drop: float = 0.5,
    method: Literal["auto", "ptq", "qat"] = "auto",
    time_budget: PositiveFloat | None = None,
    seed: int = 0,
    config: str = "",
    skip_bad: Flag = False,
) -> int:
    """Make a detector compute in 8 bits, and measure what that costs.

    Methods are tried from the quickest on until one loses no more than --max-drop: quantised after training, with
    thorough correction, trained on in 8 bits. What counts is the exported file in OpenVINO. If no method meets
    --max-drop, the best result is kept with a warning (exit code 0).

    Args:
        load_weights: The checkpoint (.pth), or an exported OpenVINO model (.xml), which then needs no PyTorch.
        train_ann_files: Annotation files (COCO json) whose images say how large values get. Default: those of the
            training, if they are still there.
        train_data_roots: The folder of images of each of these.
        val_ann_files: Annotation files to measure on. Default: those that the training validated on.
        val_data_roots: The folder of images of each of these.
        resume_from: qat/latest.pth of a compression that was stopped while it trained, to go on from there.
        save_checkpoints_to: Folder for latest.pth (or model.xml, model.bin) and compress.json.
        batch_size: Images per step of training in 8 bits.
        gpu_num: 0 trains on the processor; more than one graphics card is not used.
        classes: Must name the classes of the model, in its order; default: these.
        nncf_quantization: Quantise to 8 bits; the only kind of compression, so it may be left out.
        max_drop: AP points (of 100) that may be lost on the validation set.
        method: auto, ptq (no training), or qat (quantise, then train in any case).
        time_budget: Minutes; methods that do not fit are left out, and training is cut short.
        seed: Of the choice of images, and of the training.
        config: Template of a snapshot that carries none. Default: template.yaml of the work directory.
        skip_bad: Leave out images and annotations that cannot be used.
    """
    started_at = time.monotonic()
    require_together(train_ann_files, train_data_roots, "--train-ann-files", "--train-data-roots")
    require_together(val_ann_files, val_data_roots, "--val-ann-files", "--val-data-roots")
    _check_output(load_weights, save_checkpoints_to)

    from multibox.compress.ladder import Plan

    deadline = None if time_budget is None else started_at + 60 * time_budget
    plan = Plan(method=method, max_drop=max_drop, deadline=deadline, seed=seed)
    from multibox.data.reading import DataFiles

    train_files, val_files = DataFiles(train_ann_files, train_data_roots), DataFiles(val_ann_files, val_data_roots)
    if kind_of(load_weights) == "openvino":
        if resume_from:
            raise OptionError(f"{load_weights}: a file is not trained. --resume-from needs a checkpoint (.pth).")
        result = _compress_file(
            load_weights, train_files, val_files, save_checkpoints_to, plan, classes=classes, skip_bad=skip_bad
        )
    else:
        result = _compress_checkpoint(
            load_weights,
            train_files,
            val_files,
            save_checkpoints_to,
            plan,
            classes=classes,
            config=config,
            skip_bad=skip_bad,
            batch_size=batch_size,
            device=_device(gpu_num),
            resume_from=resume_from,
        )
    return _report(result, save_checkpoints_to, time.monotonic() - started_at)


def _compress_checkpoint(
    path: Path,
    train_files: DataFiles,
    val_files: DataFiles,
    output: Path,
    plan: Plan,
    *,
    classes: str,
    config: str,
    skip_bad: bool,
    batch_size: int | None,
    device: str,
    resume_from: str,
) -> CompressResult:
    from multibox.data import coco
    from multibox.evaluate import run as evaluate
    from multibox.runtime.opening import load_checkpoint

    checkpoint = load_checkpoint(path, template=find_template(config))
    names = evaluate.check_classes(checkpoint.classes, coco.split_list(classes))
    if checkpoint.quantization is not None:
        raise CheckpointError(
            f"{path}: this checkpoint is compressed already. Name the one that it was made from; "
            "a training in 8 bits that was stopped goes on with --resume-from."
        )
    resume = _resumed(Path(resume_from), checkpoint, output) if resume_from else None
    train_data = _read(train_files, names, skip_bad) or recorded_data(checkpoint, "train_data")
    val_data = _read(val_files, names, skip_bad) or recorded_data(checkpoint, "val_data")
    if train_data is None:
        raise OptionError(
            f"{path}: it is not known where the training images are. Name them with --train-ann-files "
            "and --train-data-roots."
        )
    make_folder(output)

    from multibox.compress.run import compress as run

    with TrainingDisplay() as display:
        return run(
            checkpoint,
            path,
            train_data,
            val_data,
            output,
            plan=plan,
            display=display,
            batch_size=batch_size,
            device=device,
            resume=resume,
            command=shlex.join(["multibox", *command_line]),
        )


def _compress_file(
    path: Path,
    train_files: DataFiles,
    val_files: DataFiles,
    output: Path,
    plan: Plan,
    *,
    classes: str,
    skip_bad: bool,
) -> CompressResult:
    from multibox.data import coco
    from multibox.evaluate import run as evaluate
    from multibox.runtime.openvino_runtime import OpenVINORuntime

    wanted = coco.split_list(classes)
    names = OpenVINORuntime(path, classes=wanted or None).classes
    evaluate.check_classes(names, wanted)
    # Nothing is learnt from them: of which classes the objects are does not matter.
    train_data = _read(train_files, None, skip_bad)
    if train_data is None:
        raise OptionError(
            f"{path}: a file does not know its training images. Name them with --train-ann-files and "
            "--train-data-roots."
        )
    val_data = _read(val_files, names, skip_bad)
    make_folder(output)

    from multibox.compress.run import compress_file as run

    with TrainingDisplay() as display:
        return run(path, train_data, val_data, output, plan=plan, display=display, classes=names)


def _read(files: DataFiles, classes: Sequence[str] | None, skip_bad: bool) -> CocoData | None:
    """The data of these files, with these classes or, if None, with all that occur; None where no file is named."""
    if not files.annotations:
        return None
    return read_named_data(files.annotations, files.roots, classes, skip_bad, allow_missing_classes=classes is not None)


def _check_output(weights: Path, output: Path) -> None:
    """Refuse to write over what is being compressed."""
    result = output / ("model.xml" if kind_of(weights) == "openvino" else "latest.pth")
    if result.resolve() == weights.with_suffix(result.suffix).resolve():
        raise OptionError(f"{weights}: the result would take its place. Name another folder in --save-checkpoints-to.")


def _resumed(path: Path, checkpoint: Checkpoint, output: Path) -> Checkpoint:
    from multibox.weights import checkpoint as checkpoints

    resume = checkpoints.load(path)
    if resume.training is None or resume.quantization is None:
        raise CheckpointError(f"{path}: this is no run in 8 bits to go on with. It lies in qat/latest.pth.")
    if resume.classes != checkpoint.classes or resume.template.model != checkpoint.template.model:
        raise CheckpointError(f"{path}: this run is not one of the model in --load-weights.")
    # Its best weights so far lie beside it.
    if path.resolve().parent != (output / "qat").resolve():
        raise OptionError(f"{path}: this run goes on in its own folder: --save-checkpoints-to {path.parent.parent}.")
    return resume


def _device(gpu_num: int | None) -> str:
    from multibox.train import distributed

    if distributed.is_launched():
        raise OptionError("Compressing runs in one process. Start it without torchrun.")
    if gpu_num is not None and gpu_num > 1:
        say(f"--gpu-num {gpu_num}: compressing runs in one process, which uses one graphics card at most.")
    return "cpu" if gpu_num == 0 else "auto"


def _report(result: CompressResult, output: Path, seconds: float) -> int:
    from multibox.compress import result as compress_report

    console.print(compress_report.attempts_table(result, width=console.width))
    for line in (*compress_report.notes(result), compress_report.verdict(result)):
        say(line)
    if result.is_interrupted:
        say(f"Stopped while training. Go on with the same command and --resume-from {output / 'qat' / 'latest.pth'}.")
    say(f"Done in {duration(seconds)}: {result.path}. The table above is also in {output / 'compress.json'}.")
    return 130 if result.is_interrupted else 0
