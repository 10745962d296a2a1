"""Label Studio's own JSON: shapes of all kinds, tasks that were skipped or annotated twice, names of images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from multibox.data.label_studio import read_label_studio
from multibox.data.labels import Labels
from multibox.data.layouts import find_layout
from multibox.errors import DataError
from tests.unit.data.test_tools import picture

Value = dict[str, Any]


def region(value: Value, **own: Any) -> Value:
    sides = {"original_width": 100, "original_height": 50, "image_rotation": 0}
    return {"id": "x", "type": "rectanglelabels", "value": value} | sides | own


def rectangle(x: float = 10, label: str = "cat") -> Value:
    return region({"x": x, "y": 10, "width": 40, "height": 40, "rotation": 0, "rectanglelabels": [label]})


def task(*annotations: Value, image: str = "/data/upload/1/a.jpg") -> Value:
    return {"id": 7, "annotations": list(annotations), "predictions": [], "data": {"image": image}}


def annotation(*regions: Value, **own: Any) -> Value:
    return {"id": 1, "result": list(regions), "was_cancelled": False, "updated_at": "2026-01-01"} | own


def read(folder: Path, *tasks: Value, images: tuple[str, ...] = ("a.jpg",)) -> Labels:
    for name in images:
        picture(folder / name)
    (folder / "tasks.json").write_text(json.dumps(list(tasks)))
    layout = find_layout(folder)
    assert layout.format == "Label Studio"
    parts, _ = read_label_studio(layout)
    return parts["train"]


@pytest.mark.parametrize(
    ("value", "box"),
    [
        ({"x": 10, "y": 10, "width": 40, "height": 40, "rectanglelabels": ["cat"]}, (10, 5, 50, 25)),
        ({"points": [[10, 10], [50, 30], [20, 50]], "closed": True, "polygonlabels": ["cat"]}, (10, 5, 50, 25)),
        ({"x": 30, "y": 30, "radiusX": 20, "radiusY": 20, "rotation": 0, "ellipselabels": ["cat"]}, (10, 5, 50, 25)),
        # A quarter turn: 20 px wide and 10 high becomes 10 wide and 20 high
        ({"x": 30, "y": 40, "radiusX": 10, "radiusY": 10, "rotation": 90, "ellipselabels": ["cat"]}, (25, 10, 35, 30)),
        # A quarter turn clockwise about the upper left corner (50, 5): 20 px wide and 40 high goes to the left and down
        ({"x": 50, "y": 10, "width": 20, "height": 80, "rotation": 90, "rectanglelabels": ["cat"]}, (10, 5, 50, 25)),
    ],
)
def test_a_shape_is_read_as_the_box_around_it(tmp_path: Path, value: Value, box: tuple[float, ...]) -> None:
    part = read(tmp_path, task(annotation(region(value))))

    (image,) = part.images
    (item,) = image.objects
    assert item[1:5] == pytest.approx(box) and (image.width, image.height) == (100, 50)
    assert not part.problems


def test_a_class_may_be_chosen_apart_from_the_shape(tmp_path: Path) -> None:
    sides = {"x": 10, "y": 10, "width": 40, "height": 40, "rotation": 0}
    shape, chosen = region(sides, type="rectangle"), region({**sides, "labels": ["cat"]}, type="labels")

    (image,) = read(tmp_path, task(annotation(shape, chosen))).images

    assert [item[1:5] for item in image.objects] == [pytest.approx((10, 5, 50, 25))]


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (region({"format": "rle", "rle": [1], "brushlabels": ["cat"]}), "(cat) has a shape without a box"),
        (region({"x": 1, "y": 1, "width": 1, "keypointlabels": ["cat"]}), "(cat) has a shape without a box"),
        (region({"x": "?", "y": 1, "width": 9, "height": 9, "rectanglelabels": ["cat"]}), "numbers that cannot be"),
        (region({"x": 1, "y": 1, "width": 0, "height": 9, "rectanglelabels": ["cat"]}), "a box of width 0"),
        (region({"x": 1, "y": 1, "width": 9, "height": 9}), "region 1 has no class"),
        (rectangle() | {"image_rotation": 90}, "turned in the tool"),
        ({"id": "x", "value": {"x": 1, "rectanglelabels": ["cat"]}}, "no original_width"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, item: Value, reason: str) -> None:
    part = read(
        tmp_path, task(annotation(item)), task(annotation(rectangle()), image="b.jpg"), images=("a.jpg", "b.jpg")
    )

    (line,) = part.problems["objects that cannot be read"]
    assert line.startswith('tasks.json: image "a.jpg", region 1') and reason in line
    assert [len(image.objects) for image in part.images] == [0, 1]


def test_the_newest_annotation_counts_and_no_skipped_one(tmp_path: Path) -> None:
    part = read(
        tmp_path,
        task(
            annotation(rectangle(20), updated_at="2026-01-03"),
            annotation(rectangle(10), updated_at="2026-01-02"),
            annotation(updated_at="2026-01-04", was_cancelled=True),
        ),
        task(annotation(was_cancelled=True), image="b.jpg"),
        task(image="c.jpg"),
        task(annotation(), image="d.jpg"),
        images=("a.jpg", "b.jpg", "c.jpg", "d.jpg"),
    )

    assert [(image.file_name, [item.x1 for item in image.objects]) for image in part.images] == [
        ("a.jpg", [20.0]),
        ("d.jpg", []),
    ]
    assert part.remarks == {
        "images annotated several times, of which the newest counts": ["tasks.json: task 7"],
        "tasks that were skipped, left out": ["tasks.json: task 7"],
        "tasks without an annotation, left out": ["tasks.json: task 7"],
    }


@pytest.mark.parametrize(
    ("given", "images", "found"),
    [
        ("/data/upload/1/0123abcd-a.jpg", ("images/0123abcd-a.jpg", "a.jpg"), "images/0123abcd-a.jpg"),
        ("/data/upload/1/0123abcd-a.jpg", ("images/a.jpg",), "images/a.jpg"),
        ("/data/local-files/?d=x/y%20z/a.jpg", ("other/a.jpg", "y z/a.jpg"), "y z/a.jpg"),
        ("s3://bucket/x/a.jpg", ("x/a.jpg",), "x/a.jpg"),
        ("https://host/x/a.jpg?token=1.2", ("a.jpg",), "a.jpg"),
    ],
)
def test_an_image_is_found_by_the_end_of_its_address(
    tmp_path: Path, given: str, images: tuple[str, ...], found: str
) -> None:
    (image,) = read(tmp_path, task(annotation(rectangle()), image=given), images=images).images

    assert image.file_name == found


def test_images_that_are_missing_or_could_be_several_are_named(tmp_path: Path) -> None:
    part = read(
        tmp_path,
        task(annotation(rectangle())),
        task(annotation(rectangle()), image="b.jpg"),
        images=("x/a.jpg", "y/a.jpg"),
    )

    assert part.problems == {
        "annotated images that could be several": [
            'tasks.json: image "/data/upload/1/a.jpg" could be "x/a.jpg" and "y/a.jpg"'
        ],
        "annotated images that are missing": ['tasks.json: image "b.jpg" is missing'],
    }


def test_splits_have_files_and_folders_of_their_own(tmp_path: Path) -> None:
    for split in ("train", "val"):
        picture(tmp_path / split / "a.jpg")
        (tmp_path / f"{split}.json").write_text(json.dumps([task(annotation(rectangle(label=split)))]))

    parts, names = read_label_studio(find_layout(tmp_path))

    assert names == {0: "train", 1: "val"}
    assert {split: part.images[0].file_name for split, part in parts.items()} == {
        "train": "train/a.jpg",
        "val": "val/a.jpg",
    }


def test_tasks_without_any_object_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"tasks\.json has no object"):
        read(tmp_path, task(annotation()))
