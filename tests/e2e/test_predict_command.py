"""`multibox predict` as a user runs it: good and bad inputs, every kind of output, Ctrl-C in the middle of a video."""

from __future__ import annotations

import copy
import csv
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import multibox as package
from multibox import config
from multibox.export.run import Request, write_files
from tests.e2e.conftest import ENVIRONMENT, files_below

CLASSES = ("red, tiny triangle", "square")
PAGE = (Path(__file__).parents[2] / "docs" / "predict.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, tiny_template_file: Path, tiny_model: Any) -> Path:
    """An exported network of random weights with few and clear detections."""
    from multibox.weights.checkpoint import Checkpoint, save

    network = copy.deepcopy(tiny_model)
    for _, _, _, last in network.bbox_head.cls_convs:
        last.weight.data *= 10
        last.bias.data.unflatten(0, (-1, len(CLASSES) + 1))[:, -1] += 10
    folder = tmp_path_factory.mktemp("a model")
    checkpoint = Checkpoint(network.state_dict(), CLASSES, config.load_template(tiny_template_file))
    save(folder / "latest.pth", checkpoint)
    write_files(checkpoint, folder / "latest.pth", folder, Request(onnx=False))
    return folder / "model.xml"


def picture(seed: int, size: tuple[int, int] = (120, 80)) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (8, 12, 3)).astype(np.uint8)
    return cv2.resize(noise, size, interpolation=cv2.INTER_CUBIC)


def write_video(path: Path, count: int, size: tuple[int, int] = (120, 80)) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 12.5, size)
    pictures = [picture(seed, size) for seed in range(10)]
    for index in range(count):
        writer.write(pictures[index % 10])
    writer.release()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with images, one of which is broken, and a video; ordered 2, 10, broken, clip, Ünï 1."""
    folder = tmp_path / "my photos"
    (folder / "sub folder").mkdir(parents=True)
    for seed, name in ((1, "10.png"), (2, "2.jpg"), (3, "sub folder/Ünï 1.png")):
        (folder / name).write_bytes(cv2.imencode(Path(name).suffix, picture(seed))[1].tobytes())
    (folder / "broken.jpg").write_bytes((folder / "2.jpg").read_bytes()[:400])
    write_video(folder / "clip.mp4", 7)
    return folder


ORDER = ["2.jpg", "10.png", "broken.jpg", "clip.mp4", "sub folder/Ünï 1.png"]


def test_every_output_of_good_and_bad_inputs(multibox, model, photos, tmp_path):
    outputs = ("--save-to", "out", "--json", "a.json", "--csv", "a.csv", "--coco", "coco.json")

    done = multibox("predict", photos, "gone.jpg", "--load-weights", model, *outputs, cwd=tmp_path)

    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "gone.jpg: there is no such file or folder.",
        f"{photos}/broken.jpg: the image is truncated. Replace or remove it.",
    ]
    assert "Score threshold 0.3, which the model's file recommends." in done.stdout
    assert "3 images and 7 frames: " in done.stdout
    assert files_below(tmp_path / "out") == set(ORDER) - {"broken.jpg"}
    clip = cv2.VideoCapture(str(tmp_path / "out/clip.mp4"))
    assert (clip.get(cv2.CAP_PROP_FRAME_COUNT), clip.get(cv2.CAP_PROP_FPS)) == (7, 12.5)

    content = json.loads((tmp_path / "a.json").read_text("utf-8"))
    assert [source["source"] for source in content["sources"]] == [f"{photos}/{name}" for name in ORDER]
    first, _, broken, video, _ = content["sources"]
    assert "truncated" in broken["error"] and len(video["frames"]) == 7 and content["classes"] == list(CLASSES)

    # What our own runtime finds in the first image
    found = package.load(model)(cv2.imread(str(photos / "2.jpg"))).above(0.3)
    assert len(found) > 0
    assert [one["label"] for one in first["detections"]] == found.labels.tolist()
    boxes = np.array([one["box_px"] for one in first["detections"]])
    np.testing.assert_allclose(boxes, found.boxes_px(120, 80), atol=0.6)  # bfloat16 in one of two ways to run

    detections = [one for image in content["sources"] for one in image.get("detections", [])]
    detections += [one for image in video["frames"] for one in image["detections"]]
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as text:
        assert len(list(csv.DictReader(text))) == len(detections)
    assert len(json.loads((tmp_path / "coco.json").read_text("utf-8"))) == len(detections)
    assert len(json.loads((tmp_path / "coco.images.json").read_text("utf-8"))["images"]) == 10

    # The drawings of this run are no input of the next.
    again = multibox("predict", ".", "--load-weights", model, "--save-to", "out", "--json", "b.json", cwd=tmp_path)
    assert again.returncode == 1
    assert [one["source"] for one in json.loads((tmp_path / "b.json").read_text("utf-8"))["sources"]] == [
        f"my photos/{name}" for name in ORDER
    ]


def test_labels_are_the_detections_of_the_images_and_are_read_again(multibox, model, photos, tmp_path):
    command = ("predict", "my photos", "--load-weights", model, "--save-labels", "labels", "--format", "yolo")
    done = multibox(*command, "--json", "a.json", cwd=tmp_path)
    assert done.returncode == 1
    content = json.loads((tmp_path / "a.json").read_text("utf-8"))
    counts = [len(source["detections"]) for source in content["sources"] if "detections" in source]
    assert sum(counts) > 0
    assert f"Labels: labels, {sum(counts)} objects in 3 images" in done.stdout
    assert "7 frames of videos have no labels" in done.stdout
    assert "copy what is in my photos into labels/images." in done.stdout
    assert files_below(tmp_path / "labels") == {
        *("data.yaml", "classes.txt", "labels/2.txt", "labels/10.txt", "labels/sub folder/Ünï 1.txt"),
    }

    shutil.copytree(photos, tmp_path / "labels/images", ignore=shutil.ignore_patterns("broken*", "*.mp4"))
    converted = multibox("convert", "labels", "--save-to", "as coco", cwd=tmp_path)
    assert converted.returncode == 0, converted.stdout + converted.stderr
    annotations = json.loads((tmp_path / "as coco/annotations_train.json").read_text("utf-8"))
    assert [one["name"] for one in annotations["categories"]] == list(CLASSES)
    assert len(annotations["annotations"]) == sum(counts)

    again = multibox(*command, cwd=tmp_path)
    assert again.returncode == 2
    assert "there is such a file already, and labels replace none" in again.stderr


def test_a_checkpoint_recommends_the_threshold_that_its_validation_suggested(multibox, trained, photos):
    suggested = torch.load(trained, weights_only=True)["meta"]["threshold"]
    done = multibox("predict", photos / "2.jpg", "--load-weights", trained)
    assert done.stdout.startswith(f"Score threshold {suggested}, which the model's file recommends.\n"), done.stderr
    assert package.load(trained).threshold == suggested


def test_without_outputs_what_is_found_is_printed(multibox, model, photos):
    done = multibox("predict", photos / "2.jpg", "--load-weights", model, "--threshold", "0.5")
    assert (done.returncode, done.stderr) == (0, "")
    threshold, image, *objects, summary = done.stdout.splitlines()
    assert threshold == "Score threshold 0.5, as given."
    assert image == f"{photos}/2.jpg: 120x80, {len(objects)} object{'' if len(objects) == 1 else 's'}"
    assert objects and all(re.fullmatch(r"  (red, tiny triangle|square) +\d\.\d\d  ( *\d+){4}", one) for one in objects)
    assert summary.startswith(f"1 image: {len(objects)} object")


def test_picked_images_are_named_and_they_alone_are_written(multibox, model, photos, tmp_path):
    images = [photos / name for name in ORDER if name != "clip.mp4"]
    words = ("predict", *images, "--load-weights", model, "--pick", "2", "--save-labels")
    done = multibox(*words, tmp_path / "labels")
    title, *picked = map(str.strip, done.stdout.split("Score threshold")[0].splitlines())
    assert title == "Most worth labelling of 4 images, the best first:"
    assert len(picked) == 2 and "broken.jpg" not in done.stdout
    assert done.stderr.splitlines() == [f"{photos}/broken.jpg: the image is truncated. Replace or remove it."]
    written = json.loads((tmp_path / "labels/annotations.json").read_text())
    assert {Path(image["file_name"]).name for image in written["images"]} == {Path(line).name for line in picked}
    again = multibox(*words, tmp_path / "again").stdout
    assert again.split("Score threshold")[0] == done.stdout.split("Score threshold")[0]


def test_of_a_video_nothing_is_picked(multibox, model, photos):
    done = multibox("predict", photos / "clip.mp4", "--load-weights", model, "--pick", "2")
    assert done.returncode == 2 and "--pick chooses among images, and" in done.stderr


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (["my photos/broken.jpg"], "my photos/broken.jpg: the image is truncated. Replace or remove it."),
        (["gone/*.jpg"], "gone/*.jpg: nothing has a name like this."),
        (["rtsp://127.0.0.1:9/x"], "rtsp://127.0.0.1:9/x: the stream cannot be opened. Is the address right, and the "),
    ],
)
def test_if_nothing_can_be_read_nothing_is_written(multibox, model, photos, tmp_path, sources, message):
    before = files_below(tmp_path)
    outputs = ("--save-to", "out", "--json", "a.json", "--csv", "a.csv", "--coco", "coco.json")
    done = multibox("predict", *sources, "--load-weights", model, *outputs, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(message) and done.stderr.count("\n") == 1
    assert files_below(tmp_path) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--save-to", "my photos"], "--save-to: this would write over my photos/2.jpg, which is read."),
        (["--json", "my photos/2.jpg"], "--json: this would write over my photos/2.jpg, which is read."),
        (["--json", "a", "--csv", "a"], "--csv a: --json writes to this file as well."),
        (["--ann-file", "a.json"], "--ann-file has no effect without --coco"),
        (["--format", "yolo"], "--format has no effect without --save-labels"),
        (["--save-labels", "x", "--json", "x/annotations.json"], "--save-labels x/annotations.json: --json writes to"),
        (["--tile-overlap", "0.3"], "--tile-overlap has no effect without --tile"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(multibox, model, photos, options, message):
    before = files_below(photos.parent)
    done = multibox("predict", "my photos/2.jpg", "--load-weights", model, *options, cwd=photos.parent)
    assert done.returncode == 2
    assert done.stderr.startswith(message) and done.stderr.count("\n") == 1
    assert files_below(photos.parent) == before


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
def test_ctrl_c_leaves_complete_files(model, tmp_path):
    write_video(tmp_path / "long.mp4", 2000, (320, 240))
    outputs = ["--save-to", "found.mp4", "--json", "found.json", "--csv", "found.csv"]
    command = [sys.executable, "-m", "multibox", "predict", "long.mp4", "--load-weights", str(model), *outputs]
    process = subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    # Until the video that is being written has something in it
    while process.poll() is None and not any(one.stat().st_size > 1000 for one in tmp_path.glob(".*.tmp.mp4")):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=600)

    assert (process.returncode, errors) == (130, "Interrupted: the results are of what was looked at until then.\n")
    content = json.loads((tmp_path / "found.json").read_text("utf-8"))
    num_frames = len(content["sources"][0]["frames"])
    assert content["interrupted"] is True and 0 < num_frames < 2000
    video = cv2.VideoCapture(str(tmp_path / "found.mp4"))
    num_written = 0
    while video.read()[0]:
        num_written += 1
    assert num_written == num_frames
    assert files_below(tmp_path) == {"long.mp4", "found.mp4", "found.json", "found.csv"}


def test_coco_results_are_those_of_eval(multibox, model, shapes_data, tmp_path):
    data = tmp_path / "val.json"
    content = json.loads(shapes_data.val_file.read_text("utf-8"))
    content["categories"] = [one for one in content["categories"] if one["name"] in CLASSES]
    ids = {one["id"] for one in content["categories"]}
    content["annotations"] = [one for one in content["annotations"] if one["category_id"] in ids]
    data.write_text(json.dumps(content), encoding="utf-8")
    tiles = ("--tile", "100", "--tile-overlap", "0.3")
    evaluated = multibox(
        *("eval", "--load-weights", model, "--test-ann-files", data, "--test-data-roots", shapes_data.val_root),
        *("--save-detections-to", tmp_path / "eval.json", *tiles),
    )
    predicted = multibox(
        *("predict", shapes_data.val_root, "--load-weights", model, "--coco", tmp_path / "predict.json"),
        *("--ann-file", data, "--threshold", "0", *tiles),
    )
    assert (evaluated.returncode, predicted.returncode) == (0, 0), evaluated.stderr + predicted.stderr
    assert "Tiles of 100 px." in predicted.stdout
    eval_results, predict_results = (
        sorted(json.loads((tmp_path / name).read_text("utf-8")), key=json.dumps)
        for name in ("eval.json", "predict.json")
    )
    assert len(predict_results) > 10
    assert predict_results == eval_results


def test_an_exported_model_predicts_without_torch(model, photos):
    code = (
        "import sys; from multibox.cli import main; "
        f"code = main(['predict', {str(photos)!r}, '--load-weights', {str(model)!r}, '--tile', 'auto']); "
        "assert code == 1, code; print(*{'torch', 'onnxruntime'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""


def test_the_program_of_the_page_prints_what_the_runtime_finds(model, tmp_path):
    (program,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    shutil.copytree(model.parent, tmp_path / "export")
    for seed, name in enumerate(("photo.jpg", "a.jpg", "b.jpg")):
        cv2.imwrite(str(tmp_path / name), picture(seed))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert any(line.startswith(("square 0.", "red, tiny triangle 0.")) for line in done.stdout.splitlines())
    assert (tmp_path / "found.jpg").exists()


@pytest.mark.skipif(os.name == "nt", reason="signals are other ones there")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_a_silent_stream_is_opened_ends_it_at_once_and_leaves_nothing(number, code, model, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(100)
        words = [f"http://127.0.0.1:{server.getsockname()[1]}/", "--load-weights", model, "--save-to", tmp_path / "out"]
        words += ["--json", tmp_path / "out/found.json"]
        command = [sys.executable, "-W", "ignore", "-m", "multibox", "predict", *map(str, words)]
        process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        connection, _ = server.accept()  # which then hears nothing
        with connection:
            process.send_signal(number)
            _, errors = process.communicate(timeout=100)
    assert (process.returncode, errors) == (code, "Interrupted before anything was seen; no file is written.\n")
    assert files_below(tmp_path / "out") == set()
