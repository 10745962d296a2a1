"""Networks that compute in 8 bits: which numbers come out, and that everything else about them stays as it was."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import Tensor, nn

from multibox.model import quantized
from multibox.model.folding import fold
from multibox.model.layers import InvertedResidual
from multibox.model.quantized import Quantization, Quantizer, Scale
from multibox.model.ssd import SSD

FIRST = "backbone.features.init_block.conv"
SIGNED, UNSIGNED, WEIGHTS = (-128, 127), (0, 255), (-127, 127)


def scales_of(folded: SSD, images: Tensor) -> Quantization:
    """Scales for the image, all weights, and what comes out of activations and blocks, as these images need them."""
    found: dict[tuple[str, quantized.Place], Scale] = {}
    highest: dict[str, Tensor] = {}
    hooks = [
        module.register_forward_hook(lambda _, __, output, name=name: highest.__setitem__(name, output.abs().amax()))
        for name, module in folded.named_modules()
        if isinstance(module, nn.ReLU | nn.ReLU6 | nn.Conv2d | InvertedResidual)
    ]
    with torch.no_grad():
        folded(images)
    for hook in hooks:
        hook.remove()
    found[FIRST, "input"] = Scale(torch.tensor([1 / 255]), *UNSIGNED)
    for name, module in folded.named_modules():
        if isinstance(module, nn.Conv2d):
            found[name, "weight"] = Scale(module.weight.abs().amax(dim=(1, 2, 3)) / 127, *WEIGHTS)
        if isinstance(module, nn.ReLU | nn.ReLU6):
            found[name, "output"] = Scale(highest[name][None] / 255, *UNSIGNED)
        if isinstance(module, InvertedResidual) and module.has_residual:
            found[f"{name}.conv3.conv", "summand"] = Scale(highest[f"{name}.conv3.conv"][None] / 127, *SIGNED)
            found[name, "output"] = Scale(highest[name][None] / 127, *SIGNED)
        elif isinstance(module, InvertedResidual):
            found[f"{name}.conv3.conv", "output"] = Scale(highest[f"{name}.conv3.conv"][None] / 127, *SIGNED)
    return found


@pytest.fixture(scope="module")
def images():
    return torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def folded(tiny_model):
    return fold(tiny_model)


@pytest.fixture(scope="module")
def scales(folded, images):
    return scales_of(folded, images)


def answers(network, images):
    with torch.inference_mode():
        raw = network(images)
    return torch.cat([raw.deltas, raw.logits], dim=-1)


def rounded(values, scale, axis=1):
    return Quantizer(scale, axis=axis)(torch.tensor(values)).tolist()


def test_values_are_rounded_and_cut_off():
    scale = Scale(torch.tensor([0.5]), *UNSIGNED)
    # 0.2 / 0.5 = 0.4 -> 0; 0.8 / 0.5 = 1.6 -> 2; a tie, 0.75 / 0.5 = 1.5, goes to the even number 2.
    assert rounded([0.2, 0.8, 0.75, -3, 200], scale) == [0, 1, 1, 0, 127.5]
    assert rounded([-100.0, 100.0], Scale(torch.tensor([0.5]), *SIGNED)) == [-64, 63.5]
    assert rounded([-100.0, 100.0], Scale(torch.tensor([0.5]), *WEIGHTS)) == [-63.5, 63.5]


def test_each_channel_has_its_own_step():
    scale = Scale(torch.tensor([1.0, 0.5]), *SIGNED)
    assert rounded([[[[0.6]], [[0.6]]]], scale) == [[[[1.0]], [[0.5]]]]  # (B, C, H, W)
    assert rounded([[0.6], [0.6]], scale, axis=0) == [[1.0], [0.5]]


def test_a_zero_point_moves_the_integers_and_keeps_0():
    # Steps of a half, 0 is the integer 2: from (0 - 2) / 2 to (255 - 2) / 2.
    quantizer = Quantizer(Scale(torch.tensor([0.5]), *UNSIGNED, torch.tensor([2], dtype=torch.int32)), axis=1)
    values = torch.tensor([-3.0, -1.0, -0.6, 0.0, 0.2, 0.3, 126.4, 200.0])
    assert quantizer(values).tolist() == [-1.0, -1.0, -0.5, 0.0, 0.0, 0.5, 126.5, 126.5]


def test_each_channel_has_its_own_zero():
    zeros = torch.tensor([0, 4], dtype=torch.int32)
    quantizer = Quantizer(Scale(torch.tensor([1.0, 0.25]), *UNSIGNED, zeros), axis=1)
    assert quantizer(torch.full((1, 2, 1, 1), -2.0)).flatten().tolist() == [0.0, -1.0]


def test_channels_are_multiplied_before_they_are_rounded():
    scale = Scale(torch.tensor([1.0]), *SIGNED, factor=torch.tensor([1.0, 10.0]))
    assert rounded([[[[0.6]], [[0.26]]]], scale) == [[[[1.0]], [[3.0]]]]


def test_gradients_pass_where_nothing_was_cut_off():
    values = torch.tensor([0.2, 0.8, -3, 200], requires_grad=True)
    Quantizer(Scale(torch.tensor([0.5]), *UNSIGNED), axis=1)(values).sum().backward()
    assert values.grad.tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize("is_weight", [False, True])
@pytest.mark.parametrize("each_channel", [False, True])
def test_rounding_and_its_gradients_are_those_of_pytorch(each_channel, is_weight):
    torch.manual_seed(0)
    low, high = (-127, 127) if is_weight else (0, 255)
    axis, count = (0, 6) if is_weight else (1, 4)
    step = torch.rand(count if each_channel else 1) * 0.02 + 0.001
    zero = torch.zeros_like(step, dtype=torch.int32) if is_weight else torch.randint(0, 200, step.shape).int()
    values = torch.randn(6, 4, 5, 5).to(memory_format=torch.channels_last)
    # Ties and ends of the range: whole and half integers of the first step.
    values[:, :, 0] = (torch.randint(-300, 600, (6, 4, 5)) / 2) * step[0]
    weights = torch.randn_like(values)

    def pytorch(x):
        if each_channel:
            return torch.fake_quantize_per_channel_affine(x, step, zero, axis, low, high)
        return torch.fake_quantize_per_tensor_affine(x, step[0], zero[0], low, high)

    results = []
    for rounding in (Quantizer(Scale(step, low, high, zero), axis=axis), pytorch):
        given = values.clone().requires_grad_()
        found = rounding(given)
        (found * weights).sum().backward()
        results.append((found.detach(), given.grad))
    assert torch.equal(results[0][0], results[1][0]) and torch.equal(results[0][1], results[1][1])
    assert 0 < int((results[0][1] == 0).sum()) < values.numel()


def test_every_value_of_a_picture_is_exact():
    pixels = torch.arange(256).float() / 255
    found = Quantizer(Scale(torch.tensor([1 / 255]), *UNSIGNED), axis=1)(pixels)
    assert torch.equal((found * 255).round(), torch.arange(256).float())
    assert float((found - pixels).abs().max()) < 1e-7


def test_a_quantised_network_is_near_and_elsewhere(folded, scales, images):
    before = answers(folded, images)
    found = answers(quantized.apply(folded, scales), images)
    assert 0 < float((found - before).abs().mean()) < 0.2 * float(before.std())
    assert torch.equal(answers(folded, images), before)
    assert quantized.is_quantized(quantized.apply(folded, scales)) and not quantized.is_quantized(folded)


def test_one_scale_rounds_one_place(folded, images):
    scale = Scale(torch.tensor([0.25]), *SIGNED)
    name = "bbox_head.reg_convs.0.3"
    found = quantized.apply(folded, {(name, "output"): scale})
    difference = answers(found, images) - answers(folded, images)
    assert float(difference[:, : 6 * 6 * 4, :4].abs().max()) <= 0.125 + 1e-6  # half a step, deltas of level 0
    assert not difference[:, :, 4:].any() and not difference[:, 6 * 6 * 4 :].any()


def test_weights_and_their_names_stay_those_of_the_folded_network(folded, scales):
    network = quantized.apply(folded, scales)
    given = folded.state_dict()
    assert list(network.state_dict()) == list(given)
    assert all(torch.equal(value, given[key]) for key, value in network.state_dict().items())


def test_summands_are_rounded_in_what_is_exported_only(folded, scales, images):
    without = {key: scale for key, scale in scales.items() if key[1] != "summand"}
    network = quantized.apply(folded, scales)
    as_evaluated = answers(network, images)
    assert torch.equal(as_evaluated, answers(quantized.apply(folded, without), images))
    quantized.activate_all(network)
    assert not torch.equal(as_evaluated, answers(network, images))


def test_copies_and_saved_networks_compute_the_same(folded, scales, images):
    network = quantized.apply(folded, scales)
    file = io.BytesIO()
    torch.save(copy.deepcopy(network), file)
    file.seek(0)
    expected = answers(network, images)
    assert torch.equal(answers(torch.load(file, weights_only=False), images), expected)
    assert torch.equal(answers(fold(network), images), expected)


def test_a_copy_is_trained_on_its_own(folded, scales):
    network = quantized.apply(folded, scales)
    copied = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    assert any(bool(parameter.any()) for parameter in network.parameters())


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_training_on_moves_every_weight(folded, scales, images, precision):
    network = quantized.apply(folded, scales).train().requires_grad_(True)
    with torch.autocast("cpu", dtype=precision, enabled=precision != torch.float32):
        raw = network(images)
    (raw.deltas.float().square().mean() + raw.logits.float().square().mean()).backward()
    without = {name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()}
    assert without == {"bbox_head.loss_weights"}  # which only the loss uses
    assert all(bool(value.grad.isfinite().all()) for value in network.parameters() if value.grad is not None)


def test_plain_values_and_back(scales):
    file = io.BytesIO()
    torch.save(quantized.scales_to_plain(scales), file)
    file.seek(0)
    found = quantized.scales_from_plain(torch.load(file, weights_only=True))
    assert list(found) == list(scales)
    for key, scale in found.items():
        assert torch.equal(scale.step, scales[key].step)
        assert (scale.low, scale.high) == (scales[key].low, scales[key].high)


GOOD = {"step": torch.tensor([0.5]), "low": 0, "high": 255}


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ("words", "it is no table of scales"),
        ({}, "it is no table of scales"),
        ({"a.b:middle": GOOD}, "`a.b:middle` names no place in a network"),
        ({"weight": GOOD}, "`weight` names no place in a network"),
        ({"a:weight": 3}, "`a:weight` is no scale"),
        ({"a:weight": {"step": torch.tensor([0.5])}}, "`a:weight` is no scale"),
        ({"a:weight": GOOD | {"step": 0.5}}, "`a:weight` is no scale"),
        ({"a:weight": GOOD | {"step": torch.tensor(0.5)}}, "`a:weight` is no scale"),
        ({"a:weight": GOOD | {"step": torch.zeros(0)}}, "`a:weight` is no scale"),
        ({"a:weight": GOOD | {"step": torch.tensor([0.0])}}, "`a:weight` is no scale"),
        ({"a:weight": GOOD | {"step": torch.tensor([float("nan")])}}, "`a:weight` is no scale"),
        ({"a:weight": GOOD | {"high": 15}}, "`a:weight` is no scale"),
        ({"a:weight": GOOD | {"zero": 3}}, "`a:weight` is no scale"),
        ({"a:weight": GOOD | {"zero": torch.tensor([0.5])}}, "`a:weight` is no scale"),
        ({"a:weight": GOOD | {"zero": torch.tensor([1, 2], dtype=torch.int32)}}, "`a:weight` is no scale"),
        ({"a:weight": GOOD | {"factor": torch.tensor([0.0])}}, "`a:weight` is no scale"),
        ({"a:weight": GOOD | {"factor": 2.0}}, "`a:weight` is no scale"),
        ({"a:weight": GOOD | {"zero": torch.tensor([300], dtype=torch.int32)}}, "`a:weight` is no scale"),
    ],
)
def test_what_is_no_quantisation_is_refused(plain, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        quantized.scales_from_plain(plain)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (("backbone.nowhere", "output"), "the network has no `backbone.nowhere`"),
        (("backbone.nowhere", "weight"), "the network has no `backbone.nowhere`"),
        (("backbone", "weight"), "no convolution has the weights that the scale of `backbone` is for"),
        ((FIRST, "weight"), f"no convolution has the weights that the scale of `{FIRST}` is for"),
    ],
)
def test_scales_of_another_network_are_refused(folded, key, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        quantized.apply(folded, {key: Scale(torch.full((5,), 0.5), *SIGNED)})
