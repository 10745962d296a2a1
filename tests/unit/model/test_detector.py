"""Networks of both families are built and asked in one form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from multibox import config
from multibox.config import PostprocessConfig, Template
from multibox.model import detector
from multibox.model.postprocess import select

TEMPLATES = Path(__file__).parents[3] / "src/multibox/templates"
FILES = {"SSD": "mobilenet_v2-2s_ssd-256x256.yaml", "YOLOX-Nano": "yolox_nano/yolox_nano-256x256.yaml"}


@pytest.fixture(params=FILES)
def template(request: pytest.FixtureRequest) -> Template:
    return config.load_template(TEMPLATES / FILES[request.param])


def test_each_row_of_the_output_has_an_anchor(template: Template) -> None:
    network = detector.build(template, num_classes=3).eval()
    deltas, logits = network(torch.rand(2, 3, 256, 256))
    # 4 x 16 x 16 + 5 x 8 x 8, and 32 x 32 + 16 x 16 + 8 x 8
    assert detector.anchors(network, template).shape == (1344, 4)
    assert (deltas.shape, logits.shape) == ((2, 1344, 4), (2, 1344, 4))


def test_scores_are_probabilities_with_background_last(template: Template) -> None:
    network = detector.build(template, num_classes=2)
    logits = torch.tensor([[[-9.0, 9.0, 9.0], [9.0, -9.0, -9.0]]])
    scores = network.scores(logits)
    assert scores.shape == (1, 2, 3)
    assert bool(((scores >= 0) & (scores <= 1)).all())
    raised = network.scores(logits + torch.tensor([0.0, 0.5, 0.0]))
    assert bool((raised[..., 1] > scores[..., 1]).all())


def test_deltas_of_zero_are_the_anchors(template: Template) -> None:
    network = detector.build(template, num_classes=1)
    anchors = detector.anchors(network, template)
    middle = int(np.abs(anchors.mean(axis=1) - 0.5).argmin())
    scores = np.zeros((1, len(anchors), 2), dtype=np.float32)
    scores[0, middle, 0] = 0.9
    settings = PostprocessConfig(score_threshold=0.5, iou_threshold=0.5, max_per_class=9, max_detections=9)
    deltas = np.zeros((1, len(anchors), 4), dtype=np.float32)
    (detections,) = select(deltas, scores, anchors, variances=template.model.box_variances, config=settings)
    np.testing.assert_allclose(detections.boxes, [anchors[middle].clip(0, 1)], atol=1e-6)


def test_strides_are_those_of_the_feature_maps(template: Template) -> None:
    network = detector.build(template, num_classes=1).eval()
    maps = network.backbone(torch.rand(1, 3, 128, 128))
    assert detector.strides_of(network) == [128 // x.shape[-1] for x in maps]


def test_cell_middles_are_the_middles_of_cells(template: Template) -> None:
    network = detector.build(template, num_classes=1)
    middles = detector.cell_middles(network, template)
    first_stride, last_stride = detector.strides_of(network)[0], detector.strides_of(network)[-1]
    np.testing.assert_allclose(middles[0] * 256, [first_stride / 2, first_stride / 2], rtol=1e-6)
    np.testing.assert_allclose(middles[-1] * 256, [256 - last_stride / 2, 256 - last_stride / 2], rtol=1e-6)
    # An SSD's anchors have their centres there already.
    offset = (template.model.anchor_offset - 0.5) * first_stride
    anchor = detector.anchors(network, template)[0] * 256
    np.testing.assert_allclose((anchor[:2] + anchor[2:]) / 2, middles[0] * 256 + offset, atol=1e-4)


@pytest.mark.parametrize("num_classes", [1, 2, 80])
def test_weights_tell_their_number_of_classes(template: Template, num_classes: int) -> None:
    weights = detector.build(template, num_classes=num_classes).state_dict()
    assert detector.count_classes(template, weights) == num_classes


def test_weights_of_one_family_have_no_classes_in_another() -> None:
    ssd, yolox = (config.load_template(TEMPLATES / name) for name in FILES.values())
    assert detector.count_classes(ssd, detector.build(yolox, num_classes=3).state_dict()) is None
    assert detector.count_classes(yolox, detector.build(ssd, num_classes=3).state_dict()) is None


def test_scores_of_arrays_are_those_of_the_network(template: Template) -> None:
    network = detector.build(template, num_classes=2)
    logits = np.random.default_rng(0).normal(0, 4, (2, 50, 3)).astype(np.float32)
    expected = network.scores(torch.from_numpy(logits)).numpy()
    np.testing.assert_allclose(detector.scores(network, logits), expected, atol=1e-6)
