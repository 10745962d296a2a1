"""A backbone out of a public classifier computes what OpenVINO computes with the file, padded as that file pads."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from multibox import config
from multibox.config import bundled_templates
from multibox.errors import CheckpointError
from multibox.model.mobilenet_v2 import MobileNetV2
from multibox.weights.from_classifier import read_classifier
from multibox.weights.start import open_starting_point

ov = pytest.importorskip("openvino")

SHARED = Path(__file__).parents[2].parent / "shared"
FILE = SHARED / "pretrained" / "mobilenet_v2_imagenet" / "mobilenet_v2_1.0_224_int8.tflite"

needs_shared = pytest.mark.skipif(not FILE.exists(), reason="the public classifier is not here")


@needs_shared
def test_features_are_those_of_the_file():
    weights = read_classifier(FILE)
    backbone = MobileNetV2()
    backbone.load_state_dict({key.removeprefix("backbone."): value for key, value in weights.items()})
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d) and module.stride == (2, 2):
            module.padding = (0, 0)
            module.register_forward_pre_hook(lambda _, inputs: (nn.functional.pad(inputs[0], (0, 1, 0, 1)),))
    image = cv2.imread(str(min((SHARED / "data" / "airport" / "val").glob("*.jpg"))))
    rgb = cv2.cvtColor(cv2.resize(image, (224, 224), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)
    with torch.no_grad():
        ours = backbone.eval()(torch.from_numpy(rgb.astype(np.float32) / 255).permute(2, 0, 1)[None])[1][0].numpy()

    graph = ov.Core().read_model(FILE)
    convolutions = [node for node in graph.get_ordered_ops() if node.get_type_name().endswith("Convolution")]
    # What the convolution to 1280 channels reads is the end of our backbone.
    (last,) = [node for node in convolutions if tuple(node.input_value(1).get_shape())[:2] == (1280, 320)]
    part = ov.Model([last.input_value(0)], graph.get_parameters())
    theirs = ov.Core().compile_model(part, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(rgb[None])[0][0]

    assert ours.shape == theirs.shape == (320, 7, 7)
    # The file rounds every activation to 8 bits.
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.97
    assert abs(ours.std() / theirs.std() - 1) < 0.05


@needs_shared
def test_a_training_may_start_from_it_with_a_fresh_head():
    template = config.load_template(bundled_templates()["mobilenet_v2-2s_ssd-256x256"])
    start = open_starting_point(FILE, template)
    assert start.is_folded and start.classes is None and start.anchors_px == template.model.anchors_px
    assert not any(key.startswith("bbox_head") for key in start.weights)


def test_a_file_that_is_no_classifier_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="there is no such file"):
        read_classifier(tmp_path / "gone.tflite")
    (tmp_path / "bad.tflite").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"bad\.tflite: OpenVINO cannot read"):
        read_classifier(tmp_path / "bad.tflite")
