"""Which start is taken: the one that learns these data faster, if the run is long enough to find out."""

from __future__ import annotations

import pytest
import torch

from multibox import config
from multibox.data import coco
from multibox.model import ssd
from multibox.train import trial
from multibox.train.brief import brief_training
from multibox.train.trial import choose_start, pays
from multibox.weights.start import StartingPoint, open_starting_point


def of_length(template, epochs: int):
    return config.changed(template, {"hyper_parameters.basic.epochs": epochs})


@pytest.fixture
def template(tiny_template_file):
    return config.load_template(tiny_template_file)


def test_trials_take_a_sixth_of_the_steps_or_a_tenth_of_the_time(template):
    batch = 16
    changes = {"train.schedule.min_steps_per_epoch": 50, "hyper_parameters.basic.batch_size": batch}
    template = config.changed(template, changes)
    # Two trials of 60 steps are 16 % of 750 steps.
    assert pays(of_length(template, 15), batch, 2, None)
    assert not pays(of_length(template, 14), batch, 2, None)
    # A large set needs no repeating: 75 batches, ten times.
    assert pays(of_length(template, 10), 75 * batch, 2, None)
    assert not pays(of_length(template, 9), 75 * batch, 2, None)
    # Two trials of 15 seconds are a tenth of five minutes.
    assert pays(of_length(template, 1), batch, 2, 5.0)
    assert not pays(of_length(template, 99), batch, 2, 4.9)


@pytest.mark.parametrize(("batch", "steps"), [(4, 240), (7, 138), (8, 120), (16, 60), (64, 60)])
def test_a_trial_sees_960_images_and_has_60_steps_at_least(batch, steps):
    assert trial.num_steps(batch) == steps


def test_what_learns_faster_is_taken_and_the_random_state_does_not_matter(template, shapes_data, trained, monkeypatch):
    monkeypatch.setattr(trial, "STEPS", 6)
    monkeypatch.setattr(trial, "IMAGES", 24)
    train_data = coco.read([shapes_data.train_file], [shapes_data.train_root])
    val_data = coco.read([shapes_data.val_file], [shapes_data.val_root])
    good = open_starting_point(trained, template)
    torch.manual_seed(1)
    fresh = ssd.build_ssd(template, num_classes=3).state_dict()
    bad = StartingPoint(fresh, good.classes, good.anchors_px, False, "bad (of nothing)")
    said: list[str] = []
    common = {"seed": 0, "device": "cpu", "is_alone": True, "say": said.append}
    chosen = choose_start([bad, good], of_length(template, 99), train_data, val_data, time_budget_minutes=60, **common)
    assert chosen is good
    assert said[0] == "Trying 2 kinds of pretrained weights on these data."
    with brief_training(template, train_data, steps=6, start=good, val_data=val_data) as result:
        reached = result.metrics
    assert reached.ap50 > reached.ap + 0.01  # which of the two counts
    assert said[1].startswith(f"Starting from {trained}, the better one after 6 steps: bad AP50 0.0")
    assert said[1].endswith(f", {trained} AP50 {reached.ap50:.3f}.")

    said.clear()
    assert choose_start([], template, train_data, val_data, time_budget_minutes=60, **common) is None
    assert choose_start([good], template, train_data, val_data, time_budget_minutes=60, **common) is good
    assert said == []


@pytest.mark.parametrize(
    ("has_val_data", "minutes", "is_alone", "reason"),
    [
        (True, 1, True, "it would take too much of so short a run"),
        (False, 60, True, "there are no images to measure it on"),
        (True, 60, False, "several processes train"),
    ],
)
def test_a_trial_that_is_left_out_is_said_with_its_reason(
    template, shapes_data, has_val_data, minutes, is_alone, reason
):
    data = coco.read([shapes_data.val_file], [shapes_data.val_root])
    first, second = (StartingPoint({}, None, template.model.anchors_px, False, name) for name in ("one (of a)", "two"))
    said: list[str] = []
    chosen = choose_start(
        [first, second],
        template,
        data,
        data if has_val_data else None,
        seed=0,
        device="cpu",
        is_alone=is_alone,
        time_budget_minutes=minutes,
        say=said.append,
    )
    assert chosen is first
    assert said == [f"Starting from one, without a trial of both: {reason}."]


def test_a_trial_that_a_tenth_of_the_time_is_too_short_for_is_given_up(template, shapes_data, trained, monkeypatch):
    monkeypatch.setattr(trial, "SECONDS_PER_TRIAL", 0)  # a guess that a slow machine does not keep
    data = coco.read([shapes_data.val_file], [shapes_data.val_root])
    starts = [open_starting_point(trained, template)] * 2
    said: list[str] = []
    options = {"seed": 0, "device": "cpu", "is_alone": True, "say": said.append}
    assert choose_start(starts, template, data, data, time_budget_minutes=0.001, **options) is starts[0]
    assert said[-1] == f"Starting from {trained}: this machine is too slow to try both in a tenth of the time."
