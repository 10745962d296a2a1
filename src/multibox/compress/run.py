"""INT8 within a budget of accuracy: a ladder of methods, each tried only if the one before cost too much.

    ptq            quantised after training, on up to 64 training images; of an SSD, biases are corrected quickly
    ptq-thorough   on up to 300; of an SSD, biases are corrected layer by layer
    qat            trained on in 8 bits

What counts is the AP of the exported file in OpenVINO, against that of the exported FP32 file on the same images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from multibox.compress import nncf
from multibox.compress.candidates import CheckpointModel, FileModel
from multibox.compress.ladder import FAST_IMAGES, THOROUGH_IMAGES, Ladder, Method, Plan, Rungs
from multibox.compress.result import CompressResult, Rung
from multibox.data.coco import CocoData
from multibox.data.description import describe
from multibox.errors import OptionError
from multibox.unfinished import unfinished_folder

if TYPE_CHECKING:
    from multibox.train.loop import Display, TrainingResult
    from multibox.weights.checkpoint import Checkpoint

LADDERS: dict[Method, tuple[Rung, ...]] = {
    "auto": ("ptq", "ptq-thorough", "qat"),
    "ptq": ("ptq", "ptq-thorough"),
    "qat": ("ptq", "qat"),
}
UNMEASURED: dict[Method, tuple[Rung, ...]] = {"auto": ("ptq",), "ptq": ("ptq",), "qat": ("ptq", "qat")}
OF_A_FILE: tuple[Rung, ...] = ("ptq", "ptq-thorough")


def compress(
    checkpoint: Checkpoint,
    source: Path,
    train_data: CocoData,
    val_data: CocoData | None,
    output: Path,
    *,
    plan: Plan,
    display: Display,
    batch_size: int | None = None,
    device: str = "auto",
    resume: Checkpoint | None = None,
    command: str = "",
) -> CompressResult:
    """Climb the ladder from a checkpoint, whose file is `source`, and write `latest.pth` and compress.json to `output`.

    Both are there after the first rung, and `latest.pth` is replaced by each that is better. Training in 8 bits, with
    `batch_size` images per step, keeps its own files in the folder `qat`; `resume` is its latest.pth, to go on from.
    Without validation data nothing is measured, and only what the method cannot do without is made.

    Raises:
        DataError: there are no training images, or no objects to measure AP on.
        OptionError: a file cannot be written.
        DependencyError: NNCF is not installed.
        TrainingError: the loss of the training is not finite.
    """
    nncf.require_nncf()
    output.mkdir(parents=True, exist_ok=True)
    if val_data is not None:  # export compares on what the model was measured on
        checkpoint = replace(checkpoint, meta={**checkpoint.meta, "val_data": describe(val_data)})
    batch_size = batch_size or checkpoint.template.hyper_parameters.basic.batch_size
    with unfinished_folder(output) as folder:
        model = CheckpointModel(checkpoint, source, folder, device=device)
        ladder = Ladder(model, train_data, val_data, output, display, plan)

        def train(start: Checkpoint) -> TrainingResult:
            from multibox.train.quantised_run import train_quantised

            return train_quantised(
                start,
                train_data,
                output / "qat",
                display=display,
                val_data=val_data,
                resume=resume,
                batch_size=batch_size,
                seed=plan.seed,
                device=device,
                deadline=ladder.deadline_of_training,
                command=command,
            )

        rungs: Rungs = {
            **_first_rungs(ladder),
            "qat": lambda: model.train(ladder.best, train, num_images=len(train_data.records)),
        }
        names = (LADDERS if val_data is not None else UNMEASURED)[plan.method]
        return ladder.climb({name: rungs[name] for name in names}, batch_size=batch_size)


def compress_file(
    path: Path,
    train_data: CocoData,
    val_data: CocoData | None,
    output: Path,
    *,
    plan: Plan,
    display: Display,
    classes: Sequence[str] | None = None,
) -> CompressResult:
    """Climb the first two rungs from an OpenVINO file, without PyTorch, and write `model.xml` and `model.bin`.

    compress.json lies beside them, as `compress` writes it.

    Raises:
        CheckpointError: the file is no detector, or computes in 8 bits already.
        OptionError: training is asked for; a file cannot be written.
        DataError, DependencyError: as `compress`.
    """
    nncf.require_nncf()
    if plan.method == "qat":
        raise OptionError(f"{path}: training in 8 bits needs a checkpoint (.pth). Leave --method out.")
    output.mkdir(parents=True, exist_ok=True)
    with unfinished_folder(output) as folder:
        model = FileModel(path, folder, classes=classes)
        ladder = Ladder(model, train_data, val_data, output, display, plan)
        rungs = _first_rungs(ladder)
        names = OF_A_FILE if val_data is not None else UNMEASURED[plan.method]
        return ladder.climb({name: rungs[name] for name in names})


def _first_rungs(ladder: Ladder) -> Rungs:
    return {
        "ptq": lambda: ladder.quantise(FAST_IMAGES, thorough=False),
        "ptq-thorough": lambda: ladder.quantise(THOROUGH_IMAGES, thorough=True),
    }
