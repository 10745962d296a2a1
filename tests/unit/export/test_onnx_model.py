from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import nn

import multibox
from multibox import config
from multibox.config import PostprocessConfig
from multibox.export import onnx_model
from multibox.model import quantized, ssd
from multibox.model.anchors import make_anchors
from multibox.model.folding import fold
from multibox.model.postprocess import postprocess
from multibox.model.quantized import Quantization, Scale
from multibox.runtime import contract
from multibox.runtime.contract import ExportInfo, Origin
from multibox.structures import Detections

ROOT = Path(__file__).parents[3]
STRIDES = (16, 32)
NUM_ANCHORS_96 = 6 * 6 * 4 + 3 * 3 * 5  # 189
NUM_ANCHORS_256 = 16 * 16 * 4 + 8 * 8 * 5  # 1344


def make_info(template: config.Template, *, form: str, num_classes: int, **changes: Any) -> ExportInfo:
    values: dict[str, Any] = {
        "form": form,
        "classes": tuple(f"class {i}" for i in range(num_classes)),
        "input_size": template.input.size,
        "channel_order": "RGB",
        "input_maximum": 1,
        "batch": 1,
        "precision": "FP32",
        "suggested_threshold": 0.3,
        "min_score": 0.02,
        "iou_threshold": 0.45,
        "max_per_class": 200,
        "max_detections": 200,
        "anchors_px": template.model.anchors_px,
        "strides": STRIDES,
        "box_variances": template.model.box_variances,
        "origin": Origin(checkpoint="latest.pth", sha256="0" * 64),
        "versions": {"multibox": multibox.__version__, "onnx": None},
        "template": {"name": template.name},
    }
    return ExportInfo(**(values | changes))


def folded_network(template: config.Template, num_classes: int, seed: int = 0) -> nn.Module:
    """A network whose normalisation does something, as after training."""
    torch.manual_seed(seed)
    model = ssd.build_ssd(template, num_classes=num_classes)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.1, 0.1)
    return fold(model)


@pytest.fixture(scope="module")
def tiny(tiny_template_file) -> config.Template:
    return config.load_template(tiny_template_file)


@pytest.fixture(scope="module")
def template_256() -> config.Template:
    return config.load_template(ROOT / "src/multibox/templates/mobilenet_v2-2s_ssd-256x256.yaml")


@pytest.fixture(scope="module")
def network(tiny) -> nn.Module:
    return folded_network(tiny, 3)


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def end_of(model: onnx.ModelProto) -> onnx.ModelProto:
    """The end of a model alone: from deltas and logits to boxes and labels."""
    (softmax,) = (node for node in model.graph.node if node.op_type == "Softmax")
    extractor = onnx.utils.Extractor(onnx.shape_inference.infer_shapes(model))
    return extractor.extract_model(["deltas", softmax.input[0]], ["boxes", "labels"])


def run_end(model: onnx.ModelProto, deltas: np.ndarray, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    running = session(end_of(model))
    names = [value.name for value in running.get_inputs()]
    boxes, labels = running.run(["boxes", "labels"], dict(zip(names, (deltas, logits), strict=True)))
    return boxes, labels


def expected_of(info: ExportInfo, deltas: np.ndarray, logits: np.ndarray) -> list[Detections]:
    return postprocess(
        deltas,
        logits,
        make_anchors(info.anchors_px, info.strides, info.input_size),
        variances=info.box_variances,
        config=PostprocessConfig(
            score_threshold=info.min_score,
            iou_threshold=info.iou_threshold,
            max_per_class=info.max_per_class,
            max_detections=info.max_detections,
        ),
    )


def assert_same(boxes: np.ndarray, labels: np.ndarray, expected: list[Detections], info: ExportInfo) -> None:
    assert boxes.shape == (len(expected), info.max_detections, 5) and boxes.dtype == np.float32
    assert labels.shape == (len(expected), info.max_detections) and labels.dtype == np.int64
    for image_boxes, image_labels, found in zip(boxes, labels, expected, strict=True):
        count = len(found)
        assert image_labels[:count].tolist() == found.labels.tolist()
        np.testing.assert_allclose(image_boxes[:count, :4], found.boxes * info.input_size, rtol=0, atol=1e-3)
        np.testing.assert_allclose(image_boxes[:count, 4], found.scores, rtol=0, atol=1e-6)
        assert (image_labels[count:] == -1).all()
        assert not image_boxes[count:].any()


def random_output(
    seed: int, batch: int, num_anchors: int, num_classes: int, *, background: float = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Deltas that move boxes over the border too, and logits of which `background` raises the last."""
    rng = np.random.default_rng(seed)
    deltas = rng.normal(0, 2, (batch, num_anchors, 4)).astype(np.float32)
    logits = rng.normal(0, 2, (batch, num_anchors, num_classes + 1)).astype(np.float32)
    logits[..., -1] += background
    return deltas, logits


@pytest.mark.parametrize(("batch", "num_classes"), [(1, 1), (3, 1), (0, 3), (1, 80), (3, 80)])
def test_the_end_finds_what_postprocess_finds(tiny, batch, num_classes):
    info = make_info(tiny, form="boxes_labels", num_classes=num_classes, batch=batch)
    model = onnx_model.build_onnx_model(folded_network(tiny, num_classes), info)
    for seed in range(3):
        deltas, logits = random_output(seed, batch or 5, NUM_ANCHORS_96, num_classes, background=3)
        expected = expected_of(info, deltas, logits)
        assert all(len(found) > 10 for found in expected)
        assert_same(*run_end(model, deltas, logits), expected, info)


@pytest.mark.parametrize(
    "changes",
    [
        {"max_per_class": 10},
        {"max_detections": 7},
        {"max_per_class": 1, "max_detections": 1},
        {"max_per_class": 5, "max_detections": 50},  # 3 x 5 candidates are fewer than places
        {"min_score": 0.4},
        {"min_score": 0.0},
        {"iou_threshold": 0.1},
        {"box_variances": (0.3, 0.05)},
    ],
)
def test_the_end_keeps_to_its_figures(tiny, network, changes):
    info = make_info(tiny, form="boxes_labels", num_classes=3, batch=2, **changes)
    model = onnx_model.build_onnx_model(network, info)
    deltas, logits = random_output(4, 2, NUM_ANCHORS_96, 3)
    assert_same(*run_end(model, deltas, logits), expected_of(info, deltas, logits), info)


def test_the_end_finds_nothing_where_nothing_is(tiny, network):
    info = make_info(tiny, form="boxes_labels", num_classes=3, batch=2)
    deltas, logits = random_output(0, 2, NUM_ANCHORS_96, 3, background=50)
    boxes, labels = run_end(onnx_model.build_onnx_model(network, info), deltas, logits)
    assert boxes.shape == (2, 200, 5) and not boxes.any()
    assert labels.shape == (2, 200) and (labels == -1).all()


def test_images_with_and_without_objects_share_a_batch(tiny, network):
    info = make_info(tiny, form="boxes_labels", num_classes=3, batch=3)
    deltas, logits = random_output(0, 3, NUM_ANCHORS_96, 3)
    logits[1, :, 3] = 50
    expected = expected_of(info, deltas, logits)
    assert [len(found) > 0 for found in expected] == [True, False, True]
    assert_same(*run_end(onnx_model.build_onnx_model(network, info), deltas, logits), expected, info)


def test_huge_deltas_stay_finite_and_in_the_image(tiny, network):
    info = make_info(tiny, form="boxes_labels", num_classes=3, batch=1)
    deltas, logits = random_output(0, 1, NUM_ANCHORS_96, 3)
    deltas[..., 2:] *= 1000  # exp(1000 * 0.2) is more than a float32 holds
    boxes, labels = run_end(onnx_model.build_onnx_model(network, info), deltas, logits)
    assert boxes[..., :4].min() >= 0 and boxes[..., :4].max() <= 96
    assert_same(boxes, labels, expected_of(info, deltas, logits), info)


def test_an_overlap_at_the_threshold_is_suppressed(tiny, network):
    level_1 = ((48.0, 48.0), (48.0, 24.0), *tiny.model.anchors_px[1][2:])
    anchors_px = (tiny.model.anchors_px[0], level_1)
    info = make_info(tiny, form="boxes_labels", num_classes=3, iou_threshold=0.5, anchors_px=anchors_px)
    # Cell (1, 1) of level 1 has its centre at (48, 48). Its second box moves up by half of its height of 24:
    # (24, 24, 72, 72) and (24, 24, 72, 48), whose IoU is exactly one half, in float32 as well.
    first = 6 * 6 * 4 + (1 * 3 + 1) * 5
    deltas = np.zeros((1, NUM_ANCHORS_96, 4), np.float32)
    deltas[0, first + 1, 1] = -0.5 / 0.1
    logits = np.zeros((1, NUM_ANCHORS_96, 4), np.float32)
    logits[..., 3] = 50
    logits[0, first : first + 2, 0] = 60, 55
    boxes, labels = run_end(onnx_model.build_onnx_model(network, info), deltas, logits)
    assert labels[0, :2].tolist() == [0, -1]
    assert boxes[0, 0, :4].tolist() == [24, 24, 72, 72]


def test_a_class_may_have_more_candidates_than_are_looked_at(template_256):
    info = make_info(template_256, form="boxes_labels", num_classes=2, batch=2, iou_threshold=0.1)
    model = onnx_model.build_onnx_model(folded_network(template_256, 2), info)
    deltas, logits = random_output(5, 2, NUM_ANCHORS_256, 2)
    expected = expected_of(info, deltas, logits)
    of_all = expected_of(msgspec.structs.replace(info, max_per_class=NUM_ANCHORS_256), deltas, logits)
    assert all(len(found) < len(more) for found, more in zip(expected, of_all, strict=True))
    assert_same(*run_end(model, deltas, logits), expected, info)


@pytest.mark.parametrize("batch", [1, 3, 0])
def test_the_raw_form_gives_what_the_network_gives(tiny, network, batch):
    info = make_info(tiny, form="raw", num_classes=3, batch=batch)
    images = torch.rand(batch or 2, 3, 96, 96)
    deltas, scores = session(onnx_model.build_onnx_model(network, info)).run(
        ["deltas", "scores"], {"image": images.numpy()}
    )
    with torch.inference_mode():
        raw = network(images)
    np.testing.assert_allclose(deltas, raw.deltas.numpy(), rtol=0, atol=1e-4)
    np.testing.assert_allclose(scores, raw.logits.softmax(-1).numpy(), rtol=0, atol=1e-5)


def test_the_whole_network_finds_what_torch_and_postprocess_find(template_256):
    info = make_info(template_256, form="boxes_labels", num_classes=3, batch=0)
    network = folded_network(template_256, 3, seed=1)
    images = torch.rand(2, 3, 256, 256)
    boxes, labels = session(onnx_model.build_onnx_model(network, info)).run(
        ["boxes", "labels"], {"image": images.numpy()}
    )
    with torch.inference_mode():
        raw = network(images)
    for image in range(2):
        (found,) = expected_of(info, raw.deltas[image : image + 1].numpy(), raw.logits[image : image + 1].numpy())
        assert int((labels[image] >= 0).sum()) == len(found)
        # Untrained scores lie so close together that rounding may swap neighbours: compared by score alone.
        np.testing.assert_allclose(boxes[image, : len(found), 4], found.scores, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("form", "batch"), [("raw", 1), ("boxes_labels", 0)])
def test_two_builds_give_the_same_bytes(tiny, form, batch):
    info = make_info(tiny, form=form, num_classes=3, batch=batch)
    first, second = (onnx_model.build_onnx_model(folded_network(tiny, 3), info).SerializeToString() for _ in range(2))
    assert first == second


@pytest.mark.parametrize("form", ["raw", "boxes_labels"])
def test_the_file_describes_itself(tiny, network, form):
    info = make_info(tiny, form=form, num_classes=3)
    model = onnx_model.build_onnx_model(network, info)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert contract.from_onnx_properties(properties, source="file") == info
    assert properties["model_info labels"] == "class_0 class_1 class_2"
    assert (model.producer_name, model.producer_version) == ("multibox", multibox.__version__)
    assert "(1, 3, 96, 96) is float32 RGB from 0 to 1" in model.doc_string


def shapes(values: Any) -> dict[str, list[int | str]]:
    return {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in values
    }


@pytest.mark.parametrize(("batch", "images"), [(1, 1), (3, 3), (0, "batch")])
def test_inputs_and_outputs_have_their_names_and_shapes(tiny, network, batch, images):
    raw, final = (
        onnx_model.build_onnx_model(network, make_info(tiny, form=form, num_classes=3, batch=batch)).graph
        for form in ("raw", "boxes_labels")
    )
    assert shapes(raw.input) == shapes(final.input) == {"image": [images, 3, 96, 96]}
    assert shapes(raw.output) == {"deltas": [images, 189, 4], "scores": [images, 189, 4]}
    assert shapes(final.output) == {"boxes": [images, 200, 5], "labels": [images, 200]}


def test_only_standard_operators_of_one_old_opset_are_used(tiny, network):
    model = onnx_model.build_onnx_model(network, make_info(tiny, form="boxes_labels", num_classes=3))
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 13)]
    assert {node.domain for node in model.graph.node} == {""}
    assert not model.functions
    assert model.ir_version == 7


def test_nothing_is_left_of_how_the_file_was_made(tiny, network):
    model = onnx_model.build_onnx_model(network, make_info(tiny, form="boxes_labels", num_classes=3))
    content = model.SerializeToString()
    for trace in (b"site-packages", str(ROOT).encode(), b".py", b"torch"):
        assert trace not in content
    assert not any(node.doc_string or node.metadata_props for node in model.graph.node)
    assert not any(tensor.HasField("data_location") or tensor.external_data for tensor in model.graph.initializer)


def test_no_layer_is_there_for_nothing(tiny, network):
    graph = onnx_model.build_onnx_model(network, make_info(tiny, form="raw", num_classes=3)).graph
    kinds = [node.op_type for node in graph.node]
    assert set(kinds) == {"Conv", "Clip", "Relu", "Add", "Transpose", "Reshape", "Concat", "Softmax"}
    convolutions = sum(isinstance(module, nn.Conv2d) for module in network.modules())
    assert kinds.count("Conv") == convolutions
    # Two levels with a branch for deltas and one for logits.
    assert (kinds.count("Transpose"), kinds.count("Reshape"), kinds.count("Concat")) == (4, 4, 2)


def test_weights_keep_their_names(tiny, network):
    graph = onnx_model.build_onnx_model(network, make_info(tiny, form="raw", num_classes=3)).graph
    name = "backbone.features.init_block.conv.weight"
    (tensor,) = (tensor for tensor in graph.initializer if tensor.name == name)
    np.testing.assert_array_equal(numpy_helper.to_array(tensor), network.state_dict()[name].numpy())


def test_building_says_nothing(tiny, network, capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        onnx_model.build_onnx_model(network, make_info(tiny, form="boxes_labels", num_classes=3))
    assert capfd.readouterr() == ("", "")


def test_a_normalisation_that_is_not_folded_is_refused(tiny):
    with pytest.raises(AssertionError, match=r"init_block\.bn: no node is known here for BatchNorm2d"):
        onnx_model.build_onnx_model(
            ssd.build_ssd(tiny, num_classes=3).eval(), make_info(tiny, form="raw", num_classes=3)
        )


def some_scales(network: nn.Module) -> Quantization:
    """For all weights, the image, what ReLU6 gives, and one value with a step for each channel."""
    first = "backbone.features.init_block.conv"
    found: dict[tuple[str, quantized.Place], Scale] = {(first, "input"): Scale(torch.tensor([1 / 255]), 0, 255)}
    for name, module in network.named_modules():
        if isinstance(module, nn.ReLU6):
            found[name, "output"] = Scale(torch.tensor([6 / 255]), 0, 255)
        elif isinstance(module, nn.Conv2d):
            found[name, "weight"] = Scale(module.weight.abs().amax(dim=(1, 2, 3)) / 127, -127, 127)
    found["backbone.features.stage2.unit2.conv3.conv", "summand"] = Scale(torch.tensor([0.05]), -128, 127)
    found["backbone.features.stage2.unit2", "output"] = Scale(torch.tensor([0.1]), -128, 127)
    found["backbone.features.stage5.unit4.conv3.conv", "output"] = Scale(torch.linspace(0.05, 0.1, 320), -128, 127)
    return found


@pytest.fixture(scope="module")
def quantised(network) -> nn.Module:
    model = quantized.apply(network, some_scales(network))
    quantized.activate_all(model)
    return model


def test_a_quantised_network_gives_what_it_gives_in_torch(tiny, network, quantised):
    images = torch.randint(0, 256, (2, 3, 96, 96)) / 255
    info = make_info(tiny, form="raw", num_classes=3, batch=2)
    (deltas,) = session(onnx_model.build_onnx_model(quantised, info)).run(["deltas"], {"image": images.numpy()})
    with torch.inference_mode():
        expected, floating = quantised(images).deltas.numpy(), network(images).deltas.numpy()
    # Ties are rounded one way here and the other there; most of the roundings are the same.
    rounding = np.abs(expected - floating).mean()
    assert 0 < np.abs(deltas - expected).mean() < 0.7 * rounding


def test_a_quantised_network_has_weights_of_one_byte_and_a_pair_of_nodes_for_each_value(tiny, network, quantised):
    info = make_info(tiny, form="boxes_labels", num_classes=3)
    model = onnx_model.build_onnx_model(quantised, info)
    kinds = [node.op_type for node in model.graph.node]
    num_values = sum(place != "weight" for _, place in some_scales(network))
    assert kinds.count("QuantizeLinear") == num_values
    assert kinds.count("DequantizeLinear") == num_values + kinds.count("Conv")
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 13)]
    assert len(model.SerializeToString()) < 0.3 * len(onnx_model.build_onnx_model(network, info).SerializeToString())
    (tensor,) = (one for one in model.graph.initializer if one.name == "backbone.features.init_block.conv.weight")
    integers = numpy_helper.to_array(tensor)
    assert (integers.dtype, integers.shape) == (np.int8, (32, 3, 3, 3))
    assert np.abs(integers).max(axis=(1, 2, 3)).tolist() == [127] * 32


def test_two_builds_of_a_quantised_network_give_the_same_bytes(tiny, quantised):
    info = make_info(tiny, form="raw", num_classes=3)
    first, second = (onnx_model.build_onnx_model(quantised, info).SerializeToString() for _ in range(2))
    assert first == second
