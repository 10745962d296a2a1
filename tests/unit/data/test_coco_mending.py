"""COCO files as tools write them, not quite in the format: read as meant, or named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from multibox.data import coco
from multibox.data.coco_checks import MOST_OBJECTS
from multibox.errors import DataError
from tests.conftest import set_orientation

Content = dict[str, Any]


def content(**changes: Any) -> Content:
    """Three images of 100 x 50 px with a cat each, at (10, 5), 40 x 20 px."""
    return {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 100, "height": 50} for i in (1, 2, 3)],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1, "bbox": [10, 5, 40, 20], "area": 800, "iscrowd": 0}
            for i in (1, 2, 3)
        ],
        "categories": [{"id": 1, "name": "cat"}],
        **changes,
    }


def each(key: str, **fields: Any) -> Callable[[Content], None]:
    return lambda written: [entry.update(fields) for entry in written[key]] and None


def read(folder: Path, written: Content, encoding: str = "utf-8", **options: Any) -> coco.CocoData:
    for image in (1, 2, 3):
        if not (folder / f"{image}.jpg").exists():
            cv2.imwrite(str(folder / f"{image}.jpg"), np.full((50, 100, 3), 90, np.uint8))
    (folder / "a.json").write_bytes(json.dumps(written).encode(encoding))
    return coco.read([folder / "a.json"], [folder], **options)


BOX = [[10, 5, 50, 25]]


@pytest.mark.parametrize(
    "change",
    [
        lambda c: [a.update(image_id=str(a["image_id"])) for a in c["annotations"]],
        lambda c: [i.update(id=str(i["id"])) for i in c["images"]],
        lambda c: [e.update(category_id="1") for e in c["annotations"]] + [c["categories"][0].update(id="1")],
        lambda c: [a.update(image_id=float(a["image_id"]), id=float(a["id"])) for a in c["annotations"]],
        each("images", width=-1, height=-1),
        each("images", width=0, height=0),
        each("images", width="100", height="50"),
        each("images", width=100.0, height=50.0),
        each("annotations", bbox=["10", "5", "40", "20"]),
        each("annotations", iscrowd=False, ignore="0", area="800"),
        each("annotations", bbox=[], segmentation=[[10, 5, 50, 5, 50, 25, 10, 25]]),
        each("annotations", bbox=None, segmentation=[[10, 5, 50, 5, 50, 25, 10, 25]]),
        each("annotations", bbox=[0, 0, 0, 0], segmentation=[[10, 5, 50, 5, 50, 25, 10, 25]]),
        each("annotations", attributes={"occluded": False, "rotation": 0.0}),
        # 20 x 40 px about the same centre, turned by a quarter: CVAT notes the unturned box.
        each("annotations", bbox=[20, -5, 20, 40], attributes={"rotation": 90.0}),
        each("annotations", bbox=["20", -5, 20, 40], attributes={"rotation": "270"}),
    ],
    ids=[
        "image_id as text",
        "ids of images as text",
        "ids of categories as text",
        "ids as floats",
        "sizes of -1",
        "sizes of 0",
        "sizes as text",
        "sizes as floats",
        "boxes as text",
        "flags and areas of other types",
        "polygon and an empty box",
        "polygon and no box",
        "polygon and a box of zeros",
        "not turned",
        "turned",
        "turned, and other faults",
    ],
)
def test_what_is_certain_is_read_as_it_is_meant(tmp_path: Path, change: Callable[[Content], None]) -> None:
    written = content()
    change(written)

    data = read(tmp_path, written)

    assert [record.boxes_px.round(6).tolist() for record in data.records] == [BOX] * 3
    assert [(record.width, record.height) for record in data.records] == [(100, 50)] * 3
    assert data.classes == ("cat",) and not data.skipped


def test_boxes_made_of_something_else_are_told(tmp_path: Path) -> None:
    written = content()
    written["annotations"][0].update(bbox=[], segmentation=[[10, 5, 50, 5, 50, 25]])
    written["annotations"][1].update(attributes={"rotation": 45.0})

    kinds = {doubt.kind: doubt.examples for doubt in read(tmp_path, written).doubts}

    assert kinds == {"objects-without-a-box": ("annotation 1",), "turned-boxes": ("annotation 2",)}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_other_encodings_of_text_are_read(tmp_path: Path, encoding: str) -> None:
    written = content(categories=[{"id": 1, "name": "Bär"}])

    (tmp_path / "x").mkdir()
    assert read(tmp_path, written, encoding=encoding).classes == ("Bär",)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            lambda c: c["annotations"][1].update(category_id="cat"),
            'annotation 2 has the category_id "cat", which is no number',
        ),
        (lambda c: c["annotations"][1].update(bbox="10 5 40 20"), "annotation 2 has a box that is no list of numbers"),
        (lambda c: c["annotations"][1].pop("image_id"), "annotation 2 has no image_id"),
        (lambda c: c["annotations"].append(5), "annotation at position 3 is no object with keys"),
        (lambda c: c["images"].append({"id": 7}), "image 7 has no file name"),
        (lambda c: c["images"].append({"file_name": "x.jpg"}), 'image "x.jpg" has no id'),
        (lambda c: c["images"].append({"id": "\ud800", "file_name": "x.jpg"}), 'image "x.jpg" has no id'),
        (
            lambda c: c["images"].append({"id": 7, "file_name": "\ud800.jpg"}),
            r'image "\ud800.jpg" has half a letter in its file name',
        ),
        (
            lambda c: c["categories"].append({"id": 7, "name": "a\ud800"}),
            r'category "a\ud800" has half a letter in its name',
        ),
        (lambda c: c["categories"].append({"id": 7, "name": float("nan")}), "category 7 has no name"),
        (lambda c: c["annotations"][1].update(ignore="red"), "annotation 2 has `ignore` that is no number"),
        (
            lambda c: c["annotations"][1].update(iscrowd=float("nan")),
            "annotation 2 has `iscrowd` that is no number",
        ),
        (
            lambda c: c["annotations"][1].update(image_id="\x1b[1m\n", bbox=[float("nan"), 5, 40, 20]),
            r"annotation 2 has the unknown image_id \x1b[1m\n",
        ),
    ],
)
def test_what_cannot_be_read_is_named_and_only_that_is_left_out(
    tmp_path: Path, change: Callable[[Content], Any], line: str
) -> None:
    written = content()
    change(written)

    with pytest.raises(DataError, match="Correct it, or pass --skip-bad") as caught:
        read(tmp_path, written)
    assert line in str(caught.value) and "$" not in str(caught.value)
    data = read(tmp_path, written, skip_bad=True)
    assert data.skipped == (f"{tmp_path / 'a.json'}: {line}",)
    assert len(data.records) == 3


def test_boxes_that_all_mean_something_else_are_refused_and_can_be_looked_at(tmp_path: Path) -> None:
    written = content()
    written["annotations"] = [
        {"id": i, "image_id": 1 + i % 3, "category_id": 1, "bbox": [50 + i, 25 + i, 70 + i, 45 + i]} for i in range(5)
    ]

    with pytest.raises(DataError, match=r"all 5 boxes do not fit .* but as two corners \(x1, y1, x2, y2\) in pixels"):
        read(tmp_path, written, skip_bad=True)
    data = read(tmp_path, written, guess=True)
    assert sorted(box for record in data.records for box in record.boxes_px.tolist())[0] == [50, 25, 70, 45]
    (doubt,) = data.doubts
    assert doubt.is_fatal and doubt.kind == "boxes-that-mean-something-else"


def test_fractions_in_the_place_of_pixels_are_refused(tmp_path: Path) -> None:
    written = content()
    each("annotations", bbox=[0.1, 0.1, 0.4, 0.4], area=0.16)(written)

    with pytest.raises(DataError, match=r"but as corner and size .* in fractions of the image"):
        read(tmp_path, written)


def test_areas_of_0_become_those_of_the_boxes_and_are_counted(tmp_path: Path) -> None:
    written = content()
    written["annotations"][0]["area"] = 0
    written["annotations"][1].pop("area")

    data = read(tmp_path, written)

    assert [record.areas_px.tolist() for record in data.records] == [[800], [800], [800]]
    assert data.areas_from_boxes == 1  # one that is not given at all is no news


def test_objects_of_classes_that_are_not_chosen_are_counted(tmp_path: Path) -> None:
    written = content(categories=[{"id": 1, "name": "cat"}, {"id": 2, "name": "alien"}])
    written["annotations"][2]["category_id"] = 2

    data = read(tmp_path, written, classes=["cat"])

    assert data.unchosen == {"alien": 1} and data.objects_per_class == (2,)


@pytest.mark.parametrize(
    ("names", "is_told"),
    [
        (("cat", "Cat"), True),
        (("traffic light", "traffic  light"), True),
        (("traffic_light", "Traffic-Light"), True),
        (("Bär", "Ba\u0308r"), True),
        (("cat", "cats"), False),
    ],
)
def test_names_that_look_alike_are_told(tmp_path: Path, names: tuple[str, str], is_told: bool) -> None:
    written = content(categories=[{"id": i, "name": name} for i, name in enumerate(names, start=1)])

    assert [doubt.kind for doubt in read(tmp_path, written).doubts] == ["classes-that-look-alike"] * is_told


def test_the_group_of_all_classes_is_told_and_how_to_leave_it_out(tmp_path: Path) -> None:
    group = {"id": 0, "name": "animals", "supercategory": "none"}
    own = {"id": 1, "name": "cat", "supercategory": "animals"}
    other = {"id": 2, "name": "dog, small", "supercategory": "animals"}

    (doubt,) = read(tmp_path, content(categories=[group, own, other])).doubts

    assert doubt.kind == "groups-as-classes" and doubt.text.endswith('leave it out with --classes "cat,"dog, small""')
    assert not read(tmp_path, content(categories=[group, own, other]), classes=["cat", "dog, small"]).doubts
    used = content(categories=[group, own, other])
    used["annotations"][0]["category_id"] = 0
    assert not read(tmp_path, used).doubts


def test_categories_in_another_order_than_their_ids_are_told(tmp_path: Path) -> None:
    written = content(categories=[{"id": 2, "name": "dog"}, {"id": 1, "name": "cat"}])

    (doubt,) = read(tmp_path, written).doubts

    assert doubt.kind == "classes-in-another-order" and doubt.text.endswith('labels follow the ids, "cat" and "dog"')


def test_a_photograph_with_the_boxes_of_the_other_frame_is_named(tmp_path: Path) -> None:
    written = content()
    # Stored 100 x 50, shown 50 x 100: a box at (5, 60) of 40 x 35 px fits it shown, and not as stored.
    written["annotations"][0]["bbox"] = [5, 60, 40, 35]
    written["annotations"][0]["image_id"] = 1
    read(tmp_path, content())
    set_orientation(tmp_path / "1.jpg", 6)

    with pytest.raises(DataError, match=r'image "1.jpg" has boxes beyond 100x50 pixels, but they fit the photograph'):
        read(tmp_path, written)


def test_images_that_were_resized_later_are_told_with_their_factor(tmp_path: Path) -> None:
    written = content(images=[{"id": i, "file_name": f"{i}.jpg", "width": 200, "height": 100} for i in range(1, 6)])
    for image in (4, 5):
        cv2.imwrite(str(tmp_path / f"{image}.jpg"), np.full((50, 100, 3), 90, np.uint8))

    with pytest.raises(DataError, match=r"5 images differ by the factor 0\.5: they were resized"):
        read(tmp_path, written)


@pytest.mark.parametrize(
    ("on_disk", "name"),
    [
        ("sub/a b.jpg", "sub\\a b.jpg"),
        ("sub/a b.jpg", "sub/a%20b.jpg"),
        ("Bär.jpg", "Ba\u0308r.jpg"),
        ("Ba\u0308r.jpg", "Bär.jpg"),
        ("sub/a.jpg", "{folder}/sub/a.jpg"),
        ("sub/a.jpg", "./sub/../sub/a.jpg"),
    ],
)
def test_images_are_found_by_other_spellings_of_their_names(tmp_path: Path, on_disk: str, name: str) -> None:
    (tmp_path / on_disk).parent.mkdir(exist_ok=True)
    cv2.imwrite(str(tmp_path / on_disk), np.zeros((50, 100, 3), np.uint8))
    images = [{"id": 1, "file_name": name.format(folder=tmp_path)}]

    (record,) = read(tmp_path, content(images=images, annotations=[])).records

    assert record.path.samefile(tmp_path / on_disk)
    assert not Path(record.file_name).is_absolute()  # drawings are written below another folder by this name


@pytest.mark.parametrize(
    ("on_disk", "name", "near"),
    [
        ("train0.jpg", "train0.JPG", "; there is train0.jpg"),
        ("train0.png", "train0.jpg", "; there is train0.png"),
        ("a.jpg", "images/a.jpg", "; there is a.jpg"),
        ("a.png", "a.heic", "; HEIC is not read: save it as JPEG"),
        ("b.png", "a.png", ""),
    ],
)
def test_what_lies_near_a_missing_image_is_told(tmp_path: Path, on_disk: str, name: str, near: str) -> None:
    (tmp_path / "root").mkdir()
    cv2.imwrite(str(tmp_path / "root" / on_disk), np.zeros((50, 100, 3), np.uint8))
    file = tmp_path / "a.json"
    file.write_text(json.dumps(content(images=[{"id": 1, "file_name": name}], annotations=[])))

    with pytest.raises(DataError) as caught:
        coco.read([file], [tmp_path / "root"])
    assert f'image "{name}" is missing from {tmp_path / "root"}{near}.' in str(caught.value)


def test_names_that_fit_another_root_are_told(tmp_path: Path) -> None:
    (tmp_path / "set/images").mkdir(parents=True)
    (tmp_path / "set/other").mkdir()
    cv2.imwrite(str(tmp_path / "set/images/a.jpg"), np.zeros((50, 100, 3), np.uint8))
    file = tmp_path / "a.json"
    file.write_text(json.dumps(content(images=[{"id": 1, "file_name": "images/a.jpg"}], annotations=[])))

    with pytest.raises(DataError, match=f"it would fit the data root {tmp_path / 'set'}"):
        coco.read([file], [tmp_path / "set/other"])


def test_a_file_that_is_listed_twice_is_told(tmp_path: Path) -> None:
    written = content()
    written["images"][1]["file_name"] = "1.jpg"

    (doubt,) = read(tmp_path, written).doubts

    assert (doubt.kind, doubt.examples) == ("files-listed-twice", ('"1.jpg"',))


def test_images_that_were_turned_later_are_told(tmp_path: Path) -> None:
    written = content(images=[{"id": i, "file_name": f"{i}.jpg", "width": 50, "height": 100} for i in range(1, 6)])
    for image in (4, 5):
        cv2.imwrite(str(tmp_path / f"{image}.jpg"), np.full((50, 100, 3), 90, np.uint8))
    written["annotations"] = []

    with pytest.raises(DataError, match=r"5 images lie the other way: they were turned after they were annotated"):
        read(tmp_path, written)


def test_of_gifs_it_is_told_that_the_first_frame_is_read(tmp_path: Path) -> None:
    if not cv2.haveImageWriter("a.gif"):
        pytest.skip("this OpenCV writes no GIF")
    _, data = cv2.imencode(".gif", np.zeros((50, 100, 3), np.uint8))
    (tmp_path / "a.gif").write_bytes(data.tobytes())

    (doubt,) = read(tmp_path, content(images=[{"id": 1, "file_name": "a.gif"}], annotations=[])).doubts

    assert doubt.text == "1 image in GIF, of which the first frame is read"


def test_an_image_has_a_largest_number_of_objects(tmp_path: Path) -> None:
    written = content()
    box = {"image_id": 2, "category_id": 1, "bbox": [10, 5, 40, 20], "area": 800}
    written["annotations"] += [box | {"id": 10 + i} for i in range(MOST_OBJECTS - 1)]
    assert len(read(tmp_path, written).records[1].labels) == MOST_OBJECTS
    written["annotations"].append(box | {"id": 9})
    with pytest.raises(DataError, match=r'image "2\.jpg" has 5,001 objects; at most 5,000 are read'):
        read(tmp_path, written)
    assert [record.file_name for record in read(tmp_path, written, skip_bad=True).records] == ["1.jpg", "3.jpg"]
