"""Whole runs whose time is what a clock of the test says: how long a budget lasts, and what is measured at its end."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import torch

from multibox import config
from multibox.config import Template
from multibox.data import coco
from multibox.train.loop import SAVE_EVERY_SECONDS, TrainingResult
from multibox.train.run import train


class Clock:
    """A clock that goes on by `tick` seconds whenever it is looked at: the machine's speed does not matter."""

    def __init__(self, tick: float) -> None:
        self.now = 1000.0
        self.tick = tick

    def __call__(self) -> float:
        self.now += self.tick
        return self.now


class Display:
    """Keeps the lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)

    def progress(self, *, epoch: int, share: float, loss: float, seconds_left: float) -> None:
        pass


@pytest.fixture
def data(shapes_data):
    return coco.read([shapes_data.train_file], [shapes_data.train_root], classes=shapes_data.classes)


@pytest.fixture
def template(tiny_template_file) -> Template:
    """Epochs of two steps of 8 images; a small learning rate, because nothing has to be learnt."""
    changes = {
        "hyper_parameters.basic.batch_size": 8,
        "hyper_parameters.basic.base_learning_rate": 0.001,
        "train.augment.photometric": None,
        "train.augment.crop": None,
    }
    return config.changed(config.load_template(tiny_template_file), changes)


def run(template: Template, data, folder: Path, display: Display, **options) -> TrainingResult:
    return train(template, data, folder, display=display, device="cpu", **options)


def lines_of(folder: Path) -> list[dict[str, float | None]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


# A step looks at the clock some eight times, so it takes 0.4, 1.6 or 8 seconds; the budget is a minute.
@pytest.mark.parametrize("tick", [0.05, 0.2, 1.0])
def test_a_time_budget_ends_the_run_on_time_with_weights_that_were_validated(template, data, tmp_path, tick):
    clock, display = Clock(tick), Display()
    result = run(template, data, tmp_path, display, val_data=data, time_budget_minutes=1, clock=clock)
    lines = lines_of(tmp_path)
    # Within 5 % of the budget, or the two steps more that a validation at the very end may cost.
    assert lines[-1]["seconds"] < 60 + max(3, 25 * tick)
    assert lines[-1]["seconds"] > 40
    assert lines[-1]["ap"] is not None and result.metrics is not None
    assert lines[-1]["step"] == result.steps
    assert torch.load(tmp_path / "latest.pth", weights_only=True)["meta"]["iter"] == result.steps
    if result.steps >= 10:
        assert any("images/s, " in line and "Done at about" in line for line in display.lines)


def test_a_budget_that_is_over_before_it_begins_gives_one_step_that_is_validated(template, data, tmp_path):
    result = run(template, data, tmp_path, Display(), val_data=data, time_budget_minutes=0.001, clock=Clock(1.0))
    assert (result.steps, result.metrics is not None) == (1, True)


def test_validation_takes_about_a_tenth_of_a_budget(template, data, tmp_path):
    # Ten minutes: epochs of some 3 seconds, a validation of 0.2 after each would be too many if it took 10 s.
    run(template, data, tmp_path, Display(), val_data=data, time_budget_minutes=2, clock=Clock(0.2))
    lines = lines_of(tmp_path)
    measured = [line for line in lines if line["ap"] is not None]
    assert 1 < len(measured) < len(lines)


def test_without_a_budget_every_epoch_is_validated(template, data, tmp_path):
    result = run(template, data, tmp_path, Display(), val_data=data, clock=Clock(100.0))
    assert [line["ap"] is not None for line in lines_of(tmp_path)] == [True, True]
    assert (result.epochs, result.steps) == (2, 4)


def test_a_long_epoch_is_saved_in_between(template, data, tmp_path):
    # An epoch of twelve steps, each two fifths of the time between two saves.
    long = config.changed(template, {"train.schedule.min_steps_per_epoch": 12, "hyper_parameters.basic.epochs": 1})
    saved: list[int] = []

    class Watching(Clock):
        def __call__(self) -> float:
            if (tmp_path / "latest.pth").exists():
                saved.append(torch.load(tmp_path / "latest.pth", weights_only=True)["meta"]["iter"])
            return super().__call__()

    run(long, data, tmp_path, Display(), clock=Watching(SAVE_EVERY_SECONDS / 20))
    steps = [step for step, _ in itertools.groupby(saved)]
    assert len(steps) > 1 and steps == sorted(steps) and 0 < steps[0] < 12
