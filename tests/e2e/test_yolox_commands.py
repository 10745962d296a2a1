"""The commands with a network of the family YOLOX-Nano: those that work with it, and those that refuse it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from multibox import config
from tests.e2e.conftest import run_here

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def model(shapes_data, tiny_yolox_file, tmp_path_factory) -> Path:
    """A checkpoint of a short training on the shapes, by the command."""
    output = tmp_path_factory.mktemp("a YOLOX-Nano")
    template = config.load_template(tiny_yolox_file)
    template = config.changed(template, {"train.schedule.min_steps_per_epoch": 60})
    (output / "work.yaml").write_text(config.dump(template), encoding="utf-8")
    done = run_here(
        *("train", "--config", output / "work.yaml", "--device", "cpu", "--save-checkpoints-to", output),
        *("--train-ann-files", shapes_data.train_file, "--train-data-roots", shapes_data.train_root),
    )
    assert done.returncode == 0, done.stderr
    # The COCO weights are what a training starts from where nothing is named.
    assert "bundled (yolox_nano-coco.safetensors)" in done.stdout
    return output / "latest.pth"


def test_a_trained_network_is_evaluated(model, shapes_data, tmp_path):
    done = run_here(
        *("eval", "--load-weights", model, "--device", "cpu", "--save-metrics-to", tmp_path / "metrics.yaml"),
        *("--test-ann-files", shapes_data.train_file, "--test-data-roots", shapes_data.train_root),
    )
    assert done.returncode == 0, done.stderr
    size, complexity, ap = (
        each["value"] for each in yaml.safe_load((tmp_path / "metrics.yaml").read_text())["metrics"]
    )
    # 3 classes have 3 x 77 x 65 parameters less than 80, of 0.91 millions; 0.41 GFLOPs at 256 px, here at 96.
    assert (size, complexity) == (0.9, pytest.approx(0.41 * (96 / 256) ** 2, abs=0.02))
    assert json.loads((tmp_path / "metrics.json").read_text())["metrics"]["ap50"] > 0.5
    assert ap > 20


def test_a_trained_network_predicts(model, shapes_data, tmp_path):
    done = run_here(
        *("predict", shapes_data.val_root, "--load-weights", model, "--device", "cpu", "--save-to", tmp_path),
        *("--threshold", "0.3"),
    )
    assert done.returncode == 0, done.stderr
    assert len([path for path in tmp_path.rglob("*") if path.suffix in (".jpg", ".png")]) == 8


def test_a_trained_network_is_exported_and_its_files_are_evaluated(model, shapes_data, tmp_path):
    data = ("--val-ann-files", shapes_data.val_file, "--val-data-roots", shapes_data.val_root)
    done = run_here("export", "--load-weights", model, "--save-model-to", tmp_path, *data)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "export.json").read_text())
    rows = {row["form"]["name"]: row for row in report["rows"]}
    assert report["passed"] and rows["checkpoint"]["ap50"] > 0.3
    for name in ("model.xml", "alt_ssd_export/model.xml", "model.onnx"):
        assert rows[name]["comparison"]["num_reference"] > 8
        done = run_here(
            *("eval", "--load-weights", tmp_path / name, "--save-metrics-to", tmp_path / "metrics.yaml"),
            *("--test-ann-files", shapes_data.val_file, "--test-data-roots", shapes_data.val_root),
        )
        assert done.returncode == 0, done.stderr
        metrics = {
            each["key"]: each["value"] for each in yaml.safe_load((tmp_path / "metrics.yaml").read_text())["metrics"]
        }
        # An OpenVINO file computes in what the processor prefers, bfloat16 on some.
        tolerance = 0.11 if name == "model.onnx" else 4
        assert metrics["bbox"] == pytest.approx(100 * rows["checkpoint"]["ap"], abs=tolerance)
        assert metrics["size"] == 0.9


def test_commands_for_ssds_alone_refuse_it_in_one_line(model, tmp_path):
    done = run_here("compress", "--load-weights", model, "--save-checkpoints-to", tmp_path / "new")
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert "a model of this family cannot be compressed yet" in line
    assert not (tmp_path / "new").exists()
