"""The loop of a training: epochs, steps, validation, checkpoints, stopping. What it starts from is made in `train`."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn

from multibox import config, machine
from multibox.config import Template
from multibox.data.coco import CocoData
from multibox.data.dataset import Batch, Dataset
from multibox.data.loader import TrainLoader
from multibox.errors import TrainingError
from multibox.evaluate import record, thresholds
from multibox.evaluate.average_precision import Metrics, measure
from multibox.evaluate.run import Evaluation, detect
from multibox.files import write_atomically
from multibox.model import ssd
from multibox.model.anchors import make_anchors
from multibox.model.folding import unfold
from multibox.model.loss import Losses, multibox_loss
from multibox.model.matching import pad
from multibox.runtime.torch_runtime import TorchRuntime
from multibox.signals import interruption
from multibox.structures import Detections, RawOutput
from multibox.train import distributed, memory
from multibox.train.average import WeightAverage
from multibox.train.distributed import synchronise_batch_norm
from multibox.train.frozen import TrainedStages, freeze, frozen_stages, to_input
from multibox.train.memory import TrainingMemory
from multibox.train.pace import Pace
from multibox.train.saving import RunLog
from multibox.train.schedule import passes_per_epoch, rate_factor
from multibox.weights import checkpoint
from multibox.weights.checkpoint import Checkpoint

if TYPE_CHECKING:
    from lightning_fabric import Fabric

SAVE_EVERY_SECONDS = 600
"""A long epoch is saved in between, so that a kill costs at most this."""


SHOW_EVERY_SECONDS = 0.2
"""More often, nobody reads it; on a graphics card, the loss that is shown has to be waited for."""


PATIENCE_SHARE = 0.4
"""Of a run without a better AP before it is stopped early: the falling learning rate of its end deserves a chance."""


COMPILE_FROM_IMAGES = 100
"""Validation images from which compiling the averaged weights takes less time than it saves."""


REMOTE_READERS = 16
"""Threads that read images over a network: most of their time is waiting."""


PLAN_AFTER_STEPS = 10
"""Steps after which the speed is known well enough to announce the plan of a time budget."""


STOPPING = "Stopping after this step; a checkpoint will be saved. Once more stops at once."


class Display(Protocol):
    """Where a training tells how it goes."""

    def line(self, text: str) -> None:
        """One line that stays."""
        ...

    def progress(self, *, epoch: int, share: float, loss: float, seconds_left: float) -> None:
        """The present state, replaced by the next."""
        ...


@dataclass(frozen=True)
class Result:
    """Where a run ended. `metrics` are those of the last validation; None without validation data."""

    latest: Path
    best: Path | None
    metrics: Metrics | None
    best_ap: float | None
    best_epoch: int
    epochs: int
    steps: int
    images_per_second: float
    is_interrupted: bool


@dataclass
class _Counters:
    """How far a run is: with the weights and the optimizer, all that resuming needs."""

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    progress: float = 0.0
    best_ap: float | None = None
    best_epoch: int = 0


class TrainingLoop:
    """One run. `run` is the loop over epochs, `train_step` everything that happens to one batch.

    `quantization` comes with a network that computes in 8 bits: what its checkpoints keep of it beside the weights.
    """

    def __init__(
        self,
        fabric: Fabric,
        template: Template,
        model: ssd.SSD,
        dataset: Dataset,
        val_data: CocoData | None,
        output: Path,
        display: Display,
        *,
        seed: int,
        classes: tuple[str, ...],
        start_share: float,
        quantization: Mapping[str, Any] | None = None,
    ) -> None:
        self.fabric, self.template, self.val_data = fabric, template, val_data
        self.quantization = quantization
        self.output, self.display, self.seed, self.classes = output, display, seed, classes
        self.basic = template.hyper_parameters.basic
        self.global_batch = self.basic.batch_size * fabric.world_size
        self.loader = TrainLoader(
            dataset,
            batch_size=self.basic.batch_size,
            repeat=passes_per_epoch(len(dataset), self.global_batch, config=template.train.schedule),
            seed=seed,
            num_workers=_num_workers(dataset, fabric.device.type),
            rank=fabric.global_rank,
            world_size=fabric.world_size,
        )
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if fabric.world_size > 1 and self.basic.batch_size < template.train.sync_norm_below:
            synchronise_batch_norm(model.to(fabric.device))
        self.control = distributed.control_group(fabric.device.type) if fabric.world_size > 1 else None
        # Before the devices are set up: several processes share the gradients of what trains.
        model.bbox_head.loss_weights.requires_grad_(template.train.loss.learn_balance)
        self.num_frozen = freeze(model, template.train.frozen_stride)
        optimizer = torch.optim.SGD(
            [parameter for parameter in model.parameters() if parameter.requires_grad],
            lr=self.basic.base_learning_rate,
            momentum=template.train.momentum,
            weight_decay=template.train.weight_decay,
        )
        self.model = model.train()
        freeze(model, template.train.frozen_stride)
        trained = TrainedStages(model, self.num_frozen) if self.num_frozen else model
        self.network, self.optimizer = fabric.setup(trained, optimizer)
        self.average = WeightAverage(model, decay=template.train.ema_decay, start_share=start_share)
        self.runtime = TorchRuntime(self.average.model, template, classes, device=fabric.device)
        anchors = make_anchors(template.model.anchors_px, ssd.strides(model), template.input.size)
        self.anchors = torch.from_numpy(anchors).to(fabric.device)
        self.run_frozen = self._frozen_stages() if self.num_frozen else None
        self.counters = _Counters()
        self.num_steps = self.basic.epochs * self.loader.steps_per_epoch
        # With a deadline, `num_steps` follows from it; never more than these.
        self.max_steps = math.inf
        # Before the first validation, a guess from above: a tenth of a second per image.
        self.pace = Pace(deadline=None, validation_seconds=0.1 * len(val_data.records) if val_data else 0.0)
        self.metrics: Metrics | None = None
        # Of the last validation; the main process alone has them.
        self.found: Evaluation | None = None
        self.meta: dict[str, Any] = {}
        self.saved_at = time.monotonic()
        self.rate = 0.0
        self.unchecked: Losses | None = None
        self.shown_at = -math.inf

    def run(self, tensorboard_dir: Path | None) -> Result:
        """Train until the epochs, the time or the patience are over, or a signal comes."""
        is_main = self.fabric.is_global_zero
        first_epoch = self.counters.epoch + 1
        log = RunLog(self.output, tensorboard_dir, first_epoch=first_epoch) if is_main else None
        if is_main:
            write_atomically(self.output / "template.yaml", config.dump(self.template))
            write_atomically(self.output / "run.json", json.dumps(self.meta, indent=2, ensure_ascii=False) + "\n")
        with interruption(lambda: self.display.line(STOPPING)) as stop:
            is_interrupted = stop.is_set
            is_over = self._agree_on(self._is_done() or is_interrupted())
            while not is_over:
                started_at, losses = time.monotonic(), MeanLosses()
                num_steps = self.train_epoch(losses, is_interrupted)
                if self.counters.step_in_epoch:
                    break
                speed = num_steps * self.global_batch / (time.monotonic() - started_at)
                is_measured = self._end_epoch(losses, speed, log)
                # Time passes: a budget may have run out just after an epoch was not thought to be the last. Its weights
                # are not measured; one more step follows, and those are.
                is_over = self._agree_on(is_interrupted() or (is_measured and self._is_done()))
            if is_interrupted():
                self._save()
        if log is not None:
            log.close()
            if self._has_lost_patience():
                idle_epochs = self.counters.epoch - self.counters.best_epoch
                self.display.line(f"No better AP for {idle_epochs} epochs: stopped early.")
        return self._result(is_interrupted())

    def expected_memory(self) -> TrainingMemory:
        """What the run will take of this machine's memory, in this process."""
        side = self.template.input.size
        # Fresh numbers: those of real images would have to be read first.
        pictures = torch.randint(256, (2, side, side, 3), dtype=torch.uint8)
        inputs = to_input(pictures.to(self.fabric.device))
        trained: nn.Module = self.model
        if self.run_frozen is not None:
            inputs = self.run_frozen(pictures)
            trained = TrainedStages(self.model, self.num_frozen)
        return memory.estimate(
            trained,
            inputs,
            batch_size=self.basic.batch_size,
            autocast=self.fabric.autocast,
            image_bytes=self.loader.dataset.bytes_in_cache,
        )

    def judge_start(self) -> None:
        """Validate and save the weights as they are: a start that knows the classes may be hard to beat."""
        if self.val_data is None:
            return
        self.metrics = self._validate(self.val_data)
        if self.metrics is not None and self.metrics.ap is not None:
            self.counters.best_ap = self.metrics.ap
            self.display.line(f"start      AP {self.metrics.ap:.3f}  AP50 {self.metrics.ap50:.3f}")
        self._save()

    def restore(self, resume: Checkpoint) -> str:
        """Go on where `resume` was saved; what that is, in one line."""
        assert resume.training is not None
        # As it runs, not as it is saved: of a quantised network, these are not the same weights.
        self.average.restore(resume.build().state_dict(), resume.training["average"])
        self.optimizer.load_state_dict(resume.training["optimizer"])
        self.counters = self._counted_here(_Counters(**resume.training["counters"]), resume.training)
        line = f"Resuming in epoch {self.counters.epoch + 1}, after {self.counters.step} steps."
        same = resume.meta.get("train_data", {}).get("fingerprint") == self.meta["train_data"]["fingerprint"]
        return line if same else f"{line} The training data are not those of the first part."

    def _counted_here(self, counters: _Counters, saved: Mapping[str, Any]) -> _Counters:
        """Counters of a run whose steps may have been of another size, as with another number of processes."""
        before, now = saved.get("steps_per_epoch", self.loader.steps_per_epoch), self.loader.steps_per_epoch
        if before == now:
            return counters
        step_in_epoch = min(now - 1, round(counters.step_in_epoch * now / before))
        return replace(counters, step_in_epoch=step_in_epoch, step=counters.epoch * now + step_in_epoch)

    def check_agreement(self) -> None:
        """Refuse to start if the processes do not go on from the same step.

        Raises:
            TrainingError: some have found another checkpoint than the main process, or none.
        """
        if self.fabric.world_size == 1:
            return
        step = torch.tensor([self.counters.step])
        dist.broadcast(step, src=0, group=self.control)
        if int(step) != self.counters.step:
            raise TrainingError(
                f"Process {self.fabric.global_rank} would go on from step {self.counters.step}, the main one from step "
                f"{int(step)}. All machines need the same --save-checkpoints-to, in a folder that they share."
            )

    def train_epoch(self, losses: MeanLosses, is_interrupted: Callable[[], bool]) -> int:
        """The steps of an epoch that are left; `step_in_epoch` is 0 in the end unless a signal came. Their number."""
        counters = self.counters
        first_step = counters.step_in_epoch
        is_last = False
        started_at = time.monotonic()
        mosaic_steps = first_step + self._mosaic_steps_left()
        with closing(self.loader.epoch(counters.epoch, first_step, mosaic_steps)) as batches:
            for batch in batches:
                losses.add(self.train_step(batch))
                # Waiting for the batch counts: a step is from the end of one to the end of the next.
                self.pace.count_step(time.monotonic() - started_at)
                started_at = time.monotonic()
                counters.step += 1
                counters.step_in_epoch += 1
                steps_left, must_stop = self._agree(self._steps_left(), is_interrupted())
                counters.progress += (1 - counters.progress) / max(1.0, steps_left + 1)
                is_last = steps_left < 1
                self._show(losses, steps_left)
                if must_stop or is_last:
                    break
                if time.monotonic() - self.saved_at > SAVE_EVERY_SECONDS:
                    self._save()
        num_steps = counters.step_in_epoch - first_step
        if is_last or counters.step_in_epoch == self.loader.steps_per_epoch:
            counters.epoch += 1
            counters.step_in_epoch = 0
        return num_steps

    def train_step(self, batch: Batch) -> Losses:
        """Forward, loss, backward, optimizer and average; the losses."""
        template = self.template
        self.rate = self.basic.base_learning_rate * rate_factor(
            self.counters.progress, num_steps=self.num_steps, config=template.train.schedule
        )
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate
        losses = multibox_loss(
            self._forward(batch),
            pad(batch.targets, self.fabric.device),
            self.anchors,
            self.model.bbox_head.loss_weights,
            config=template.train.loss,
            variances=template.model.box_variances,
            average_over_processes=self._mean_over_processes,
        )
        self._check_finite(losses)
        self.optimizer.zero_grad()
        self.fabric.backward(losses.total)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), template.train.max_gradient_norm)
        self.optimizer.step()
        self.average.update(self.counters.step)
        return losses

    def _forward(self, batch: Batch) -> RawOutput:
        pictures = torch.from_numpy(batch.images)
        if self.run_frozen is None:
            images = to_input(pictures.to(self.fabric.device, non_blocking=True))
        else:
            images = self.run_frozen(pictures)
        raw: RawOutput = self.network(images)
        return raw

    def _frozen_stages(self) -> Callable[[Tensor], Tensor]:
        return frozen_stages(
            self.model,
            self.template.train.frozen_stride,
            input_size=self.template.input.size,
            device=self.fabric.device,
            precision=self._precision(),
        )

    def _precision(self) -> torch.dtype:
        """Of the arithmetic of convolutions."""
        device = self.fabric.device.type
        with self.fabric.autocast():
            return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32

    def _end_epoch(self, losses: MeanLosses, speed: float, log: RunLog | None) -> bool:
        """Validate if it is time to, record, save; whether these weights are measured, where there is data for it."""
        counters, metrics = self.counters, None
        if self.val_data is not None and self._agree_on(self._is_done() or self.pace.is_validation_due()):
            metrics = self.metrics = self._validate(self.val_data)
        means = losses.means(self._mean_over_processes)
        ap = metrics.ap if metrics else None
        if ap is not None and (counters.best_ap is None or ap > counters.best_ap):
            counters.best_ap, counters.best_epoch = ap, counters.epoch
        if log is not None:
            names = ("ap", "ap50", "ap75", "recall")
            scores = {name: getattr(metrics, name) if metrics else None for name in names}
            seconds = round(time.monotonic() - self.pace.began_at, 1)
            scalars = {"step": counters.step, "seconds": seconds, "learning_rate": self.rate, **means}
            scalars["images_per_second"] = speed
            # Before the checkpoint: a resumed run drops lines of epochs that it does again, but cannot make up for one.
            log.write(counters.epoch, {**scalars, **scores})
            self.display.line(_epoch_line(counters.epoch, means, scores, speed))
        self._save()
        return self.val_data is None or metrics is not None

    def _validate(self, data: CocoData) -> Metrics | None:
        """Metrics of the averaged weights; each process looks at its part of the images."""
        started_at = time.monotonic()
        detections = self._detect(data)
        metrics = None
        if detections is not None:
            self.found = Evaluation(measure(detections, data), tuple(detections))
            metrics = self.found.metrics
        found: Metrics | None = self.fabric.broadcast(metrics) if self.fabric.world_size > 1 else metrics
        self.pace.count_validation(time.monotonic() - started_at)
        return found

    def _detect(self, data: CocoData) -> list[Detections] | None:
        """What is found in each image; None but in the main process."""
        rank, world_size = self.fabric.global_rank, self.fabric.world_size
        if world_size > 1:
            # Statistics that are not synchronised differ between processes; what is measured is what is saved.
            distributed.share_state(self.average.model)
        part = distributed.shard(data.records, rank, world_size)
        # In 8 bits, what is measured has to be the simulation.
        pays = self.fabric.device.type == "cpu" and self.quantization is None and len(part) >= COMPILE_FROM_IMAGES
        detections = detect(self.runtime.compiled() if pays else self.runtime, part)
        return detections if world_size == 1 else distributed.gather(detections, self.control)

    def _save(self) -> None:
        self.saved_at = time.monotonic()
        if not self.fabric.is_global_zero:
            return
        counters = self.counters
        meta = {**self.meta, "epoch": counters.epoch, "iter": counters.step, "time": time.strftime("%Y-%m-%d %H:%M:%S")}
        meta["metrics"] = self.metrics.to_plain() if self.metrics else None
        if self.found is not None and self.val_data is not None:
            meta["threshold"] = thresholds.suggested(self.found.detections, self.val_data)
        weights = self._weights()
        training = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "counters": asdict(counters),
            "average": self.average.state(),
            "seed": self.seed,
            "steps_per_epoch": self.loader.steps_per_epoch,
        }
        # latest.pth last: a run killed before it does the epoch again, and with it all that belongs to the epoch.
        if counters.best_ap is not None and counters.best_epoch == counters.epoch and counters.step_in_epoch == 0:
            checkpoint.save(self.output / "best.pth", self._checkpoint(weights, meta))
            self._record_best()
        checkpoint.save(self.output / "latest.pth", self._checkpoint(weights, meta, training))

    def _record_best(self) -> None:
        """What the best weights find, for reports."""
        if self.found is not None and self.val_data is not None:
            record.write(
                self.output / record.NAME,
                self.found.detections,
                self.val_data,
                model=self.output / "best.pth",
                input_size=self.template.input.size,
            )

    def _weights(self) -> dict[str, Tensor]:
        """The averaged weights, under the names that every checkpoint has."""
        model = self.average.model
        weights = model.state_dict() if self.quantization is None else unfold(model, self.template)
        return {key: value.cpu() for key, value in weights.items()}

    def _checkpoint(
        self, weights: dict[str, Tensor], meta: dict[str, Any], training: dict[str, Any] | None = None
    ) -> Checkpoint:
        return Checkpoint(weights, self.classes, self.template, meta, training, quantization=self.quantization)

    def _is_done(self) -> bool:
        return self._has_lost_patience() or self._steps_left() < 1

    def _has_lost_patience(self) -> bool:
        mosaic = self.template.train.augment.mosaic if self.loader.dataset.mosaic_share else None
        # What the part without mosaics brings shows in that part: half of it is waited for.
        if mosaic is not None and self.counters.progress < (1 + mosaic.until) / 2:
            return False
        idle_epochs = self.counters.epoch - self.counters.best_epoch
        is_long = idle_epochs * self.loader.steps_per_epoch >= PATIENCE_SHARE * self.num_steps
        # An AP of 0 is no plateau but a start: rare or small objects take a while to be found at all.
        return bool(self.counters.best_ap) and is_long and idle_epochs >= self.template.train.patience_epochs

    def _steps_left(self) -> float:
        if self.pace.deadline is None:
            return self.num_steps - self.counters.step
        if not self.pace.num_steps:
            return self.max_steps - self.counters.step
        steps_left = min(self.pace.steps_until_deadline(), self.max_steps - self.counters.step)
        self.num_steps = self.counters.step + math.ceil(steps_left)
        return steps_left

    def _mosaic_steps_left(self) -> int:
        """Steps from now on whose samples may be mosaics."""
        config, progress = self.template.train.augment.mosaic, self.counters.progress
        if config is None or progress >= config.until:
            return 0
        # With a deadline, nothing is known before the first step: more than an epoch.
        steps_left = min(self._steps_left(), sys.maxsize)
        # Progress is a sum of many parts: rounded, so that a run that is resumed comes to the same step.
        return math.ceil(round((config.until - progress) / (1 - progress) * steps_left, 6))

    def _show(self, losses: MeanLosses, steps_left: float) -> None:
        if not self.fabric.is_global_zero:
            return
        if self.pace.deadline is not None and self.pace.num_steps == PLAN_AFTER_STEPS:
            self.display.line(self.pace.plan(steps_left, self.loader.steps_per_epoch, self.global_batch))
        if time.monotonic() - self.shown_at < SHOW_EVERY_SECONDS:
            return
        self.shown_at = time.monotonic()
        self.display.progress(
            epoch=self.counters.epoch + 1,
            share=self.counters.progress,
            loss=losses.means()["loss"],
            seconds_left=self.pace.seconds_left(steps_left, self.loader.steps_per_epoch),
        )

    def _check_finite(self, losses: Losses) -> None:
        """Stop before a useless step; on a graphics card one step later, because its losses would be waited for."""
        checked, step = losses, self.counters.step_in_epoch + 1
        if self.fabric.device.type != "cpu":
            checked, self.unchecked, step = self.unchecked or losses, losses, max(1, step - 1)
        if not math.isfinite(checked.total.item()):
            raise TrainingError(
                f"Loss is not finite at epoch {self.counters.epoch + 1}, step {step} "
                f"(boxes {checked.boxes.item():.3g}, classes {checked.classes.item():.3g}). "
                f"Lower {self._name_of_rate}, now {self.basic.base_learning_rate:g}."
            )

    @property
    def _name_of_rate(self) -> str:
        return "--base-learning-rate" if self.quantization is None else "compress.learning_rate in the template"

    def _mean_over_processes(self, values: Tensor) -> Tensor:
        if self.fabric.world_size == 1:
            return values
        total = values.clone().to(self.fabric.device)
        dist.all_reduce(total)
        average: Tensor = total / self.fabric.world_size
        return average

    def _agree(self, steps_left: float, must_stop: bool) -> tuple[float, bool]:
        """The main process's view: clocks and signals differ between processes, the number of steps must not."""
        if self.fabric.world_size == 1:
            return steps_left, must_stop
        view = torch.tensor([steps_left, float(must_stop)], dtype=torch.float64)
        dist.broadcast(view, src=0, group=self.control)
        return float(view[0]), bool(view[1])

    def _agree_on(self, answer: bool) -> bool:
        return self._agree(0.0, answer)[1]

    def _result(self, is_interrupted: bool) -> Result:
        counters = self.counters
        return Result(
            latest=self.output / "latest.pth",
            best=None if counters.best_ap is None else self.output / "best.pth",
            metrics=self.metrics,
            best_ap=counters.best_ap,
            best_epoch=counters.best_epoch,
            epochs=counters.epoch,
            steps=counters.step,
            images_per_second=self.global_batch / self.pace.step_seconds if self.pace.step_seconds else 0.0,
            is_interrupted=is_interrupted,
        )


class MeanLosses:
    """Means over the steps of an epoch."""

    def __init__(self) -> None:
        # Where the losses are: adding them up waits for nothing.
        self._sums: Tensor | None = None
        self._count = 0

    def add(self, losses: Losses) -> None:
        """Count one more step."""
        values = torch.stack([losses.total, losses.classes, losses.boxes]).detach().double()
        self._sums = values if self._sums is None else self._sums + values
        self._count += 1

    def means(self, over_processes: Callable[[Tensor], Tensor] = lambda values: values) -> dict[str, float]:
        """Total, classes, boxes; each process knows its own images, so the whole batch's loss is the mean over them."""
        sums = over_processes(torch.zeros(3, dtype=torch.float64) if self._sums is None else self._sums)
        names = ("loss", "loss_classes", "loss_boxes")
        return dict(zip(names, (sums / max(1, self._count)).tolist(), strict=True))


def _epoch_line(epoch: int, means: dict[str, float], scores: dict[str, float | None], speed: float) -> str:
    text = f"epoch {epoch:3d}  loss {means['loss']:.3f} (classes {means['loss_classes']:.3f}, "
    text += f"boxes {means['loss_boxes']:.3f})  {speed:.1f} img/s"
    if scores["ap"] is not None:
        text += f"  AP {scores['ap']:.3f}  AP50 {scores['ap50']:.3f}"
    return text


def _num_workers(dataset: Dataset, device_type: str) -> int:
    """Threads of this process that prepare batches."""
    if dataset.is_remote:
        return REMOTE_READERS
    processes_here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    cores = machine.usable_cores() // processes_here
    # On a processor, they share the cores with the training step; a graphics card leaves all of them to the images.
    return max(1, min(8, cores // 2) if device_type == "cpu" else min(16, cores - 1))
