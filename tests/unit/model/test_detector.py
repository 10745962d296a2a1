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
