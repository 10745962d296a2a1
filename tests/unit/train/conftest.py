"""A network that is ready to learn."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from multibox import config
from multibox.model import detector
from multibox.train.devices import connect
from multibox.train.distributed import Processes
from multibox.train.step import Learner, make_learner


@pytest.fixture(params=["SSD", "YOLOX-Nano"])
def learner(request: pytest.FixtureRequest, tiny_template_file: Path, tiny_yolox_file: Path) -> Learner:
    """A fresh network of a tiny template for two classes, on a processor."""
    return fresh_learner(tiny_template_file if request.param == "SSD" else tiny_yolox_file)


@pytest.fixture(scope="module", params=["SSD", "YOLOX-Nano"])
def one_learner(request: pytest.FixtureRequest, tiny_template_file: Path, tiny_yolox_file: Path) -> Learner:
    """As `learner`, for all tests of a module that do not train it."""
    return fresh_learner(tiny_template_file if request.param == "SSD" else tiny_yolox_file)


def fresh_learner(template_file: Path, *, cuda_graph: bool = False) -> Learner:
    """The learner of a tiny template for two classes, with the same weights each time."""
    torch.manual_seed(0)
    changes = {"train.frozen_stride": 0, "train.cuda_graph": cuda_graph}
    template = config.changed(config.load_template(template_file), changes)
    model = detector.build(template, num_classes=2)
    fabric = connect("cpu", "float32")
    return make_learner(fabric, Processes(), template, model, start_share=0.0, name_of_rate="--base-learning-rate")
