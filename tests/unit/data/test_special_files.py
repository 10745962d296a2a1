"""Pipes in the place of files: opening one would wait for ever, so a test that opens it never ends."""

from __future__ import annotations

import json
import os

import cv2
import numpy as np
import pytest

from multibox.data import coco, images
from multibox.data.convert import convert
from multibox.data.layouts import find_layout
from multibox.errors import DataError

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")

WHAT = "this is a pipe, a socket or a device, no file"


def pipe(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)
    return path


def draw(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", np.zeros((20, 20, 3), np.uint8))[1].tobytes())


def test_annotations(tmp_path):
    for file in (pipe(tmp_path / "a.json"), "/dev/zero"):
        with pytest.raises(DataError, match=WHAT):
            coco.read([file], [tmp_path])


def test_images(tmp_path):
    file = pipe(tmp_path / "a.png")
    assert images.find_fault(file) == f"cannot be read ({WHAT})"
    assert images.read_header(file) is None
    for read, error in (
        (images.read_image, DataError),
        (images.read_size, DataError),
        (images.inspect, images.UnusableError),
    ):
        with pytest.raises(error, match=WHAT):
            read(file)


def test_an_image_of_a_set_is_left_out(tmp_path):
    pipe(tmp_path / "a.png")
    draw(tmp_path / "b.png")
    content = {
        "images": [{"id": i, "file_name": f"{name}.png", "width": 20, "height": 20} for i, name in enumerate("ab")],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5]}],
        "categories": [{"id": 1, "name": "a"}],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    data = coco.read([tmp_path / "a.json"], [tmp_path], skip_bad=True)
    assert [record.file_name for record in data.records] == ["b.png"]


@pytest.mark.parametrize("name", ["train/a.json", "data.yaml", "classes.txt", "train/a.xml", "obj.data", "x-bbox.csv"])
def test_layouts(tmp_path, name):
    draw(tmp_path / "train/a.png")
    pipe(tmp_path / name)
    with pytest.raises(DataError):
        convert(find_layout(tmp_path), tmp_path / "out")


def test_labels_of_yolo_are_lost_and_said(tmp_path):
    (tmp_path / "data.yaml").write_text("names: [a]\ntrain: images\n")
    for name in "ab":
        draw(tmp_path / f"images/{name}.png")
    pipe(tmp_path / "labels/a.txt")
    (tmp_path / "labels/b.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    split = convert(find_layout(tmp_path), tmp_path / "out")["train"]
    # As of any file of labels that is no text, the image stays and the loss is noted.
    assert "a.txt" in str(split.problems)


@pytest.mark.parametrize(
    "text",
    [
        "names: {1000000000: a}",
        "names: {100000: a}",
        "names: [&a [*a]]",
        "names: !!python/name:os.system x",
        "[" * 9999,
    ],
)
def test_descriptions_that_would_cost_memory_or_time_are_refused(tmp_path, text):
    (tmp_path / "data.yaml").write_text(f"train: images\n{text}\n")
    draw(tmp_path / "images/a.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    with pytest.raises(DataError) as caught:
        convert(find_layout(tmp_path / "data.yaml"), tmp_path / "out")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", {"imagePath": "a.png", "shapes": [{"label": "\ud800", "points": [[1, 1], [9, 9]]}]}),
        ("metadata.jsonl", {"file_name": "a.png", "objects": {"bbox": [[1, 1, 9, 9]], "categories": ["\ud800"]}}),
        ("a.json", {"x": {"filename": "a.png", "regions": [{"region_attributes": {"name": "\ud800"}}]}}),
    ],
    ids=["labelme", "Hugging Face", "VIA"],
)
def test_half_a_letter_in_a_name_is_refused_before_it_is_to_be_written(tmp_path, name, content):
    draw(tmp_path / "a.png")
    (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(DataError) as caught:
        convert(find_layout(tmp_path), tmp_path / "out")
    str(caught.value).encode()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", ["/", "/..", "../" * 40, "link"])
def test_the_whole_disk_is_no_folder_of_images(tmp_path, place):
    (tmp_path / "link").symlink_to("/")
    (tmp_path / "data.yaml").write_text(f"train: {place}\nnames: [a]\n")
    with pytest.raises(DataError, match="`train` names the whole disk"):
        convert(find_layout(tmp_path), tmp_path / "out")
