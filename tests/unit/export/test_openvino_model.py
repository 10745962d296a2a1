"""The OpenVINO model: its layers, what its three ends give, and what it says of itself."""

from __future__ import annotations

from collections import Counter

import numpy as np
import openvino
import pytest
import torch
from openvino import opset13 as ops

from multibox import config
from multibox.export import openvino_model
from multibox.export.input_layer import round_to_half
from multibox.model.anchors import make_anchors
from multibox.model.folding import fold
from multibox.model.postprocess import postprocess, softmax
from multibox.runtime import contract as metadata
from multibox.runtime.contract import ExportInfo, Origin

SIDE = 96
CLASSES = ("red, tiny triangle", "square")
ANCHORS_PX = (((11.7771, 14.767), (30.3, 45.5)), ((60.1, 80.7),))
NUM_ANCHORS = 6 * 6 * 2 + 3 * 3 * 1  # cells of stride 16 and 32, anchors of a cell


def contract(form: str, batch: int = 1, **changes) -> ExportInfo:
    fields = {
        "form": form,
        "classes": CLASSES,
        "input_size": SIDE,
        "channel_order": "BGR",
        "input_maximum": 255,
        "batch": batch,
        "precision": "FP32",
        "suggested_threshold": 0.3,
        "min_score": 0.02,
        "iou_threshold": 0.45,
        "max_per_class": 200,
        "max_detections": 200,
        "anchors_px": ANCHORS_PX,
        "strides": (16, 32),
        "box_variances": (0.1, 0.2),
        "origin": Origin(checkpoint="latest.pth", sha256="00"),
        "versions": {"torch": None},
        "template": {},
    }
    return ExportInfo(**fields | changes)


def giving(deltas: np.ndarray, scores: np.ndarray, batch: int) -> openvino.Model:
    """A converted network that gives these values for an image of brightness 1, and as many as it gets images."""
    image = ops.parameter([batch or -1, 3, SIDE, SIDE], np.float32, name="image")
    brightness = ops.reduce_mean(image, [2, 3], keep_dims=True)
    one = ops.reduce_mean(ops.squeeze(brightness, [3]), [1], keep_dims=True)
    return openvino.Model([ops.multiply(one, deltas), ops.multiply(one, scores)], [image], "given")


def run(model, images):
    exact = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return {name: np.array(value) for name, value in exact(images).to_dict().items() for name in name.get_names()}


def random_outputs(seed: int, *, spread: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    deltas = rng.normal(0, 2, (1, NUM_ANCHORS, 4)).astype(np.float32)
    logits = rng.normal(0, spread, (1, NUM_ANCHORS, len(CLASSES) + 1)).astype(np.float32)
    return deltas, softmax(logits)


def expected(deltas, scores, **changes):
    template = config.PostprocessConfig(
        **{"score_threshold": 0.02, "iou_threshold": 0.45, "max_per_class": 200, "max_detections": 200} | changes
    )
    anchors = make_anchors(ANCHORS_PX, (16, 32), SIDE)
    return postprocess(deltas, np.log(scores), anchors, variances=(0.1, 0.2), config=template)[0]


@pytest.mark.parametrize("batch", [1, 3, 0])
@pytest.mark.parametrize("seed", [0, 1])
def test_boxes_and_labels_are_those_of_our_postprocessing(seed, batch):
    deltas, scores = random_outputs(seed, spread=3)
    wanted = expected(deltas, scores)
    model = openvino_model.finish(giving(deltas, scores, batch), contract("boxes_labels", batch))
    images = np.ones((batch or 2, 3, SIDE, SIDE), np.float32)
    found = run(model, images)
    assert found["boxes"].shape == (batch or 2, 200, 5) and found["labels"].shape == (batch or 2, 200)
    assert found["labels"].dtype == np.int64
    count = len(wanted)
    assert 20 < count < 200
    for boxes, labels in zip(found["boxes"], found["labels"], strict=True):
        assert labels[:count].tolist() == wanted.labels.tolist()
        assert (labels[count:] == -1).all() and not boxes[count:].any()
        assert np.abs(boxes[:count, :4] - wanted.boxes_px(SIDE, SIDE)).max() < 1e-4
        assert np.abs(boxes[:count, 4] - wanted.scores).max() < 1e-6


def test_images_of_a_batch_keep_their_own_detections():
    deltas, scores = random_outputs(2, spread=3)
    model = openvino_model.finish(giving(deltas, scores, 3), contract("boxes_labels", 3))
    images = np.ones((3, 3, SIDE, SIDE), np.float32)
    images[1] = 0  # a dark image: all scores 0, nothing found
    labels = run(model, images)["labels"]
    count = len(expected(deltas, scores))
    assert (labels >= 0).sum(axis=1).tolist() == [count, 0, count]


def test_huge_deltas_give_finite_boxes_inside_the_image():
    deltas = np.full((1, NUM_ANCHORS, 4), 500, np.float32)
    _, scores = random_outputs(0, spread=3)
    found = run(
        openvino_model.finish(giving(deltas, scores, 1), contract("boxes_labels")),
        np.ones((1, 3, SIDE, SIDE), np.float32),
    )
    assert np.isfinite(found["boxes"]).all()
    assert found["boxes"][..., :4].min() >= 0 and found["boxes"][..., :4].max() <= SIDE


def test_only_the_best_candidates_of_a_class_enter_suppression():
    deltas, scores = random_outputs(3, spread=3)
    deltas *= 0.1  # boxes near their anchors: little overlap, so nearly all would be kept
    wanted = expected(deltas, scores, max_per_class=7, max_detections=9)
    info = contract("boxes_labels", max_per_class=7, max_detections=9)
    labels = run(openvino_model.finish(giving(deltas, scores, 1), info), np.ones((1, 3, SIDE, SIDE), np.float32))[
        "labels"
    ]
    assert labels.shape == (1, 9)
    assert labels[labels >= 0].tolist() == wanted.labels.tolist()


@pytest.mark.parametrize("batch", [1, 2])
def test_detection_output_gives_the_same(batch):
    deltas, scores = random_outputs(4, spread=3)
    wanted = expected(deltas, scores)
    model = openvino_model.finish(giving(deltas, scores, batch), contract("detection_output", batch))
    rows = run(model, np.ones((batch, 3, SIDE, SIDE), np.float32))["detection_out"]
    assert rows.shape == (1, 1, 200 * batch, 7)
    rows = rows.reshape(-1, 7)
    end = int((rows[:, 0] < 0).argmax())
    assert rows[:end, 0].tolist() == [image for image in range(batch) for _ in range(len(wanted))]
    first = rows[: len(wanted)]
    first = first[np.argsort(-first[:, 2], kind="stable")]
    assert first[:, 1].tolist() == wanted.labels.tolist()
    assert np.abs(first[:, 3:] - wanted.boxes).max() < 1e-6


def test_raw_outputs_are_those_of_the_network():
    deltas, scores = random_outputs(5, spread=3)
    found = run(
        openvino_model.finish(giving(deltas, scores, 1), contract("raw")), np.ones((1, 3, SIDE, SIDE), np.float32)
    )
    assert np.array_equal(found["deltas"], deltas) and np.array_equal(found["scores"], scores)


@pytest.fixture(scope="module")
def network(tiny_template_file, tiny_model):
    return config.load_template(tiny_template_file), fold(tiny_model)


@pytest.fixture(scope="module")
def converted(network):
    template, folded = network
    return openvino_model.convert_network(folded, contract("raw", anchors_px=template.model.anchors_px))


def test_the_network_has_the_layers_of_the_public_models_and_no_others(converted):
    counts = Counter(node.get_type_name() for node in converted.get_ops())
    del counts["Constant"]
    # Counted in Open Model Zoo's person-vehicle-bike-detection-2000, whose shapes are computed in the graph besides.
    assert counts == {
        **{"Parameter": 1, "Result": 2, "Convolution": 39, "GroupConvolution": 21, "Add": 70, "Clamp": 35, "Relu": 4},
        **{"Transpose": 4, "Reshape": 4, "Concat": 2, "Softmax": 1},
    }


def test_the_file_takes_raw_bgr_images(network, converted):
    _, folded = network
    image = np.random.default_rng(0).integers(0, 256, (1, 3, SIDE, SIDE)).astype(np.float32)
    with torch.no_grad():
        raw = folded(torch.from_numpy(image[:, ::-1] / np.float32(255)))
    deltas, scores = (np.array(value) for value in run_all(converted, image))
    assert np.abs(deltas - raw.deltas.numpy()).max() < 1e-5 * np.abs(deltas).max()
    assert np.abs(scores - raw.logits.softmax(-1).numpy()).max() < 1e-5


def run_all(model, images):
    exact = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return list(exact(images).values())


def test_half_precision_rounds_weights_and_nothing_else(network, converted, tmp_path):
    template, folded = network
    anchors_px = template.model.anchors_px
    path = tmp_path / "model.xml"
    openvino.save_model(openvino_model.finish(converted, contract("boxes_labels", anchors_px=anchors_px)), path, True)
    image = np.random.default_rng(0).integers(0, 256, (1, 3, SIDE, SIDE)).astype(np.float32)
    rounded = round_to_half(folded, channel_order="BGR", input_maximum=255)
    with torch.no_grad():
        raw = rounded(torch.from_numpy(image[:, ::-1] / np.float32(255)))
    wanted = postprocess(
        raw.deltas.numpy(),
        raw.logits.numpy(),
        make_anchors(anchors_px, (16, 32), SIDE),
        variances=(0.1, 0.2),
        config=template.postprocess,
    )[0]
    found = run(openvino.Core().read_model(path), image)
    # Random weights give scores that hardly differ, so the order may: the best is compared, and all scores.
    assert np.abs(found["boxes"][0, :, 4] - wanted.scores).max() < 1e-5
    assert np.abs(found["boxes"][0, 0, :4] - wanted.boxes_px(SIDE, SIDE)[0]).max() < 1e-3


def test_a_copied_and_renamed_file_still_knows_everything(tmp_path):
    info = contract("detection_output", classes=('ü <&> "quoted"', "None"), template={"a": [1, 2.5, None, True]})
    given = giving(*random_outputs(0, spread=3), 1)
    openvino.save_model(openvino_model.finish(given, info), tmp_path / "model.xml", False)
    for suffix in (".xml", ".bin"):
        (tmp_path / f"model{suffix}").rename(tmp_path / f"other name{suffix}")
    reopened = openvino.Core().read_model(tmp_path / "other name.xml")
    assert metadata.read_from_ir(reopened, source="other name.xml") == info


def test_model_api_entries_describe_the_input():
    entries = metadata.model_api_entries(contract("boxes_labels"))
    assert entries["labels"] == "red,_tiny_triangle square"
    assert (entries["reverse_input_channels"], "scale_values" in entries) == ("False", False)
    onnx = metadata.model_api_entries(contract("boxes_labels", channel_order="RGB", input_maximum=1))
    assert (onnx["reverse_input_channels"], onnx["scale_values"]) == ("True", "255 255 255")
