"""A model is made to compute in 8 bits: by `multibox compress` and by `Run.compress`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from multibox.errors import CheckpointError, OptionError
from multibox.files import kind_of, make_folder, model_files
from multibox.runs.finding import FoundModel
from multibox.runs.measuring import NO_FILES, NamedData, named_parts, recorded_images

if TYPE_CHECKING:
    from multibox.compress.ladder import Plan
    from multibox.compress.result import CompressResult
    from multibox.config import Template
    from multibox.data.coco import CocoData
    from multibox.data.reading import DataFiles
    from multibox.train.loop import Display
    from multibox.weights.checkpoint import Checkpoint


@dataclass(frozen=True, kw_only=True)
class CompressionPlan:
    """How a model is compressed into the folder `out`; files of images that are empty are those of its training."""

    out: Path
    ladder: Plan
    train_files: DataFiles = NO_FILES
    val_files: DataFiles = NO_FILES
    classes: tuple[str, ...] = ()
    template: Template | None = None
    batch_size: int | None = None
    device: str = "auto"
    resume_from: str = ""
    command: str = ""


def compress_model(found: FoundModel, named: NamedData, plan: CompressionPlan, *, display: Display) -> CompressResult:
    """Make a model compute in 8 bits, by the images of a data set that is named, of files, or of its training.

    Raises:
        OptionError: it is not known where the images are, or the result has no place.
        CheckpointError: the model cannot be read, or is compressed already.
        DataError, DependencyError, TrainingError: see `compress.run.compress`.
    """
    _check_compressed(found.path, plan.out, say=display.line)
    train_files, val_files = plan.train_files, plan.val_files
    if named.data is not None:
        if train_files.annotations or val_files.annotations:
            raise OptionError(f"--data {named.data} and the annotation files each name images. Leave one out.")
        train_files, val_files = named_parts(named, found.run, say=display.line)

    def read(files: DataFiles, classes: Sequence[str] | None) -> CocoData | None:
        by_files = NamedData(files=files, skip_bad=named.skip_bad)
        return _read(by_files, classes, say=display.line)

    if kind_of(found.path) == "openvino":
        return _compress_file(found, plan, read, train_files, val_files, display)
    return _compress_checkpoint(found, plan, read, train_files, val_files, display)


Read = Callable[["DataFiles", Sequence[str] | None], "CocoData | None"]


def _compress_checkpoint(
    found: FoundModel,
    plan: CompressionPlan,
    read: Read,
    train_files: DataFiles,
    val_files: DataFiles,
    display: Display,
) -> CompressResult:
    from multibox.evaluate.run import check_classes
    from multibox.runtime.opening import load_checkpoint

    path = found.path
    checkpoint = load_checkpoint(path, template=plan.template)
    names = check_classes(checkpoint.classes, plan.classes)
    if checkpoint.quantization is not None:
        raise CheckpointError(
            f"{path}: this checkpoint is compressed already. Name the one that it was made from; "
            "a training in 8 bits that was stopped goes on with --resume-from."
        )
    resume = _resumed(Path(plan.resume_from), checkpoint, plan.out) if plan.resume_from else None
    train_data, val_data = (
        read(files, names) or recorded_images(checkpoint.meta.get(key), found.run, names, say=display.line)
        for files, key in ((train_files, "train_data"), (val_files, "val_data"))
    )
    if train_data is None:
        raise OptionError(
            f"{path}: it is not known where the training images are. Name them with --data, or --train-ann-files and "
            "--train-data-roots."
        )
    make_folder(plan.out)

    from multibox.compress.run import compress

    return compress(
        checkpoint,
        path,
        train_data,
        val_data,
        plan.out,
        plan=plan.ladder,
        display=display,
        batch_size=plan.batch_size,
        device=plan.device,
        resume=resume,
        command=plan.command,
    )


def _compress_file(
    found: FoundModel,
    plan: CompressionPlan,
    read: Read,
    train_files: DataFiles,
    val_files: DataFiles,
    display: Display,
) -> CompressResult:
    from multibox.evaluate.run import check_classes
    from multibox.runtime.openvino_runtime import OpenVINORuntime

    path, run = found.path, found.run
    if plan.resume_from:
        raise OptionError(f"{path}: a file is not trained. --resume-from needs a checkpoint (.pth).")
    names = OpenVINORuntime(path, classes=plan.classes or None).classes
    check_classes(names, plan.classes)
    # Nothing is learnt from them: of which classes the objects are does not matter.
    train_data = read(train_files, None) or (run.train_data(None) if run is not None else None)
    if train_data is None:
        raise OptionError(
            f"{path}: a file does not know its training images. Name them with --train-ann-files and "
            "--train-data-roots."
        )
    val_data = read(val_files, names) or (run.val_data(names) if run is not None else None)
    make_folder(plan.out)

    from multibox.compress.run import compress_file

    return compress_file(path, train_data, val_data, plan.out, plan=plan.ladder, display=display, classes=names)


def _read(named: NamedData, classes: Sequence[str] | None, *, say: Callable[[str], None]) -> CocoData | None:
    """The data of these files, with these classes or, if None, with all that occur; None where no file is named."""
    from multibox.data.reading import read_data

    if named.is_empty:
        return None
    is_chosen = classes is not None
    return read_data(named.files, classes, say, skip_bad=named.skip_bad, allow_missing_classes=is_chosen)


def _check_compressed(weights: Path, output: Path, *, say: Callable[[str], None]) -> None:
    """Refuse to write over what is being compressed, or anything but an earlier compression."""
    from multibox.compress.result import NAME
    from multibox.overwriting import Output, check_outputs, is_compress_json

    def is_ours(_: Path) -> bool:
        return (output / NAME).is_file() and is_compress_json(output / NAME)

    made = model_files(output / ("model.xml" if kind_of(weights) == "openvino" else "latest.pth"))
    outputs = [Output("--save-checkpoints-to", path, is_ours) for path in (*made, output / NAME)]
    check_outputs(outputs, model_files(weights), say=say)


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
