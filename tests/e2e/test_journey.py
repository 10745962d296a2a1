"""From a labelled folder to a report, as it is typed: no path twice, and every command finds the run by itself."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

import multibox
from tests.conftest import draw_shapes
from tests.e2e.conftest import files_below, run_here
from tests.written_files import assert_as_documented

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_template_file) -> Path:
    """A folder with `my photos`, 40 images and one annotation file, and a run that was trained on them."""
    place = tmp_path_factory.mktemp("journey")
    photos = place / "my photos"
    photos.mkdir()
    content = draw_shapes(photos, 40, np.random.default_rng(7))
    (photos / "labels.json").write_text(json.dumps(content), encoding="utf-8")
    shutil.copy(tiny_template_file, place / "tiny.yaml")
    here = Path.cwd()
    os.chdir(place)
    try:
        options = ("--model", "tiny.yaml", "--epochs", 2, "--load-weights", "random", "--device", "cpu")
        done = run_here("train", "my photos", *options)
    finally:
        os.chdir(here)
    assert done.returncode == 0, done.stderr
    (place / "said.txt").write_text(done.stdout)
    return place


@pytest.fixture
def at_place(place, monkeypatch) -> Path:
    monkeypatch.chdir(place)
    return place


def test_training_says_what_it_holds_out_and_what_to_do_next(place):
    said = (place / "said.txt").read_text()
    assert "'my photos': a COCO set (train)." in said
    assert "Held out to measure on: 10 of the 40 images, with every class." in said
    lines = said.splitlines()
    assert lines[-3] == "Weights: 'runs/my photos/best.pth'"
    assert shlex.split(lines[-1]) == ["multibox", "predict", "my photos"]
    assert next(line for line in lines if line.startswith(("Trained too", "Done"))).startswith("Trained too briefly")
    names = {"best.pth", "latest.pth", "run.json", "template.yaml", "metrics.jsonl", "evaluation.json"}
    names |= {"data/annotations_train.json", "data/annotations_val.json"}
    assert files_below(place / "runs/my photos") >= names
    recorded = json.loads((place / "runs/my photos/run.json").read_text())
    assert (recorded["train_data"]["images"], recorded["val_data"]["images"]) == (30, 10)


def test_each_command_finds_the_run_and_says_the_next_until_the_page_is_there(at_place):
    run = at_place / "runs/my photos"
    commands = {
        "predict": ["predict", "my photos"],
        "eval": ["eval"],
        "export": ["export", "--no-onnx"],
        "compress": ["compress", "--method", "ptq", "--max-drop", "100"],
        "report": ["report"],
    }
    following = {"predict": "eval", "eval": "export", "export": "compress", "compress": "report"}
    for name, words in commands.items():
        done = run_here(*words)
        assert done.returncode == 0, (words, done.stderr)
        assert [
            detail for detail in ("AP75", " passed", "95 % of draws  ", "OpenVINO 20") if detail in done.stdout
        ] == []
        if name in following:
            assert shlex.split(done.stdout.splitlines()[-1]) == ["multibox", following[name]]
        if name in following:
            assert done.stdout.startswith(
                "Model: 'runs/my photos/best.pth', the best weights of the newest run in runs.\nTrained too briefly"
            )
    assert len(list((run / "predictions/my photos").rglob("*.png"))) == 40
    details = run_here("eval", "-v").stdout
    assert details.startswith("multibox ") and "AP75" in details
    made = {"metrics.yaml", "metrics.json", "export/model.xml", "compressed/latest.pth", "report.html"}
    assert files_below(run) >= made
    done = run_here("export", "runs/my photos/compressed", "--no-onnx")
    assert done.returncode == 0, done.stderr
    assert (run / "export_int8/model.xml").exists()
    for name in ("run.json", "metrics.yaml", "metrics.json", "evaluation.json", "export.json", "compress.json"):
        (file, *_) = sorted(run.rglob(name))
        assert_as_documented(file, name)
    assert {path.name for path in at_place.iterdir()} == {"my photos", "runs", "tiny.yaml", "said.txt"}


def test_the_same_from_python(at_place):
    run = multibox.train(
        "my photos", model="tiny.yaml", epochs=1, load_weights="random", device="cpu", name="python", val_share=0.5
    )
    assert run.folder == Path("runs/python")
    assert run.metrics is not None and run.metrics.num_images == 20
    assert [line["epoch"] for line in run.history] == [1]
    assert run.evaluate().metrics == run.metrics
    exported = run.export(onnx=False)
    assert exported.paths[0] == Path("runs/python/export/model.xml")
    image = next(Path("my photos").glob("*.png"))
    pixels = np.zeros((120, 160, 3), np.uint8)
    assert image.exists()
    assert multibox.load(run).classes == multibox.load(exported.paths[0]).classes == run_classes(run)
    assert len(run.predict(pixels, threshold=0.0, classes=["circle"]).labels) > 0
    assert run.report() == Path("runs/python/report.html")
    assert multibox.train.train is not None  # the room is a room still
    shutil.rmtree(run)


def run_classes(run: multibox.Run) -> tuple[str, ...]:
    return tuple(run.facts["train_data"]["objects_per_class"])


def test_nothing_is_measured_where_nothing_is_held_out(at_place, tiny_template_file):
    options = ("--model", "tiny.yaml", "--epochs", 1, "--load-weights", "random", "--device", "cpu", "--name", "all")
    done = run_here("train", "my photos/labels.json", "--val-share", 0, *options)
    assert done.returncode == 0, done.stderr
    assert "All images are trained on, as --val-share says: nothing will be measured." in done.stdout
    refused = run_here("eval", "all")
    assert refused.returncode == 2
    assert "there are no images to measure it on. Name a data set by --data." in refused.stderr
    measured = run_here("eval", "all", "--data", "my photos")
    assert measured.returncode == 0, measured.stderr
    assert (at_place / "runs/all/metrics-my photos.yaml").exists()
    shutil.rmtree(at_place / "runs/all")


def test_a_zip_of_another_format_is_trained_on_and_found_again(at_place, tmp_path):
    yolo = tmp_path / "yolo"
    shutil.copytree("my photos", yolo / "images")
    (yolo / "images/labels.json").unlink()
    (yolo / "labels").mkdir()
    for image in (yolo / "images").iterdir():
        (yolo / "labels" / f"{image.stem}.txt").write_text("0 0.5 0.5 0.4 0.4\n")
    (yolo / "data.yaml").write_text("train: images\nnames: [shape]\n")
    archive = shutil.make_archive(str(at_place / "shapes"), "zip", tmp_path, "yolo")
    shutil.rmtree(yolo)
    options = ("--model", "tiny.yaml", "--epochs", 1, "--load-weights", "random", "--device", "cpu")
    done = run_here("train", "shapes.zip", *options)
    assert done.returncode == 0, done.stderr
    run = multibox.Run(at_place / "runs/shapes")
    data = run.val_data(["shape"])
    assert data is not None and len(data.records) == 10
    assert not list(run.folder.rglob("*.png"))  # it is read in its place
    Path(archive).unlink()
    shutil.rmtree(run)


def test_a_stopped_run_goes_on_with_the_data_that_it_had(at_place):
    options = ("--model", "tiny.yaml", "--epochs", 1, "--load-weights", "random", "--device", "cpu", "--name", "short")
    assert run_here("train", "my photos", *options).returncode == 0
    done = run_here("train", "--resume-from", "runs/short", "--epochs", 2, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert [line["epoch"] for line in multibox.Run(at_place / "runs/short").history] == [1, 2]
    shutil.rmtree(at_place / "runs/short")


def test_without_a_run_predict_takes_the_detector_that_comes_with_multibox(at_place, tmp_path, monkeypatch):
    image = at_place / "my photos/image 00.png"
    monkeypatch.chdir(tmp_path)
    done = run_here("predict", image, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("There is no run here: the detector of COCO's 80 classes that comes with multibox")
    assert files_below(tmp_path) == {"predictions/image 00/image 00.png"}
    unknown = run_here("predict", image, "--classes", "persn", "--device", "cpu")
    assert unknown.returncode == 2
    assert "Is person meant?" in unknown.stderr
