"""Evaluation as a command: what it writes, and what it refuses."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch
import yaml

import multibox as package
from multibox.drawing import save_drawing
from multibox.evaluate import record
from multibox.evaluate.average_precision import measure

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def model(shapes_data, tiny_template_file, tmp_path_factory):
    """A checkpoint of a short training on the shapes."""
    from multibox import config
    from multibox.data import coco
    from multibox.train.run import train
    from tests.e2e.test_learning import Silent

    data = coco.read([shapes_data.train_file], [shapes_data.train_root], classes=shapes_data.classes)
    output = tmp_path_factory.mktemp("a model")
    train(config.load_template(tiny_template_file), data, output, display=Silent(), device="cpu")
    return output / "latest.pth"


@pytest.fixture
def on_val(shapes_data):
    return ["--test-ann-files", str(shapes_data.val_file), "--test-data-roots", str(shapes_data.val_root)]


def test_it_writes_metrics_pictures_and_detections(multibox, model, on_val, shapes_data, tmp_path):
    done = multibox(
        *("eval", "--load-weights", model, *on_val, "--save-metrics-to", tmp_path / "deep/er/metrics.yaml"),
        *("--save-output-to", tmp_path / "pictures", "--save-detections-to", tmp_path / "found.json"),
    )
    assert done.returncode == 0, done.stderr
    written = yaml.safe_load((tmp_path / "deep/er/metrics.yaml").read_text())
    assert [metric["key"] for metric in written["metrics"]] == ["size", "complexity", "bbox"]
    # 1.84 Mp at 3 classes whatever the input; complexity goes with its area: 0.82 * (96 / 256)² = 0.115.
    assert [metric["value"] for metric in written["metrics"]][:2] == [1.84, 0.12]
    full = json.loads((tmp_path / "deep/er/metrics.json").read_text())["metrics"]
    assert written["metrics"][2]["value"] == pytest.approx(100 * full["ap"], abs=0.06)
    assert set(full["per_class"]) == set(shapes_data.classes)
    recorded = record.read_record(tmp_path / "deep/er/metrics.evaluation.json")
    assert len(recorded.data.records) == 8
    assert measure(recorded.detections, recorded.data).ap == pytest.approx(full["ap"], abs=1e-6)

    truth = json.loads(shapes_data.val_file.read_text())
    found = json.loads((tmp_path / "found.json").read_text())
    assert {row["image_id"] for row in found} <= {image["id"] for image in truth["images"]}
    assert {row["category_id"] for row in found} <= {3, 7, 12}
    names = {image["file_name"] for image in truth["images"]}
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == names
    assert cv2.imread(str(tmp_path / "pictures" / min(names))).shape == (120, 160, 3)


@pytest.mark.parametrize("is_chosen", [False, True])
def test_pictures_show_what_the_file_recommends_unless_an_option_says_otherwise(
    multibox, model, on_val, shapes_data, tmp_path, is_chosen
):
    name = min(path.name for path in shapes_data.val_root.iterdir())
    image = cv2.imread(str(shapes_data.val_root / name))
    scores = package.load(model)(image).scores
    recommended, chosen = round(float(scores[20]), 3), round(float(scores[5]), 3)
    # Each of the three, the default too, shows another number of boxes.
    assert len({int((scores >= threshold).sum()) for threshold in (0.3, recommended, chosen)}) == 3
    content = torch.load(model, weights_only=True)
    content["meta"]["threshold"] = recommended
    torch.save(content, tmp_path / "model.pth")
    options = ("--threshold", chosen) if is_chosen else ()
    pictures = tmp_path / "pictures"
    done = multibox("eval", "--load-weights", tmp_path / "model.pth", *on_val, "--save-output-to", pictures, *options)
    assert done.returncode == 0, done.stderr
    expected = chosen if is_chosen else recommended
    assert f"with detections from a score of {expected:g} on" in " ".join(done.stdout.split())

    detector = package.load(tmp_path / "model.pth")
    threshold = expected if is_chosen else detector.threshold
    save_drawing(tmp_path / "again", name, package.draw(image, detector(image), detector.classes, threshold=threshold))
    np.testing.assert_array_equal(cv2.imread(str(pictures / name)), cv2.imread(str(tmp_path / "again" / name)))


def test_classes_in_another_order_are_refused_in_one_line(multibox, model, on_val):
    done = multibox("eval", "--load-weights", model, *on_val, "--classes", 'circle,square,"red, tiny triangle"')
    assert done.returncode == 2
    assert "--classes has them in another order" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_published_snapshot_is_read_with_the_template_of_the_work_directory(
    multibox, model, on_val, tiny_template_file, tmp_path
):
    content = torch.load(model, weights_only=True)
    snapshot = tmp_path / "snapshot.pth"
    bare = {"meta": {"CLASSES": tuple(content["meta"]["CLASSES"])}, "state_dict": content["state_dict"]}
    torch.save(bare, snapshot, _use_new_zipfile_serialization=False)
    refused = multibox("eval", "--load-weights", snapshot, *on_val, cwd=tmp_path)
    assert refused.returncode == 2
    assert "carries no template" in refused.stderr and "--config" in refused.stderr
    (tmp_path / "template.yaml").write_text(tiny_template_file.read_text())
    read = multibox("eval", "--load-weights", snapshot, *on_val, cwd=tmp_path)
    assert read.returncode == 0, read.stderr


def test_a_picture_that_would_land_outside_its_folder_is_refused(multibox, model, shapes_data, tmp_path):
    truth = json.loads(shapes_data.val_file.read_text())
    truth["images"][0]["file_name"] = "../val/" + truth["images"][0]["file_name"]
    (tmp_path / "bad.json").write_text(json.dumps(truth))
    done = multibox(
        *("eval", "--load-weights", model, "--test-ann-files", tmp_path / "bad.json"),
        *("--test-data-roots", shapes_data.val_root, "--save-output-to", tmp_path / "pictures"),
    )
    assert done.returncode == 2
    assert "../val/" in done.stderr
    assert not (tmp_path / "pictures").exists()
