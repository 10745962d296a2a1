"""No command replaces a file of the user's, whatever it is told."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.e2e.conftest import run_here

pytestmark = pytest.mark.e2e

MINE = '{"mine": "the work of a week"}'


@pytest.fixture
def yolo(tmp_path: Path) -> Path:
    """A set of two images in YOLO's format."""
    folder = tmp_path / "set"
    for kind in ("images", "labels"):
        (folder / kind / "train").mkdir(parents=True)
    for name in ("a", "b"):
        cv2.imwrite(str(folder / f"images/train/{name}.png"), np.full((80, 100, 3), 90, np.uint8))
        (folder / f"labels/train/{name}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (folder / "data.yaml").write_text("train: images/train\nnames: [a]\n")
    return folder


@pytest.mark.parametrize(
    "words",
    [
        ("bench", "model.xml", "--json", "MINE"),
        ("report", ".", "--save-to", "MINE"),
        ("doctor", "set", "--no-timing", "--json", "MINE"),
        ("doctor", "set", "--no-timing", "--save-mosaic", "MINE"),
        ("predict", "set/images/train", "--load-weights", "model.xml", "--json", "MINE"),
        ("predict", "set/images/train", "--load-weights", "model.xml", "--csv", "MINE"),
        ("predict", "set/images/train", "--load-weights", "model.xml", "--coco", "MINE"),
        ("predict", "set/images/train/a.png", "--load-weights", "model.xml", "--save-to", "MINE"),
        ("convert", "set", "--save-to", "."),
    ],
)
def test_a_file_that_is_not_the_command_s_own_stays(words, yolo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.xml").touch()  # outputs are looked at before a model is opened
    mine = tmp_path / {"convert": "annotations_train.json"}.get(words[0], "mine.png")
    mine.write_text(MINE)
    done = run_here(*(mine.name if word == "MINE" else word for word in words))
    assert done.returncode == 2
    assert f"{mine.name} is there, and not from this command; it is not replaced." in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert mine.read_text() == MINE


def test_a_conversion_is_replaced_until_somebody_corrects_it(yolo, tmp_path):
    output = tmp_path / "coco"
    assert run_here("convert", yolo, "--save-to", output).returncode == 0
    file = output / "annotations_train.json"
    first = file.read_bytes()
    (yolo / "labels/train/b.txt").write_text("0 0.4 0.4 0.3 0.3\n")
    again = run_here("convert", yolo, "--save-to", output)
    assert again.returncode == 0
    assert f"--save-to: {file} of an earlier run will be replaced." in again.stdout
    assert file.read_bytes() != first
    content = json.loads(file.read_text())
    content["annotations"][0]["bbox"][0] += 1
    file.write_text(json.dumps(content))
    corrected = file.read_bytes()
    assert run_here("convert", yolo, "--save-to", output).returncode == 2
    assert file.read_bytes() == corrected


def test_what_is_shown_twice_is_replaced_and_said(yolo, tmp_path):
    words = ("doctor", yolo, "--no-timing", "--json", tmp_path / "found.json", "--save-mosaic", tmp_path / "some.png")
    first = run_here(*words)
    assert "replaced" not in first.stdout
    second = run_here(*words)
    assert second.returncode == first.returncode
    assert f"--json: {tmp_path / 'found.json'} of an earlier run will be replaced." in second.stdout
    assert f"--save-mosaic: {tmp_path / 'some.png'} of an earlier run will be replaced." in second.stdout
