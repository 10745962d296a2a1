"""From a template, data and a start to a run, which `loop.fit` then does."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch

from multibox.config import Template
from multibox.data.coco import CocoData
from multibox.errors import OptionError
from multibox.model import detector
from multibox.train.assembly import assemble, folder_of, pace_of, record_of, training_set, without_mosaics
from multibox.train.devices import connect
from multibox.train.distributed import run_id
from multibox.train.folder import list_skipped
from multibox.train.loop import Display, TrainingResult, fit
from multibox.train.restoring import check_training
from multibox.train.start import (
    name_of_start,
    origin_of_start,
    put_start,
    with_anchors,
    with_frozen_stages,
)
from multibox.weights.checkpoint import Checkpoint
from multibox.weights.start import StartingPoint
from multibox.wording import Detailed, counted


def train(
    template: Template,
    train_data: CocoData,
    output: Path,
    *,
    display: Display,
    val_data: CocoData | None = None,
    start: StartingPoint | None = None,
    refine: bool = False,
    resume: Checkpoint | None = None,
    resumed_from: Path | None = None,
    seed: int = 0,
    device: str = "auto",
    time_budget_minutes: float | None = None,
    is_limited: bool = False,
    started_at: float | None = None,
    tensorboard_dir: Path | None = None,
    has_mlflow: bool = False,
    command: str = "",
    clock: Callable[[], float] = time.monotonic,
) -> TrainingResult:
    """Train the template's model and write its checkpoints and records to `output`.

    `latest.pth` holds the run, `best.pth` the weights of the best validation, `template.yaml` the resolved template,
    `run.json` what the run is made of (command, versions, data fingerprint), `metrics.jsonl` a line per epoch.

    `template.hyper_parameters.basic` gives epochs, images per step and process, and the learning rate, which is not
    scaled by the number of processes. `start` gives weights to start from; with `refine`, because they know the classes
    already, the saved weights are a mixture with these (`train.refine.start_share`). `resume` is a run to go on with,
    whose model (anchors included) and seed replace those given; it was read from the file `resumed_from`. With
    `time_budget_minutes`, counted from `started_at` (a time of `clock`, in seconds), the number of epochs follows from
    the time instead; with `is_limited`, it is that of the template at most.

    Epochs go to TensorBoard where `tensorboard_dir` is given, and to MLflow with `has_mlflow`, see `loggers`.

    An earlier run in `output` moves to a folder `earlier-NUMBER` there, see `folder.run_folder`.

    Raises:
        TrainingError: the loss, the gradients or the weights are not finite, or there is no room to save them.
        OptionError: the device does not exist, or another training writes to `output`.
    """
    started_at = clock() if started_at is None else started_at
    if resume is not None:
        assert resume.training is not None
        check_training(resume)
        if resume.quantization is not None:
            raise OptionError("This is a run in 8 bits. Go on with it by `multibox compress --resume-from`.")
        seed = resume.training["seed"]
    torch.manual_seed(seed)
    fabric = connect(device, template.train.precision)
    say = display.line if fabric.is_global_zero else _say_nothing
    say(Detailed(f"Device: {fabric.device}, {counted(fabric.world_size, 'process', 'processes')}."))
    template = with_anchors(template, train_data, start, resume, seed=seed, say=say)
    template = with_frozen_stages(template, start, resume)
    if refine:
        template = without_mosaics(template)
    dataset = training_set(template, train_data, say)
    model = detector.build(template, num_classes=len(train_data.classes))
    if resume is not None and resume.training is not None:
        model.load_state_dict(resume.training["model"])
    elif start is not None:
        say(put_start(start, model, train_data.classes, dataset, template))
    begun = _begun(clock() - started_at, resume)
    deadline = None if time_budget_minutes is None else clock() + begun + 60 * time_budget_minutes - time.time()
    meta = {
        **record_of(fabric, train_data, val_data, seed=seed, command=command, resume=resume),
        "start": name_of_start(start, resume),
        "start_origin": origin_of_start(start, resume),
        "begun": begun,
    }
    with folder_of(fabric, output, meta["run"], resume, resumed_from, say):
        if fabric.is_global_zero:
            list_skipped([train_data, val_data], output, say)
        run = assemble(
            fabric,
            template,
            model,
            dataset,
            val_data,
            output,
            display,
            seed=seed,
            classes=train_data.classes,
            meta=meta,
            pace=pace_of(val_data, deadline=deadline, began_at=started_at, clock=clock),
            start_share=template.train.refine.start_share if refine else 0.0,
            is_limited=is_limited,
            name_of_rate="--base-learning-rate",
            resume=resume,
            judges_start=resume is None
            and start is not None
            and bool(set(start.classes or ()) & {*train_data.classes}),
            tensorboard_dir=tensorboard_dir,
            has_mlflow=has_mlflow,
        )
        return fit(run)


def _begun(seconds_ago: float, resume: Checkpoint | None) -> float:
    """When the command began, in seconds since 1970; that of the first attempt if torchrun restarted it."""
    begun = time.time() - seconds_ago
    if resume is not None and run_id() is not None and resume.meta.get("launch") == run_id():
        # What was promised when the run began still holds.
        begun = min(begun, resume.meta.get("begun") or begun)
    return begun


def _say_nothing(_: str) -> None:
    """Only the main process speaks."""
