"""The script that made the COCO weights of the package; that they are the public ones is told in tests/parity."""

from __future__ import annotations

from pathlib import Path

import torch
from tools.convert_yolox_weights import convolutions, evenly, for_rgb
from torch import nn

from multibox.model.yolox import YOLOX


def test_every_convolution_is_named_once():
    named = {name.removesuffix(".conv") for name, part in YOLOX(num_classes=2).named_modules() if type(part) in CONVS}
    names = list(convolutions())
    # The stem's block is itself called conv.
    assert len(names) == len(set(names)) == 113
    assert {name.removesuffix(".conv") for name in names} == {name.removesuffix(".conv") for name in named}


CONVS = {nn.Conv2d, *nn.Conv2d.__subclasses__()}


def test_weights_for_rgb_have_the_colours_of_each_pixel_turned_round():
    # Four pixels of blue, green, red: 1 2 3, 4 5 6, 7 8 9, 10 11 12.
    weight = torch.arange(1.0, 13).view(1, 12, 1, 1)
    assert (for_rgb(weight) / 255).flatten().tolist() == [3, 2, 1, 6, 5, 4, 9, 8, 7, 12, 11, 10]


def test_files_are_taken_evenly():
    folders = [[Path(f"a{i}") for i in range(9)], [Path("b0")]]
    assert evenly(folders, 6) == [Path("a0"), Path("a4"), Path("a8"), Path("b0")]
    assert evenly([], 6) == []
