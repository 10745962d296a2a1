"""Data sets as other tools leave them: found, and turned into COCO."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from multibox.data import coco
from multibox.data.formats import convert, find_layout
from multibox.errors import DataError

CLASSES = ("Bär", "red cat")


def save_picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _, encoded = cv2.imencode(".png", np.zeros((50, 100, 3), np.uint8))
    path.write_bytes(encoded.tobytes())


def coco_file(path: Path, *names: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [{"id": i, "file_name": name, "width": 100, "height": 50} for i, name in enumerate(names)]
    content = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "a"}]}
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize(
    ("annotations", "pictures"),
    [
        # ours, Roboflow's, CVAT's, COCO's own
        (("annotations_train.json", "annotations_val.json"), ("train/a.png", "val/a.png")),
        (("train/_annotations.coco.json", "valid/_annotations.coco.json"), ("train/a.png", "valid/a.png")),
        (("annotations/instances_train.json", "annotations/instances_val.json"), ("images/a.png", "images/a.png")),
        (("annotations/instances_train2017.json", "annotations/instances_val2017.json"), ("train/a.png", "val/a.png")),
    ],
)
def test_both_splits_of_a_coco_set_are_found_with_their_images(tmp_path, annotations, pictures):
    folder = tmp_path / "my set"
    for file, picture in zip(annotations, pictures, strict=True):
        coco_file(folder / file, "a.png")
        save_picture(folder / picture)
    layout = find_layout(folder)
    assert layout.format == "COCO"
    assert [split.annotation_file for split in layout.splits.values()] == [folder / file for file in annotations]
    assert [split.root / "a.png" for split in layout.splits.values()] == [folder / picture for picture in pictures]


def test_a_single_file_is_a_set_to_train_on(tmp_path):
    coco_file(tmp_path / "result.json", "a.png")
    save_picture(tmp_path / "images/a.png")
    for source in (tmp_path, tmp_path / "result.json"):
        assert find_layout(source).splits["train"].root == tmp_path / "images"


@pytest.mark.parametrize("name", ["", "absent", "notes.txt"])
def test_what_is_no_data_set_is_refused_in_one_line(tmp_path, name):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(DataError, match=r"no data set that multibox knows|no such folder"):
        find_layout(tmp_path / name)


@pytest.fixture
def yolo(tmp_path: Path) -> Path:
    folder = tmp_path / "yolo set"
    for split, count in (("train", 3), ("val", 1)):
        for number in range(count):
            save_picture(folder / "images" / split / f"p {number}.png")
    labels = folder / "labels" / "train"
    labels.mkdir(parents=True)
    # Centre (0.5, 0.4) of 100 x 50 px, size (0.2, 0.4): 40..60, 10..30
    (labels / "p 0.txt").write_text("1 0.5 0.4 0.2 0.4\n0 0.1 0.2 0.2 0.4\n")
    (labels / "p 1.txt").write_text("")  # p 2 has no file at all
    names = "".join(f"  {number}: {name}\n" for number, name in enumerate(CLASSES))
    text = f"path: .\ntrain: images/train\nval: images/val\nnames:\n{names}"
    (folder / "data.yaml").write_text(text, encoding="utf-8")
    return folder


def test_yolo_becomes_coco_with_all_its_images(yolo, tmp_path):
    layout = find_layout(yolo)
    assert (layout.format, layout.words) == ("YOLO", {"train": "train", "val": "val"})
    splits = convert(layout, tmp_path / "out")
    data = coco.read([splits["train"].annotation_file], [splits["train"].root])
    assert data.classes == CLASSES
    assert [record.file_name for record in data.records] == ["p 0.png", "p 1.png", "p 2.png"]
    first = data.records[0]
    assert first.labels.tolist() == [1, 0]
    assert first.boxes_px.tolist() == [[40, 10, 60, 30], [0, 0, 20, 20]]
    assert [len(record.labels) for record in data.records[1:]] == [0, 0]
    assert splits["val"].root == yolo / "images" / "val"
    assert not list(yolo.rglob("*.json"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("names: [a]", "names neither `train` nor `val`"),
        ("train: images/train", "has no `names`"),
        ("a: [", "no YAML"),
        ("names: [a]\ntrain: images/absent", "does not exist"),
    ],
)
def test_a_broken_yolo_description_is_told_in_one_line(tmp_path, text, reason):
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(DataError, match=reason) as error:
        convert(find_layout(tmp_path), tmp_path / "out")
    assert "\n" not in str(error.value)


def voc_annotation(name: str, *objects: tuple[str, tuple[int, int, int, int]]) -> str:
    rows = "".join(
        f"<object><name>{label}</name><difficult>1</difficult><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        for label, (x1, y1, x2, y2) in objects
    )
    size = "<size><width>100</width><height>50</height><depth>3</depth></size>"
    return f"<annotation><filename>{name}</filename>{size}{rows}</annotation>"


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    folder = tmp_path / "VOC set"
    (folder / "Annotations").mkdir(parents=True)
    for name, objects in {
        # Pixels count from 1: the whole picture is 1..100, 1..50.
        "a": [("red cat", (1, 1, 100, 50))],
        "b": [],
        "c": [("Bär", (11, 21, 30, 40))],
    }.items():
        save_picture(folder / "JPEGImages" / f"{name}.png")
        text = voc_annotation(f"{name}.png", *objects)
        (folder / "Annotations" / f"{name}.xml").write_text(text, encoding="utf-8")
    return folder


def test_pascal_voc_becomes_coco_and_pixels_count_from_0(voc, tmp_path):
    (splits,) = (convert(find_layout(voc), tmp_path / "out"),)
    assert list(splits) == ["train"]
    data = coco.read([splits["train"].annotation_file], [splits["train"].root])
    assert data.classes == CLASSES
    assert [record.boxes_px.tolist() for record in data.records] == [[[0, 0, 100, 50]], [], [[10, 20, 30, 40]]]
    assert data.num_clipped == 0


def test_lists_of_pascal_voc_divide_the_images(voc, tmp_path):
    lists = voc / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\nb\n")
    (lists / "val.txt").write_text("c  1\n")
    splits = convert(find_layout(voc), tmp_path / "out")
    names = {
        name: [record.file_name for record in coco.read([split.annotation_file], [split.root]).records]
        for name, split in splits.items()
    }
    assert names == {"train": ["a.png", "b.png"], "val": ["c.png"]}


def test_broken_xml_is_told_by_its_file(voc, tmp_path):
    (voc / "Annotations" / "b.xml").write_text("<annotation>")
    with pytest.raises(DataError, match=r"b\.xml: this is no XML"):
        convert(find_layout(voc), tmp_path / "out")
