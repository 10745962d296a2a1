"""Hugging Face's imagefolder with boxes, as its documentation has it and as people write it."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from multibox.data import coco
from multibox.data.convert import convert
from multibox.data.hf_folder import NAMELESS
from multibox.data.layouts import find_layout
from multibox.errors import DataError


def folder_of(folder, lines, *, classes="", images=("0001.png",)):
    folder.mkdir(parents=True, exist_ok=True)
    for name in images:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name), np.full((50, 100, 3), 90, np.uint8))
    text = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
    (folder / "metadata.jsonl").write_text(text, encoding="utf-8")
    if classes:
        (folder / "classes.txt").write_text(classes, encoding="utf-8")
    return folder


def objects(boxes, categories, key="categories"):
    return {"file_name": "0001.png", "objects": {"bbox": boxes, key: categories}}


def read(folder, tmp_path):
    layout = find_layout(folder)
    assert layout.format == "Hugging Face"
    (split,) = convert(layout, tmp_path / "as COCO").values()
    return split, coco.read([split.annotation_file], [split.root])


@pytest.mark.parametrize(
    ("categories", "key", "classes", "names"),
    [
        ([1, 0], "categories", "cat\ndog\n", ["dog", "cat"]),
        ([1, 0], "category", "cat\ndog\n", ["dog", "cat"]),
        (["dog", "no"], "categories", "", ["dog", "no"]),
        ([3, 0], "categories", "", ["3", "0"]),
    ],
)
def test_classes_are_names_or_numbers(tmp_path, categories, key, classes, names):
    boxes = [[10, 5, 50.5, 20], [0, 0, 100, 50]]
    split, data = read(folder_of(tmp_path / "set", [objects(boxes, categories, key)], classes=classes), tmp_path)
    (record,) = data.records
    assert [data.classes[label] for label in record.labels] == names
    assert record.boxes_px.tolist() == [[10, 5, 60.5, 25], [0, 0, 100, 50]]
    assert not split.problems
    assert (NAMELESS in split.doubts) == (names == ["3", "0"])


def test_an_image_without_objects_stays_in(tmp_path):
    lines = [objects([[0, 0, 9, 9]], ["a"]), {"file_name": "b/2.png", "objects": {"bbox": [], "categories": []}}]
    _, data = read(folder_of(tmp_path / "set", lines, images=("0001.png", "b/2.png")), tmp_path)
    assert {record.file_name: len(record.labels) for record in data.records} == {"0001.png": 1, "b/2.png": 0}


@pytest.mark.parametrize(
    ("line", "kind", "words"),
    [
        ("{", "lines that cannot be read", "metadata.jsonl:2: this is no JSON with a `file_name`"),
        ("5", "lines that cannot be read", "metadata.jsonl:2"),
        ('{"objects": {}}', "lines that cannot be read", "metadata.jsonl:2"),
        (objects([[0, 0, 9, 9]], []), "objects that cannot be read", "no lists of the same length"),
        (objects([[0, 0, 9]], ["a"]), "objects that cannot be read", "no four numbers"),
        (objects([[0, 0, float("nan"), 9]], ["a"]), "objects that cannot be read", "no four numbers"),
        (objects([[0, 0, 9, 9]], [None]), "objects that cannot be read", "has no class"),
        (objects([[0, 0, 0, 9]], ["a"]), "objects that cannot be read", "0001.png"),
        ({"file_name": "gone.png", "objects": {}}, "annotated images that are missing", "gone.png"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, line, kind, words):
    folder = folder_of(tmp_path / "set", [objects([[0, 0, 9, 9]], ["a"]), line])
    split, _ = read(folder, tmp_path)
    assert list(split.problems) == [kind]
    assert words in split.problems[kind][0]


def test_a_set_without_objects_is_refused_and_captions_are_no_set(tmp_path):
    with pytest.raises(DataError, match="has no object"):
        read(folder_of(tmp_path / "none", [{"file_name": "0001.png", "objects": {}}]), tmp_path)
    folder_of(tmp_path / "captions", [{"file_name": "0001.png", "text": "a cat"}])
    with pytest.raises(DataError, match="1 image, but no labels"):
        find_layout(tmp_path / "captions")
