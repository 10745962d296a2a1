"""The layers of both families as OpenVINO nodes: they compute what PyTorch does, and each tells its module."""

from __future__ import annotations

import numpy as np
import openvino
import pytest
import torch
from openvino import opset13
from torch import nn

from multibox.model.folding import fold
from multibox.model.openvino_layers import build_layers, build_scores

SIDE = 96


@pytest.fixture(scope="module", params=["tiny_model", "tiny_yolox_model"])
def folded(request):
    return fold(request.getfixturevalue(request.param))


@pytest.fixture(scope="module")
def model(folded):
    """The network for any number of images."""
    image = opset13.parameter([-1, 3, SIDE, SIDE], np.float32, name="image")
    deltas, logits = build_layers(folded, image)
    return openvino.Model([deltas, build_scores(folded, logits)], [image], "network")


@pytest.mark.parametrize("batch", [1, 3])
def test_they_compute_what_pytorch_does_for_any_number_of_images(folded, model, batch):
    images = np.random.default_rng(batch).random((batch, 3, SIDE, SIDE), dtype=np.float32)
    exact = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    deltas, scores = exact(images).values()
    with torch.no_grad():
        raw = folded(torch.from_numpy(images))
        expected = folded.scores(raw.logits).numpy()
    assert deltas.shape == tuple(raw.deltas.shape)
    assert np.abs(deltas - raw.deltas.numpy()).max() < 1e-5 * np.abs(deltas).max()
    assert np.abs(scores - expected).max() < 1e-5


def test_every_node_has_a_name_of_its_own_and_every_convolution_that_of_its_module(folded, model):
    names = [node.get_friendly_name() for node in model.get_ops()]
    assert len(set(names)) == len(names)
    found = {name.removesuffix("/Convolution").removesuffix("/GroupConvolution") for name in names if "/" in name}
    convolutions = {name for name, module in folded.named_modules() if isinstance(module, nn.Conv2d)}
    assert convolutions <= found
    # Sums of a shortcut belong to the block, concatenations too.
    blocks = {name.rpartition("/")[0] for name in names if name.endswith(("/Add", "/Concat", "/Concat_1"))}
    assert blocks - convolutions - {"bbox_head", "neck", "scores"} <= {name for name, _ in folded.named_modules()}


def test_a_layer_of_an_unknown_kind_is_named():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.GELU())
    with pytest.raises(AssertionError, match="1: no node is known here for GELU"):
        build_layers(network, opset13.parameter([1, 3, 8, 8], np.float32))
