"""What every run is put together from: the data, the record of what it is made of, its clock and its folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from multibox import config
from multibox.config import Template
from multibox.data.cache import ImageCache
from multibox.data.coco import CocoData
from multibox.data.dataset import Dataset
from multibox.data.description import describe
from multibox.data.loader import TrainLoader
from multibox.machine import free_memory_bytes, provenance
from multibox.model.detector import Detector
from multibox.train.devices import num_readers, processes_here
from multibox.train.distributed import Processes, run_id
from multibox.train.folder import run_folder
from multibox.train.loggers import Logger, MlflowLogger, TensorBoardLogger, as_params
from multibox.train.loop import Display, TrainingRun
from multibox.train.pace import Pace
from multibox.train.progress import Counters, RunLength
from multibox.train.restoring import restore
from multibox.train.run_log import RunLog
from multibox.train.saving import RunFolder
from multibox.train.schedule import passes_per_epoch
from multibox.train.start import all_boxes
from multibox.train.step import make_learner
from multibox.train.validation import Validator
from multibox.weights.checkpoint import Checkpoint
from multibox.wording import Detailed, counted

if TYPE_CHECKING:
    from lightning_fabric import Fabric

GUESSED_SECONDS_PER_IMAGE = 0.1
"""Seconds that the validation of an image is thought to take before the first one: a guess from above."""


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


def training_set(template: Template, data: CocoData, say: Callable[[str], None]) -> Dataset:
    """The training samples, kept decoded in as much memory as the template allows, which is said."""
    limit = int(free_memory_bytes() * template.train.cache_fraction_of_free_memory)
    limit //= processes_here()
    objects = f"{counted(len(all_boxes(data)), 'object')} of {counted(len(data.classes), 'class', 'classes')}"
    content = f"{counted(len(data.records), 'training image')}, {objects}"
    memory = f"decoded images are kept in up to {limit / 2**30:.1f} GiB of memory"
    say(Detailed(f"{content}; {memory}.", brief=f"{content}."))
    return Dataset(
        data.records, input_size=template.input.size, augment=template.train.augment, cache=ImageCache(limit)
    )


def record_of(
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


def pace_of(
    val_data: CocoData | None,
    *,
    deadline: float | None,
    began_at: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Pace:
    """The clock of a run that ends by `deadline` and began at `began_at`, both times of `clock`, in seconds."""
    return Pace(
        deadline=deadline,
        validation_seconds=GUESSED_SECONDS_PER_IMAGE * len(val_data.records) if val_data else 0.0,
        began_at=clock() if began_at is None else began_at,
        validated_at=clock(),
        clock=clock,
    )


def folder_of(
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
