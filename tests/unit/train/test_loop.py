"""Whole runs whose time is what a clock of the test says: how long a budget lasts, and what is measured at its end."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import multibox.train.run as run_module
from multibox import config
from multibox.config import Template
from multibox.data import coco
from multibox.train.loop import SAVE_EVERY_SECONDS, TrainingResult, fit
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


# AP worked out during the next epoch, as on a graphics card


@pytest.fixture
def measured_beside(monkeypatch):
    monkeypatch.setattr(run_module, "fit", lambda run: fit(replace(run, is_measured_beside=True)))


def flat(value, name=""):
    """The tensors and values in nested mappings and lists, by where they are."""
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        return {key: leaf for index, part in pairs for key, leaf in flat(part, f"{name}/{index}").items()}
    return {name: value}


def content(path: Path):
    leaves = flat(torch.load(path, weights_only=True))
    mine = ("/meta/time", "/meta/run", "/meta/begun")
    return {
        name: leaf.tolist() if isinstance(leaf, Tensor) else leaf for name, leaf in leaves.items() if name not in mine
    }


def test_a_run_that_is_measured_beside_leaves_the_same_files(template, data, tmp_path, monkeypatch):
    changes = {"hyper_parameters.basic.epochs": 4, "hyper_parameters.basic.base_learning_rate": 0.02}
    longer = config.changed(template, changes)
    displays, results = [Display(), Display()], []
    for name, display in zip(("between", "beside"), displays, strict=True):
        if name == "beside":
            monkeypatch.setattr(run_module, "fit", lambda run: fit(replace(run, is_measured_beside=True)))
        results.append(run(longer, data, tmp_path / name, display, val_data=data, clock=Clock(0.5)))
    between, beside = (tmp_path / name for name in ("between", "beside"))
    timed = ("seconds", "images_per_second")
    lines = [[{k: v for k, v in line.items() if k not in timed} for line in lines_of(f)] for f in (between, beside)]
    assert lines[0] == lines[1] and len(lines[0]) == 4 and len({line["ap"] for line in lines[0]}) > 1
    assert content(between / "latest.pth") == content(beside / "latest.pth")
    assert content(between / "best.pth") == content(beside / "best.pth")
    assert content(between / "best.pth")["/meta/threshold"] is not None
    records = [json.loads((folder / "evaluation.json").read_text())["images"] for folder in (between, beside)]
    assert records[0] == records[1]
    assert results[0].metrics == results[1].metrics and results[0].best_epoch == results[1].best_epoch
    epochs = [[line.split("  ")[:2] for line in display.lines if line.startswith("epoch")] for display in displays]
    assert epochs[0] == epochs[1]


def test_a_budget_of_a_run_that_is_measured_beside_ends_with_weights_that_were_validated(
    template, data, tmp_path, measured_beside
):
    result = run(template, data, tmp_path, Display(), val_data=data, time_budget_minutes=1, clock=Clock(0.2))
    lines = lines_of(tmp_path)
    assert 40 < lines[-1]["seconds"] < 65
    assert lines[-1]["ap"] is not None and lines[-1]["step"] == result.steps
    assert torch.load(tmp_path / "latest.pth", weights_only=True)["meta"]["iter"] == result.steps


def test_what_is_saved_within_an_epoch_knows_the_validation_of_the_one_before(
    template, data, tmp_path, measured_beside
):
    long = config.changed(template, {"train.schedule.min_steps_per_epoch": 12, "hyper_parameters.basic.epochs": 2})
    saved: list[tuple[int, bool]] = []

    class Watching(Clock):
        def __call__(self) -> float:
            if (tmp_path / "latest.pth").exists():
                meta = torch.load(tmp_path / "latest.pth", weights_only=True)["meta"]
                saved.append((meta["iter"], meta["metrics"] is not None))
            return super().__call__()

    run(long, data, tmp_path, Display(), val_data=data, clock=Watching(SAVE_EVERY_SECONDS / 20))
    states = [state for state, _ in itertools.groupby(saved)]
    assert states == sorted(states) and len(states) > 3
    assert [is_measured for step, is_measured in states if step >= 12] == [True] * sum(s >= 12 for s, _ in states)
