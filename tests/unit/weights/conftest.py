"""Weights of the 256 template for a few classes and for COCO's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from multibox import config
from multibox.config import Template
from multibox.model import ssd

ROOT = Path(__file__).parents[3]
LAST_LAYERS = ("bbox_head.cls_convs.0.3", "bbox_head.cls_convs.1.3")


@pytest.fixture(scope="module")
def template() -> Template:
    return config.load_template(ROOT / "src/multibox/templates/mobilenet_v2-2s_ssd-256x256.yaml")


def random_weights(template: Template, num_classes: int) -> dict[str, torch.Tensor]:
    """No two values of a class layer are equal, biases included."""
    torch.manual_seed(num_classes)
    model = ssd.build_ssd(template, num_classes=num_classes)
    for key, value in model.state_dict().items():
        if key.startswith(LAST_LAYERS):
            value.copy_(torch.randn(value.shape))
    return model.state_dict()


@pytest.fixture(scope="module")
def three(template: Template) -> dict[str, torch.Tensor]:
    return random_weights(template, 3)


@pytest.fixture(scope="module")
def eighty(template: Template) -> dict[str, torch.Tensor]:
    return random_weights(template, 80)
