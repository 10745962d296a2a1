"""Data sets as other tools leave them: found, and turned into COCO."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from multibox.data import coco
from multibox.data.convert import convert
from multibox.data.layouts import Split, find_layout
from multibox.errors import DataError
from tests.conftest import set_orientation

CLASSES = ("Bär", "red cat")


def content_of(split: Split) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(split.annotation_file.read_text(encoding="utf-8"))
    return content


def boxes_of(split: Split) -> dict[str, list[list[float]]]:
    """Boxes (x, y, width, height) by image."""
    content = content_of(split)
    names = {image["id"]: image["file_name"] for image in content["images"]}
    boxes: dict[str, list[list[float]]] = {name: [] for name in names.values()}
    for annotation in content["annotations"]:
        boxes[names[annotation["image_id"]]].append(annotation["bbox"])
    return boxes


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
        ("a: [", "not valid YAML"),
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


def test_broken_xml_is_left_out_and_told_by_its_file(voc, tmp_path):
    (voc / "Annotations" / "b.xml").write_text("<annotation>")
    split = convert(find_layout(voc), tmp_path / "out")["train"]
    assert [image["file_name"] for image in content_of(split)["images"]] == ["a.png", "c.png"]
    (line,) = split.problems["annotation files that cannot be read"]
    assert line.startswith("b.xml is no XML: ")


def test_images_are_looked_for_in_folders_of_other_names(tmp_path):
    coco_file(tmp_path / "annotations/instances_train2017.json", "gone.png", "b.png", "c.png")
    coco_file(tmp_path / "annotations/instances_val2017.json", "d.png")
    for name in ("train2017/b.png", "train2017/c.png", "val2017/d.png"):
        save_picture(tmp_path / name)
    roots = {name: split.root.name for name, split in find_layout(tmp_path).splits.items()}
    assert roots == {"train": "train2017", "val": "val2017"}


def test_two_files_for_one_part_are_ambiguous_in_one_line(tmp_path):
    coco_file(tmp_path / "train_new.json", "a.png")
    coco_file(tmp_path / "train_old.json", "a.png")
    with pytest.raises(DataError, match=r"train_new\.json and train_old\.json could both be what to train on"):
        find_layout(tmp_path)


def test_boxes_are_preferred_to_keypoints_and_a_test_part_is_told(tmp_path):
    for kind in ("instances", "person_keypoints"):
        coco_file(tmp_path / f"annotations/{kind}_train.json", "a.png")
    for split in ("valid", "test"):
        coco_file(tmp_path / split / "_annotations.coco.json", "a.png")
    layout = find_layout(tmp_path)
    assert layout.splits["train"].annotation_file.name == "instances_train.json"
    assert layout.splits["val"].annotation_file.parent.name == "valid"
    assert layout.left_out == "test"


def test_label_lines_of_yolo_that_cannot_be_read_are_named(yolo, tmp_path):
    text = "0 0.5 0.5 0.2\n7 0.5 0.5 0.2 0.2\n0 0.1 0.1 0.9 0.1 0.9 0.9\nx 0 0 0 0\n1 0.5 0.4 0.2 0.4\n"
    (yolo / "labels/train/p 0.txt").write_text(text)
    split = convert(find_layout(yolo), tmp_path / "out")["train"]
    # The third line is a polygon: 10..90, 5..45.
    assert boxes_of(split)["p 0.png"] == [[10, 5, 80, 40], [40, 10, 20, 20]]
    shape = "It must be class x y width height"
    assert split.problems["label lines that cannot be read"] == [
        f'labels/train/p 0.txt, line 1: "0 0.5 0.5 0.2" has 3 numbers after its class. {shape}',
        'labels/train/p 0.txt, line 2: "7 0.5 0.5 0.2 0.2" has the class 7, which has no name',
        'labels/train/p 0.txt, line 4: "x 0 0 0 0" does not begin with the number of a class',
    ]
    assert split.remarks == {"images without a label file, taken for ones without objects": ['image "p 2.png"']}


def test_a_part_of_yolo_without_any_labels_is_a_problem(yolo, tmp_path):
    (line,) = convert(find_layout(yolo), tmp_path / "out")["val"].problems["parts without any label file"]
    assert line.endswith("labels/val has none for the 1 image of `val`")


def test_yolo_images_that_are_none_are_named(yolo, tmp_path):
    (yolo / "images/train/p 1.png").write_bytes(b"nothing")
    split = convert(find_layout(yolo), tmp_path / "out")["train"]
    assert list(boxes_of(split)) == ["p 0.png", "p 2.png"]
    assert split.problems["images that cannot be used"] == ['image "p 1.png" cannot be decoded']


@pytest.mark.parametrize(
    "lines",
    [
        "path: {folder}\ntrain: images/train",
        "train: {folder}/images/train",
        "path: /gone/since\ntrain: images/train",
        "train: ../images/train",
        "path: ../yolo set\ntrain: ./images/train",
    ],
)
def test_paths_of_yolo_are_absolute_relative_or_of_another_machine(yolo, tmp_path, lines):
    (yolo / "data.yaml").write_text(f"{lines.format(folder=yolo)}\nnames: [Bär, red cat]\n", encoding="utf-8-sig")
    split = convert(find_layout(yolo / "data.yaml"), tmp_path / "out")["train"]
    assert split.root == yolo / "images" / "train"
    assert boxes_of(split)["p 0.png"][0] == [40, 10, 20, 20]


def test_numbers_of_yolo_classes_may_have_gaps(yolo, tmp_path):
    (yolo / "data.yaml").write_text("train: images/train\nnames: {3: cat, 1: dog}\n")
    split = convert(find_layout(yolo), tmp_path / "out")["train"]
    assert content_of(split)["categories"] == [{"id": 2, "name": "dog"}, {"id": 4, "name": "cat"}]
    assert [one["category_id"] for one in content_of(split)["annotations"]] == [2]


def test_yolo_boxes_are_fractions_of_a_photograph_as_it_is_shown(tmp_path, yolo):
    # Stored 100 x 50 px, shown 50 x 100: (0.5, 0.4) of size (0.2, 0.4) is 20..30, 20..60 there.
    path = yolo / "images/train/p 0.jpg"
    cv2.imwrite(str(path), np.zeros((50, 100, 3), np.uint8))
    (yolo / "images/train/p 0.png").unlink()
    set_orientation(path, 6)
    split = convert(find_layout(yolo), tmp_path / "out")["train"]
    first = content_of(split)["images"][0]
    assert (first["file_name"], first["width"], first["height"]) == ("p 0.jpg", 50, 100)
    assert boxes_of(split)["p 0.jpg"][0] == [20, 20, 10, 40]


def test_pascal_voc_that_counts_from_0_is_recognised(voc, tmp_path):
    text = voc_annotation("a.png", ("red cat", (0, 0, 100, 50)))
    (voc / "Annotations/a.xml").write_text(text)
    split = convert(find_layout(voc), tmp_path / "out")["train"]
    assert boxes_of(split) == {"a.png": [[0, 0, 100, 50]], "b.png": [], "c.png": [[11, 21, 19, 19]]}
    ((kind, lines),) = split.remarks.items()
    assert "counting from 0" in kind
    assert lines == ['image "a.png"']


def test_careless_annotations_of_pascal_voc_are_understood(voc, tmp_path):
    text = voc_annotation("C:\\photos\\IMG 1.JPG", ("a, b", (1, 1, 10, 10))).replace("<width>100<", "<width>0<")
    (voc / "Annotations/a.xml").write_text(text)
    split = convert(find_layout(voc), tmp_path / "out")["train"]
    data = coco.read([split.annotation_file], [split.root])
    assert [record.file_name for record in data.records] == ["a.png", "b.png", "c.png"]
    assert (data.records[0].width, data.records[0].height) == (100, 50)
    assert data.classes == ("Bär", "a, b")


def test_faults_of_pascal_voc_annotations_are_named(voc, tmp_path):
    folder = voc / "Annotations"
    (folder / "a.xml").write_text(voc_annotation("a.png", ("cat", (1, 1, 10, 10))).replace("<xmax>10<", "<xmax>ten<"))
    (folder / "b.xml").unlink()
    split = convert(find_layout(voc), tmp_path / "out")["train"]
    assert boxes_of(split) == {"a.png": [], "c.png": [[10, 20, 20, 20]]}
    assert split.problems == {"objects that cannot be read": ['a.xml, object 1 (cat) has a box whose xmax is "ten"']}
    assert split.remarks == {"images without an annotation file, left out": ['image "b"']}


def test_pascal_voc_beside_its_images_in_a_folder_for_each_split(voc, tmp_path):
    folder = tmp_path / "export"
    for split, stems in (("train", "ab"), ("valid", "c"), ("test", "c")):
        (folder / split).mkdir(parents=True)
        for stem in stems:
            shutil.copy(voc / "JPEGImages" / f"{stem}.png", folder / split)
            shutil.copy(voc / "Annotations" / f"{stem}.xml", folder / split)
    layout = find_layout(folder)
    splits = convert(layout, tmp_path / "out")
    assert (layout.format, layout.left_out) == ("Pascal VOC", "test")
    assert {name: list(boxes_of(split)) for name, split in splits.items()} == {
        "train": ["a.png", "b.png"],
        "val": ["c.png"],
    }
    assert splits["val"].root == folder / "valid"
    assert content_of(splits["train"])["categories"] == content_of(splits["val"])["categories"]
