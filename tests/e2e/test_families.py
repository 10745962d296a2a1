"""The commands, one after another, with a network of either family."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from multibox.files import sha256
from multibox.weights import checkpoint
from tests.e2e.conftest import run_here
from tests.written_files import assert_as_documented

pytestmark = pytest.mark.e2e


@dataclass(frozen=True)
class Family:
    """A trained model, its figures for 3 classes at 96 px, and what its first layers are called."""

    model: Path
    size_mp: float
    gflops: float


@pytest.fixture(scope="module", params=["SSD", "YOLOX-Nano"])
def family(request) -> Family:
    """80 classes have 0.91 million parameters; 3 have 3 x 77 x 65 less. 0.41 GFLOPs at 256 px are 0.06 at 96."""
    if request.param == "SSD":
        return Family(request.getfixturevalue("trained"), 1.84, 0.12)
    return Family(request.getfixturevalue("trained_yolox"), 0.9, 0.06)


@pytest.fixture(scope="module")
def exported(family, tmp_path_factory) -> Path:
    """The folder of an export, judged on the validation images of the training."""
    folder = tmp_path_factory.mktemp("exported")
    done = run_here("export", "--load-weights", family.model, "--save-model-to", folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def compressed(family, tmp_path_factory) -> Path:
    """The folder of a compression of which the first method is good enough, whatever it loses."""
    folder = tmp_path_factory.mktemp("compressed")
    options = ("--save-checkpoints-to", folder, "--max-drop", "100", "--gpu-num", "0")
    done = run_here("compress", "--load-weights", family.model, *options)
    assert done.returncode == 0, done.stderr
    return folder


def evaluated(model: Path, shapes_data, folder: Path) -> dict[str, float]:
    done = run_here(
        *("eval", "--load-weights", model, "--device", "cpu", "--save-metrics-to", folder / "metrics.yaml"),
        *("--test-ann-files", shapes_data.val_file, "--test-data-roots", shapes_data.val_root),
    )
    assert done.returncode == 0, done.stderr
    content = yaml.safe_load((folder / "metrics.yaml").read_text())
    return {metric["key"]: metric["value"] for metric in content["metrics"]}


def test_the_log_has_the_keys_that_its_page_explains(trained_yolox):
    assert_as_documented(trained_yolox.parent / "metrics.jsonl", "metrics.jsonl")


def test_a_checkpoint_is_evaluated(family, shapes_data, tmp_path):
    metrics = evaluated(family.model, shapes_data, tmp_path)
    assert (metrics["size"], metrics["complexity"]) == (family.size_mp, family.gflops)
    assert metrics["bbox"] > 5


@pytest.mark.parametrize("name", ["model.xml", "alt_ssd_export/model.xml", "model.onnx"])
def test_each_file_is_the_checkpoint(family, exported, shapes_data, tmp_path, name):
    report = json.loads((exported / "export.json").read_text())
    rows = {row["form"]["name"]: row for row in report["rows"]}
    assert report["passed"] and rows[name]["comparison"]["num_reference"] > 8
    metrics = evaluated(exported / name, shapes_data, tmp_path)
    assert (metrics["size"], metrics["complexity"]) == (family.size_mp, family.gflops)
    # An OpenVINO file computes in what the processor prefers, bfloat16 on some.
    expected = 100 * rows["checkpoint"]["ap"]
    assert metrics["bbox"] == pytest.approx(expected, abs=0.11 if name == "model.onnx" else 4)


def test_files_suggest_the_threshold_of_the_training(family, exported):
    threshold = checkpoint.load(family.model).meta["threshold"]
    assert f'<threshold value="{threshold:g}" />' in (exported / "model.xml").read_text()


def facts_of(said: str) -> dict[str, str]:
    return dict(re.findall(r"^(\w[\w ]*?) {2,}(\S.*)$", said, re.MULTILINE))


@pytest.mark.parametrize(
    ("name", "form", "takes"),
    [
        ("model.xml", "OpenVINO model, FP32; outputs: boxes, scores and labels", "BGR, 0..255, 1 image a call"),
        (
            "alt_ssd_export/model.xml",
            "OpenVINO model, FP32; outputs: DetectionOutput (1, 1, N, 7)",
            "BGR, 0..255, 1 im",
        ),
        ("model.onnx", "ONNX model, FP32; outputs: boxes, scores and labels", "RGB, 0..1, 1 image a call"),
    ],
)
def test_a_file_says_what_it_is(family, exported, name, form, takes):
    done = run_here("info", exported / name)
    facts = facts_of(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert (facts["classes"], facts["input"]) == ("3: square, circle and red, tiny triangle", "96 x 96 px")
    assert facts["form"].startswith(form) and facts["takes"].startswith(takes)
    assert facts["threshold"] == f"{checkpoint.load(family.model).meta['threshold']:g}"
    assert facts["made from"].startswith(f"latest.pth (SHA-256 {sha256(family.model)[:12]}...)")


def test_a_checkpoint_says_what_it_is(family):
    done = run_here("info", family.model)
    facts = facts_of(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert facts["form"] == "checkpoint of PyTorch, with all that resuming needs"
    assert "on 16 images of" in facts["trained"]
    assert facts["classes"] == "3: square, circle and red, tiny triangle"


def test_files_are_timed_beside_each_other(exported, shapes_data, tmp_path):
    done = run_here(
        *("bench", exported / "model.xml", exported / "alt_ssd_export/model.xml", "--seconds", "0.2"),
        *("--images", shapes_data.val_root, "--precision", "f32", "--device", "CPU", "--json", tmp_path / "bench.json"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    measured = json.loads((tmp_path / "bench.json").read_text())
    assert measured["settings"]["num_images"] == 8
    assert [row["file"] for row in measured["rows"]] == [
        str(exported / name) for name in ("model.xml", "alt_ssd_export/model.xml")
    ]
    assert all(row["network"]["p50_ms"] > 0 and row["precision_hint"] == "f32" for row in measured["rows"])
    assert measured["rows"][1]["network"]["latency_ratio"]["median"] > 0
    assert_as_documented(tmp_path / "bench.json", "What bench writes")


def test_images_are_looked_at_tile_by_tile(exported, shapes_data, tmp_path):
    done = run_here(
        *("predict", shapes_data.val_root, "--load-weights", exported / "model.xml", "--save-to", tmp_path),
        *("--tile", "120", "--threshold", "0.3"),
    )
    assert done.returncode == 0, done.stderr
    assert len([path for path in tmp_path.rglob("*") if path.suffix in (".jpg", ".png")]) == 8


def test_8_bits_find_what_floating_point_finds(family, compressed, shapes_data, tmp_path):
    report = json.loads((compressed / "compress.json").read_text())
    assert report["chosen"] == "ptq"
    (rung,) = report["rungs"]
    # On 8 images, a single detection is worth a point.
    assert abs(rung["measured"]["drop"]["value"]) < 5
    metrics = evaluated(compressed / "latest.pth", shapes_data, tmp_path)
    assert metrics["bbox"] == pytest.approx(100 * rung["measured"]["metrics"]["ap"], abs=2)


def test_a_compressed_checkpoint_is_exported(compressed, tmp_path):
    done = run_here("export", "--load-weights", compressed / "latest.pth", "--save-model-to", tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "export.json").read_text())["passed"]
    # A weight has a byte; scales, shifts and constants come on top.
    checkpoint_bytes = (compressed / "latest.pth").stat().st_size
    assert (tmp_path / "model.bin").stat().st_size < 0.4 * checkpoint_bytes


def test_an_exported_file_is_a_start(family, exported, shapes_data, tmp_path):
    words = (
        *("train", "--config", family.model.parent / "template.yaml", "--device", "cpu", "--epochs", "1"),
        *("--train-ann-files", shapes_data.train_file, "--train-data-roots", shapes_data.train_root),
        *("--val-ann-files", shapes_data.val_file, "--val-data-roots", shapes_data.val_root),
        *("--save-checkpoints-to", tmp_path, "--load-weights"),
    )
    done = run_here(*words, exported / "model.xml")
    assert done.returncode == 2
    assert "Take the .xml in alt_ssd_export" in done.stderr
    done = run_here(*words, exported / "alt_ssd_export" / "model.xml")
    assert done.returncode == 0, done.stderr
    (line,) = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    before = json.loads((exported / "export.json").read_text())["rows"][0]["ap"]
    # A start that lost its weights on the way would find next to nothing after one epoch.
    assert line["ap"] > before / 2
