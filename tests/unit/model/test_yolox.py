from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from multibox import config
from multibox.boxes import decode
from multibox.config import PostprocessConfig
from multibox.model import csp_darknet
from multibox.model.anchors import make_anchors
from multibox.model.complexity import complexity_gflops, operations, size_mp
from multibox.model.csp_darknet import CSPDarknet, Focus
from multibox.model.csp_layers import CSPBlock
from multibox.model.decoupled_head import DecoupledHead
from multibox.model.folding import fold
from multibox.model.postprocess import select
from multibox.model.yolox import YOLOX
from multibox.structures import RawOutput

TEMPLATES = Path(__file__).parents[3] / "src/multibox/templates/yolox_nano"
ANCHORS_PX = [[(8.0, 8.0)], [(16.0, 16.0)], [(32.0, 32.0)]]


@pytest.fixture(scope="module")
def network() -> YOLOX:
    """Random weights, and statistics of its own in each normalisation."""
    torch.manual_seed(3)
    model = YOLOX(num_classes=3)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model.eval()


@pytest.mark.parametrize("size", [64, 96, 256])
def test_output_has_a_row_for_each_place_of_three_strides(network: YOLOX, size: int) -> None:
    deltas, logits = network(torch.rand(2, 3, size, size))
    places = sum((size // stride) ** 2 for stride in (8, 16, 32))
    assert deltas.shape == (2, places, 4)
    assert logits.shape == (2, places, 4)  # three classes and objectness


def test_anchors_pair_up_with_the_output(network: YOLOX) -> None:
    anchors = make_anchors(ANCHORS_PX, csp_darknet.STRIDES, 96, offset=0)
    assert len(anchors) == network(torch.rand(1, 3, 96, 96)).deltas.shape[1]


def test_an_anchor_is_one_stride_wide_around_the_corner_of_its_cell() -> None:
    # 64 px: 8 x 8 places of stride 8 come first. The place in column 2 of row 1 is number 10; its cell begins at
    # (16, 8), and its anchor reaches from 12 to 20 and from 4 to 12.
    anchors = make_anchors(ANCHORS_PX, csp_darknet.STRIDES, 64, offset=0) * 64
    np.testing.assert_allclose(anchors[10], [12, 4, 20, 12])
    np.testing.assert_allclose(anchors[64], [-8, -8, 8, 8])  # the first of stride 16
    np.testing.assert_allclose(anchors[64 + 16 + 1], [16, -16, 48, 16])  # the second of stride 32


def test_a_delta_means_what_it_means_in_the_paper() -> None:
    # YOLOX: centre = (cell + delta) * stride, side = exp(delta) * stride. Column 2, row 1 of stride 8:
    # centre (2 + 0.5, 1 + 0.25) * 8 = (20, 10), sides 8 * 2 = 16 and 8 * 1.5 = 12.
    anchors = make_anchors(ANCHORS_PX, csp_darknet.STRIDES, 64, offset=0)
    deltas = np.array([[0.5, 0.25, math.log(2), math.log(1.5)]], dtype=np.float32)
    np.testing.assert_allclose(decode(deltas, anchors[10:11], (1, 1)) * 64, [[12, 4, 28, 16]], rtol=1e-5)


def test_output_goes_level_by_level_and_row_by_row() -> None:
    head = DecoupledHead((8, 8), 1).eval()
    for level, out in zip(head.levels, (0.0, 100.0), strict=True):
        level.forward = lambda x, first=out: (x[:, :4] + first, x[:, :2] + first)  # type: ignore[method-assign]
    fine = torch.arange(6.0).view(1, 1, 2, 3).expand(1, 8, 2, 3)
    coarse = torch.arange(2.0).view(1, 1, 1, 2).expand(1, 8, 1, 2)
    raw = head([fine, coarse])
    assert raw.deltas[0, :, 0].tolist() == [0, 1, 2, 3, 4, 5, 100, 101]
    assert raw.logits.shape == (1, 8, 2)


def test_the_first_convolution_sees_pixels_in_the_published_order() -> None:
    focus = Focus(1, 4)
    focus.conv = nn.Identity()  # type: ignore[assignment]
    # 1 2    top left 1, bottom left 3, top right 2, bottom right 4
    # 3 4
    assert focus(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])).flatten().tolist() == [1, 3, 2, 4]


def test_maps_have_the_published_strides_and_channels() -> None:
    maps = CSPDarknet().eval()(torch.rand(1, 3, 64, 64))
    assert [tuple(x.shape[1:]) for x in maps] == [(64, 8, 8), (128, 4, 4), (256, 2, 2)]


@pytest.mark.parametrize(("stride", "count"), [(0, 0), (1, 0), (2, 1), (4, 2), (8, 3), (16, 4), (32, 5)])
def test_blocks_up_to_a_stride_shrink_the_image_to_it(stride: int, count: int) -> None:
    network = YOLOX(num_classes=1).eval()
    blocks = network.blocks_up_to(stride)
    assert len(blocks) == count
    x = torch.rand(1, 3, 64, 64)
    for block in blocks:
        x = block(x)
    assert x.shape[-1] == 64 // max(2**count, 1)


@pytest.mark.parametrize("first_block", [0, 1, 2, 3])
def test_from_block_continues(network: YOLOX, first_block: int) -> None:
    images = x = torch.rand(1, 3, 64, 64)
    for block in list(network.backbone.features)[:first_block]:
        x = block(x)
    for part, whole in zip(network.from_block(first_block, x), network(images), strict=True):
        torch.testing.assert_close(part, whole)


@pytest.mark.parametrize("has_residual", [True, False])
def test_a_bottleneck_adds_its_input_only_where_it_should(has_residual: bool) -> None:
    block = CSPBlock(4, 4, num_bottlenecks=1, has_residual=has_residual).bottlenecks.eval()
    for module in block.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.zeros_(module.weight)
    # Convolutions of zeros give zeros, and SiLU of 0 is 0.
    x = torch.rand(1, 2, 3, 3)
    torch.testing.assert_close(block(x), x if has_residual else torch.zeros_like(x))


def test_normalisations_have_the_published_constants() -> None:
    norms = [module for module in YOLOX(num_classes=2).modules() if isinstance(module, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.03)}


def test_a_score_is_class_times_objectness() -> None:
    # Logits log 3 and 0 are probabilities 3/4 and 1/2; objectness log 4 is 4/5.
    logits = torch.tensor([[[math.log(3), 0.0, math.log(4)]]])
    torch.testing.assert_close(YOLOX(num_classes=2).scores(logits), torch.tensor([[[0.6, 0.4, 0.2]]]))


def test_scores_are_selected_as_those_of_the_ssd() -> None:
    # Two places see the same square of class 1; the better one stays. Background, last, is no class.
    anchors = np.array([[0, 0, 0.5, 0.5], [0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]], dtype=np.float32)
    logits = torch.tensor([[[-9.0, 2.0, 3.0], [-9.0, 1.0, 3.0], [-9.0, -9.0, -9.0]]])
    scores = YOLOX(num_classes=2).scores(logits)
    settings = PostprocessConfig(score_threshold=0.1, iou_threshold=0.65, max_per_class=10, max_detections=10)
    deltas = np.zeros((1, 3, 4), dtype=np.float32)
    (detections,) = select(deltas, scores.numpy(), anchors, variances=(1, 1), config=settings)
    assert detections.labels.tolist() == [1]
    # 1 / (1 + exp(-2)) * 1 / (1 + exp(-3))
    assert detections.scores.tolist() == pytest.approx([0.8808 * 0.9526], abs=1e-4)


def test_a_fresh_head_expects_nothing() -> None:
    network = YOLOX(num_classes=3).eval()
    scores = network.scores(network(torch.rand(1, 3, 64, 64)).logits)
    assert scores[..., :-1].max() < 0.01


def test_folding_changes_nothing(network: YOLOX) -> None:
    images = torch.rand(1, 3, 64, 64)
    folded = fold(network)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    for given, expected in zip(folded(images), network(images), strict=True):
        torch.testing.assert_close(given, expected, atol=1e-5, rtol=1e-4)


def test_gradients_reach_every_weight() -> None:
    network = YOLOX(num_classes=2).train()
    raw: RawOutput = network(torch.rand(2, 3, 64, 64))
    (raw.deltas.square().sum() + raw.logits.square().sum()).backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("size", "raw"),
    [(256, 204_353_088), (384, 459_794_448), (416, 539_619_873), (512, 817_412_352), (640, 1_277_206_800)],
)
def test_counts_grow_with_the_input(size: int, raw: int) -> None:
    assert operations(YOLOX(num_classes=80), size) == raw


@pytest.mark.parametrize(("size", "gflops"), [(256, 0.41), (384, 0.92), (512, 1.64), (640, 2.56)])
def test_templates_publish_what_is_measured(size: int, gflops: float) -> None:
    template = config.load_template(TEMPLATES / f"yolox_nano-{size}x{size}.yaml")
    published = {metric.key: metric.value for metric in template.metrics}
    network = YOLOX(num_classes=80)
    assert size_mp(network) == published["size"]
    assert complexity_gflops(network, size) == published["complexity"]
    # 1.08 at 416 px, as published, times the area; the count in the templates is an even number of hundredths.
    assert 1.08 * (size / 416) ** 2 == pytest.approx(gflops, abs=0.005)
    assert published["complexity"] == pytest.approx(gflops, abs=0.0101)


def test_counts_are_the_published_ones() -> None:
    # Published: 0.91 M parameters, 1.08 GFLOPs at 416 px.
    network = YOLOX(num_classes=80)
    assert size_mp(network) == 0.91
    assert complexity_gflops(network, 416) == 1.08
