"""OpenVINO Model API, the client of many deployments, finds with an exported file what `multibox eval` finds with it.

It gets nothing but the path of the file: the kind of model, class names, threshold and preprocessing are in the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import openvino
import pytest
from model_api.adapters import OpenvinoAdapter
from model_api.models import DetectionModel

from multibox import config
from multibox.data import coco
from multibox.evaluate.run import evaluate
from multibox.export.run import Request, write_files
from multibox.runtime import contract
from multibox.runtime.openvino_runtime import OpenVINORuntime
from multibox.structures import DEFAULT_THRESHOLD, Detections
from multibox.weights.bundled import coco_detector, read_bundled
from multibox.weights.checkpoint import Checkpoint, save
from multibox.weights.coco_classes import COCO_CLASSES
from multibox.weights.from_openvino import read_ir

PUBLIC = "person-vehicle-bike-detection-2000"
CLASSES = ("vehicle", "person", "bike")
FILES = ["model.xml", "alt_ssd_export/model.xml", "model.onnx"]

# Model API resizes in OpenVINO's graph, whose linear interpolation differs from OpenCV's by up to one grey level. With
# these images and f32, that moves scores by up to 0.0071 and boxes by up to 0.6 px of 1920 x 1080, to which rounding to
# whole pixels adds 0.5; in bfloat16, scores by up to 0.0104, with OpenVINO 2025.3 by up to 0.0272. (Its nearest and
# cubic interpolation: 0.053 and 0.055.)
SCORE_TOLERANCE = 0.03 if openvino.__version__.startswith("2025.") else 0.02
BOX_TOLERANCE_PX = 2.0


@pytest.fixture(scope="module")
def checkpoint(shared: Path) -> Checkpoint:
    weights = read_ir(shared / f"pretrained/{PUBLIC}/FP16/{PUBLIC}.xml")
    root = Path(__file__).parents[2]
    template = config.load_template(root / "src/multibox/templates/mobilenet_v2-2s_ssd-256x256.yaml")
    template = config.changed(
        template, {"model.anchors_px": weights.anchors_px, "model.box_variances": weights.box_variances}
    )
    return Checkpoint(weights.state_dict, CLASSES, template)


@pytest.fixture(scope="module")
def folder(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    save(folder / "latest.pth", checkpoint)
    write_files(checkpoint, folder / "latest.pth", folder, Request())
    return folder


@pytest.fixture(scope="module")
def data(shared: Path) -> coco.CocoData:
    """The ten validation images of the original's toy set, 1920 x 1080."""
    airport = shared / "data/airport"
    return coco.read(
        [airport / "annotation_example_val.json"],
        [airport / "val"],
        classes=CLASSES,
        verify_images=False,
        allow_missing_classes=True,
    )


@pytest.fixture(scope="module")
def images(data: coco.CocoData) -> list[np.ndarray]:
    return [cv2.imread(str(record.path)) for record in data.records]


def open_exact(path: Path) -> DetectionModel:
    """Model API on a core that computes in float32; nothing is said about the model here either."""
    core = openvino.Core()
    core.set_property("CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return DetectionModel.create_model(OpenvinoAdapter(core, str(path), device="CPU"))


def ir_of(name: str) -> str:
    return name.replace(".onnx", ".xml")


def assert_same(
    result: Any,
    expected: Detections,
    image: np.ndarray,
    *,
    score: float,
    box_px: float,
    names: tuple[str, ...] = CLASSES,
) -> None:
    assert len(result.scores) == len(expected)
    height, width = image.shape[:2]
    for box, label, value in zip(expected.boxes_px(width, height), expected.labels, expected.scores, strict=True):
        # Nearly equal scores may stand in another order.
        nearest = int(np.abs(result.bboxes - box).max(axis=1).argmin())
        assert result.label_names[nearest] == "_".join(names[label].split())
        assert np.abs(result.bboxes[nearest] - box).max() <= box_px
        assert abs(result.scores[nearest] - value) <= score


@pytest.mark.parametrize("name", FILES)
def test_without_settings_it_finds_what_eval_finds(name, folder, data, images):
    model = DetectionModel.create_model(str(folder / name))
    found = evaluate(OpenVINORuntime(folder / ir_of(name)), data).detections
    # No score of this network on these images is within 0.08 of the threshold, so the numbers of detections agree.
    assert model.params.confidence_threshold == DEFAULT_THRESHOLD
    assert sum(len(one.above(DEFAULT_THRESHOLD)) for one in found) == 43
    for image, one in zip(images, found, strict=True):
        expected = one.above(DEFAULT_THRESHOLD)
        assert_same(model(image), expected, image, score=SCORE_TOLERANCE, box_px=BOX_TOLERANCE_PX)


@pytest.mark.parametrize("name", FILES)
def test_where_nothing_is_resized_only_rounding_to_whole_pixels_differs(name, folder, images):
    model = open_exact(folder / name)
    runtime = OpenVINORuntime(folder / ir_of(name), precision="f32")
    small = [cv2.resize(image, (256, 256)) for image in images]
    for image, found in zip(small, runtime(small), strict=True):
        expected = found.above(DEFAULT_THRESHOLD)
        assert_same(model(image), expected, image, score=1e-4, box_px=0.501)


def test_files_for_rgb_are_given_the_same_pictures(checkpoint, folder, images, tmp_path):
    write_files(checkpoint, folder / "latest.pth", tmp_path, Request(onnx=False, channel_order="RGB"))
    for name in ("model.xml", "alt_ssd_export/model.xml"):
        expected, found = (open_exact(path / name)(images[0]) for path in (folder, tmp_path))
        assert len(expected.scores) == 5
        assert found.label_names == expected.label_names
        assert np.abs(found.scores - expected.scores).max() < 1e-4
        assert np.abs(found.bboxes - expected.bboxes).max() <= 1  # a half may be rounded up or down


@pytest.mark.parametrize("name", FILES)
def test_a_picture_without_objects_after_one_with_objects_gives_nothing(name, folder, images):
    model = open_exact(folder / name)
    assert len(model(images[0]).scores) == 5
    assert len(model(np.full_like(images[0], 255)).scores) == 0  # a white one


@pytest.mark.parametrize(
    ("classes", "names"),
    [(("red, tiny triangle", "tab\tor  two"), ["red,_tiny_triangle", "tab_or_two"]), (("face",), ["face"])],
)
def test_class_names_arrive_with_underscores_for_blanks(classes, names, folder, tmp_path):
    ir = openvino.Core().read_model(folder / "model.xml")
    info = contract.read_from_ir(ir, source="model.xml")
    assert info is not None
    contract.write_to_ir(ir, msgspec.structs.replace(info, classes=classes))
    openvino.save_model(ir, tmp_path / "model.xml", compress_to_fp16=False)
    assert DetectionModel.create_model(str(tmp_path / "model.xml")).params.labels == names


@pytest.fixture(scope="module")
def yolox_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The COCO weights that come with the package, exported for 256 pixels."""
    root = Path(__file__).parents[2]
    template = config.load_template(root / "src/multibox/templates/yolox_nano/yolox_nano-256x256.yaml")
    weights = read_bundled(coco_detector()).weights
    folder = tmp_path_factory.mktemp("YOLOX-Nano")
    made = Checkpoint(dict(weights), COCO_CLASSES, template)
    save(folder / "latest.pth", made)
    write_files(made, folder / "latest.pth", folder, Request())
    return folder


@pytest.mark.parametrize("name", FILES)
def test_files_of_yolox_are_read_in_the_same_way(name, yolox_folder, images):
    model = open_exact(yolox_folder / name)
    runtime = OpenVINORuntime(yolox_folder / ir_of(name), precision="f32")
    small = [cv2.resize(image, (256, 256)) for image in images[:4]]
    expected = [found.above(DEFAULT_THRESHOLD) for found in runtime(small)]
    assert sum(map(len, expected)) > 4
    for image, found in zip(small, expected, strict=True):
        assert_same(model(image), found, image, score=1e-4, box_px=0.501, names=COCO_CLASSES)
