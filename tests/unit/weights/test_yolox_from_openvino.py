"""An exported YOLOX-Nano is a start for training: its weights come back from each file that is made of it."""

from __future__ import annotations

import numpy as np
import openvino
import pytest
import torch

from multibox.compress.nncf import quantize_file
from multibox.compress.smoothing import SMOOTHED
from multibox.errors import CheckpointError
from multibox.export.run import Request, write_files
from multibox.model import detector
from multibox.model.folding import fold
from multibox.openvino_graph import read_graph, write_graph
from multibox.weights.checkpoint import Checkpoint, save
from multibox.weights.start import open_starting_point
from multibox.weights.yolox_from_openvino import read_yolox_ir
from tests.conftest import tiny_template, tiny_yolox_template

CLASSES = ("square", "red, tiny triangle")
NAME = "alt_ssd_export/model.xml"


def exported(model, template, folder, request):
    made = Checkpoint(model.state_dict(), CLASSES, template)
    save(folder / "latest.pth", made)
    write_files(made, folder / "latest.pth", folder, request)
    return folder / NAME


@pytest.fixture(scope="module")
def file(tiny_yolox_model, tmp_path_factory):
    return exported(tiny_yolox_model, tiny_yolox_template(), tmp_path_factory.mktemp("export"), Request(onnx=False))


def read_and_folded(path):
    weights, _ = read_yolox_ir(path, tiny_yolox_template())
    network = detector.build(tiny_yolox_template(), num_classes=2)
    network.load_state_dict(weights)
    return fold(network)


def largest_error(network, expected) -> float:
    """Of all weights, as a share of the largest in their layer."""
    pairs = zip(network.state_dict().values(), fold(expected).state_dict().values(), strict=True)
    return max(float((one - other).abs().max() / other.abs().max()) for one, other in pairs)


def test_every_weight_comes_back(file, tiny_yolox_model):
    assert largest_error(read_and_folded(file), tiny_yolox_model) < 1e-6


def test_a_file_in_half_precision_for_rgb_and_any_batch_gives_the_same(tiny_yolox_model, tmp_path):
    request = Request(onnx=False, channel_order="RGB", precision="FP16", batch=0)
    path = exported(tiny_yolox_model, tiny_yolox_template(), tmp_path, request)
    # Half precision has 11 bits.
    assert largest_error(read_and_folded(path), tiny_yolox_model) < 2**-11


def test_a_file_in_8_bits_gives_its_rounded_weights(file, tiny_yolox_model, tmp_path):
    images = [np.random.default_rng(0).integers(0, 256, (1, 3, 96, 96)).astype(np.float32)]
    openvino.save_model(quantize_file(read_graph(file), images, count=1, thorough=False), tmp_path / "model.xml", False)
    names = [node.get_friendly_name() for node in read_graph(tmp_path / "model.xml").get_ops()]
    assert any(name.endswith(SMOOTHED) for name in names)  # whose factors are taken out of the weights
    found, expected = read_and_folded(tmp_path / "model.xml"), fold(tiny_yolox_model)
    for name, module in expected.named_modules():
        if isinstance(module, torch.nn.Conv2d):
            error = (found.get_submodule(name).weight - module.weight).norm() / module.weight.norm()
            # Integers are those that change the output least, not the nearest ones (`compress/rounding.py`).
            assert error < 0.15, name


def test_the_start_knows_its_classes_and_that_it_is_folded(file):
    start = open_starting_point(file, tiny_yolox_template())
    assert (start.classes, start.is_folded) == (CLASSES, True)
    assert start.anchors_px == tiny_yolox_template().model.anchors_px


def test_a_file_of_another_family_is_refused_in_one_line(file, tiny_model, tmp_path):
    other = exported(tiny_model, tiny_template(), tmp_path, Request(onnx=False))
    with pytest.raises(CheckpointError, match=r"^model\.xml: not a YOLOX-Nano as multibox exports them: expected"):
        open_starting_point(other, tiny_yolox_template())
    with pytest.raises(CheckpointError, match=r"^model\.xml: not a 2-level MobileNetV2 SSD as multibox exports them"):
        open_starting_point(file, tiny_template())


def test_layers_in_another_order_are_refused(file, tmp_path):
    graph = read_graph(file)
    concat = next(node for node in graph.get_ordered_ops() if node.get_type_name() == "Concat")
    first, second = concat.input_values()
    concat.input(0).replace_source_output(second)
    concat.input(1).replace_source_output(first)
    write_graph(graph, tmp_path / "model.xml")
    with pytest.raises(CheckpointError, match="expected"):
        read_yolox_ir(tmp_path / "model.xml", tiny_yolox_template())


@pytest.mark.parametrize("names", ["[]", '["a"]', '["a","a"]', "x", '["", "b"]'])
def test_names_that_are_no_classes_are_refused(file, tmp_path, names):
    graph = read_graph(file)
    graph.set_rt_info(names, ["multibox", "classes"])
    write_graph(graph, tmp_path / "model.xml")
    with pytest.raises(CheckpointError, match="names of 2 classes"):
        read_yolox_ir(tmp_path / "model.xml", tiny_yolox_template())
