"""A network that is ready to learn."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from multibox import config
from multibox.model import ssd
from multibox.train.devices import connect
from multibox.train.distributed import Processes
from multibox.train.step import Learner, make_learner


@pytest.fixture
def learner(tiny_template_file: Path) -> Learner:
    """A fresh network of the tiny template for two classes, on a processor."""
    torch.manual_seed(0)
    template = config.changed(config.load_template(tiny_template_file), {"train.frozen_stride": 0})
    model = ssd.build_ssd(template, num_classes=2)
    fabric = connect("cpu", "float32")
    return make_learner(fabric, Processes(), template, model, start_share=0.0, name_of_rate="--base-learning-rate")
