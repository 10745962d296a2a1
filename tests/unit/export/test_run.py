"""Files of a compressed checkpoint: what they say, what they compute in, and how they are judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import openvino
import pytest
import torch
from torch import nn

from multibox import config
from multibox.config import PostprocessConfig
from multibox.data import coco
from multibox.data.builtin_images import builtin_images
from multibox.errors import OptionError
from multibox.evaluate.run import evaluate
from multibox.evaluate.thresholds import suggested
from multibox.export import parity_report, run
from multibox.export.agreement import Tolerance
from multibox.export.parity import ComparedForm, Parity, candidates_of, check_parity
from multibox.model import quantized
from multibox.model.folding import fold
from multibox.model.layers import InvertedResidual
from multibox.model.quantized import Scale
from multibox.runtime.opening import open_runtime
from multibox.runtime.torch_runtime import runtime_of
from multibox.structures import Detections
from multibox.weights import checkpoint
from multibox.weights.checkpoint import Checkpoint

FIRST = "backbone.features.init_block.conv"


@pytest.fixture(scope="module")
def float_checkpoint(tiny_template_file, tiny_model) -> Checkpoint:
    return Checkpoint(tiny_model.state_dict(), ("square", "circle"), config.load_template(tiny_template_file))


@pytest.fixture(scope="module")
def compressed(float_checkpoint) -> Checkpoint:
    """With scales by rule of thumb: all weights, the image, activations, and what blocks give."""
    folded = fold(float_checkpoint.build())
    scales: dict[tuple[str, quantized.Place], Scale] = {(FIRST, "input"): Scale(torch.tensor([1 / 255]), 0, 255)}
    for name, module in folded.named_modules():
        if isinstance(module, nn.Conv2d):
            scales[name, "weight"] = Scale(module.weight.abs().amax(dim=(1, 2, 3)) / 127, -127, 127)
        elif isinstance(module, nn.ReLU | nn.ReLU6):
            scales[name, "output"] = Scale(torch.tensor([6 / 255]), 0, 255)
        elif isinstance(module, InvertedResidual) and module.has_residual:
            scales[f"{name}.conv3.conv", "summand"] = Scale(torch.tensor([0.1]), -128, 127)
            scales[name, "output"] = Scale(torch.tensor([0.1]), -128, 127)
        elif isinstance(module, InvertedResidual):
            scales[f"{name}.conv3.conv", "output"] = Scale(torch.tensor([0.1]), -128, 127)
    return replace(float_checkpoint, quantization=quantized.scales_to_plain(scales))


@pytest.fixture(scope="module")
def written(compressed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("int8")
    checkpoint.save(folder / "int8.pth", compressed)
    return run.write_files(compressed, folder / "int8.pth", folder, run.Request())


@pytest.mark.parametrize(("meta", "expected"), [({"threshold": 0.42}, 0.42), ({"threshold": None}, 0.3), ({}, 0.3)])
def test_files_suggest_the_threshold_that_the_training_found(float_checkpoint, tmp_path, meta, expected):
    known = replace(float_checkpoint, meta=meta)
    checkpoint.save(tmp_path / "best.pth", known)
    written = run.write_files(known, tmp_path / "best.pth", tmp_path, run.Request(onnx=False))
    model = openvino.Core().read_model(written[0].path)
    assert float(model.get_rt_info(["multibox", "threshold"]).value) == expected
    assert float(model.get_rt_info(["model_info", "confidence_threshold"]).value) == expected
    # What suppression inside of the file starts from stays, for AP.
    assert float(model.get_rt_info(["multibox", "score_threshold"]).value) == 0.02


def test_a_threshold_is_found_only_where_none_is_known_and_there_are_objects(float_checkpoint, shapes_data):
    data = coco.read([shapes_data.val_file], [shapes_data.val_root], classes=("square", "circle"))
    known = replace(float_checkpoint, meta={"threshold": 0.42})
    assert run.with_threshold(known, data) is known
    assert run.with_threshold(float_checkpoint, None) is float_checkpoint
    found = evaluate(runtime_of(float_checkpoint), data)
    expected = suggested(found.detections, data)
    assert run.with_threshold(float_checkpoint, data).meta["threshold"] == expected


def test_files_say_that_they_compute_in_8_bits_and_are_small(written, compressed):
    in_single_precision = 4 * sum(value.numel() for value in fold(compressed.build_float()).parameters())
    assert [file.name for file in written] == ["model.xml", "alt_ssd_export/model.xml", "model.onnx"]
    for file in written:
        runtime = open_runtime(file.path)
        assert runtime.info.precision == file.info.precision == "INT8"
        # Size and complexity of the network, as it was trained.
        assert runtime.info.size_mp > 1 and runtime.info.complexity_gflops > 0
    for file in written[:2]:
        assert file.path.with_suffix(".bin").stat().st_size < 0.35 * in_single_precision
    assert written[2].num_bytes < 0.35 * in_single_precision


def test_every_convolution_of_both_openvino_files_computes_in_8_bits(written):
    for file in written[:2]:
        compiled = openvino.Core().compile_model(file.path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        nodes = [node.get_rt_info() for node in compiled.get_runtime_model().get_ops()]
        kinds = [str(one["runtimePrecision"].value) for one in nodes if "Convolution" in str(one["layerType"].value)]
        assert kinds == ["u8"] * 60


def test_half_precision_is_refused(compressed, tmp_path):
    checkpoint.save(tmp_path / "int8.pth", compressed)
    with pytest.raises(
        OptionError, match=r"^--precision FP16: the checkpoint is compressed, its weights are in 8 bits"
    ):
        run.write_files(compressed, tmp_path / "int8.pth", tmp_path, run.Request(precision="FP16"))


def test_every_file_has_a_row_that_is_judged_by_the_rules_of_8_bits(compressed, written):
    parity = run.prove(compressed, written, builtin_images()[:1])
    judged = [row.form for row in parity.rows if row.passed is not None]
    assert [form.file for form in judged] == ["model.xml", "alt_ssd_export/model.xml", "model.onnx"]
    assert {(form.reference, form.precision, form.is_int8) for form in judged} == {("checkpoint", "int8", True)}
    assert judged[0].tolerance == Tolerance(box_px=3, score=0.1, ap_points=0.2, only_ap=True)  # 96 / 32 pixels


RULES = PostprocessConfig(score_threshold=0.02, iou_threshold=0.45, max_per_class=200, max_detections=200)
INT8 = Tolerance(box_px=3, score=0.1, ap_points=0.2, only_ap=True)
CLASSES = ("square", "circle", "red, tiny triangle")


def listed(*rows: tuple[float, float, float, float, float, int]) -> Detections:
    """(x1, y1, x2, y2, score, label), corners as fractions."""
    table = np.array([row[:5] for row in rows], dtype=np.float32).reshape(-1, 5)
    return Detections(table[:, :4], table[:, 4], np.array([row[5] for row in rows], dtype=np.int64))


def judged(reference, found, data=None) -> Parity:
    """`reference`, `found`: a list of detections for each image."""
    forms = [
        ComparedForm("checkpoint", "", "float32", None),
        ComparedForm("f", "f", "int8", 1, "checkpoint", INT8, is_int8=True),
    ]
    names = {"checkpoint": reference, candidates_of("checkpoint"): reference, "f": found}
    rows = ({name: lists[i] for name, lists in names.items()} for i in range(len(reference)))
    images = [str(i) for i in range(len(reference))]
    return check_parity(
        forms,
        rows,
        image_names=images,
        data=data,
        classes=CLASSES,
        rules=RULES,
        input_size=96,
        median_ms={},
    )


def many(count: int, *, label: int = 0, score: float = 0.9, shift: float = 0.0) -> Detections:
    """Boxes of a fifth of the image that do not overlap, up to 25."""
    corners = [(i % 5 / 5 + shift, i // 5 / 5, i % 5 / 5 + 0.15 + shift, i // 5 / 5 + 0.15) for i in range(count)]
    return listed(*((*box, score, label) for box in corners))


def test_a_shift_of_rounding_passes_and_is_counted_on_both_sides():
    parity = judged([many(20)], [many(20, score=0.85, shift=0.02)])  # 0.02 x 96 = 1.9 pixels
    comparison = parity.rows[1].comparison
    assert parity.passed and (comparison.num_matched, comparison.num_reference) == (40, 40)


def test_faint_detections_may_differ():
    assert judged([many(20, score=0.2)], [many(3, score=0.25, label=1)]).passed


@pytest.mark.parametrize("found", [many(20, shift=0.04), many(20, label=1), many(20, score=0.75), many(0)])
def test_a_systematic_error_fails(found):
    parity = judged([many(20)], [found])
    assert not parity.passed
    assert "confident detections have no partner" in parity.reasons[0]


def test_a_file_that_finds_more_fails():
    assert not judged([many(10)], [many(20)]).passed


def test_of_a_handful_two_may_be_lost():
    assert judged([many(4)], [many(2)]).passed
    assert not judged([many(4)], [many(1)]).passed


@pytest.fixture(scope="module")
def val(shapes_data):
    return coco.read([shapes_data.val_file], [shapes_data.val_root], classes=CLASSES)


def truth(record, *, score: float = 0.25, shrink: float = 0.0) -> Detections:
    """What is on an image, too faint to be compared one by one."""
    size = np.array([record.width, record.height] * 2, dtype=np.float32)
    boxes = (record.boxes_px / size).astype(np.float32)
    boxes[:, 2:] -= shrink * (boxes[:, 2:] - boxes[:, :2])
    return Detections(boxes, np.full(len(boxes), score, np.float32), np.asarray(record.labels, dtype=np.int64))


def test_ap_that_certainly_differs_fails(val):
    found = [truth(record, shrink=0.3) for record in val.records]
    parity = judged([truth(record) for record in val.records], found, val)
    assert not parity.passed and "which is no chance of the images" in parity.reasons[0]


def test_ap_that_differs_on_one_image_passes(val):
    # One image of eight: in a third of the draws it is not there at all, (7/8) ** 8 = 0.34.
    found = [truth(record, shrink=0.3 if i == 0 else 0.0) for i, record in enumerate(val.records)]
    parity = judged([truth(record) for record in val.records], found, val)
    assert parity.passed and parity.rows[0].ap - parity.rows[1].ap > 0.002


def test_where_objects_are_known_they_decide_and_not_what_else_is_found(val):
    # Confident detections in a corner without objects, on one side only: fewer than 0.2 points of AP.
    clutter = listed(*((0.0, 0.0, 0.01 * i, 0.01, 0.31, 0) for i in range(1, 9)))
    expected = [truth(record, score=0.9) for record in val.records]
    found = [
        Detections(
            *(np.concatenate([getattr(one, name), getattr(clutter, name)]) for name in ("boxes", "scores", "labels"))
        )
        for one in expected
    ]
    assert judged(expected, found, val).passed
    assert not judged(expected, found).passed


def test_the_report_says_the_rules(tmp_path: Path):
    text = parity_report.to_markdown(judged([many(20)], [many(20)]), checkpoint="a.pth", images="an image")
    assert "- Tolerance of f: computed in 8 bits" in text
    assert "at most 5 % (or 2) may have no partner within 3 px and a score of 0.1" in text
    parity_report.write_report(tmp_path, judged([many(20)], [many(0)]), checkpoint="a.pth", images="an image")
    assert msgspec.json.decode((tmp_path / "export.json").read_bytes())["passed"] is False
