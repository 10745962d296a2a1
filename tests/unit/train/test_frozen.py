"""Stages that do not train give what they gave, and stay as they are."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from multibox import config
from multibox.data import coco
from multibox.model.yolox import YOLOX
from multibox.train.frozen import TrainedStages, bytes_to_input, freeze, frozen_stages
from multibox.train.run import train
from multibox.weights.start import open_starting_point
from tests.e2e.test_learning import Silent


# Strides after the blocks: init 2, stage1 2, stage2 4, stage3 8, stage4 16, stage5 32.
@pytest.mark.parametrize(("stride", "num_blocks"), [(0, 0), (2, 2), (4, 3), (8, 4), (16, 5), (32, 6)])
def test_number_of_blocks_up_to_a_stride(tiny_model, stride, num_blocks):
    assert len(tiny_model.blocks_up_to(stride)) == num_blocks


@pytest.mark.parametrize("stride", [2, 8, 16])
def test_the_rest_of_the_network_goes_on_from_what_the_frozen_stages_give(tiny_model, stride):
    images = torch.randint(256, (3, 96, 96, 3), dtype=torch.uint8)
    run = frozen_stages(tiny_model, stride, input_size=96, device=torch.device("cpu"), precision=torch.float32)
    with torch.no_grad():
        whole = tiny_model(bytes_to_input(images))
        parts = TrainedStages(tiny_model, len(tiny_model.blocks_up_to(stride)))(run(images))
    for expected, found in zip(whole, parts, strict=True):
        assert (expected - found).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.parametrize(("stride", "num_blocks"), [(2, 1), (4, 2), (8, 3)])
def test_yolox_nano_goes_on_from_what_its_frozen_stages_give(stride, num_blocks):
    network = YOLOX(num_classes=2).eval()
    images = torch.randint(256, (3, 96, 96, 3), dtype=torch.uint8)
    assert freeze(network, stride) == num_blocks
    run = frozen_stages(network, stride, input_size=96, device=torch.device("cpu"), precision=torch.float32)
    with torch.no_grad():
        whole = network(bytes_to_input(images))
        parts = TrainedStages(network, num_blocks)(run(images))
    for expected, found in zip(whole, parts, strict=True):
        assert (expected - found).abs().max() < 1e-4 * expected.abs().max()


def test_a_result_is_not_overwritten_by_the_next_and_batches_may_differ_in_size(tiny_model):
    images = torch.randint(128, (3, 96, 96, 3), dtype=torch.uint8)
    run = frozen_stages(tiny_model, 8, input_size=96, device=torch.device("cpu"), precision=torch.float32)
    first = run(images)
    kept = first.clone()
    second = run(images[:1] + 100)
    assert torch.equal(first, kept)
    # One image or three, the arithmetic of each is the same up to the order of sums.
    assert (run(images[:1]) - first[:1]).abs().max() < 1e-4 * first.abs().max()
    assert not torch.allclose(second, first[:1])


def test_frozen_stages_neither_learn_nor_count_what_they_see(tiny_model):
    model = copy.deepcopy(tiny_model).train().requires_grad_(True)
    assert freeze(model, 8) == 4
    frozen = nn.ModuleList(model.blocks_up_to(8))
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    assert not any(module.training for block in frozen for module in block.modules())
    before = {key: value.clone() for key, value in frozen.state_dict().items()}
    model(torch.rand(2, 3, 96, 96)).deltas.sum().backward()
    assert all(torch.equal(value, before[key]) for key, value in frozen.state_dict().items())
    assert model.backbone.features.stage4.unit1.conv1.conv.weight.grad is not None
    assert model.backbone.features.stage4.unit1.conv1.bn.training


@pytest.fixture
def run_of(shapes_data, tiny_template_file, tmp_path):
    """Trains for two steps, with stages up to stride 8 frozen; the weights before and after, and the template."""
    data = coco.read([shapes_data.train_file], [shapes_data.train_root], classes=shapes_data.classes)
    template = config.load_template(tiny_template_file)
    changes = {"train.frozen_stride": 8, "hyper_parameters.basic.epochs": 1, "hyper_parameters.basic.batch_size": 8}
    template = config.changed(template, changes)

    def run(name, start=None):
        point = open_starting_point(start, template) if start else None
        train(template, data, tmp_path / name, display=Silent(), start=point, device="cpu")
        content = torch.load(tmp_path / name / "latest.pth", weights_only=True)
        return (
            tmp_path / name / "latest.pth",
            content["training"]["model"],
            config.load_template(tmp_path / name / "template.yaml"),
        )

    return run


def changed_blocks(before, after):
    changed = {key.split(".")[2] for key in before if key.startswith("backbone") and not before[key].equal(after[key])}
    return sorted(changed)


def test_a_run_freezes_what_it_is_given_but_nothing_random(run_of):
    path, first, template = run_of("first")
    assert template.train.frozen_stride == 0
    # Batch statistics begin at 0 and move as soon as a stage trains.
    assert first["backbone.features.init_block.bn.running_mean"].any()
    _, second, template = run_of("second", start=path)
    assert template.train.frozen_stride == 8
    start = torch.load(path, weights_only=True)["state_dict"]
    assert changed_blocks(start, second) == ["stage4", "stage5"]
