"""labelme's files: which shapes have a box, and what is said of those that cannot be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from multibox.data.labelme import read_labelme
from multibox.data.layouts import find_layout
from multibox.errors import DataError

RECTANGLE = {"label": "cat", "shape_type": "rectangle", "points": [[10, 20], [40, 60]]}


def written(folder: Path, *shapes: Any, **others: Any) -> Path:
    folder.mkdir(exist_ok=True)
    cv2.imwrite(str(folder / "a.png"), np.zeros((80, 100, 3), np.uint8))
    content = {"imagePath": "a.png", "imageWidth": 100, "imageHeight": 80, "shapes": list(shapes)} | others
    (folder / "a.json").write_text(json.dumps(content))
    return folder


def read(folder: Path) -> Any:
    """The only part of a set, and its classes."""
    parts, classes = read_labelme(find_layout(folder))
    (part,) = parts.values()
    return part, classes


@pytest.mark.parametrize(
    ("shape", "box"),
    [
        (RECTANGLE, (10, 20, 40, 60)),
        ({"label": "cat", "shape_type": "rectangle", "points": [[40, 60], [10, 20]]}, (10, 20, 40, 60)),
        ({"label": "cat", "shape_type": "circle", "points": [[50, 40], [53, 44]]}, (45, 35, 55, 45)),
        ({"label": "cat", "points": [[30, 10], [50, 30], [20, 70]]}, (20, 10, 50, 70)),
    ],
    ids=["rectangle", "rectangle from behind", "circle", "polygon"],
)
def test_a_shape_has_the_box_around_it(tmp_path, shape, box):
    part, classes = read(written(tmp_path / "set", shape))
    ((image,), names) = part.images, classes
    assert names == {0: "cat"} and (image.width, image.height) == (100, 80)
    assert [tuple(item)[1:5] for item in image.objects] == [box]
    assert part.problems == {}


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        (3, "is no object with keys"),
        ({"shape_type": "rectangle", "points": [[1, 2], [3, 4]]}, "has no label"),
        ({"label": "dog", "shape_type": "line", "points": [[1, 2], [3, 4]]}, "(dog) is a line, which has no box"),
        ({"label": "dog", "shape_type": "rectangle"}, "(dog) has no points"),
        ({"label": "dog", "points": [["x", 2]]}, "(dog) has no points"),
        ({"label": "dog", "points": []}, "(dog) has no points"),
        ({"label": "dog", "points": [[1, 2], [3, float("inf")]]}, "(dog) has points that are not finite"),
    ],
)
def test_a_shape_that_cannot_be_read_is_named_and_the_others_stay(tmp_path, shape, said):
    part, classes = read(written(tmp_path / "set", RECTANGLE, shape))
    assert part.problems == {"objects that cannot be read": [f"a.json, shape 2 {said}"]}
    assert [len(image.objects) for image in part.images] == [1]
    assert classes == {0: "cat"}


def test_files_that_are_none_of_labelme_or_of_no_image_are_told(tmp_path):
    folder = written(tmp_path / "set", RECTANGLE)
    (folder / "broken.json").write_text("{")
    (folder / "other.json").write_text('{"info": 1}')
    (folder / "gone.json").write_text(json.dumps({"imagePath": "..\\photos\\gone.png", "shapes": []}))
    part, _ = read(folder)
    (unreadable,) = part.problems["annotation files that cannot be read"]
    assert unreadable.startswith("broken.json is no JSON: ")
    (missing,) = part.problems["annotation files without an image"]
    assert missing.startswith("gone.json: image ") and missing.endswith("is missing")
    assert [image.file_name for image in part.images] == ["a.png"]


def test_an_image_is_found_by_the_name_of_the_file_where_its_path_is_of_another_machine(tmp_path):
    folder = written(tmp_path / "set", RECTANGLE, imagePath="C:\\photos\\other name.png")
    assert [image.file_name for image in read(folder)[0].images] == ["a.png"]


def test_a_set_without_an_object_is_refused(tmp_path):
    with pytest.raises(DataError, match="no file of labelme has an object"):
        read(written(tmp_path / "set", {"label": "dog", "shape_type": "point", "points": [[1, 2]]}))
