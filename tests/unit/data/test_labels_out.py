"""COCO sets written in other formats and read again; what a format cannot say is refused or told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import pytest

from multibox.commands.options import OutputFormat
from multibox.data import coco
from multibox.data.convert import convert
from multibox.data.label_formats import WRITERS, LabelFormat
from multibox.data.labels_out import how_to_import, label_set, write_labels
from multibox.data.layouts import find_layout
from multibox.errors import DataError
from tests.conftest import ShapesData, set_orientation


def read_shapes(shapes: ShapesData) -> dict[str, tuple[Path, coco.CocoData]]:
    return {
        "train": (shapes.train_root, coco.read([shapes.train_file], [shapes.train_root])),
        "val": (shapes.val_root, coco.read([shapes.val_file], [shapes.val_root])),
    }


def one_image(folder: Path, *boxes: list[float], crowd: int = 0) -> coco.CocoData:
    """An image of 100 x 50 pixels, `a.jpg`, with these boxes (x, y, width, height)."""
    folder.mkdir(parents=True, exist_ok=True)
    _, data = cv2.imencode(".jpg", np.full((50, 100, 3), 90, np.uint8))
    (folder / "a.jpg").write_bytes(data.tobytes())
    annotations: list[dict[str, Any]] = [
        {"id": i, "image_id": 1, "category_id": 5, "bbox": box, "area": 1, "iscrowd": crowd}
        for i, box in enumerate(boxes)
    ]
    images = [{"id": 1, "file_name": "a.jpg", "width": 100, "height": 50}]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 5, "name": "cat"}]}
    (folder / "a.json").write_text(json.dumps(content), encoding="utf-8")
    return coco.read([folder / "a.json"], [folder])


@pytest.mark.parametrize(
    ("label_format", "place"), [("yolo", "images"), ("voc", "JPEGImages"), ("cvat", "images"), ("hf-folder", "")]
)
def test_both_splits_of_a_coco_set_are_read_again(shapes_data, tmp_path, label_format, place):
    # The splits have images of the same names.
    shapes = read_shapes(shapes_data)
    sets = [label_set(name, root, data) for name, (root, data) in shapes.items()]
    write_labels(label_format, tmp_path / "out", sets, shapes_data.classes)
    for name, (root, _) in shapes.items():
        shutil.copytree(root, tmp_path / "out" / place / name, dirs_exist_ok=True)

    splits = convert(find_layout(tmp_path / "out"), tmp_path / "as COCO")

    assert list(splits) == ["train", "val"]
    for name, (_, before) in shapes.items():
        assert not splits[name].problems
        assert not splits[name].doubts
        assert not splits[name].remarks
        after = coco.read([splits[name].annotation_file], [splits[name].root])
        for old, new in zip(before.records, after.records, strict=True):
            assert new.file_name == old.file_name
            assert [after.classes[i] for i in new.labels] == [before.classes[i] for i in old.labels]
            # Whole pixels, which Pascal VOC keeps, too.
            np.testing.assert_allclose(new.boxes_px, old.boxes_px, atol=0.001)


def test_pascal_voc_has_whole_pixels_counted_from_1(tmp_path):
    # 10..60, 5..25: pixels 11 to 60 and 6 to 25. 0.4..1.6 is 0..2. 99.8..100 is the last pixel, 100.
    data = one_image(tmp_path, [10, 5, 50, 20], [0.4, 0, 1.2, 50], [99.8, 49.9, 0.2, 0.1])
    write_labels("voc", tmp_path / "out", [label_set("", tmp_path, data)], data.classes)
    text = "".join((tmp_path / "out/Annotations/a.xml").read_text("utf-8").split())
    corners = [part.split("</bndbox>")[0] for part in text.split("<bndbox>")[1:]]
    assert corners == [
        f"<xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"
        for x1, y1, x2, y2 in [(11, 6, 60, 25), (1, 1, 2, 50), (100, 50, 100, 50)]
    ]
    assert (tmp_path / "out/ImageSets/Main/default.txt").read_text("utf-8") == "a\n"


def test_boxes_over_the_border_are_cut(tmp_path):
    data = one_image(tmp_path, [-10, 40, 30, 30])
    write_labels("yolo", tmp_path / "out", [label_set("", tmp_path, data)], data.classes)
    # 0..20 of 100, 40..50 of 50
    assert (tmp_path / "out/labels/a.txt").read_text("utf-8") == "0 0.100000 0.900000 0.200000 0.200000\n"


def test_coco_says_of_a_crowd_that_it_is_one(tmp_path):
    data = one_image(tmp_path, [10, 5, 50, 20], crowd=1)
    write_labels("coco", tmp_path / "out", [label_set("", tmp_path, data)], data.classes)
    assert coco.read([tmp_path / "out/annotations.json"], [tmp_path]).num_crowds == 1


@pytest.mark.parametrize(
    ("label_format", "name", "sign"),
    [
        ("yolo", "labels/a.txt", "0 "),
        ("voc", "Annotations/a.xml", "<object>"),
        ("cvat", "annotations.xml", "<box "),
        ("label-studio", "tasks.json", "rectanglelabels"),
        ("hf-folder", "metadata.jsonl", "[0]"),
    ],
)
def test_crowds_are_left_out_of_formats_that_cannot_say_so(tmp_path, label_format, name, sign):
    for folder, crowd in (("objects", 0), ("crowds", 1)):
        data = one_image(tmp_path, [10, 5, 50, 20], crowd=crowd)
        write_labels(label_format, tmp_path / folder, [label_set("", tmp_path, data)], data.classes)
    assert sign in (tmp_path / "objects" / name).read_text("utf-8")
    assert sign not in (tmp_path / "crowds" / name).read_text("utf-8")


def test_labels_by_people_are_annotations_in_label_studio_also_where_nothing_is(tmp_path):
    data = one_image(tmp_path)
    write_labels("label-studio", tmp_path / "out", [label_set("train", tmp_path, data)], data.classes)
    (task,) = json.loads((tmp_path / "out/tasks_train.json").read_text("utf-8"))
    assert task == {
        "data": {"image": f"/data/local-files/?d={tmp_path.name}/a.jpg"},
        "annotations": [{"result": []}],
    }


def test_a_photograph_annotated_as_it_is_stored_is_refused_if_it_is_shown_turned(tmp_path):
    one_image(tmp_path, [10, 5, 50, 20])
    set_orientation(tmp_path / "a.jpg", 6)
    data = coco.read([tmp_path / "a.json"], [tmp_path])
    with pytest.raises(DataError, match=r"1 image in .* annotated as they are stored.*doctor SOURCE --fix"):
        label_set("", tmp_path, data)


def test_the_options_are_the_formats_and_each_has_a_next_step(tmp_path):
    assert get_args(OutputFormat) == get_args(LabelFormat) == tuple(WRITERS)
    data = one_image(tmp_path)
    steps = {name: how_to_import(name, tmp_path, [label_set("", tmp_path, data)]) for name in WRITERS}
    assert all(str(tmp_path) in step or str(tmp_path.parent) in step for step in steps.values())


def test_tasks_for_label_studio_are_read_again(shapes_data, tmp_path):
    shapes = read_shapes(shapes_data)
    sets = [label_set(name, root, data) for name, (root, data) in shapes.items()]
    write_labels("label-studio", tmp_path / "out", sets, shapes_data.classes)
    for name, (root, _) in shapes.items():
        shutil.copytree(root, tmp_path / "out" / name)

    splits = convert(find_layout(tmp_path / "out"), tmp_path / "as COCO")

    for name, (_, before) in shapes.items():
        assert not splits[name].problems
        after = coco.read([splits[name].annotation_file], [splits[name].root])
        for old, new in zip(before.records, after.records, strict=True):
            assert new.file_name == f"{name}/{old.file_name}"
            assert [after.classes[i] for i in new.labels] == [before.classes[i] for i in old.labels]
            np.testing.assert_allclose(new.boxes_px, old.boxes_px, atol=0.01)
