"""A network of either family as files: the gate finds in each form what it finds in the checkpoint."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnxruntime
import openvino
import pytest
import torch

from multibox import config
from multibox.config import Template
from multibox.data.builtin_images import builtin_images
from multibox.export import run
from multibox.export.run import Request
from multibox.model import detector
from multibox.runtime.opening import open_runtime
from multibox.weights import checkpoint
from multibox.weights.checkpoint import Checkpoint
from tests.conftest import tiny_template, tiny_yolox_template

FAMILIES = {"SSD": ("tiny_model", tiny_template), "YOLOX-Nano": ("tiny_yolox_model", tiny_yolox_template)}
CLASSES = ("square", "circle")


@pytest.fixture(scope="module", params=FAMILIES)
def made(request, tmp_path_factory):
    """A checkpoint, and the folder of its export in all forms."""
    model, template = FAMILIES[request.param]
    made = Checkpoint(request.getfixturevalue(model).state_dict(), CLASSES, template())
    folder = tmp_path_factory.mktemp("export")
    checkpoint.save(folder / "latest.pth", made)
    images = builtin_images()[:2]
    written = run.write_files(made, folder / "latest.pth", folder, Request(raw=True))
    return made, folder, written, run.prove(made, written, images)


def test_every_form_passes_the_gate(made):
    _, _, written, parity = made
    judged = [row.form.file for row in parity.rows if row.passed is not None]
    assert judged == [file.name for file in written]
    assert len(judged) == 5
    assert parity.passed, parity.reasons
    assert not parity.is_empty


def test_a_file_says_where_its_anchors_are(made):
    template: Template = made[0].template
    for file in made[2]:
        info = open_runtime(file.path).info
        assert info.anchor_offset == {"ssd": 0.5, "yolox_nano": 0}[config.to_plain(template)["model"]["family"]]
        assert (info.anchors_px, info.strides) == (template.model.anchors_px, info.strides)


def test_raw_scores_are_those_of_the_network(made):
    saved, folder, _, _ = made
    image = np.random.default_rng(0).integers(0, 256, (1, 3, 96, 96)).astype(np.float32)
    network = saved.build()
    with torch.no_grad():
        raw = network(torch.from_numpy(image[:, ::-1] / np.float32(255)))
    expected = raw.deltas.numpy(), detector.scores(network, raw.logits.numpy())
    compiled = openvino.Core().compile_model(folder / "raw/model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    session = onnxruntime.InferenceSession(str(folder / "raw/model.onnx"))
    found = [
        list(compiled(image).values()),
        session.run(["deltas", "scores"], {"image": image[:, ::-1] / np.float32(255)}),
    ]
    for deltas, scores in found:
        assert np.abs(deltas - expected[0]).max() < 1e-5 * np.abs(expected[0]).max()
        assert np.abs(scores - expected[1]).max() < 1e-5


def test_yolox_has_one_layer_for_each_of_its_own(tiny_yolox_model, tmp_path):
    made = Checkpoint(tiny_yolox_model.state_dict(), CLASSES, tiny_yolox_template())
    checkpoint.save(tmp_path / "latest.pth", made)
    run.write_files(made, tmp_path / "latest.pth", tmp_path, Request(onnx=False, raw=True))
    kinds = Counter(node.get_type_name() for node in openvino.Core().read_model(tmp_path / "raw/model.xml").get_ops())
    convolutions = [module for module in tiny_yolox_model.modules() if isinstance(module, torch.nn.Conv2d)]
    depthwise = sum(module.groups > 1 for module in convolutions)
    assert (kinds["Convolution"], kinds["GroupConvolution"]) == (len(convolutions) - depthwise, depthwise)
    assert kinds["MaxPool"] == 3
    # The image goes straight into the first convolution; what is sliced are the scores of classes and of objectness.
    assert kinds["StridedSlice"] + kinds["Slice"] == 2
