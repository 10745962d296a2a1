"""Training: from a template, data and a starting point to a run of `loop.TrainingLoop`."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from multibox import config
from multibox.config import Template
from multibox.data.cache import ImageCache
from multibox.data.coco import CocoData
from multibox.data.dataset import Dataset
from multibox.data.description import describe
from multibox.data.images import resize, to_input
from multibox.errors import OptionError
from multibox.machine import free_memory_bytes, provenance
from multibox.model import ssd
from multibox.model.anchors import Choice, choose_anchors
from multibox.runtime.torch_runtime import pick_device
from multibox.structures import FloatArray
from multibox.train.batch_norm import calibrate_batch_norm
from multibox.train.distributed import is_launched, meet_again, run_id
from multibox.train.loop import Display, Result, TrainingLoop
from multibox.weights import checkpoint, origin
from multibox.weights.checkpoint import Checkpoint
from multibox.weights.start import StartingPoint


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
    seed: int = 0,
    device: str = "auto",
    time_budget_minutes: float | None = None,
    started_at: float | None = None,
    tensorboard_dir: Path | None = None,
    command: str = "",
) -> Result:
    """Train the template's model and write its checkpoints and records to `output`.

    `latest.pth` holds the run, `best.pth` the weights of the best validation, `template.yaml` the resolved template,
    `run.json` what the run is made of (command, versions, data fingerprint), `metrics.jsonl` a line per epoch.

    `template.hyper_parameters.basic` gives epochs, images per step and process, and the learning rate, which is not
    scaled by the number of processes. `start` gives weights to start from; with `refine`, because they know the classes
    already, the saved weights are a mixture with these (`train.refine.start_share`). `resume` is a run to go on with,
    whose model (anchors included) and seed replace those given. With `time_budget_minutes`, counted from `started_at`
    (a time of `time.monotonic`), the number of epochs follows from the time instead.

    Raises:
        TrainingError: the loss is not finite.
        OptionError: the device does not exist.
    """
    started_at = time.monotonic() if started_at is None else started_at
    if resume is not None:
        assert resume.training is not None
        if resume.quantization is not None:
            raise OptionError("This is a run in 8 bits. Go on with it by `multibox compress --resume-from`.")
        seed = resume.training["seed"]
    torch.manual_seed(seed)
    fabric = connect(device, template.train.precision)
    say = display.line if fabric.is_global_zero else _say_nothing
    template = _with_anchors(template, train_data, start, resume, seed=seed, say=say)
    template = _with_frozen_stages(template, start, resume)
    if refine:
        template = without_mosaics(template)
    output.mkdir(parents=True, exist_ok=True)
    dataset = _dataset(template, train_data, say)
    model = ssd.build(template, num_classes=len(train_data.classes))
    if resume is not None and resume.training is not None:
        model.load_state_dict(resume.training["model"])
    elif start is not None:
        say(_apply(start, model, train_data.classes, dataset, template))
    training = TrainingLoop(
        fabric,
        template,
        model,
        dataset,
        val_data,
        output,
        display,
        seed=seed,
        classes=train_data.classes,
        start_share=template.train.refine.start_share if refine else 0.0,
    )
    training.meta = {
        **_record(fabric, train_data, val_data, seed=seed, command=command),
        "start": _name_of_start(start, resume),
        "start_origin": _origin_of_start(start, resume),
    }
    training.pace.began_at = started_at
    now = time.time()
    begun = now - (time.monotonic() - started_at)
    if resume is not None and run_id() is not None and resume.meta.get("launch") == run_id():
        # Restarted by torchrun: what was promised when the run began still holds.
        begun = min(begun, resume.meta.get("begun", begun))
    training.meta["begun"] = begun
    if time_budget_minutes is not None:
        training.pace.deadline = time.monotonic() + begun + 60 * time_budget_minutes - now
    if resume is not None:
        say(training.restore(resume))
    training.check_agreement()
    say(str(training.expected_memory()))
    if resume is None and start is not None and set(start.classes or ()) & set(train_data.classes):
        training.judge_start()
    return training.run(tensorboard_dir)


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
) -> Result:
    """Train a network on that computes in 8 bits, and write what `train` does to `output`.

    `start` is a checkpoint with quantisation: its scales stay, its weights learn to live with them, for the epochs and
    at the fixed learning rate of `template.compress`. `resume` is such a run to go on with, which had the same start.
    With `deadline` (a time of `time.monotonic`), it is shorter if need be. One process only.

    Raises:
        TrainingError: the loss is not finite.
        OptionError: the device does not exist.
    """
    if resume is not None:
        assert resume.training is not None
        start, seed = resume, resume.training["seed"]
    torch.manual_seed(seed)
    template = start.template if resume is not None else without_mosaics(_for_quantised(start.template, batch_size))
    # Half precision would add to the rounding that is to be learnt.
    fabric = connect(device, "float32")
    dataset = _dataset(template, train_data, display.line)
    model = start.build().requires_grad_(True)
    if resume is not None and resume.training is not None:
        model.load_state_dict(resume.training["model"])
    output.mkdir(parents=True, exist_ok=True)
    training = TrainingLoop(
        fabric,
        template,
        model,
        dataset,
        val_data,
        output,
        display,
        seed=seed,
        classes=start.classes,
        start_share=0.0,
        quantization=start.quantization,
    )
    kept = ("start", "start_origin", "nncf_enable_compression", "nncf_version", "compression")
    training.meta = {
        **_record(fabric, train_data, val_data, seed=seed, command=command),
        **{key: start.meta[key] for key in kept if key in start.meta},
    }
    training.max_steps, training.pace.deadline = training.num_steps, deadline
    if resume is not None:
        display.line(training.restore(resume))
    return training.run(None)


def without_mosaics(template: Template) -> Template:
    """The template for a training that is too short for mosaics, or is to stay near its start."""
    augment = config.replace(template.train.augment, mosaic=None)
    return config.replace(template, train=config.replace(template.train, augment=augment))


def connect(device: str, precision: str) -> Fabric:
    """The devices of this run, its processes and its arithmetic. Under torchrun, this process joins the others."""
    accelerator = pick_device(device).type
    if precision == "auto":
        precision = "bfloat16" if _has_fast_bfloat16(accelerator) else "float32"
    devices, nodes = 1, 1
    if is_launched():
        devices = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    # What it says at start-up (which precision, which of its environments) is of no use to a user of ours.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    fabric = Fabric(
        accelerator=accelerator,
        devices=devices,
        num_nodes=nodes,
        strategy="ddp" if devices * nodes > 1 else "auto",
        precision="bf16-mixed" if precision == "bfloat16" else "32-true",
    )
    meet_again("nccl" if accelerator == "cuda" else "gloo")
    fabric.launch()
    return fabric


def _with_anchors(
    template: Template,
    data: CocoData,
    start: StartingPoint | None,
    resume: Checkpoint | None,
    *,
    seed: int,
    say: Callable[[str], None],
) -> Template:
    """The template with the anchors of this run: of the start, of the template, or fitted ones if clearly better."""
    if resume is not None:
        return config.replace(template, model=resume.template.model)
    offered = [start.anchors_px if start is not None else template.model.anchors_px]
    if template.model.anchors_px not in offered:
        offered.append(template.model.anchors_px)
    chosen = offered[0]
    clustering = template.train.anchor_clustering
    boxes = _all_boxes(data)
    if clustering.enabled and len(boxes) >= clustering.min_boxes:
        threshold = template.train.loss.match_iou_threshold
        choice = choose_anchors(
            boxes,
            offered,
            ssd.strides(ssd.build(template, num_classes=1)),
            template.input.size,
            iou_threshold=threshold,
            min_gain=clustering.min_gain,
            seed=seed,
        )
        say(_account_of(choice, threshold))
        chosen = choice.anchors_px
    return config.replace(template, model=config.replace(template.model, anchors_px=chosen))


def _account_of(choice: Choice, iou_threshold: float) -> str:
    """Which anchors a run takes and why, in one line."""
    what = {None: "fitted to the training boxes", 0: "kept", 1: "of the template taken"}[choice.known]
    given, fitted = choice.fits[0], choice.fitted
    line = (
        f"Anchors {what}: {given.recall:.1%} of the boxes meet a given one at IoU {iou_threshold:g}, "
        f"{fitted.recall:.1%} a fitted one (mean best IoU {given.mean_iou:.3f}, {fitted.mean_iou:.3f})"
    )
    if len(choice.fits) > 1 and choice.known != 0:
        line += f", {choice.fits[1].recall:.1%} one of the template's ({choice.fits[1].mean_iou:.3f})"
    return line + "."


def _with_frozen_stages(template: Template, start: StartingPoint | None, resume: Checkpoint | None) -> Template:
    """The template with the stages that this run freezes: those it began with, or none if its weights are random."""
    stride = template.train.frozen_stride if start is not None else 0
    if resume is not None:
        stride = resume.template.train.frozen_stride
    return config.replace(template, train=config.replace(template.train, frozen_stride=stride))


def _apply(start: StartingPoint, model: ssd.SSD, classes: Sequence[str], dataset: Dataset, template: Template) -> str:
    """Put the starting weights into the model; what was carried over, in one line."""
    if start.anchors_px and [len(level) for level in start.anchors_px] != [
        len(level) for level in template.model.anchors_px
    ]:
        raise OptionError(f"{start.name}: the template has another number of anchors per level.")
    line = checkpoint.transfer(model, classes, start.weights, start.classes)
    if start.is_folded:
        count = min(len(dataset), template.train.calibration_images)
        calibrate_batch_norm(model, _plain_batches(dataset, count, template.input.size))
        line += f" Batch statistics measured on {count} images."
    return f"{start.name}: {line}"


def _plain_batches(dataset: Dataset, count: int, size: int) -> Iterator[Tensor]:
    """Images as they are, evenly spread over the data set."""
    chosen = [i * len(dataset) // count for i in range(count)]
    for first in range(0, count, 16):
        images = [resize(dataset.decoded(i), size) for i in chosen[first : first + 16]]
        yield torch.from_numpy(to_input(images))


def _for_quantised(template: Template, batch_size: int | None) -> Template:
    """The template of a run in 8 bits, in the terms of any run."""
    basic = config.replace(
        template.hyper_parameters.basic,
        batch_size=batch_size or template.hyper_parameters.basic.batch_size,
        base_learning_rate=template.compress.learning_rate,
        epochs=template.compress.epochs,
    )
    schedule = config.replace(template.train.schedule, warmup_fraction=0.0, final_factor=1.0)
    # Decay shrinks weights, but the scales that round them stay as they are.
    train = config.replace(template.train, schedule=schedule, weight_decay=0.0, precision="float32", frozen_stride=0)
    return config.replace(
        template, hyper_parameters=config.replace(template.hyper_parameters, basic=basic), train=train
    )


def _record(
    fabric: Fabric, train_data: CocoData, val_data: CocoData | None, *, seed: int, command: str
) -> dict[str, Any]:
    """What a run is made of."""
    return {
        **provenance(),
        "command": command,
        "seed": seed,
        "processes": fabric.world_size,
        "launch": run_id(),
        "train_data": describe(train_data),
        "val_data": describe(val_data) if val_data else None,
    }


def _dataset(template: Template, data: CocoData, say: Callable[[str], None]) -> Dataset:
    limit = int(free_memory_bytes() * template.train.cache_fraction_of_free_memory)
    if is_launched():
        limit //= int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    say(
        f"{len(data.records)} training images, {len(_all_boxes(data))} objects of {len(data.classes)} classes; "
        f"decoded images are kept in up to {limit / 2**30:.1f} GiB of memory."
    )
    return Dataset(
        data.records, input_size=template.input.size, augment=template.train.augment, cache=ImageCache(limit)
    )


def _name_of_start(start: StartingPoint | None, resume: Checkpoint | None) -> str:
    if resume is not None:
        return str(resume.meta.get("start", "unknown"))
    return start.name if start is not None else "random weights"


def _origin_of_start(start: StartingPoint | None, resume: Checkpoint | None) -> Any:
    if resume is not None:
        return resume.meta.get("start_origin")
    known = start.origin if start is not None else origin.RANDOM
    return msgspec.to_builtins(known)


def _all_boxes(data: CocoData) -> FloatArray:
    """The boxes (N, 4) of all images."""
    return np.concatenate([record.targets.boxes for record in data.records])


def _has_fast_bfloat16(accelerator: str) -> bool:
    if accelerator == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if accelerator != "cpu":
        return False
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _say_nothing(_: str) -> None:
    """Only the main process speaks."""
