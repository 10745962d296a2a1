from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from multibox.model.folding import normalised
from multibox.model.unfolding import FRESH_NORM, restore_normalisation
from multibox.model.yolox import YOLOX


def pairs(network: nn.Module) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    return [(before, after) for module in network.modules() for (_, before), (_, after) in normalised(module)]


def unfolded() -> YOLOX:
    """A network as it comes from a folded file: weights of all sizes, normalisations that add a bias."""
    torch.manual_seed(5)
    network = YOLOX(num_classes=2).eval()
    with torch.no_grad():
        for convolution, normalisation in pairs(network):
            convolution.weight *= torch.rand(len(convolution.weight), 1, 1, 1) * 4 + 0.1
            normalisation.bias.uniform_(-0.5, 0.5)
            normalisation.running_var.fill_(1 - normalisation.eps)
    return network


def images() -> list[Tensor]:
    generator = torch.Generator().manual_seed(7)
    return [torch.rand(3, 3, 64, 64, generator=generator), torch.rand(2, 3, 64, 64, generator=generator)]


def test_the_function_in_evaluation_mode_is_unchanged() -> None:
    network = unfolded()
    before = copy.deepcopy(network)
    assert restore_normalisation(network, images()) is network
    others = torch.rand(2, 3, 96, 96)  # none of those that gave the statistics
    with torch.no_grad():
        for given, expected in zip(network(others), before(others), strict=True):
            torch.testing.assert_close(given, expected, atol=2e-5, rtol=1e-4)


def test_every_channel_gets_the_norm_of_fresh_weights() -> None:
    for convolution, _ in pairs(restore_normalisation(unfolded(), images())):
        norms = convolution.weight.detach().flatten(1).norm(dim=1)
        torch.testing.assert_close(norms, torch.full_like(norms, FRESH_NORM), atol=1e-5, rtol=1e-5)


def test_fresh_weights_have_that_norm() -> None:
    # The mean of the squares of 256 channels is known to some percent.
    weight = nn.Conv2d(64, 256, 3).weight.detach().flatten(1)
    assert weight.square().sum(dim=1).mean().sqrt().item() == pytest.approx(FRESH_NORM, rel=0.05)


def test_statistics_are_those_of_the_images() -> None:
    network = restore_normalisation(unfolded(), images())
    seen: dict[nn.Module, list[Tensor]] = {}
    for convolution, _ in pairs(network):
        convolution.register_forward_hook(lambda module, _, y: seen.setdefault(module, []).append(y.detach()))
    with torch.no_grad():
        for batch in images():
            network(batch)
    for convolution, normalisation in pairs(network):
        values = torch.cat([y.transpose(0, 1).flatten(1) for y in seen[convolution]], dim=1)
        torch.testing.assert_close(normalisation.running_mean, values.mean(dim=1), atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(normalisation.running_var, values.var(dim=1), atol=1e-5, rtol=1e-3)


def test_a_channel_of_zeros_stays_one() -> None:
    network = unfolded()
    convolution, _ = pairs(network)[3]
    with torch.no_grad():
        convolution.weight[1] = 0
    before = network(images()[0]).deltas
    restore_normalisation(network, images())
    assert not convolution.weight[1].any()
    torch.testing.assert_close(network(images()[0]).deltas, before, atol=2e-5, rtol=1e-4)


def test_without_images_it_is_refused() -> None:
    with pytest.raises(ValueError, match="there are none"):
        restore_normalisation(unfolded(), [])
