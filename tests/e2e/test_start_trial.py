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


def test_a_run_is_tried_from_a_tenth_and_a_half_of_its_length_on(template):
    template = config.changed(template, {"train.schedule.min_steps_per_epoch": 50})
    batch = template.hyper_parameters.basic.batch_size
    # Two trials of 60 steps are 16 % of 750 steps.
    assert pays(of_length(template, 15), batch, 2, None)
    assert not pays(of_length(template, 14), batch, 2, None)
    # A large set needs no repeating: 75 batches, ten times.
    assert pays(of_length(template, 10), 75 * batch, 2, None)
    assert not pays(of_length(template, 9), 75 * batch, 2, None)
    assert pays(of_length(template, 1), batch, 2, 4.0)
    assert not pays(of_length(template, 99), batch, 2, 3.0)


def test_what_learns_faster_is_taken_and_the_random_state_does_not_matter(template, shapes_data, trained, monkeypatch):
    monkeypatch.setattr(trial, "STEPS", 6)
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
    assert said[0] == "Trying 2 starts on these data."
    with brief_training(template, train_data, steps=6, start=good, val_data=val_data) as result:
        reached = result.metrics
    assert reached.ap50 > reached.ap + 0.01  # which of the two counts
    assert said[1].startswith("Tried for 6 steps each: bad AP50 0.0")
    assert said[1].endswith(f", {trained} AP50 {reached.ap50:.3f}. Starting from {trained}.")

    # Too short, nothing to validate on, several processes: the first, untried.
    said.clear()
    for data, minutes, is_alone in ((val_data, 1, True), (None, 60, True), (val_data, 60, False)):
        options = common | {"is_alone": is_alone, "time_budget_minutes": minutes}
        assert choose_start([bad, good], template, train_data, data, **options) is bad
    assert choose_start([], template, train_data, val_data, time_budget_minutes=60, **common) is None
    assert said == []
