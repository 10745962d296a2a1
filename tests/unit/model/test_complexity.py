from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import multibox
from multibox import config
from multibox.model import ssd
from multibox.model.complexity import complexity_gflops, operations, size_mp

TEMPLATES = Path(multibox.__file__).parent / "templates"


def template(size: int) -> config.Template:
    return config.load_template(TEMPLATES / f"mobilenet_v2-2s_ssd-{size}x{size}.yaml")


def test_convolution_counts_multiplications_and_bias() -> None:
    # 8 x 8 x 5 outputs, each 3 * 3 * 3 multiplications with additions and one bias: 320 * (27 + 1)
    model = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1))
    assert operations(model, 8) == 8960


def test_depthwise_convolution_counts_its_own_channel_only() -> None:
    # 4 x 4 x 3 outputs, each 3 * 3 multiplications: 48 * 9
    model = nn.Sequential(nn.Conv2d(3, 3, 3, stride=2, padding=1, groups=3, bias=False))
    assert operations(model, 8) == 432


def test_normalisation_counts_two_and_rectifiers_one_per_value() -> None:
    # 3 x 8 x 8 = 192 values: 2 + 1 + 1 each; the identity counts nothing
    model = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(inplace=True), nn.ReLU6(), nn.Identity())
    assert operations(model, 8) == 768


@pytest.mark.parametrize(
    ("size", "num_classes", "raw", "gflops"),
    [
        (256, 80, 426_831_424, 0.86),
        (384, 80, 960_370_704, 1.92),
        (512, 80, 1_707_325_696, 3.42),
        (256, 3, 411_273_728, 0.82),
        (384, 3, 925_365_888, 1.86),
        (512, 3, 1_645_094_912, 3.30),
    ],
)
def test_counts_are_the_published_ones(size: int, num_classes: int, raw: int, gflops: float) -> None:
    model = ssd.build_ssd(template(size), num_classes=num_classes)
    assert operations(model, size) == raw
    assert repr(complexity_gflops(model, size)) == repr(gflops)


@pytest.mark.parametrize("size", [256, 384, 512])
def test_templates_publish_what_is_measured(size: int) -> None:
    published = {metric.key: metric.value for metric in template(size).metrics}
    model = ssd.build_ssd(template(size), num_classes=80)
    assert size_mp(model) == published["size"]
    assert complexity_gflops(model, size) == published["complexity"]


@pytest.mark.parametrize(("num_classes", "expected"), [(80, 1.99), (3, 1.84), (1, 1.83)])
def test_size_is_millions_of_parameters(num_classes: int, expected: float) -> None:
    assert size_mp(ssd.build_ssd(template(256), num_classes=num_classes)) == expected


def test_frozen_parameters_do_not_count() -> None:
    model = ssd.build_ssd(template(256), num_classes=80)
    model.backbone.requires_grad_(False)
    assert size_mp(model) == 0.18  # the head: 179 391


def test_model_is_left_as_it_was() -> None:
    model = ssd.build_ssd(template(256), num_classes=3).train()
    frozen = model.backbone.features[0].bn.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    operations(model, 64)
    assert model.training
    assert not frozen.training
    assert not any(module._forward_hooks for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_model_is_left_as_it_was_when_it_fails() -> None:
    model = nn.Sequential(nn.Conv2d(4, 4, 1)).train()
    with pytest.raises(RuntimeError):
        operations(model, 8)
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())
