"""`doctor --fix` on boxes that mean something else, images of other sizes, and sets of which nothing is left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from multibox.data import coco
from multibox.data.convert import convert
from multibox.data.layouts import Split, find_layout
from multibox.doctor.fixing import fix
from multibox.errors import DataError

Boxes = list[list[float]]


def coco_set(folder: Path, boxes: Boxes, *, size: tuple[int, int] = (100, 50), **fields: Any) -> Split:
    """An image of 100 x 50 px for each box, annotated with a size and other fields."""
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    rng = np.random.default_rng(1)
    for number, box in enumerate(boxes):
        cv2.imwrite(str(folder / f"images/{number}.png"), rng.integers(0, 255, (50, 100, 3), dtype=np.uint8))
        images.append({"id": number, "file_name": f"{number}.png", "width": size[0], "height": size[1]})
        annotations.append({"id": number, "image_id": number, "category_id": 1, "bbox": box} | fields)
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cat"}]}
    (folder / "train.json").write_text(json.dumps(content))
    return Split(folder / "train.json", folder / "images")


def fixed_boxes(split: Split, target: Path) -> Boxes:
    fix({"train": split}, target)
    data = coco.read([target / "annotations_train.json"], [target / "train"])
    return [box for record in data.records for box in record.boxes_px.round(3).tolist()]


MEANT: Boxes = [[2, 2, 32, 22], [60, 20, 98, 48], [70, 6, 96, 45], [50, 25, 90, 49], [4, 20, 44, 46], [64, 2, 99, 30]]
"""Corners all over an image of 100 x 50 px, so that only one reading fits them all."""


@pytest.mark.parametrize(
    "written",
    [
        MEANT,
        [[x / 100, y / 50, x2 / 100, y2 / 50] for x, y, x2, y2 in MEANT],
        [[x / 100, y / 50, (x2 - x) / 100, (y2 - y) / 50] for x, y, x2, y2 in MEANT],
        [[(x + x2) / 2, (y + y2) / 2, x2 - x, y2 - y] for x, y, x2, y2 in MEANT],
    ],
    ids=["corners", "fractions of corners", "fractions", "centres"],
)
def test_boxes_that_mean_something_else_are_mended(tmp_path: Path, written: Boxes) -> None:
    assert fixed_boxes(coco_set(tmp_path / "set", written), tmp_path / "fixed") == MEANT


def test_boxes_of_images_that_were_resized_are_resized_too(tmp_path: Path) -> None:
    written = [[2 * x, 2 * y, 2 * (x2 - x), 2 * (y2 - y)] for x, y, x2, y2 in MEANT]

    assert fixed_boxes(coco_set(tmp_path / "set", written, size=(200, 100)), tmp_path / "fixed") == MEANT


@pytest.mark.parametrize("size", [(50, 25), (80, 20), (64, 64)])
def test_sizes_are_corrected_where_boxes_fit_the_images_as_they_are(tmp_path: Path, size: tuple[int, int]) -> None:
    written = [[x, y, x2 - x, y2 - y] for x, y, x2, y2 in MEANT]
    split = coco_set(tmp_path / "set", written, size=size)

    refused = coco.read([split.annotation_file], [split.root], skip_bad=True, verify_images=False)
    assert f"measures 100x50 pixels, not {size[0]}x{size[1]} as annotated, and its boxes fit it" in refused.skipped[0]
    assert fixed_boxes(split, tmp_path / "fixed") == MEANT


def test_boxes_that_may_be_of_either_size_stay_refused(tmp_path: Path) -> None:
    near = [[2, 2, 20, 10], [5, 5, 30, 15], [1, 9, 22, 12], [3, 3, 40, 20], [8, 2, 30, 20], [60, 20, 38, 28]]
    split = coco_set(tmp_path / "set", near, size=(50, 25))

    with pytest.raises(DataError, match="not one object is left"):
        fix({"train": split}, tmp_path / "fixed")


def test_turned_boxes_are_turned_once(tmp_path: Path) -> None:
    split = coco_set(tmp_path / "set", [[40, 10, 20, 30]], attributes={"rotation": 90.0})

    assert fixed_boxes(split, tmp_path / "fixed") == [[35, 15, 65, 35]]  # about (50, 25)


def test_sizes_and_ids_of_other_types_are_mended(tmp_path: Path) -> None:
    split = coco_set(tmp_path / "set", [[10, 5, 40, 20]], size=(-1, -1))
    split.annotation_file.write_text(split.annotation_file.read_text().replace('"image_id": 0', '"image_id": "0"'))

    assert fixed_boxes(split, tmp_path / "fixed") == [[10, 5, 50, 25]]


def test_a_yolo_set_in_pixels_is_mended(tmp_path: Path) -> None:
    folder = tmp_path / "yolo"
    for number, (x, y, x2, y2) in enumerate(MEANT):
        (folder / "labels").mkdir(parents=True, exist_ok=True)
        (folder / "images").mkdir(exist_ok=True)
        cv2.imwrite(str(folder / f"images/{number}.png"), np.full((50, 100, 3), number, np.uint8))
        (folder / f"labels/{number}.txt").write_text(f"0 {(x + x2) / 2} {(y + y2) / 2} {x2 - x} {y2 - y}\n")
    (folder / "data.yaml").write_text("train: images\nnames: [cat]\n")
    split = convert(find_layout(folder), tmp_path / "converted", guess=True)["train"]

    assert fixed_boxes(split, tmp_path / "fixed") == MEANT
    changes = json.loads((tmp_path / "fixed/changes.json").read_text())
    assert [change["what"][:23] for change in changes] == ["`train`: all 6 boxes do"]


def test_what_conversion_lost_is_among_the_changes(tmp_path: Path) -> None:
    split = coco_set(tmp_path / "set", [[10, 5, 40, 20]])
    lost = Split(split.annotation_file, split.root, {"label lines that cannot be read": ["a.txt, line 1"]})

    (change,) = fix({"train": lost}, tmp_path / "fixed")

    assert change.what == "left out, because it cannot be read: a.txt, line 1"


def test_a_set_of_which_no_object_is_left_is_refused(tmp_path: Path) -> None:
    split = coco_set(tmp_path / "set", [[10, 5, 0, 20]])

    with pytest.raises(DataError, match="not one object is left to train on"):
        fix({"train": split}, tmp_path / "fixed")
    assert not (tmp_path / "fixed").exists()


def test_width_and_height_that_have_changed_places_change_back(tmp_path: Path) -> None:
    boxes = [[x, y, x2 - x, y2 - y] for x, y, x2, y2 in MEANT if x2 > 50]
    split = coco_set(tmp_path / "set", [box for box in boxes if box[0] + box[2] / 2 > 50], size=(50, 100))

    assert fixed_boxes(split, tmp_path / "fixed") == [box for box in MEANT if (box[0] + box[2]) / 2 > 50]


def test_the_copy_of_a_converted_set_has_its_own_images(tmp_path: Path) -> None:
    (tmp_path / "yolo/images").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "yolo/images/a.png"), np.full((50, 100, 3), 9, np.uint8))
    (tmp_path / "yolo/labels").mkdir()
    (tmp_path / "yolo/labels/a.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (tmp_path / "yolo/data.yaml").write_text("train: images\nnames: [cat]\n")
    split = convert(find_layout(tmp_path / "yolo"), tmp_path / "converted")["train"]

    fix({"train": split}, tmp_path / "fixed")

    assert find_layout(tmp_path / "converted").splits["train"].root == tmp_path / "yolo/images"
    assert find_layout(tmp_path / "fixed").splits["train"].root == tmp_path / "fixed/train"


def test_half_a_letter_that_nobody_reads_is_copied_as_it_is(tmp_path: Path) -> None:
    split = coco_set(tmp_path / "set", [[10.0, 5.0, 40.0, 20.0]], note="a\ud800", area=float("nan"))
    assert fixed_boxes(split, tmp_path / "fixed") == [[10, 5, 50, 25]]
    copied = json.loads((tmp_path / "fixed/annotations_train.json").read_text(encoding="utf-8"))
    assert copied["annotations"][0]["note"] == "a\ud800"


def test_what_was_changed_is_told_on_one_line_without_control_characters(tmp_path: Path) -> None:
    split = coco_set(tmp_path / "set", [[10.0, 5.0, 40.0, 20.0]])
    content = json.loads(split.annotation_file.read_text())
    content["annotations"].append({"id": "\x1b[1m", "image_id": "\x9b\n", "category_id": 1, "bbox": [1, 1, 5, 5]})
    split.annotation_file.write_text(json.dumps(content))
    (change,) = fix({"train": split}, tmp_path / "fixed")
    assert (change.what, change.why) == (r"annotation \x1b[1m left out", r"unknown image \x9b\n")
