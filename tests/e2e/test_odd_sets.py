"""Sets and circumstances that nobody plans for: few images, many classes, no objects, other data, a clock set back."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tests.e2e.conftest import run_here

pytestmark = pytest.mark.e2e


def write_set(folder: Path, name: str, *, images: int, classes: int, objects: int) -> tuple[Path, Path]:
    """An annotation file and its folder: noise with squares, `objects` on each image, classes in turn."""
    root = folder / name
    root.mkdir(parents=True)
    noise, turn = np.random.default_rng(images), itertools.cycle(range(1, classes + 1))
    content: dict[str, list[dict]] = {"images": [], "annotations": []}
    content["categories"] = [{"id": number, "name": f"class {number}"} for number in range(1, classes + 1)]
    for image in range(1, images + 1):
        pixels = noise.integers(60, 180, (120, 160, 3), dtype=np.uint8)
        content["images"].append({"id": image, "file_name": f"{image}.png", "width": 160, "height": 120})
        for place in range(objects):
            x, y = 40 * (place % 4) + 4, 40 * (place // 4 % 3) + 4
            pixels[y : y + 30, x : x + 30] = 230
            box = {"bbox": [x, y, 30, 30], "area": 900, "iscrowd": 0, "category_id": next(turn), "image_id": image}
            content["annotations"].append(box | {"id": len(content["annotations"]) + 1})
        cv2.imwrite(str(root / f"{image}.png"), pixels)
    file = folder / f"{name}.json"
    file.write_text(json.dumps(content))
    return file, root


def train(template: Path, output: Path, sets: dict[str, tuple[Path, Path]], *more: object, epochs: int = 1):
    """A training and what came of it; `sets` has train and perhaps val."""
    words: list[object] = ["train", "--config", template, "--device", "cpu", "--load-weights", "random"]
    for split, (file, root) in sets.items():
        words += [f"--{split}-ann-files", file, f"--{split}-data-roots", root]
    return run_here(*words, "--save-checkpoints-to", output, "--epochs", epochs, *more)


def epochs_of(output: Path) -> list[int]:
    return [json.loads(line)["epoch"] for line in (output / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("images", "classes", "objects", "more"),
    [
        pytest.param(1, 1, 1, (), id="one image with one object"),
        pytest.param(3, 2, 2, ("--batch-size", "64"), id="a batch larger than the set"),
        pytest.param(17, 200, 12, (), id="200 classes"),
    ],
)
def test_few_images_and_many_classes_train_and_evaluate(images, classes, objects, more, tiny_template_file, tmp_path):
    data = write_set(tmp_path, "train", images=images, classes=classes, objects=objects)
    done = train(tiny_template_file, tmp_path / "out", {"train": data, "val": data}, *more)
    assert done.returncode == 0, done.stderr
    assert epochs_of(tmp_path / "out") == [1]
    measured = run_here(
        *("eval", "--load-weights", tmp_path / "out/latest.pth", "--save-metrics-to", tmp_path / "metrics.yaml"),
        *("--test-ann-files", data[0], "--test-data-roots", data[1]),
    )
    assert measured.returncode == 0, measured.stderr
    assert len(json.loads((tmp_path / "metrics.json").read_text())["metrics"]["per_class"]) == classes


def test_a_set_without_objects_is_nothing_to_learn_from(tiny_template_file, tmp_path):
    empty = write_set(tmp_path, "train", images=2, classes=2, objects=0)
    done = train(tiny_template_file, tmp_path / "out", {"train": empty})
    assert done.returncode == 2
    assert "there is no object of class 1, class 2 to learn from" in done.stderr
    assert not (tmp_path / "out").exists()


def test_without_objects_to_validate_on_there_is_no_best(tiny_template_file, tmp_path):
    sets = {
        "train": write_set(tmp_path, "train", images=2, classes=2, objects=2),
        "val": write_set(tmp_path, "val", images=2, classes=2, objects=0),
    }
    done = train(tiny_template_file, tmp_path / "out", sets)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/latest.pth").exists()
    assert not (tmp_path / "out/best.pth").exists()


def test_data_that_change_before_a_run_is_resumed_are_told(tiny_template_file, tmp_path):
    sets = {"train": write_set(tmp_path, "train", images=4, classes=2, objects=2)}
    assert train(tiny_template_file, tmp_path / "out", sets).returncode == 0
    content = json.loads(sets["train"][0].read_text())
    content["annotations"][0]["bbox"][0] += 1
    sets["train"][0].write_text(json.dumps(content))
    resume = ("--resume-from", tmp_path / "out/latest.pth")
    done = train(tiny_template_file, tmp_path / "out", sets, *resume, epochs=2)
    assert done.returncode == 0, done.stderr
    assert "The training data are not those of the first part." in done.stdout
    assert epochs_of(tmp_path / "out") == [1, 2]


def test_a_clock_that_is_set_back_changes_no_weights(tiny_template_file, tmp_path, monkeypatch):
    sets = {"train": write_set(tmp_path, "train", images=4, classes=2, objects=2)}
    assert train(tiny_template_file, tmp_path / "a", sets, epochs=2).returncode == 0
    now, looks = time.time(), itertools.count()
    monkeypatch.setattr(time, "time", lambda: now - 3600 * next(looks))
    assert train(tiny_template_file, tmp_path / "b", sets, epochs=2).returncode == 0
    resume = ("--resume-from", tmp_path / "b/latest.pth")
    assert train(tiny_template_file, tmp_path / "b", sets, *resume, epochs=2).returncode == 0
    first, second = (torch.load(tmp_path / f"{name}/latest.pth", weights_only=True)["state_dict"] for name in "ab")
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert epochs_of(tmp_path / "b") == [1, 2]


def test_a_run_that_has_ended_and_goes_on_elsewhere_names_weights_that_are_there(tiny_template_file, tmp_path):
    data = write_set(tmp_path, "train", images=4, classes=2, objects=2)
    sets = {"train": data, "val": data}
    assert train(tiny_template_file, tmp_path / "old", sets).returncode == 0
    done = train(tiny_template_file, tmp_path / "new", sets, "--resume-from", tmp_path / "old/latest.pth")
    assert done.returncode == 0, done.stderr
    assert f"Weights: {tmp_path / 'new/best.pth'}" in done.stdout
    assert (tmp_path / "new/best.pth").read_bytes() == (tmp_path / "old/best.pth").read_bytes()
    assert epochs_of(tmp_path / "new") == [1]


def test_a_second_training_in_a_folder_keeps_the_first_whole(tiny_template_file, tmp_path):
    data = write_set(tmp_path, "train", images=4, classes=2, objects=2)
    sets, output = {"train": data, "val": data}, tmp_path / "out"
    assert train(tiny_template_file, output, sets).returncode == 0
    first = {path.name: path.read_bytes() for path in output.iterdir()}
    done = train(tiny_template_file, output, {"train": data}, "--seed", "5")
    assert done.returncode == 0, done.stderr
    assert f"{output} holds an earlier run. It is in {output / 'earlier-1'} now." in done.stdout
    assert {path.name: path.read_bytes() for path in (output / "earlier-1").iterdir()} == first
    assert sorted(path.name for path in output.iterdir()) == [
        *("earlier-1", "latest.pth", "metrics.jsonl", "run.json", "template.yaml")
    ]
    assert json.loads((output / "run.json").read_text())["seed"] == 5
