"""The deployed network computes what the trained one does."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from multibox.export.network import fold, round_to_half, take_raw_images


@pytest.fixture
def model(tiny_model):
    return tiny_model


@pytest.fixture
def images():
    return torch.rand(2, 3, 96, 96)


def largest_difference(one, other) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True))


def test_folding_keeps_the_results_and_the_model(model, images):
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad():
        expected, found = model(images), fold(model)(images)
    scale = max(float(values.abs().max()) for values in expected)
    assert largest_difference(expected, found) < 1e-5 * scale
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fold(model).modules())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("order", ["BGR", "RGB"])
def test_raw_images_give_what_scaled_rgb_images_give(model, images, order):
    folded = fold(model)
    raw_images = images * 255 if order == "RGB" else images.flip(1) * 255
    with torch.no_grad():
        expected = folded(images)
        found = take_raw_images(folded, channel_order=order, input_maximum=255)(raw_images)
    scale = max(float(values.abs().max()) for values in expected)
    assert largest_difference(expected, found) < 1e-5 * scale


def test_rounded_weights_are_those_that_a_half_precision_file_holds(model):
    folded = fold(model)
    rounded = round_to_half(folded, channel_order="BGR", input_maximum=255)
    # The file holds the weights of its own input: raw BGR.
    stored = take_raw_images(rounded, channel_order="BGR", input_maximum=255)
    for key, value in stored.state_dict().items():
        # Dividing by 255 and multiplying again costs a bit of single precision, far below one of half precision.
        assert torch.allclose(value, value.half().float(), rtol=1e-6, atol=0), key
    differences = [float((a - b).abs().max()) for a, b in zip(rounded.parameters(), folded.parameters(), strict=True)]
    assert max(differences) > 0
