"""From a template, data and a start to a run, which `loop.fit` then does."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import torch

from multibox import config
from multibox.config import Template
from multibox.data.cache import ImageCache
from multibox.data.coco import CocoData
from multibox.data.dataset import Dataset
from multibox.data.description import describe
from multibox.data.loader import TrainLoader
from multibox.errors import OptionError
from multibox.machine import free_memory_bytes, provenance
from multibox.model import detector
from multibox.model.detector import Detector
from multibox.train.devices import connect, num_readers, processes_here
from multibox.train.distributed import Processes, run_id
from multibox.train.folder import LATEST, list_skipped, run_folder
from multibox.train.loggers import Logger, MlflowLogger, TensorBoardLogger, as_params
from multibox.train.loop import Display, TrainingResult, TrainingRun, fit
from multibox.train.pace import Pace
from multibox.train.progress import Counters, RunLength
from multibox.train.restoring import check_training, restore
from multibox.train.run_log import RunLog
from multibox.train.saving import RunFolder
from multibox.train.schedule import passes_per_epoch
from multibox.train.start import (
    all_boxes,
    name_of_start,
    origin_of_start,
    put_start,
    with_anchors,
    with_frozen_stages,
)
from multibox.train.step import make_learner
from multibox.train.validation import Validator
from multibox.weights.checkpoint import Checkpoint
from multibox.weights.start import StartingPoint
from multibox.wording import Detailed, counted

if TYPE_CHECKING:
    from lightning_fabric import Fabric

GUESSED_SECONDS_PER_IMAGE = 0.1
"""Seconds that the validation of an image is thought to take before the first one: a guess from above."""

MIN_STEPS_IN_8_BITS = 50
"""Number of steps of an epoch in 8 bits on a small set, unless the template asks for fewer.

Twice as many take twice the time and end at the same AP: "Training in 8 bits" in benchmarks/notebook.md.
"""

META_OF_8_BITS = ("start", "start_origin", "nncf_enable_compression", "nncf_version", "compression")
"""What a checkpoint in 8 bits says of itself that stays true when it is trained on."""


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
    dataset = _dataset(template, train_data, say)
    model = detector.build(template, num_classes=len(train_data.classes))
    if resume is not None and resume.training is not None:
        model.load_state_dict(resume.training["model"])
    elif start is not None:
        say(put_start(start, model, train_data.classes, dataset, template))
    begun = _begun(clock() - started_at, resume)
    deadline = None if time_budget_minutes is None else clock() + begun + 60 * time_budget_minutes - time.time()
    meta = {
        **_record(fabric, train_data, val_data, seed=seed, command=command, resume=resume),
        "start": name_of_start(start, resume),
        "start_origin": origin_of_start(start, resume),
        "begun": begun,
    }
    with _folder_of(fabric, output, meta["run"], resume, resumed_from, say):
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
            pace=_pace(val_data, deadline=deadline, began_at=started_at, clock=clock),
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


def train_quantised(
    start: Checkpoint,
    train_data: CocoData,
    output: Path,
    *,
    display: Display,
    val_data: CocoData | None = None,
    resume: Checkpoint | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    device: str = "auto",
    deadline: float | None = None,
    command: str = "",
) -> TrainingResult:
    """Train a network on that computes in 8 bits, and write what `train` does to `output`.

    `start` is a checkpoint with quantisation: its scales stay, its weights learn to live with them, for the epochs and
    at the fixed learning rate of `template.compress`. `resume` is such a run to go on with, which had the same start.
    With `deadline` (a time of `time.monotonic`), it is shorter if need be. One process only.

    Raises:
        TrainingError: the loss, the gradients or the weights are not finite.
        OptionError: the device does not exist.
    """
    if resume is not None:
        assert resume.training is not None
        check_training(resume)
        start, seed = resume, resume.training["seed"]
    torch.manual_seed(seed)
    template = start.template if resume is not None else without_mosaics(_for_quantised(start.template, batch_size))
    # Half precision would add to the rounding that is to be learnt.
    fabric = connect(device, "float32")
    dataset = _dataset(template, train_data, display.line)
    model = start.build().requires_grad_(True)
    if resume is not None and resume.training is not None:
        model.load_state_dict(resume.training["model"])
    meta = {
        **_record(fabric, train_data, val_data, seed=seed, command=command, resume=resume),
        **{key: start.meta[key] for key in META_OF_8_BITS if key in start.meta},
    }
    resumed_from = output / LATEST if resume is not None else None
    with _folder_of(fabric, output, meta["run"], resume, resumed_from, display.line):
        run = assemble(
            fabric,
            template,
            model,
            dataset,
            val_data,
            output,
            display,
            seed=seed,
            classes=start.classes,
            meta=meta,
            pace=_pace(val_data, deadline=deadline),
            name_of_rate="compress.learning_rate in the template",
            resume=resume,
            is_limited=True,
            quantization=start.quantization,
        )
        return fit(run)


def _folder_of(
    fabric: Fabric,
    output: Path,
    run: str,
    resume: Checkpoint | None,
    resumed_from: Path | None,
    say: Callable[[str], None],
) -> AbstractContextManager[None]:
    """The folder of the run, which the main process holds for all of them."""
    if not fabric.is_global_zero:
        return nullcontext()
    return run_folder(output, run=run, resumed_from=resumed_from, is_resumed=resume is not None, say=say)


def without_mosaics(template: Template) -> Template:
    """The template for a run that is too short for mosaics, or is to stay near its start."""
    return config.changed(template, {"train.augment.mosaic": None})


def assemble(
    fabric: Fabric,
    template: Template,
    model: Detector,
    dataset: Dataset,
    val_data: CocoData | None,
    output: Path,
    display: Display,
    *,
    seed: int,
    classes: tuple[str, ...],
    meta: Mapping[str, Any],
    pace: Pace,
    name_of_rate: str,
    resume: Checkpoint | None,
    start_share: float = 0.0,
    is_limited: bool = False,
    judges_start: bool = False,
    tensorboard_dir: Path | None = None,
    has_mlflow: bool = False,
    quantization: Mapping[str, Any] | None = None,
) -> TrainingRun:
    """A run that is ready for its first step, from a model that has its starting weights; its records are begun."""
    basic = template.hyper_parameters.basic
    processes = Processes.of(fabric.global_rank, fabric.world_size, fabric.device)
    loader = TrainLoader(
        dataset,
        batch_size=basic.batch_size,
        repeat=passes_per_epoch(len(dataset), basic.batch_size * processes.count, config=template.train.schedule),
        seed=seed,
        num_workers=num_readers(fabric.device.type, is_remote=dataset.is_remote),
        rank=processes.rank,
        world_size=processes.count,
    )
    learner = make_learner(fabric, processes, template, model, start_share=start_share, name_of_rate=name_of_rate)
    validator = None
    if val_data is not None:
        validator = Validator(learner, val_data, classes, is_simulation=quantization is not None)
    counters = Counters()
    if resume is not None:
        counters = restore(learner, resume, steps_per_epoch=loader.steps_per_epoch)
        if processes.is_main:
            display.line(_resumed(counters, resume, meta))
    processes.check_same_step(counters.step)
    folder = RunFolder(output, learner, validator, classes, seed, loader.steps_per_epoch, meta, quantization)
    log = None
    if processes.is_main:
        folder.begin()
        loggers: list[Logger] = []
        if tensorboard_dir is not None:
            loggers.append(TensorBoardLogger(tensorboard_dir, first_epoch=counters.epoch + 1))
        if has_mlflow:
            loggers.append(MlflowLogger(run=str(meta["run"]), name=output.resolve().name, say=display.line))
        for logger in loggers:
            logger.begin(as_params({"template": config.to_plain(template), **_logged_facts(meta)}))
        log = RunLog(output, loggers, first_epoch=counters.epoch + 1)
    length = RunLength(pace, epoch_steps=basic.epochs * loader.steps_per_epoch, is_limited=is_limited)
    return TrainingRun(
        learner,
        loader,
        counters,
        length,
        folder,
        validator,
        display,
        log,
        judges_start=judges_start,
        is_measured_beside=fabric.device.type == "cuda" and processes.count == 1,
        clock=pace.clock,
    )


def _logged_facts(meta: Mapping[str, Any]) -> dict[str, Any]:
    """What loggers are told of a run beside its template: lists of files are in run.json."""
    facts = {key: meta[key] for key in ("command", "seed", "start", "multibox_version", "machine") if key in meta}
    for key in ("train_data", "val_data"):
        data = meta.get(key) or {}
        facts |= {f"{key}.{name}": data[name] for name in ("images", "objects", "fingerprint") if name in data}
    return facts


def _resumed(counters: Counters, resume: Checkpoint, meta: Mapping[str, Any]) -> str:
    line = f"Resuming in epoch {counters.epoch + 1}, after {counters.step} steps."
    same = (resume.meta.get("train_data") or {}).get("fingerprint") == meta["train_data"]["fingerprint"]
    return line if same else f"{line} The training data are not those of the first part."


def _begun(seconds_ago: float, resume: Checkpoint | None) -> float:
    """When the command began, in seconds since 1970; that of the first attempt if torchrun restarted it."""
    begun = time.time() - seconds_ago
    if resume is not None and run_id() is not None and resume.meta.get("launch") == run_id():
        # What was promised when the run began still holds.
        begun = min(begun, resume.meta.get("begun") or begun)
    return begun


def _pace(
    val_data: CocoData | None,
    *,
    deadline: float | None,
    began_at: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Pace:
    return Pace(
        deadline=deadline,
        validation_seconds=GUESSED_SECONDS_PER_IMAGE * len(val_data.records) if val_data else 0.0,
        began_at=clock() if began_at is None else began_at,
        validated_at=clock(),
        clock=clock,
    )


def _for_quantised(template: Template, batch_size: int | None) -> Template:
    """The template of a run in 8 bits, in the terms of any run."""
    basic, schedule = template.hyper_parameters.basic, template.train.schedule
    return config.changed(
        template,
        {
            "hyper_parameters.basic.batch_size": batch_size or basic.batch_size,
            "hyper_parameters.basic.base_learning_rate": template.compress.learning_rate,
            "hyper_parameters.basic.epochs": template.compress.epochs,
            "train.schedule.warmup_fraction": 0.0,
            "train.schedule.final_factor": 1.0,
            # Decay shrinks weights, but the scales that round them stay as they are.
            "train.weight_decay": 0.0,
            "train.precision": "float32",
            "train.frozen_stride": 0,
            "train.schedule.min_steps_per_epoch": min(MIN_STEPS_IN_8_BITS, schedule.min_steps_per_epoch),
        },
    )


def _record(
    fabric: Fabric,
    train_data: CocoData,
    val_data: CocoData | None,
    *,
    seed: int,
    command: str,
    resume: Checkpoint | None,
) -> dict[str, Any]:
    """What a run is made of; `run` is its id, which stays when it is resumed."""
    return {
        **provenance(),
        "run": (resume.meta.get("run") if resume is not None else None) or uuid4().hex,
        "command": command,
        "seed": seed,
        "processes": fabric.world_size,
        "launch": run_id(),
        "train_data": describe(train_data),
        "val_data": describe(val_data) if val_data else None,
    }


def _dataset(template: Template, data: CocoData, say: Callable[[str], None]) -> Dataset:
    limit = int(free_memory_bytes() * template.train.cache_fraction_of_free_memory)
    limit //= processes_here()
    objects = f"{counted(len(all_boxes(data)), 'object')} of {counted(len(data.classes), 'class', 'classes')}"
    content = f"{counted(len(data.records), 'training image')}, {objects}"
    memory = f"decoded images are kept in up to {limit / 2**30:.1f} GiB of memory"
    say(Detailed(f"{content}; {memory}.", brief=f"{content}."))
    return Dataset(
        data.records, input_size=template.input.size, augment=template.train.augment, cache=ImageCache(limit)
    )


def _say_nothing(_: str) -> None:
    """Only the main process speaks."""
