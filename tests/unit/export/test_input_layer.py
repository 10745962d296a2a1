"""The deployed network computes what the trained one does."""

from __future__ import annotations

import pytest
import torch

from multibox.export.input_layer import name_of_first_convolution, round_to_half, take_raw_images
from multibox.model import quantized
from multibox.model.folding import fold
from multibox.model.quantized import Scale


@pytest.fixture
def model(tiny_model):
    return tiny_model


@pytest.fixture
def images():
    return torch.rand(2, 3, 96, 96)


def largest_difference(one, other) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True))


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


FIRST = "backbone.features.init_block.conv"


@pytest.fixture
def quantised(model):
    """Rounds the image and the weights that meet it."""
    folded = fold(model)
    steps = folded.get_submodule(FIRST).weight.abs().amax(dim=(1, 2, 3)) / 127
    scales = {(FIRST, "input"): Scale(torch.tensor([1 / 255]), 0, 255), (FIRST, "weight"): Scale(steps, -127, 127)}
    return quantized.apply(folded, scales)


def test_the_convolution_that_reads_the_image_is_found_by_running(model, quantised):
    assert name_of_first_convolution(fold(model)) == name_of_first_convolution(quantised) == FIRST


@pytest.mark.parametrize("order", ["BGR", "RGB"])
def test_roundings_of_the_first_convolution_follow_its_input(quantised, order):
    pixels = torch.randint(0, 256, (2, 3, 96, 96)).float()
    changed = take_raw_images(quantised, channel_order=order, input_maximum=255)
    with torch.no_grad():
        expected = quantised(pixels / 255)
        found = changed(pixels.flip(1) if order == "BGR" else pixels)
    scale = max(float(values.abs().max()) for values in expected)
    assert largest_difference(expected, found) < 1e-5 * scale
    # Exactly 1: raw pixels are whole numbers, and none of them is changed.
    assert changed.get_submodule(FIRST).input_quantizer.step.tolist() == [1]
    assert quantised.get_submodule(FIRST).input_quantizer.step.tolist() == torch.tensor([1 / 255]).tolist()
