"""Folding keeps what a network computes; unfolding undoes it, exactly."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from multibox.model import detector
from multibox.model.folding import fold, unfold
from tests.conftest import tiny_template, tiny_yolox_template

FAMILIES = {"SSD": ("tiny_model", tiny_template), "YOLOX-Nano": ("tiny_yolox_model", tiny_yolox_template)}
FIRST = {"SSD": "backbone.features.init_block", "YOLOX-Nano": "backbone.features.stem.conv"}
EPS = {"SSD": 1e-5, "YOLOX-Nano": 1e-3}


@pytest.fixture
def images():
    return torch.rand(2, 3, 96, 96)


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture
def model(family, request):
    return request.getfixturevalue(FAMILIES[family][0])


@pytest.fixture
def template(family):
    return FAMILIES[family][1]()


def same(one: nn.Module, other: nn.Module, images: torch.Tensor) -> bool:
    with torch.no_grad():
        return all(torch.equal(a, b) for a, b in zip(one(images), other(images), strict=True))


def test_folding_keeps_the_results_and_the_model(model, images):
    before = {key: value.clone() for key, value in model.state_dict().items()}
    folded = fold(model)
    with torch.no_grad():
        pairs = list(zip(model(images), folded(images), strict=True))
    largest = max(float((expected - found).abs().max()) for expected, found in pairs)
    assert 0 < largest < 1e-5 * max(float(expected.abs().max()) for expected, _ in pairs)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_folding_twice_is_folding_once(model, images):
    folded = fold(model)
    again = fold(folded)
    assert again is not folded and same(folded, again, images)


def test_unfolded_weights_are_those_of_an_ordinary_network(model, template, family):
    weights = unfold(fold(model), template)
    expected = model.state_dict()
    assert {key: value.shape for key, value in weights.items()} == {key: one.shape for key, one in expected.items()}
    assert all(value.dtype == expected[key].dtype for key, value in weights.items())
    variance = weights[f"{FIRST[family]}.bn.running_var"]
    assert torch.allclose(variance, torch.tensor(1 - EPS[family]), rtol=1e-7)


def test_unfolding_and_folding_changes_no_bit(model, template, images):
    folded = fold(model)
    network = detector.build(template, num_classes=2)
    network.load_state_dict(unfold(folded, template))
    again = fold(network)
    given = folded.state_dict()
    assert all(torch.equal(value, given[key]) for key, value in again.state_dict().items())
    assert same(folded, again, images)


def test_unfolding_leaves_the_folded_network_alone(model, template):
    folded = fold(model)
    before = {key: value.clone() for key, value in folded.state_dict().items()}
    weights = unfold(folded, template)
    for value in weights.values():
        value.zero_()
    assert all(torch.equal(value, before[key]) for key, value in folded.state_dict().items())


def test_the_first_convolution_of_a_folded_network_reads_the_image(model, family):
    # 2 x 2 pixels of YOLOX-Nano's are a cell, of which its convolution takes 3 x 3.
    sides = {"SSD": 3, "YOLOX-Nano": 6}
    assert fold(model).get_submodule(f"{FIRST[family]}.conv").weight.shape[1:] == (3, sides[family], sides[family])
