from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from multibox import config
from multibox.config import Template
from multibox.errors import TemplateError
from multibox.model import ssd
from multibox.model.ssd import SSD, Head

TEMPLATES = Path(__file__).parents[3] / "src/multibox/templates"


@pytest.fixture(scope="module")
def template() -> Template:
    return config.load_template(TEMPLATES / "mobilenet_v2-2s_ssd-256x256.yaml")


@pytest.fixture(scope="module")
def model(template: Template) -> SSD:
    return ssd.build_ssd(template, num_classes=3)


@pytest.mark.parametrize(
    ("num_classes", "expected"),
    [
        (80, 1_992_191),
        (3, 1_838_730),
        # A class has (96 + 1) * 4 + (320 + 1) * 5 = 1993: 1992191 - 79 * 1993
        (1, 1_834_744),
    ],
)
def test_number_of_parameters(template, num_classes, expected):
    network = ssd.build_ssd(template, num_classes=num_classes)
    assert sum(parameter.numel() for parameter in network.parameters()) == expected
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_state_dict_is_that_of_the_published_snapshots(template, shared):
    listed = json.loads((shared / "reference" / "state_dict_80.json").read_text(encoding="utf-8"))
    own = ssd.build_ssd(template, num_classes=80).state_dict()
    entries = [[key, list(value.shape), str(value.dtype).removeprefix("torch.")] for key, value in own.items()]
    assert entries == listed["entries"]


def test_a_backbone_that_does_not_exist_is_an_error_of_the_template():
    text = (TEMPLATES / "mobilenet_v2-2s_ssd-256x256.yaml").read_text(encoding="utf-8")
    text = text.replace("backbone: mobilenet_v2", "backbone: resnet")
    with pytest.raises(TemplateError, match="resnet"):
        ssd.build_ssd(config.loads(text, source="a.yaml"), num_classes=1)


@pytest.mark.parametrize("levels", [1, 3])
def test_anchors_for_another_number_of_levels_are_an_error_of_the_template(levels, template):
    changed = config.changed(template, {"model.anchors_px": [[[10.0, 10.0]]] * levels})
    with pytest.raises(TemplateError, match=r"anchors for \d levels? .*backbone has 2"):
        ssd.build_ssd(changed, num_classes=1)


@pytest.mark.parametrize("num_classes", [1, 3, 80])
@pytest.mark.parametrize(("size", "num_anchors"), [(256, 1344), (384, 3024), (512, 5376)])
def test_shapes_of_the_output(size, num_anchors, num_classes):
    description = config.load_template(TEMPLATES / f"mobilenet_v2-2s_ssd-{size}x{size}.yaml")
    # Shapes need no arithmetic: tensors of the meta device hold none.
    with torch.device("meta"):
        network = ssd.build_ssd(description, num_classes=num_classes)
    raw = network(torch.zeros(2, 3, size, size, device="meta"))
    assert raw.deltas.shape == (2, num_anchors, 4)
    assert raw.logits.shape == (2, num_anchors, num_classes + 1)


@torch.no_grad()
def test_training_and_evaluation_give_the_same_kind_of_output(model):
    images = torch.rand(2, 3, 64, 64)
    trained, evaluated = model.train()(images), model.eval()(images)
    assert type(trained) is type(evaluated)
    # (4 * 4) * 4 + (2 * 2) * 5
    assert [tuple(x.shape) for x in trained] == [tuple(x.shape) for x in evaluated] == [(2, 84, 4), (2, 84, 4)]


@torch.no_grad()
def test_in_evaluation_an_image_does_not_depend_on_its_batch(model):
    images = torch.rand(3, 3, 64, 64)
    whole, alone = model.eval()(images), model(images[1:2])
    torch.testing.assert_close(whole.deltas[1:2], alone.deltas, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(whole.logits[1:2], alone.logits, atol=1e-5, rtol=1e-4)


def test_strides(model):
    assert ssd.strides(model) == [16, 32]


def test_building_and_asking_for_strides_leave_no_trace(template):
    network = ssd.build_ssd(template, num_classes=1)
    ssd.strides(network)
    assert all(module.training for module in network.modules())
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all(norm.num_batches_tracked == 0 and not norm.running_mean.any() for norm in norms)
    network.eval()
    ssd.strides(network)
    assert not any(module.training for module in network.modules())


def test_feature_maps_are_not_cut_by_an_activation(model):
    features = model.backbone.eval()(torch.rand(1, 3, 64, 64))
    assert [tuple(feature.shape) for feature in features] == [(1, 96, 4, 4), (1, 320, 2, 2)]
    assert all(feature.min() < 0 for feature in features)


def head_that_tells_where(num_anchors: list[int], num_classes: int) -> Head:
    """A head whose outputs are 100 times the first channel of its cell plus the number of the output channel."""
    head = Head([2] * len(num_anchors), num_anchors, num_classes).eval()
    with torch.no_grad():
        for branch in [*head.reg_convs, *head.cls_convs]:
            depthwise, norm, _, last = branch
            depthwise.weight.zero_()
            depthwise.weight[:, 0, 1, 1] = 1
            norm.running_var.fill_(1 - norm.eps)
            last.weight.zero_()
            last.weight[:, 0] = 100
            last.bias.copy_(torch.arange(len(last.bias)))
    return head


@torch.no_grad()
def test_outputs_go_by_level_row_cell_and_anchor():
    # Level 0 has 2 rows of 3 cells and 2 anchors, level 1 one cell and 1 anchor; cells are numbered through.
    cells = [torch.arange(6.0).reshape(1, 1, 2, 3), torch.full((1, 1, 1, 1), 6.0)]
    features = [torch.cat([cell, torch.zeros_like(cell)], dim=1) for cell in cells]
    raw = head_that_tells_where([2, 1], num_classes=2)(features)
    # 4 deltas of each anchor: channels 0..3 are anchor 0, 4..7 anchor 1; 3 logits: 0..2 and 3..5
    deltas = [[100 * cell + 4 * anchor + k for k in range(4)] for cell in range(6) for anchor in range(2)]
    logits = [[100 * cell + 3 * anchor + k for k in range(3)] for cell in range(6) for anchor in range(2)]
    torch.testing.assert_close(raw.deltas[0], torch.tensor([*deltas, [600, 601, 602, 603]]).float())
    torch.testing.assert_close(raw.logits[0], torch.tensor([*logits, [600, 601, 602]]).float())


def test_fresh_weights_are_drawn_as_in_the_original(model):
    fresh = model.backbone.features.stage5.unit4.conv3.conv.weight
    bound = math.sqrt(6 / 960)  # Kaiming: inputs of the 1x1 convolution
    assert 0.98 * bound < fresh.abs().max() <= bound
    last = model.bbox_head.cls_convs[1][3]
    bound = math.sqrt(6 / (320 + 20))  # Xavier: inputs and outputs, 5 * (3 + 1)
    assert 0.98 * bound < last.weight.abs().max() <= bound
    assert not last.bias.any()
    assert model.bbox_head.loss_weights.tolist() == [0, 0]


def test_every_parameter_but_the_balance_gets_a_gradient(template):
    network = ssd.build_ssd(template, num_classes=2)
    raw = network(torch.rand(2, 3, 64, 64))
    (raw.deltas.square().sum() + raw.logits.square().sum()).backward()
    without = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert without == ["bbox_head.loss_weights"]


def test_scores_of_the_ssd_are_a_softmax(template) -> None:
    # 1 / (1 + 3), 3 / (1 + 3)
    logits = torch.tensor([[[0.0, math.log(3)]]])
    torch.testing.assert_close(ssd.build_ssd(template, num_classes=1).scores(logits), torch.tensor([[[0.25, 0.75]]]))
