"""The published detectors of this family, run by OpenVINO and measured by our evaluator, on the original's toy set."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import openvino
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from multibox.data import coco
from multibox.data.images import resize
from multibox.errors import CheckpointError, OptionError
from multibox.evaluate.run import evaluate
from multibox.runtime.openvino_runtime import OpenVINORuntime
from multibox.runtime.outputs import read_detection_output


def model(shared: Path, name: str, precision: str = "FP16") -> Path:
    return (
        shared / f"pretrained/person-vehicle-bike-detection-{name}/{precision}/person-vehicle-bike-detection-{name}.xml"
    )


def test_average_precision_is_that_of_pycocotools_on_the_raw_output(shared, capsys):
    folder = shared / "data/airport"
    runtime = OpenVINORuntime(model(shared, "2000"), precision="f32")
    data = coco.read(
        [folder / "annotation_example_val.json"],
        [folder / "val"],
        classes=runtime.classes,
        allow_missing_classes=True,
    )
    found = evaluate(runtime, data)

    truth = json.loads((folder / "annotation_example_val.json").read_text())
    # Annotation ids start at 0 here, which pycocotools takes for "no match": with them as they are, AP is 0.661.
    for annotation in truth["annotations"]:
        annotation["id"] += 1
        del annotation["segmentation"]
    expected = COCO()
    expected.dataset = truth
    expected.createIndex()
    rows = []
    for record, detections in zip(data.records, found.detections, strict=True):
        boxes = detections.boxes_px(record.width, record.height)
        for (x1, y1, x2, y2), score, label in zip(boxes, detections.scores, detections.labels, strict=True):
            if runtime.classes[label] == "person":
                box = [float(x1), float(y1), float(x2 - x1), float(y2 - y1)]
                rows.append({"image_id": record.image_id, "category_id": 2, "bbox": box, "score": float(score)})
    evaluation = COCOeval(expected, expected.loadRes(rows), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    capsys.readouterr()
    metrics = found.metrics
    np.testing.assert_allclose([metrics.ap, metrics.ap50, metrics.ap75], evaluation.stats[:3], atol=1e-6)
    # Typed from the run above: a change of resizing, channel order or box scale would move them.
    np.testing.assert_allclose([metrics.ap, metrics.ap50], [0.699, 0.966], atol=2e-3)
    assert metrics.per_class["vehicle"].ap is None


def test_a_renamed_public_model_still_knows_its_classes(shared, tmp_path):
    for suffix in (".xml", ".bin"):
        (tmp_path / f"mine{suffix}").write_bytes(model(shared, "2001").with_suffix(suffix).read_bytes())
    runtime = OpenVINORuntime(tmp_path / "mine.bin")
    assert runtime.classes == ("vehicle", "person", "bike")
    assert runtime.input_size == 384
    assert OpenVINORuntime(tmp_path / "mine.xml", classes=["a", "b", "c"]).classes == ("a", "b", "c")
    with pytest.raises(OptionError, match="knows 3 classes; --classes names 2"):
        OpenVINORuntime(tmp_path / "mine.xml", classes=["a", "b"])


def test_files_that_are_no_detector_are_refused(shared, tmp_path):
    with pytest.raises(CheckpointError, match="there is no such file"):
        OpenVINORuntime(tmp_path / "nowhere.xml")
    (tmp_path / "broken.xml").write_text("<net>")
    (tmp_path / "broken.bin").write_bytes(b"")
    with pytest.raises(CheckpointError, match="OpenVINO cannot read this model"):
        OpenVINORuntime(tmp_path / "broken.xml")


def test_detections_are_within_the_image_and_best_first(shared):
    image = cv2.imread(str(shared / "data/airport/val/image_000000.jpg"))
    [found] = OpenVINORuntime(model(shared, "2002"))([image])
    assert len(found) > 0
    assert (np.diff(found.scores) <= 0).all()
    assert found.boxes.min() >= 0 and found.boxes.max() <= 1
    assert set(found.labels) <= {0, 1, 2}


@pytest.fixture(scope="module")
def airport_images(shared):
    return [cv2.imread(str(path)) for path in sorted((shared / "data/airport/val").glob("*.jpg"))]


@pytest.mark.parametrize("precision", ["FP16", "FP16-INT8"])
def test_detections_are_those_of_the_file_given_planar_floats(shared, airport_images, precision):
    """The runtime has OpenVINO turn bytes into planes of floats; not one bit may differ for it."""
    path = model(shared, "2000", precision)
    runtime = OpenVINORuntime(path, precision="f32")
    exact = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for image, found in zip(airport_images, runtime(airport_images), strict=True):
        planar = resize(image, 256).transpose(2, 0, 1)[None].astype(np.float32)
        [expected] = read_detection_output(exact(planar)[0], batch=1)
        assert_equal(found, expected)


def test_a_stream_gives_what_single_calls_give(shared, airport_images):
    runtime = OpenVINORuntime(model(shared, "2000"), precision="f32")
    singly = [runtime([image])[0] for image in airport_images]
    assert len(singly) > 8
    for found, expected in zip(runtime.stream(iter(airport_images)), singly, strict=True):
        assert_equal(found, expected)


def assert_equal(found, expected):
    assert len(expected) > 0
    np.testing.assert_array_equal(found.boxes, expected.boxes)
    np.testing.assert_array_equal(found.scores, expected.scores)
    np.testing.assert_array_equal(found.labels, expected.labels)
