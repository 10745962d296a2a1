"""Folding keeps what a network computes; unfolding undoes it, exactly."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from multibox import config
from multibox.model import ssd
from multibox.model.folding import fold, unfold


@pytest.fixture
def images():
    return torch.rand(2, 3, 96, 96)


@pytest.fixture(scope="module")
def template(tiny_template_file):
    return config.load_template(tiny_template_file)


def same(one: nn.Module, other: nn.Module, images: torch.Tensor) -> bool:
    with torch.no_grad():
        return all(torch.equal(a, b) for a, b in zip(one(images), other(images), strict=True))


def test_folding_keeps_the_results_and_the_model(tiny_model, images):
    before = {key: value.clone() for key, value in tiny_model.state_dict().items()}
    folded = fold(tiny_model)
    with torch.no_grad():
        pairs = list(zip(tiny_model(images), folded(images), strict=True))
    largest = max(float((expected - found).abs().max()) for expected, found in pairs)
    assert 0 < largest < 1e-5 * max(float(expected.abs().max()) for expected, _ in pairs)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert all(torch.equal(value, before[key]) for key, value in tiny_model.state_dict().items())


def test_folding_twice_is_folding_once(tiny_model, images):
    folded = fold(tiny_model)
    again = fold(folded)
    assert again is not folded and same(folded, again, images)


def test_unfolded_weights_are_those_of_an_ordinary_network(tiny_model, template):
    weights = unfold(fold(tiny_model), template)
    expected = tiny_model.state_dict()
    assert {key: value.shape for key, value in weights.items()} == {key: one.shape for key, one in expected.items()}
    assert all(value.dtype == expected[key].dtype for key, value in weights.items())
    variance = weights["backbone.features.init_block.bn.running_var"]
    assert torch.allclose(variance, torch.tensor(1 - 1e-5), rtol=1e-7)


def test_unfolding_and_folding_changes_no_bit(tiny_model, template, images):
    folded = fold(tiny_model)
    network = ssd.build_ssd(template, num_classes=2)
    network.load_state_dict(unfold(folded, template))
    again = fold(network)
    given = folded.state_dict()
    assert all(torch.equal(value, given[key]) for key, value in again.state_dict().items())
    assert same(folded, again, images)


def test_unfolding_leaves_the_folded_network_alone(tiny_model, template):
    folded = fold(tiny_model)
    before = {key: value.clone() for key, value in folded.state_dict().items()}
    weights = unfold(folded, template)
    for value in weights.values():
        value.zero_()
    assert all(torch.equal(value, before[key]) for key, value in folded.state_dict().items())
