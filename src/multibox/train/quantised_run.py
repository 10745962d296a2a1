"""Training on in 8 bits, the last method of `multibox compress`: a run whose network rounds as its file will."""

from __future__ import annotations

from pathlib import Path

import torch

from multibox import config
from multibox.config import Template
from multibox.data.coco import CocoData
from multibox.train.assembly import assemble, folder_of, pace_of, record_of, training_set, without_mosaics
from multibox.train.devices import connect
from multibox.train.folder import LATEST
from multibox.train.loop import Display, TrainingResult, fit
from multibox.train.restoring import check_training
from multibox.weights.checkpoint import Checkpoint

MIN_STEPS_IN_8_BITS = 50
"""Number of steps of an epoch in 8 bits on a small set, unless the template asks for fewer.

Twice as many take twice the time and end at the same AP: "Training in 8 bits" in benchmarks/notebook.md.
"""

META_OF_8_BITS = ("start", "start_origin", "nncf_enable_compression", "nncf_version", "compression")
"""What a checkpoint in 8 bits says of itself that stays true when it is trained on."""


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
    dataset = training_set(template, train_data, display.line)
    model = start.build().requires_grad_(True)
    if resume is not None and resume.training is not None:
        model.load_state_dict(resume.training["model"])
    meta = {
        **record_of(fabric, train_data, val_data, seed=seed, command=command, resume=resume),
        **{key: start.meta[key] for key in META_OF_8_BITS if key in start.meta},
    }
    resumed_from = output / LATEST if resume is not None else None
    with folder_of(fabric, output, meta["run"], resume, resumed_from, display.line):
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
            pace=pace_of(val_data, deadline=deadline),
            name_of_rate="compress.learning_rate in the template",
            resume=resume,
            is_limited=True,
            quantization=start.quantization,
        )
        return fit(run)


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
