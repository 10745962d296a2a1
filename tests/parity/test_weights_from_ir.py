"""Weights taken from public OpenVINO detectors: the eager network must compute what OpenVINO computes with the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from multibox.boxes import clip, decode
from multibox.config import PostprocessConfig
from multibox.errors import CheckpointError
from multibox.model.anchors import make_anchors
from multibox.model.postprocess import postprocess, softmax
from multibox.model.ssd import BACKBONES, SSD
from multibox.train.batch_norm import estimate_statistics
from multibox.weights.from_openvino import ImportedWeights, read_ir

ov = pytest.importorskip("openvino")

SHARED = Path(__file__).parents[2].parent / "shared"
MODELS = [
    "person-vehicle-bike-detection-2000",
    "person-vehicle-bike-detection-2001",
    "person-vehicle-bike-detection-2002",
]
SMALLEST = MODELS[0]
EXACT = {"INFERENCE_PRECISION_HINT": "f32"}

needs_shared = pytest.mark.skipif(not (SHARED / "pretrained").exists(), reason="the public models are not here")


def ir_path(name: str, precision: str = "FP16") -> Path:
    return SHARED / "pretrained" / name / precision / f"{name}.xml"


def network(weights: ImportedWeights) -> SSD:
    num_anchors = [len(level) for level in weights.anchors_px]
    model = SSD(BACKBONES["mobilenet_v2"](), num_anchors=num_anchors, num_classes=weights.num_classes)
    model.load_state_dict(weights.state_dict)
    return model.eval()


def bgr_images(size: int) -> list[np.ndarray]:
    paths = sorted((SHARED / "data" / "airport" / "val").glob("*.jpg"))
    assert paths
    return [cv2.resize(cv2.imread(str(path)), (size, size), interpolation=cv2.INTER_LINEAR) for path in paths]


def for_openvino(images: list[np.ndarray]) -> list[np.ndarray]:
    return [image.transpose(2, 0, 1)[None].astype(np.float32) for image in images]


def for_torch(images: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack([image[:, :, ::-1].transpose(2, 0, 1) for image in images])).float() / 255


def node(graph: Any, kind: str) -> Any:
    return next(one for one in graph.get_ordered_ops() if one.get_type_name() == kind)


def deltas_and_scores(graph: Any, images: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """What `DetectionOutput` reads: (B, A * 4) and (B, A * (K + 1))."""
    detection = node(graph, "DetectionOutput")
    cut = ov.Model([detection.input_value(0), detection.input_value(1)], graph.get_parameters())
    compiled = ov.Core().compile_model(cut, "CPU", EXACT)
    results = [compiled(image) for image in for_openvino(images)]
    return tuple(np.concatenate([result[i].reshape(1, -1) for result in results]) for i in (0, 1))


def raw_bgr_graph_of(model: SSD, size: int, class_order: list[int]) -> Any:
    """An SSD as another exporter might write it: colours changed and normalisation computed in nodes of their own.

    `class_order` are our classes in the order of the graph's; the last of ours is background.
    """
    image = ov.opset8.parameter([1, 3, size, size], np.float32, name="image")
    blue, green, red = ov.opset8.split(image, 1, 3).outputs()
    x = ov.opset8.divide(ov.opset8.concat([red, green, blue], 1), np.float32(255))
    *early, stage4, stage5 = model.backbone.features
    for module in early:
        x = as_nodes(module, x)
    stride_16 = as_nodes(stage4, x)
    features = [stride_16, as_nodes(stage5, stride_16)]
    head, num_outputs = model.bbox_head, model.num_classes + 1
    deltas, logits, anchors = [], [], []
    for feature, reg, cls, stride, count in zip(
        features, head.reg_convs, head.cls_convs, (16, 32), (4, 5), strict=True
    ):
        cls[3].weight.data = cls[3].weight.data.unflatten(0, (count, num_outputs))[:, class_order].flatten(0, 1)
        cls[3].bias.data = cls[3].bias.data.unflatten(0, (count, num_outputs))[:, class_order].flatten(0, 1)
        deltas.append(flattened(as_nodes(reg, feature)))
        logits.append(flattened(as_nodes(cls, feature)))
        sizes = np.linspace(0.2, 0.8, count, dtype=np.float32) * size
        attributes = {"width": sizes, "height": sizes, "clip": False, "offset": 0.5, "variance": [0.1, 0.1, 0.2, 0.2]}
        cells, pixels = (ov.opset8.constant(np.array([side] * 2)) for side in (size // stride, size))
        attributes |= {"step_widths": float(stride), "step_heights": float(stride)}
        prior = ov.opset8.prior_box_clustered(cells, pixels, attributes)
        anchors.append(ov.opset8.unsqueeze(prior, np.array(0)))
    grouped = ov.opset8.reshape(ov.opset8.concat(logits, 1), np.array([1, -1, num_outputs]), False)
    detection = ov.opset8.detection_output(
        ov.opset8.concat(deltas, 1),
        ov.opset8.reshape(ov.opset8.softmax(grouped, 2), np.array([1, -1]), False),
        ov.opset8.concat(anchors, 2),
        {
            "background_label_id": class_order.index(model.num_classes),
            "keep_top_k": [200],
            "nms_threshold": 0.45,
            "code_type": "caffe.PriorBoxParameter.CENTER_SIZE",
            "share_location": True,
            "normalized": True,
        },
    )
    return ov.Model([detection], [image])


def as_nodes(module: nn.Module, x: Any) -> Any:
    if isinstance(module, nn.Conv2d):
        padding = list(module.padding)
        weight = module.weight.detach().numpy()
        geometry = (list(module.stride), padding, padding, list(module.dilation))
        if module.groups > 1:
            x = ov.opset8.group_convolution(x, weight[:, None], *geometry)
        else:
            x = ov.opset8.convolution(x, weight, *geometry)
        return x if module.bias is None else ov.opset8.add(x, module.bias.detach().numpy().reshape(1, -1, 1, 1))
    if isinstance(module, nn.BatchNorm2d):
        numbers = [module.weight, module.bias, module.running_mean, module.running_var]
        return ov.opset8.batch_norm_inference(x, *[number.detach().numpy() for number in numbers], module.eps)
    if isinstance(module, nn.ReLU6):
        return ov.opset8.clamp(x, 0.0, 6.0)
    if isinstance(module, nn.ReLU):
        return ov.opset8.relu(x)
    y = x
    for child in module.children():
        y = as_nodes(child, y)
    return ov.opset8.add(x, y) if getattr(module, "has_residual", False) else y


def flattened(x: Any) -> Any:
    return ov.opset8.reshape(ov.opset8.transpose(x, np.array([0, 2, 3, 1])), np.array([1, -1]), False)


def saved_and_read(graph: Any, folder: Path) -> ImportedWeights:
    ov.save_model(graph, folder / "changed.xml", compress_to_fp16=False)
    return read_ir(folder / "changed.xml")


def assert_same_raw_output(weights: ImportedWeights, graph: Any, images: list[np.ndarray]) -> None:
    deltas, scores = deltas_and_scores(graph, images)
    with torch.no_grad():
        ours = network(weights)(for_torch(images))
    np.testing.assert_allclose(ours.deltas.flatten(1), deltas, atol=1e-4, rtol=0)
    np.testing.assert_allclose(ours.logits.softmax(-1).flatten(1), scores, atol=1e-5, rtol=0)


@needs_shared
@pytest.mark.parametrize("name", MODELS)
def test_imported_network_gives_the_deltas_and_scores_of_the_file(name):
    weights = read_ir(ir_path(name))
    graph = ov.Core().read_model(ir_path(name))
    assert_same_raw_output(weights, graph, bgr_images(weights.input_size)[:4])


def without_quantisation(graph: Any) -> Any:
    """The graph with its weights as floats and without rounding; otherwise OpenVINO computes parts of it in int8."""
    for one in graph.get_ordered_ops():
        if one.get_type_name() == "FakeQuantize":
            for reader in one.output(0).get_target_inputs():
                reader.replace_source_output(one.input_value(0))
        if one.get_type_name() in ("Convolution", "GroupConvolution"):
            shape = list(one.input_value(1).get_shape())
            weight = dequantised(one.input_value(1)).reshape(shape).astype(np.float32)
            one.input(1).replace_source_output(ov.opset8.constant(weight).output(0))
    return graph


def dequantised(output: Any) -> np.ndarray:
    source = output.get_node()
    if source.get_type_name() == "Constant":
        return source.data.astype(np.float64)
    if source.get_type_name() == "Multiply":
        return dequantised(source.input_value(0)) * dequantised(source.input_value(1))
    assert source.get_type_name() in ("Convert", "Reshape")
    return dequantised(source.input_value(0))


@needs_shared
@pytest.mark.parametrize("name", MODELS)
def test_quantised_weights_are_the_numbers_that_they_stand_for(name):
    weights = read_ir(ir_path(name, "FP16-INT8"))
    graph = without_quantisation(ov.Core().read_model(ir_path(name, "FP16-INT8")))
    assert_same_raw_output(weights, graph, bgr_images(weights.input_size)[:2])


@needs_shared
@pytest.mark.parametrize("name", MODELS)
def test_imported_network_finds_the_objects_that_the_file_finds(name):
    weights = read_ir(ir_path(name))
    images = bgr_images(weights.input_size)
    with torch.no_grad():
        raw = network(weights)(for_torch(images))
    anchors = make_anchors(weights.anchors_px, [16, 32], weights.input_size)
    config = PostprocessConfig(
        score_threshold=weights.confidence_threshold,
        iou_threshold=weights.nms_threshold,
        max_per_class=weights.top_k,
        max_detections=weights.keep_top_k,
    )
    deltas, logits = raw.deltas.numpy(), raw.logits.numpy()
    ours = postprocess(deltas, logits, anchors, variances=weights.box_variances, config=config)
    all_boxes = clip(decode(deltas, anchors, weights.box_variances))
    compiled = ov.Core().compile_model(ov.Core().read_model(ir_path(name)), "CPU", EXACT)
    for i, image in enumerate(for_openvino(images)):
        rows = compiled(image)[0].reshape(-1, 7)
        rows = rows[rows[:, 2] > 0]  # the end is padding
        labels, scores, boxes = rows[:, 1].astype(int), rows[:, 2], clip(rows[:, 3:])
        by_class = np.lexsort((-scores, labels)), np.lexsort((-ours[i].scores, ours[i].labels))
        np.testing.assert_array_equal(ours[i].labels[by_class[1]], labels[by_class[0]])
        np.testing.assert_allclose(ours[i].scores[by_class[1]], scores[by_class[0]], atol=1e-3, rtol=0)
        # In one image two overlapping boxes have the same score to the last bit, and either may suppress the other:
        # each box of the file must be one that our network gives with this score.
        distance_px = np.abs(all_boxes[i][:, None] - boxes[None]).max(axis=2) * weights.input_size
        has_score = np.abs(softmax(logits[i])[:, labels] - scores[None]) < 1e-3
        assert ((distance_px < 0.1) & has_score).any(axis=0).all()


@needs_shared
def test_figures_beside_the_weights_are_those_of_the_file():
    weights = read_ir(ir_path(SMALLEST))
    assert (weights.input_size, weights.num_classes, weights.background_index) == (256, 3, 3)
    assert weights.box_variances == (0.1, 0.2)
    assert (weights.confidence_threshold, weights.nms_threshold) == (0.02, 0.45)
    assert (weights.top_k, weights.keep_top_k) == (200, 200)
    assert [len(level) for level in weights.anchors_px] == [4, 5]
    assert weights.anchors_px[0][0] == (7.16418, 12.2863)
    assert weights.anchors_px[1][4] == (150.333, 146.429)


@needs_shared
def test_weights_are_found_from_the_bin_as_from_the_xml():
    from_xml, from_bin = read_ir(ir_path(SMALLEST)), read_ir(ir_path(SMALLEST).with_suffix(".bin"))
    assert all(torch.equal(from_xml.state_dict[name], from_bin.state_dict[name]) for name in from_xml.state_dict)


@needs_shared
def test_background_first_is_moved_to_the_end(tmp_path):
    weights = read_ir(ir_path(SMALLEST))
    graph = ov.Core().read_model(ir_path(SMALLEST))
    old = node(graph, "DetectionOutput")
    attributes = old.get_attributes() | {"background_label_id": 0}
    new = ov.opset8.detection_output(*old.input_values(), attributes)
    moved = saved_and_read(ov.Model([new], graph.get_parameters()), tmp_path)
    assert moved.background_index == 0
    rows = weights.state_dict["bbox_head.cls_convs.0.3.bias"].reshape(4, 4)
    moved_rows = moved.state_dict["bbox_head.cls_convs.0.3.bias"].reshape(4, 4)
    assert torch.equal(moved_rows, rows[:, [1, 2, 3, 0]])


@needs_shared
def test_swapped_and_shifted_input_channels_are_told_apart(tmp_path):
    graph = ov.Core().read_model(ir_path(SMALLEST))
    parameter, multiply = node(graph, "Parameter"), node(graph, "Multiply")
    swapped = ov.opset8.gather(parameter, np.array([2, 1, 0]), np.array(1))
    multiply.input(0).replace_source_output(swapped.output(0))
    theirs = read_ir(ir_path(SMALLEST)).state_dict["backbone.features.init_block.conv.weight"]
    ours = saved_and_read(graph, tmp_path).state_dict["backbone.features.init_block.conv.weight"]
    torch.testing.assert_close(ours, theirs.flip(1), rtol=1e-6, atol=1e-7)

    mean = ov.opset8.subtract(swapped, np.full((1, 3, 1, 1), 127.5, dtype=np.float32))
    multiply.input(0).replace_source_output(mean.output(0))
    with pytest.raises(CheckpointError, match="only scaled or swapped channels"):
        saved_and_read(graph, tmp_path)


@needs_shared
def test_without_preprocessing_the_first_convolution_reads_raw_bgr(tmp_path):
    graph = ov.Core().read_model(ir_path(SMALLEST))
    first = next(one for one in graph.get_ordered_ops() if one.get_type_name() == "Convolution")
    kernel = ov.Core().compile_model(ov.Model([first.input_value(1)], []), "CPU", EXACT)([])[0]
    first.input(0).replace_source_output(node(graph, "Parameter").output(0))
    ours = saved_and_read(graph, tmp_path).state_dict["backbone.features.init_block.conv.weight"]
    np.testing.assert_allclose(ours, kernel[:, ::-1] * 255, rtol=1e-6)


@pytest.mark.parametrize("background", [0, 2])
def test_unfolded_batch_norm_of_a_foreign_graph_is_folded_exactly(tmp_path, background):
    torch.manual_seed(0)
    model = SSD(BACKBONES["mobilenet_v2"](), num_anchors=[4, 5], num_classes=2).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
    images = torch.rand(2, 3, 64, 64)
    order = [2, 0, 1] if background == 0 else [0, 1, 2]
    with torch.no_grad():
        expected = model(images)
    weights = saved_and_read(raw_bgr_graph_of(model, 64, order), tmp_path)
    assert weights.background_index == background
    with torch.no_grad():
        ours = network(weights)(images)
    torch.testing.assert_close(ours.deltas, expected.deltas, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.logits, expected.logits, rtol=1e-4, atol=1e-5)


def test_a_graph_of_another_family_is_refused_in_one_line(tmp_path):
    image = ov.opset8.parameter([1, 3, 64, 64], np.float32, name="image")
    ov.save_model(ov.Model([ov.opset8.relu(image)], [image]), tmp_path / "other.xml")
    with pytest.raises(CheckpointError, match=r"^other\.xml: .*expected one DetectionOutput, found 0\..*$"):
        read_ir(tmp_path / "other.xml")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"absent\.xml: there is no such file"):
        read_ir(tmp_path / "absent.bin")


def test_a_file_that_is_no_model_is_named(tmp_path):
    (tmp_path / "text.xml").write_text("no model", encoding="utf-8")
    (tmp_path / "text.bin").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"text\.xml: OpenVINO cannot read this model"):
        read_ir(tmp_path / "text.xml")


@needs_shared
def test_calibration_keeps_the_function_and_makes_training_mode_agree_with_it():
    weights = read_ir(ir_path(SMALLEST))
    model = network(weights)
    images = for_torch(bgr_images(weights.input_size))
    with torch.no_grad():
        before = model(images)
        folded_in_training = model.train()(images)
        model.load_state_dict(weights.state_dict)
        estimate_statistics(model, [images[:3], images[3:]])
        assert model.training
        in_training = model(images)
        model.load_state_dict(weights.state_dict)
        estimate_statistics(model, [images[:3], images[3:]])
        after = model.eval()(images)
    torch.testing.assert_close(after, before, rtol=0, atol=1e-4)
    assert (in_training.logits - before.logits).abs().mean() < 1e-3
    assert (folded_in_training.logits - before.logits).abs().mean() > 0.5


def test_calibrated_statistics_are_those_of_all_images_together():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4)).eval()
    images = torch.rand(7, 3, 5, 6)
    hidden = model[0](images)
    expected = model(images)
    estimate_statistics(model, [images[:2], images[2:]])
    torch.testing.assert_close(model[1].running_mean, hidden.mean((0, 2, 3)))
    torch.testing.assert_close(model[1].running_var, hidden.var((0, 2, 3)))
    torch.testing.assert_close(model(images), expected)


def test_a_channel_that_never_changes_stays_finite_and_keeps_its_value():
    model = nn.Sequential(nn.BatchNorm2d(2)).eval()
    images = torch.zeros(2, 2, 3, 3)
    images[:, 1] = 1e4
    expected = model(images)
    estimate_statistics(model, [images])
    torch.testing.assert_close(model(images), expected)
    torch.testing.assert_close(model.train()(images), expected)
    assert all(bool(tensor.isfinite().all()) for tensor in model.state_dict().values())


def test_calibrating_without_images_is_an_error():
    with pytest.raises(ValueError, match="there are no images"):
        estimate_statistics(nn.Sequential(nn.BatchNorm2d(3)), [])
