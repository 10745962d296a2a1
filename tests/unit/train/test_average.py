from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from multibox.train.average import WeightAverage


def scalar_model(value: float) -> nn.Linear:
    model = nn.Linear(1, 1, bias=False)
    set_weight(model, value)
    return model


def set_weight(model: nn.Linear, value: float) -> None:
    with torch.no_grad():
        model.weight.fill_(value)


def test_the_first_update_takes_nine_tenths_of_the_model():
    model = scalar_model(0)
    average = WeightAverage(model, decay=0.995)
    set_weight(model, 1)
    average.update(0)
    # decay (1 + 0) / (10 + 0)
    assert average.model.weight.item() == pytest.approx(0.9)


def test_the_decay_grows_with_the_updates():
    model = scalar_model(0)
    average = WeightAverage(model, decay=0.995)
    set_weight(model, 1)
    average.update(0)
    set_weight(model, 2)
    average.update(1)
    # decay 2 / 11: 0.9 * 2 / 11 + 2 * 9 / 11
    assert average.model.weight.item() == pytest.approx(1.8)


@pytest.mark.parametrize(
    ("num_updates", "decay", "expected"),
    [
        (9, 0.995, 1 - 10 / 19),  # (1 + 9) / (10 + 9)
        (1790, 0.995, 1 - 1791 / 1800),  # 0.99500, the last below the limit
        (100000, 0.995, 0.005),
        (9, 0.5, 0.5),  # the limit is lower than 10 / 19
        (100000, 0, 1),  # no averaging
    ],
)
def test_share_of_the_model_in_an_update(num_updates, decay, expected):
    model = scalar_model(0)
    average = WeightAverage(model, decay=decay)
    set_weight(model, 1)
    average.update(num_updates)
    assert average.model.weight.item() == pytest.approx(expected, abs=1e-6)


def test_the_model_does_not_change():
    model = scalar_model(3)
    average = WeightAverage(model, decay=0.9)
    set_weight(model, 5)
    average.update(0)
    assert model.weight.item() == 5
    assert model.training and model.weight.requires_grad


def test_the_average_waits_for_an_update():
    model = scalar_model(3)
    average = WeightAverage(model, decay=0.9)
    set_weight(model, 5)
    assert average.model.weight.item() == 3


def test_the_average_is_for_evaluation_and_learns_nothing():
    average = WeightAverage(nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1)), decay=0.9)
    assert not any(module.training for module in average.model.modules())
    assert not any(parameter.requires_grad for parameter in average.model.parameters())


def test_batch_statistics_are_averaged_too():
    model = nn.BatchNorm2d(1)
    average = WeightAverage(model, decay=0.995)
    model.running_mean.fill_(1)
    model.running_var.fill_(11)
    average.update(0)
    assert average.model.running_mean.item() == pytest.approx(0.9)
    assert average.model.running_var.item() == pytest.approx(10)  # 0.1 * 1 + 0.9 * 11


def test_counters_stay_whole_numbers():
    model = nn.BatchNorm2d(1)
    average = WeightAverage(model, decay=0.995)
    model.num_batches_tracked.fill_(7)
    average.update(0)
    assert average.model.num_batches_tracked.dtype == torch.int64
    assert model.num_batches_tracked.item() == 7


def test_updates_go_on_after_both_have_been_loaded():
    model = scalar_model(0)
    average = WeightAverage(model, decay=0.995)
    model.load_state_dict(scalar_model(1).state_dict())
    average.model.load_state_dict(scalar_model(11).state_dict())
    average.update(0)
    # 0.1 * 11 + 0.9 * 1
    assert average.model.weight.item() == pytest.approx(2)


def test_the_average_follows_an_optimizer():
    model = scalar_model(0)
    average = WeightAverage(model, decay=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=1)
    model(torch.ones(1, 1)).sum().backward()
    optimizer.step()
    average.update(10)
    assert average.model.weight.item() == model.weight.item() == -1


def test_a_share_of_the_start_stays_in_the_average():
    model = nn.Linear(1, 1)
    nn.init.constant_(model.weight, 4.0)
    average = WeightAverage(model, decay=0.0, start_share=0.25)
    nn.init.constant_(model.weight, 8.0)
    average.update(1000)
    # 0.25 * 4 + 0.75 * 8
    assert average.model.weight.item() == pytest.approx(7.0)


def test_a_restored_average_goes_on_as_the_saved_one():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    average = WeightAverage(model, decay=0.9, start_share=0.5)
    nn.init.normal_(model[0].weight)
    average.update(3)
    state = average.state()
    restored = WeightAverage(copy.deepcopy(model), decay=0.9)
    restored.restore(average.model.state_dict(), state)
    average.update(4)
    restored.update(4)
    for key, value in average.model.state_dict().items():
        assert torch.equal(restored.model.state_dict()[key], value)
