"""Reading COCO annotations: what comes out, and the one line that each kind of fault gives."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from multibox.data import coco
from multibox.errors import DataError

DATA = Path(__file__).parents[3].parent / "shared" / "data"

CATEGORIES = [{"id": 3, "name": "dog"}, {"id": 1, "name": "cat"}]

Content = dict[str, Any]


def one_of_each() -> Content:
    """Two images of 40x20 pixels, a cat on the first, ids from 0, the category with the larger id first."""
    return {
        "categories": CATEGORIES,
        "images": [
            {"id": 0, "file_name": "a.jpg", "width": 40, "height": 20},
            {"id": 1, "file_name": "b.jpg", "width": 40, "height": 20},
        ],
        "annotations": [{"id": 0, "image_id": 0, "category_id": 1, "bbox": [10, 5, 20, 10], "segmentation": None}],
    }


def write(folder: Path, content: Content, name: str = "annotations.json") -> Path:
    """The annotation file in a folder with the images a.jpg and b.jpg."""
    for image in ("a.jpg", "b.jpg"):
        if not (folder / image).exists():
            cv2.imwrite(str(folder / image), np.full((20, 40, 3), 99, dtype=np.uint8))
    path = folder / name
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def read(folder: Path, content: Content, **options: Any) -> coco.CocoData:
    return coco.read([write(folder, content)], [folder], **options)


def fault_of(folder: Path, content: Content, **options: Any) -> str:
    """The error line, without the path of the annotation file."""
    with pytest.raises(DataError) as caught:
        read(folder, content, **options)
    line = str(caught.value)
    assert "\n" not in line
    return line.removeprefix(f"{folder / 'annotations.json'}: ")


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("", []),
        ("  ", []),
        ("cat", ["cat"]),
        ("vehicle,person,non-vehicle", ["vehicle", "person", "non-vehicle"]),
        (" cat , traffic light ", ["cat", "traffic light"]),
        ("cat,,dog,", ["cat", "dog"]),
        ('"traffic light", "a, b"', ["traffic light", "a, b"]),
        (r"a\, b,c", ["a, b", "c"]),
        ('"say ""hi""",x', ['say "hi"', "x"]),
        ('5" screw, nut', ['5" screw', "nut"]),
        ('"open, x', ['"open', "x"]),
        (r"C:\data\a,D:\b", [r"C:\data\a", r"D:\b"]),
    ],
)
def test_lists_are_split_at_commas_that_are_neither_quoted_nor_escaped(text: str, items: list[str]) -> None:
    assert coco.split_list(text) == items


def test_boxes_are_fractions_and_keep_their_pixels_for_evaluation(tmp_path: Path) -> None:
    data = read(tmp_path, one_of_each())

    first = data.records[0]
    assert first.boxes.dtype == np.float32 and first.boxes.tolist() == [[0.25, 0.25, 0.75, 0.75]]  # 10/40, 5/20, ...
    assert first.boxes_px.dtype == np.float64 and first.boxes_px.tolist() == [[10, 5, 30, 15]]
    assert first.areas_px.tolist() == [200]  # 20 * 10
    assert (first.path, first.file_name, first.image_id, first.source) == (tmp_path / "a.jpg", "a.jpg", 0, 0)
    assert (first.width, first.height, first.is_crowd.tolist()) == (40, 20, [False])


def test_classes_are_all_categories_by_ascending_id(tmp_path: Path) -> None:
    data = read(tmp_path, one_of_each())

    assert data.classes == ("cat", "dog") and data.category_ids == (1, 3)
    assert data.records[0].labels.dtype == np.int64 and data.records[0].labels.tolist() == [0]
    assert data.objects_per_class == (1, 0)


def test_chosen_classes_keep_their_order_and_give_the_labels(tmp_path: Path) -> None:
    data = read(tmp_path, one_of_each(), classes=["dog", "cat"])

    assert data.classes == ("dog", "cat") and data.category_ids == (3, 1)
    assert data.records[0].labels.tolist() == [1]


def test_an_image_with_objects_of_other_classes_only_is_one_without_objects(tmp_path: Path) -> None:
    data = read(tmp_path, one_of_each(), classes=["dog"])

    assert [len(record.targets) for record in data.records] == [0, 0]
    assert data.records[0].boxes.shape == (0, 4) and data.records[0].boxes_px.shape == (0, 4)


def test_images_without_objects_can_be_left_out(tmp_path: Path) -> None:
    data = read(tmp_path, one_of_each(), keep_images_without_objects=False)

    assert [record.file_name for record in data.records] == ["a.jpg"]


def test_crowds_are_kept_for_evaluation_but_are_no_targets(tmp_path: Path) -> None:
    content = one_of_each()
    content["annotations"].append(
        {"id": 1, "image_id": 0, "category_id": 3, "bbox": [0, 0, 40, 20], "iscrowd": 1, "area": 7.5}
    )

    data = read(tmp_path, content)

    assert data.records[0].is_crowd.tolist() == [False, True]
    assert data.records[0].areas_px.tolist() == [200, 7.5]
    assert data.records[0].targets.labels.tolist() == [0] and data.objects_per_class == (1, 0)


def test_objects_flagged_ignore_are_left_out(tmp_path: Path) -> None:
    content = one_of_each()
    content["annotations"][0]["ignore"] = 1

    assert len(read(tmp_path, content).records[0].boxes) == 0


def test_boxes_that_leave_the_image_are_cut_and_counted(tmp_path: Path) -> None:
    content = one_of_each()
    content["annotations"] = [
        {"image_id": 0, "category_id": 1, "bbox": [-10, 5, 20, 30]},
        {"image_id": 0, "category_id": 1, "bbox": [0, 0, 40.000001, 20]},  # rounding, not worth counting
    ]

    data = read(tmp_path, content)

    assert data.records[0].boxes.tolist() == [[0, 0.25, 0.25, 1], [0, 0, 1, 1]]  # 10/40, 5/20
    assert data.records[0].boxes_px[0].tolist() == [-10, 5, 10, 35]
    assert data.num_clipped == 1


def test_files_are_concatenated_each_with_its_own_folder_and_ids(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    files = [write(folder, one_of_each()) for folder in folders]

    data = coco.read(files, folders)

    assert [(record.source, record.image_id, record.path) for record in data.records] == [
        (0, 0, folders[0] / "a.jpg"),
        (0, 1, folders[0] / "b.jpg"),
        (1, 0, folders[1] / "a.jpg"),
        (1, 1, folders[1] / "b.jpg"),
    ]


def test_unknown_fields_missing_ids_negative_ids_and_a_byte_order_mark_are_fine(tmp_path: Path) -> None:
    content = one_of_each()
    content["info"] = {"year": 2020}
    content["categories"] = [{"id": -5, "name": "cat", "supercategory": "pet"}]
    content["images"][0]["id"] = content["annotations"][0]["image_id"] = -7
    content["annotations"][0] |= {"category_id": -5, "attributes": {"occluded": True}, "segmentation": {"counts": "x"}}
    del content["annotations"][0]["id"]
    file = write(tmp_path, content)
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())

    data = coco.read([file], [tmp_path])

    assert data.records[0].image_id == -7 and data.category_ids == (-5,) and len(data.records[0].boxes) == 1


def test_image_ids_may_be_text(tmp_path: Path) -> None:
    content = one_of_each()
    content["images"][0]["id"] = content["annotations"][0]["image_id"] = "first"

    assert read(tmp_path, content).records[0].image_id == "first"


def test_a_size_that_is_not_annotated_is_read_from_the_image(tmp_path: Path) -> None:
    content = one_of_each()
    del content["images"][0]["width"]
    content["images"][1]["height"] = None

    data = read(tmp_path, content)

    assert [(record.width, record.height) for record in data.records] == [(40, 20), (40, 20)]


def test_names_written_on_windows_are_found(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    cv2.imwrite(str(tmp_path / "sub" / "c.jpg"), np.zeros((20, 40, 3), dtype=np.uint8))
    content = one_of_each()
    content["images"][0]["file_name"] = "sub\\c.jpg"

    assert read(tmp_path, content).records[0].path == tmp_path / "sub" / "c.jpg"


def test_the_fingerprint_changes_with_boxes_classes_and_image_files_only(tmp_path: Path) -> None:
    content = one_of_each()
    before = read(tmp_path, content).fingerprint

    assert re.fullmatch("[0-9a-f]{64}", before)
    content["info"] = "anything"
    assert read(tmp_path, content).fingerprint == before
    assert read(tmp_path, content, classes=["dog", "cat"]).fingerprint != before
    content["annotations"][0]["bbox"][0] += 1
    assert read(tmp_path, content).fingerprint != before
    content["annotations"][0]["bbox"][0] -= 1
    cv2.imwrite(str(tmp_path / "a.jpg"), np.random.default_rng(0).integers(0, 256, (20, 40, 3), dtype=np.uint8))
    assert read(tmp_path, content).fingerprint != before


def changed(change: Callable[[Content], Any]) -> Content:
    content = one_of_each()
    change(content)
    return content


def with_box(*box: float) -> Content:
    return changed(lambda content: content["annotations"][0].update(bbox=list(box)))


LEAVE_OUT = " Correct it, or pass --skip-bad to leave it out."
CAT = 'annotation 0 (image "a.jpg")'


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (with_box(10, 5, 0, 10), f"{CAT} has a box of width 0."),
        (with_box(10, 5, 20, -3), f"{CAT} has a box of height -3."),
        (with_box(40, 5, 20, 10), f"{CAT} has the box [40, 5, 20, 10] outside its image of 40x20 pixels."),
        (with_box(-20, 5, 20, 10), f"{CAT} has the box [-20, 5, 20, 10] outside its image of 40x20 pixels."),
        (with_box(10, float("nan"), 20, 10), f"{CAT} has a box that is not finite: [10, nan, 20, 10]."),
        (with_box(10, 5, float("inf"), 10), f"{CAT} has a box that is not finite: [10, 5, inf, 10]."),
        (with_box(1, 2, 3), f"{CAT} has a box of 3 numbers, not 4."),
        (with_box(), f"{CAT} has no box."),
        (changed(lambda c: c["annotations"][0].update(bbox=None)), f"{CAT} has no box."),
        (changed(lambda c: c["annotations"][0].update(image_id=9)), "annotation 0 has the unknown image_id 9."),
        (changed(lambda c: c["annotations"][0].update(category_id=2)), f"{CAT} has the unknown category_id 2."),
        (changed(lambda c: c["annotations"].append(c["annotations"][0])), f"{CAT} has the id of another annotation."),
        (changed(lambda c: c["images"][1].update(id=0)), 'image "b.jpg" has the id 0 of another image.'),
        (
            changed(lambda c: c["images"][1].update(width=41)),
            'image "b.jpg" measures 40x20 pixels, not 41x20 as annotated.',
        ),
    ],
)
def test_a_bad_record_is_an_error_that_names_it_or_can_be_skipped(tmp_path: Path, content: Content, line: str) -> None:
    assert fault_of(tmp_path, content) == line + LEAVE_OUT

    data = read(tmp_path, content, skip_bad=True)
    assert data.skipped == (f"{tmp_path / 'annotations.json'}: {line.rstrip('.')}",)
    assert len(data.records) >= 1


@pytest.mark.parametrize("name", ["../a.jpg", "/etc/a.jpg", "x/../../a.jpg", "..\\a.jpg", "C:\\a.jpg", ".."])
def test_a_file_name_that_leads_outside_its_folder_is_an_error(tmp_path: Path, name: str) -> None:
    content = changed(lambda c: c["images"][0].update(file_name=name))

    near = "" if name == ".." else "; there is a.jpg"
    assert fault_of(tmp_path, content) == (
        f"image {json.dumps(name)} leads outside the data root {tmp_path}{near}.{LEAVE_OUT}"
    )


@pytest.mark.parametrize("name", ["gone.jpg", "", ".", "x\0y.jpg", "two\nlines.jpg"])
def test_a_missing_image_is_an_error_in_one_line(tmp_path: Path, name: str) -> None:
    content = changed(lambda c: c["images"][1].update(file_name=name))

    assert fault_of(tmp_path, content) == f"image {json.dumps(name)} is missing from {tmp_path}.{LEAVE_OUT}"


def test_an_endless_name_of_a_missing_image_is_shortened(tmp_path: Path) -> None:
    fault = fault_of(tmp_path, changed(lambda c: c["images"][1].update(file_name="n" * 5000)))

    assert len(fault) < 2000 and "\n" not in fault
    assert fault.startswith('image "nnn') and fault.endswith(f'nnn" is missing from {tmp_path}.{LEAVE_OUT}')


def test_of_many_problems_the_first_three_of_the_first_kind_are_named_and_all_counted(tmp_path: Path) -> None:
    content = one_of_each()
    content["images"] += [{"id": 10 + i, "file_name": f"{i}.jpg", "width": 40, "height": 20} for i in range(5)]
    content["annotations"][0]["bbox"] = [0, 0, 0, 0]

    assert fault_of(tmp_path, content) == (
        f'image "0.jpg" is missing from {tmp_path}; image "1.jpg" is missing from {tmp_path}; '
        f'image "2.jpg" is missing from {tmp_path}; ... (5 missing images). There is 1 other problem. '
        "Correct them, or pass --skip-bad to leave them out."
    )


def test_truncated_and_undecodable_images_are_errors(tmp_path: Path) -> None:
    file = write(tmp_path, one_of_each())
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:-30])
    (tmp_path / "b.jpg").write_text("no image")

    with pytest.raises(DataError, match=r'image "a.jpg" is truncated; image "b.jpg" cannot be decoded\. Correct them'):
        coco.read([file], [tmp_path])
    assert len(coco.read([file], [tmp_path], verify_images=False).records) == 2


def test_the_annotations_of_a_skipped_image_go_with_it(tmp_path: Path) -> None:
    file = write(tmp_path, one_of_each())
    (tmp_path / "a.jpg").unlink()

    data = coco.read([file], [tmp_path], skip_bad=True)

    assert [record.file_name for record in data.records] == ["b.jpg"]
    assert data.skipped == (f'{file}: image "a.jpg" is missing from {tmp_path}',)


def test_evaluation_may_ask_for_classes_that_the_files_lack(tmp_path: Path) -> None:
    file = write(tmp_path, one_of_each())
    names = coco.read([file], [tmp_path]).classes

    data = coco.read([file], [tmp_path], classes=["unicorn", names[0]], allow_missing_classes=True)

    assert data.classes == ("unicorn", names[0])
    assert data.category_ids[0] is None and data.category_ids[1] is not None
    with pytest.raises(DataError, match="there is no class"):
        coco.read([file], [tmp_path], classes=["unicorn", "dragon"], allow_missing_classes=True)


def test_annotation_files_are_not_touched(tmp_path: Path) -> None:
    file = write(tmp_path, with_box(-10, 5, 0, 10))
    before = file.read_bytes()

    coco.read([file], [tmp_path], skip_bad=True)

    assert file.read_bytes() == before


@pytest.mark.parametrize("skip_bad", [False, True])
@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"", "the annotations break off: this is no complete JSON. Make the file again."),
        (b'{"images": [', "the annotations break off: this is no complete JSON. Make the file again."),
        (b"<xml>", "this is no JSON (invalid character at byte 0). Correct the file or make it again."),
        (b'{"x":' * 100_000, "this is no annotation file: it is nested too deeply. Correct the path."),
        (
            '{"images": "é"}'.encode("latin-1"),
            "the annotations are no UTF-8 text (byte 12). Save the file as UTF-8.",
        ),
        (
            b'{"images": [NaN, }',
            "this is no JSON (invalid character at byte 12). Correct the file or make it again.",
        ),
        (
            b"[]",
            "this is no annotation file in COCO's format: it has no list of images. Correct the path.",
        ),
        (
            b'{"images": 5, "annotations": [], "categories": []}',
            "there is something else than a list as `images` in it. A COCO file lists images, annotations, categories.",
        ),
        (
            b'{"images": [], "categories": []}',
            "there is no `annotations` in it. A COCO file lists images, annotations, categories.",
        ),
    ],
    ids=[
        "empty",
        "truncated",
        "xml",
        "nested",
        "latin-1",
        "nan and more",
        "list",
        "wrong type",
        "no annotations",
    ],
)
def test_a_file_that_is_broken_as_a_whole_is_an_error_that_nothing_skips(
    tmp_path: Path, data: bytes, line: str, skip_bad: bool
) -> None:
    file = tmp_path / "annotations.json"
    file.write_bytes(data)

    with pytest.raises(DataError) as caught:
        coco.read([file], [tmp_path], skip_bad=skip_bad)
    assert str(caught.value) == f"{file}: {line}"


def test_a_number_too_large_for_a_float_is_a_bad_box(tmp_path: Path) -> None:
    file = write(tmp_path, one_of_each())
    file.write_text(file.read_text().replace("[10, 5, 20, 10]", "[10, 5, 1e999, 10]"))

    with pytest.raises(DataError, match=r"not finite: \[10, 5, inf, 10\]"):
        coco.read([file], [tmp_path])


def test_missing_annotation_files_and_folders_are_errors(tmp_path: Path) -> None:
    file = write(tmp_path, one_of_each())

    with pytest.raises(DataError, match=r"gone\.json: cannot read the annotations: No such file or directory\."):
        coco.read([tmp_path / "gone.json"], [tmp_path])
    with pytest.raises(DataError, match=r"gone: there is no such folder of images\. Correct the data root of "):
        coco.read([file], [tmp_path / "gone"])
    with pytest.raises(DataError, match=r"2 annotation files but 1 folder of images are given\."):
        coco.read([file, file], [tmp_path])
    with pytest.raises(DataError, match=r"No annotation file is given\."):
        coco.read([], [])


def test_a_set_without_images_is_an_error(tmp_path: Path) -> None:
    content = changed(lambda c: c.update(images=[], annotations=[]))

    assert fault_of(tmp_path, content) == "there are no images in it. Annotate some."


def test_a_set_of_which_nothing_is_left_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "annotations.json"
    file.write_text(json.dumps(one_of_each()))

    with pytest.raises(
        DataError, match=r'no usable image is left after skipping 2 problems, the first: .*: image "a.jpg" is missing'
    ):
        coco.read([file], [tmp_path], skip_bad=True)
    line = fault_of(tmp_path, one_of_each(), classes=["dog"], keep_images_without_objects=False)
    assert line == 'no image has an object of the classes "dog". Choose other classes or annotate some.'


def test_an_unknown_class_is_an_error_with_the_known_and_the_nearest(tmp_path: Path) -> None:
    assert fault_of(tmp_path, one_of_each(), classes=["dgo"]) == (
        'there is no class "dgo". Did you mean "dog"? Choose from: "cat", "dog".'
    )


def test_a_class_chosen_twice_is_an_error(tmp_path: Path) -> None:
    assert fault_of(tmp_path, one_of_each(), classes=["cat", "cat"]) == (
        'The class "cat" is chosen twice. Name each class once.'
    )


@pytest.mark.parametrize(
    ("categories", "line"),
    [
        ([], "there are no categories. Add those that the annotations use."),
        ([{"id": 1, "name": "x"}, {"id": 1, "name": "y"}], "two categories have the id 1. Give each its own."),
        ([{"id": 1, "name": "x"}, {"id": 2, "name": "x"}], 'two categories have the name "x". Merge or rename them.'),
    ],
)
def test_categories_must_be_told_apart(tmp_path: Path, categories: list[Content], line: str) -> None:
    assert fault_of(tmp_path, changed(lambda c: c.update(categories=categories))) == line


def test_files_with_different_categories_are_an_error_that_names_the_difference(tmp_path: Path) -> None:
    first = write(tmp_path, one_of_each(), "first.json")
    other = changed(lambda c: c.update(categories=[{"id": 3, "name": "dog"}, {"id": 1, "name": "fox"}]))
    second = write(tmp_path, other, "second.json")

    with pytest.raises(DataError, match=r'second\.json have different categories \(id 1: "cat" and "fox"\)'):
        coco.read([first, second], [tmp_path, tmp_path])


@pytest.mark.skipif(not DATA.is_dir(), reason="the real data sets are absent")
@pytest.mark.parametrize(
    ("name", "file", "objects"),
    [
        ("airport", "annotation_example_train.json", (0, 41, 0)),
        ("bccd", "annotations_train.json", (292, 3348, 301)),
        ("deeppcb", "annotations_train.json", (445, 347, 478, 401, 353, 353)),
        ("face_mask", "annotations_train.json", (2443, 560, 103)),
        ("playing_cards", "annotations_train.json", (89, 82, 89, 80, 95, 92)),
        ("raccoon", "annotations_train.json", (151,)),
    ],
)
def test_real_sets_are_read_as_their_descriptions_count_them(name: str, file: str, objects: tuple[int, ...]) -> None:
    data = coco.read([DATA / name / file], [DATA / name / "train"])

    assert data.objects_per_class == objects
    assert data.num_clipped == 0 and data.skipped == ()
