"""Training on a graphics card: what it computes is what a processor computes, and it never waits within a step.

python -m pytest -m gpu        where PyTorch sees a card; elsewhere these tests are skipped
"""

from __future__ import annotations

import copy
import json
import math
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import torch

from multibox import config
from multibox.config import Template
from multibox.data import coco
from multibox.data.dataset import Dataset
from multibox.data.loader import TrainLoader
from multibox.errors import TrainingError
from multibox.model import detector
from multibox.model.matching import PaddedTargets
from multibox.train import loop
from multibox.train.batches import DeviceBatch, device_batches
from multibox.train.devices import connect
from multibox.train.distributed import Processes
from multibox.train.progress import Counters
from multibox.train.run import train
from multibox.train.step import Learner, make_learner, step
from multibox.weights import checkpoint
from multibox.weights.start import open_starting_point

pytestmark = [pytest.mark.e2e, pytest.mark.gpu]

CARD = "cuda"
STEPS = 50
RATE = 1e-5
"""So small that a last bit that differs, as sums on a card may from run to run, does not grow."""


@pytest.fixture(autouse=True)
def exact_float32() -> Iterator[None]:
    """A card that computes in whole float32, which cards do not by default."""
    if not torch.cuda.is_available():
        pytest.skip("PyTorch sees no graphics card here")
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@pytest.fixture(params=["SSD", "SSD with frozen stages", "YOLOX-Nano"])
def template(request: pytest.FixtureRequest, tiny_template_file: Path, tiny_yolox_file: Path) -> Template:
    """A template whose epochs are one step of all 16 images."""
    loaded = config.load_template(tiny_yolox_file if request.param == "YOLOX-Nano" else tiny_template_file)
    return config.changed(
        loaded,
        {
            "hyper_parameters.basic.batch_size": 16,
            "hyper_parameters.basic.base_learning_rate": RATE,
            "hyper_parameters.basic.epochs": STEPS,
            "train.schedule.min_steps_per_epoch": 1,
            "train.frozen_stride": 8 if request.param == "SSD with frozen stages" else 0,
        },
    )


class Display:
    """Shows nothing, and interrupts the run in one epoch."""

    def __init__(self, interrupted_in: int = 0) -> None:
        self._interrupted_in = interrupted_in

    def line(self, text: str) -> None:
        pass

    def progress(self, *, epoch: int, share: float, loss: float, seconds_left: float) -> None:
        if epoch == self._interrupted_in:
            self._interrupted_in = 0
            signal.raise_signal(signal.SIGINT)


def run(template: Template, shapes_data, folder: Path, *, device: str, interrupted_in: int = 0, **options):
    data = coco.read([shapes_data.train_file], [shapes_data.train_root], classes=shapes_data.classes)
    if template.train.frozen_stride and "resume" not in options:
        options["start"] = open_starting_point("bundled-classifier", template)
    return train(template, data, folder, display=Display(interrupted_in), device=device, **options)


def learner_on(device: str, template: Template, shapes_data, precision: str = "float32") -> Learner:
    torch.manual_seed(0)
    model = detector.build(template, num_classes=len(shapes_data.classes))
    fabric = connect(device, precision)
    return make_learner(fabric, Processes(), template, model, start_share=0.5, name_of_rate="the rate")


def loader_of(template: Template, shapes_data, *, repeat: int) -> TrainLoader:
    """Steps of all 16 images, `repeat` of them in an epoch."""
    data = coco.read([shapes_data.train_file], [shapes_data.train_root], classes=shapes_data.classes)
    dataset = Dataset(data.records, input_size=template.input.size, augment=template.train.augment, cache=None)
    return TrainLoader(dataset, batch_size=16, repeat=repeat, seed=0, num_workers=2)


def losses_of(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("has_graph", [False, True])
def test_each_of_fifty_steps_computes_what_a_processor_does(template, shapes_data, has_graph):
    # Both begin each step with the same weights: a last bit that differs grows to a hundredth of a loss within fifty
    # steps, whatever computes them.
    template = config.changed(template, {"train.cuda_graph": has_graph})
    own, card = (learner_on(device, template, shapes_data) for device in ("cpu", CARD))
    loader = loader_of(template, shapes_data, repeat=STEPS)
    assert loader.steps_per_epoch == STEPS
    with closing(device_batches(loader, own.fabric.device, 0)) as batches:
        for number, batch in enumerate(batches):
            card.model.load_state_dict(own.model.state_dict())
            card.optimizer.load_state_dict(copy.deepcopy(own.optimizer.state_dict()))
            same = DeviceBatch(batch.images.to(CARD), PaddedTargets(*(each.to(CARD) for each in batch.targets)))
            counters = Counters(step=number, step_in_epoch=number)
            wanted = step(own, batch, counters, rate=0.01)
            losses = step(card, same, counters, rate=0.01)
            for name, value in wanted.parts.items():
                assert losses.parts[name].item() == pytest.approx(value.item(), rel=1e-3, abs=1e-6), (number, name)
            for given, expected in zip(card.model.parameters(), own.model.parameters(), strict=True):
                torch.testing.assert_close(given.detach().cpu(), expected.detach(), rtol=1e-3, atol=1e-4)


def test_a_run_that_was_stopped_goes_on_as_if_it_never_had_been(template, shapes_data, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SHOW_EVERY_SECONDS", 0.0)  # the display is what stops the run
    run(template, shapes_data, tmp_path / "whole", device=CARD)
    stopped = run(template, shapes_data, tmp_path / "two parts", device=CARD, interrupted_in=20)
    assert stopped.is_interrupted
    run(template, shapes_data, tmp_path / "two parts", device=CARD, resume=checkpoint.load(stopped.latest))
    losses = losses_of(tmp_path / "two parts")
    assert len(losses) == STEPS
    assert losses == pytest.approx(losses_of(tmp_path / "whole"), rel=1e-3)


def test_a_checkpoint_of_a_card_goes_on_on_a_processor(template, shapes_data, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SHOW_EVERY_SECONDS", 0.0)
    stopped = run(template, shapes_data, tmp_path, device=CARD, interrupted_in=STEPS - 2)
    result = run(template, shapes_data, tmp_path, device="cpu", resume=checkpoint.load(stopped.latest))
    assert result.epochs == STEPS


def test_a_time_budget_holds(template, shapes_data, tmp_path):
    started_at = time.monotonic()
    result = run(template, shapes_data, tmp_path, device=CARD, time_budget_minutes=0.2)
    seconds = time.monotonic() - started_at
    assert result.steps > STEPS
    # Waiting for the card counts: steps that were only given to it are not done.
    assert seconds < 12 + 5


def test_a_step_waits_for_nothing(template, shapes_data):
    learner = learner_on(CARD, template, shapes_data, precision=template.train.precision)
    loader = loader_of(template, shapes_data, repeat=8)
    results = []
    with closing(device_batches(loader, learner.fabric.device, 0)) as batches:
        try:
            for number, batch in enumerate(batches):
                counters = Counters(step=number, step_in_epoch=number)
                results.append(step(learner, batch, counters, rate=RATE))
                if number == 2:  # the first ones choose kernels and take memory
                    torch.cuda.set_sync_debug_mode("error")
        finally:
            torch.cuda.set_sync_debug_mode("default")
    learner.check.settle()
    assert len(results) == loader.steps_per_epoch == 8
    assert all(math.isfinite(losses.total.item()) for losses in results)


def test_numbers_that_are_not_finite_stop_a_run_before_it_is_saved(template, shapes_data, tmp_path):
    wild = config.changed(template, {"hyper_parameters.basic.base_learning_rate": 1e18})
    with pytest.raises(TrainingError, match="not finite"):
        run(wild, shapes_data, tmp_path, device=CARD)
