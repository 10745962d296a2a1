"""VIA's own JSON: shapes of all kinds, and which attribute says the class."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from multibox.data.labels import Labels
from multibox.data.layouts import find_layout
from multibox.data.via import read_via
from multibox.errors import DataError
from tests.unit.data.test_tools import picture

RECT = {"name": "rect", "x": 10, "y": 5, "width": 40, "height": 20}


def region(attributes: dict[str, Any], shape: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"shape_attributes": shape or RECT, "region_attributes": attributes}


def read(folder: Path, *regions: dict[str, Any], options: dict[str, Any] | None = None) -> tuple[Labels, list[str]]:
    picture(folder / "a.jpg")
    image = {"filename": "a.jpg", "size": 629, "regions": list(regions), "file_attributes": {}}
    content: dict[str, Any] = {"a.jpg629": image}
    if options is not None:
        content = {"_via_settings": {}, "_via_img_metadata": content, "_via_attributes": {"region": options}}
    (folder / "via.json").write_text(json.dumps(content))
    layout = find_layout(folder)
    assert layout.format == "VIA"
    parts, names = read_via(layout)
    return parts["train"], list(names.values())


@pytest.mark.parametrize(
    ("shape", "box"),
    [
        (RECT, (10, 5, 50, 25)),
        ({"name": "circle", "cx": 30, "cy": 15.5, "r": 10}, (20, 5.5, 40, 25.5)),
        ({"name": "ellipse", "cx": 30, "cy": 15, "rx": 20, "ry": 10, "theta": 0}, (10, 5, 50, 25)),
        # A quarter turn, in radians
        ({"name": "ellipse", "cx": 30, "cy": 15, "rx": 10, "ry": 20, "theta": 1.5707963267948966}, (10, 5, 50, 25)),
        ({"name": "ellipse", "cx": 30, "cy": 15, "rx": 20, "ry": 10}, (10, 5, 50, 25)),
        ({"name": "polygon", "all_points_x": [10, 50, 20], "all_points_y": [25, 9, 5]}, (10, 5, 50, 25)),
    ],
)
def test_a_shape_is_read_as_the_box_around_it(tmp_path: Path, shape: dict[str, Any], box: tuple[float, ...]) -> None:
    part, _ = read(tmp_path, region({"class": "cat"}, shape))

    assert [item[1:5] for item in part.images[0].objects] == [pytest.approx(box)]
    assert not part.problems and bool(part.doubts) == (shape["name"] == "polygon")


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (region({"class": "cat"}, {"name": "point", "cx": 1, "cy": 2}), "(cat) is a point, which has no box"),
        (region({"class": "cat"}, {"name": "rect", "x": 1, "y": 2}), "(cat) is a rect whose numbers cannot be read"),
        (region({"class": "cat"}, {"name": "circle", "cx": 1, "cy": 2, "r": 0}), "(cat) has a box of width 0"),
        (region({"class": ""}), "region 2 has no class"),
        (region({"colour": "red"}), "region 2 has no class"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, item: dict[str, Any], reason: str) -> None:
    part, names = read(tmp_path, region({"class": "cat"}), item)

    (line,) = part.problems["objects that cannot be read"]
    assert line.startswith('via.json: image "a.jpg", region 2') and reason in line
    assert names == ["cat"] and len(part.images[0].objects) == 1


@pytest.mark.parametrize(
    ("attributes", "classes"),
    [
        ([{"colour": "red", "Class": "dog"}, {"colour": "blue", "Class": "cat"}], ["cat", "dog"]),
        ([{"animal": "dog"}, {"animal": "cat", "colour": "red"}], ["cat", "dog"]),
        ([{"animal": {"dog": True}}, {"animal": {"dog": False, "cat": True}}], ["cat", "dog"]),
        ([{}, {}], ["object"]),
    ],
)
def test_the_class_is_the_attribute_that_people_mean(
    tmp_path: Path, attributes: list[dict[str, Any]], classes: list[str]
) -> None:
    part, names = read(tmp_path, *map(region, attributes))

    assert names == classes
    assert len(part.images[0].objects) == 2 and bool(part.remarks) == (classes == ["object"])


def test_options_of_a_project_give_the_order_of_the_classes(tmp_path: Path) -> None:
    options = {"animal": {"type": "dropdown", "options": {"dog": "", "cat": ""}, "default_options": {}}}

    _, names = read(tmp_path, region({"animal": "cat"}), region({"animal": "ant"}), options=options)

    assert names == ["dog", "cat", "ant"]


def test_a_file_without_images_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "via.json").write_text('{"_via_settings": {}, "_via_img_metadata": []}')

    with pytest.raises(DataError, match=r"via\.json: this is no project of VIA"):
        read_via(find_layout(tmp_path))
