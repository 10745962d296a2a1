"""`multibox export` as a user runs it, and the evaluation of what it wrote."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
import yaml

from tests.e2e.conftest import ENVIRONMENT, files_below, run_here

FILES = {
    *("model.xml", "model.bin", "model.onnx", "alt_ssd_export/model.xml", "alt_ssd_export/model.bin"),
    *("export.json", "export.md"),
}


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    """The folder of an export on the images that the training validated on, and what the command said."""
    folder = tmp_path_factory.mktemp("exported") / "new folder"
    command = [
        sys.executable,
        "-m",
        "multibox",
        "export",
        "--load-weights",
        str(trained),
        "--save-model-to",
        str(folder),
    ]
    done = subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True, text=True)
    return folder, done.stdout


def test_it_writes_exactly_these_files(exported):
    folder, _ = exported
    assert files_below(folder) == FILES


def test_every_form_is_compared_on_the_validation_set_of_the_training(exported, shapes_data):
    folder, said = exported
    report = json.loads((folder / "export.json").read_text())
    assert report["passed"] and report["images"] == "the 8 images of val.json"
    rows = {row["form"]["name"]: row for row in report["rows"]}
    judged = {name for name, row in rows.items() if row["passed"] is not None}
    assert judged == {"model.xml", "alt_ssd_export/model.xml", "model.onnx"}
    assert rows["checkpoint"]["ap50"] > 0.2
    for name in judged:
        comparison = rows[name]["comparison"]
        assert comparison["num_reference"] > 8 and comparison["num_unexplained"] == 0
        assert comparison["largest_box_px"] < 0.1 and comparison["largest_score"] < 1e-3
        assert abs(rows[name]["ap"] - rows["checkpoint"]["ap"]) < 0.001
    assert "alt_ssd_export/model.xml" in said


def evaluated(weights, shapes_data, folder):
    """The metrics of an evaluation that writes all that it can write, and the files that it wrote."""
    done = run_here(
        *("eval", "--load-weights", weights, "--save-metrics-to", folder / "metrics.yaml"),
        *("--test-ann-files", shapes_data.val_file, "--test-data-roots", shapes_data.val_root),
        *("--save-output-to", folder / "pictures", "--save-detections-to", folder / "found.json"),
    )
    assert done.returncode == 0, done.stderr
    metrics = yaml.safe_load((folder / "metrics.yaml").read_text())["metrics"]
    return {metric["key"]: metric["value"] for metric in metrics}, files_below(folder)


@pytest.fixture(scope="module")
def evaluated_checkpoint(trained, shapes_data, tmp_path_factory):
    return evaluated(trained, shapes_data, tmp_path_factory.mktemp("evaluated"))


@pytest.mark.parametrize("name", ["model.bin", "model.xml", "alt_ssd_export/model.bin", "model.onnx"])
def test_an_export_is_evaluated_like_its_checkpoint(evaluated_checkpoint, exported, shapes_data, tmp_path, name):
    expected, expected_files = evaluated_checkpoint
    metrics, files = evaluated(exported[0] / name, shapes_data, tmp_path)
    assert files == expected_files
    assert (metrics["size"], metrics["complexity"]) == (expected["size"], expected["complexity"])
    # An OpenVINO file computes in what the processor prefers, bfloat16 on some.
    assert abs(metrics["bbox"] - expected["bbox"]) < (0.11 if name == "model.onnx" else 4)


def test_an_export_is_evaluated_without_torch(exported, shapes_data, tmp_path):
    files = {"model.xml": tmp_path / "openvino.yaml", "model.onnx": tmp_path / "onnx.yaml"}
    commands = [
        [
            *("eval", "--load-weights", str(exported[0] / name), "--save-metrics-to", str(metrics_file)),
            *("--test-ann-files", str(shapes_data.val_file), "--test-data-roots", str(shapes_data.val_root)),
        ]
        for name, metrics_file in files.items()
    ]
    code = (
        "import sys; sys.modules['torch'] = None; from multibox.cli import main; "
        f"sys.exit(max(main(command) for command in {commands!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for metrics_file in files.values():
        values = [metric["value"] for metric in yaml.safe_load(metrics_file.read_text())["metrics"]]
        assert values[:2] == [1.84, 0.12] and values[2] > 5


def test_forms_can_be_switched_off_and_on(trained, tmp_path):
    folder = tmp_path / "export"
    done = run_here("export", "--load-weights", trained, "--save-model-to", folder, "--no-openvino", "--raw")
    assert done.returncode == 0, done.stderr
    assert files_below(folder) == {"model.onnx", "raw/model.onnx", "export.json", "export.md"}
    folder = tmp_path / "other"
    options = ["--no-onnx", "--precision", "FP16", "--batch", "dynamic", "--openvino-input-format", "RGB"]
    done = run_here("export", "--load-weights", trained, "--save-model-to", folder, *options)
    assert done.returncode == 0, done.stderr
    assert files_below(folder) == FILES - {"model.onnx"}
    # 1.8 million parameters at two bytes each, and next to nothing else.
    assert (folder / "model.bin").stat().st_size < 3.8e6


def test_without_a_validation_set_built_in_pictures_serve(trained, tmp_path):
    content = torch.load(trained, weights_only=True)
    content["meta"]["val_data"]["annotation_files"] = [str(tmp_path / "gone.json")]
    torch.save(content, tmp_path / "model.pth")
    command = ["export", "--load-weights", tmp_path / "model.pth", "--save-model-to", tmp_path / "e", "--no-openvino"]
    done = run_here(*command)
    assert done.returncode == 0, done.stderr
    assert "gone.json" in done.stdout and "images that come with multibox" in done.stdout
    assert json.loads((tmp_path / "e/export.json").read_text())["rows"][0]["ap"] is None


OLDER = "<net>an older export<rt_info><multibox>of an older export</multibox></rt_info></net>"


def test_an_export_that_differs_is_rejected(trained, tmp_path):
    content = torch.load(trained, weights_only=True)
    weights = content["state_dict"]
    # The same network, but half precision has no number as large as these weights.
    for level in (0, 1):
        for key in ("1.weight", "1.bias"):
            weights[f"bbox_head.cls_convs.{level}.{key}"] *= 1e-8
        weights[f"bbox_head.cls_convs.{level}.3.weight"] *= 1e8
    torch.save(content, tmp_path / "model.pth")
    folder = tmp_path / "export"
    (folder / "alt_ssd_export").mkdir(parents=True)
    (folder / "model.xml").write_text(OLDER)
    command = ["export", "--load-weights", tmp_path / "model.pth", "--save-model-to", folder, "--no-onnx"]
    done = run_here(*command, "--precision", "FP16")
    assert done.returncode == 3
    assert "rejected" in done.stderr and "Traceback" not in done.stderr
    assert (folder / "model.xml").read_text() == OLDER
    assert files_below(folder) == {
        *("model.xml", "model.rejected.xml", "model.rejected.bin", "export.json", "export.md"),
        *("alt_ssd_export/model.rejected.xml", "alt_ssd_export/model.rejected.bin"),
    }
    assert not json.loads((folder / "export.json").read_text())["passed"]
    assert run_here(*command).returncode == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--no-openvino", "--no-onnx"], "Nothing is left to export"),
        (["--classes", "square,circle"], "knows 3 classes"),
        (["--batch", "0"], "above 0, or dynamic"),
        (["--precision", "INT4"], "FP32"),
        (["--val-ann-files", "val.json"], "go together"),
        (["--load-weights", "nothing.pth"], "there is no such file"),
        (["--load-weights", __file__], "no PyTorch checkpoint"),
    ],
)
def test_bad_input_gets_one_line(trained, tmp_path, options, words):
    weights = [] if "--load-weights" in options else ["--load-weights", trained]
    done = run_here("export", *weights, "--save-model-to", tmp_path / "export", *options)
    assert done.returncode == 2
    assert words in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "export").exists()


def test_a_folder_that_cannot_be_made_gets_one_line(trained, tmp_path):
    (tmp_path / "file").write_text("")
    done = run_here("export", "--load-weights", trained, "--save-model-to", tmp_path / "file/export")
    assert done.returncode == 2
    assert "cannot make this folder" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="there is no limit to set")
def test_a_full_disk_leaves_nothing_half_written(trained, tmp_path):
    import resource

    folder = tmp_path / "export"
    command = [
        sys.executable,
        "-m",
        "multibox",
        "export",
        "--load-weights",
        str(trained),
        "--save-model-to",
        str(folder),
    ]
    done = subprocess.run(
        [*command, "--no-onnx"],
        env=ENVIRONMENT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "disk full" in done.stderr and "Traceback" not in done.stderr
    assert files_below(folder) == set()
