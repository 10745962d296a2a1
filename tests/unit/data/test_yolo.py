"""YOLO sets as they are found: classes, lines, places of images and labels, and what is told of each."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from multibox.data.convert import OTHER_MEANING, convert
from multibox.data.layouts import Split, find_layout
from multibox.errors import DataError
from tests.unit.data.test_convert import boxes_of, content_of

LINE = "0 0.5 0.4 0.2 0.4\n"
"""40..60, 10..30 of 100 x 50 px."""

BOX = [40, 10, 20, 20]


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((50, 100, 3), np.uint8))


def write(path: Path, text: str, encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))


def yolo_set(folder: Path, *lines: str, names: str = "[cat, dog]") -> Path:
    """A set of as many images as there are texts of labels."""
    for number, text in enumerate(lines):
        picture(folder / f"images/{number}.png")
        write(folder / f"labels/{number}.txt", text)
    write(folder / "data.yaml", f"train: images\nnames: {names}\n")
    return folder


def read(folder: Path, *, guess: bool = False) -> Split:
    return convert(find_layout(folder), folder.parent / "converted", guess=guess)["train"]


def names_of(split: Split) -> list[str]:
    return [category["name"] for category in content_of(split)["categories"]]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("[yes, no]", ["yes", "no"]),
        ("[on, Off, y]", ["on", "Off", "y"]),
        ("[~, null]", ["~", "null"]),
        ("[1.0, 2, 010]", ["1.0", "2", "010"]),
        ("{0: true, 1: 1e3}", ["true", "1e3"]),
        ("['a: b', \"c#\"]", ["a: b", "c#"]),
        ("[2024-01-01, 12:30]", ["2024-01-01", "12:30"]),
    ],
)
def test_names_come_out_as_they_stand_in_the_file(tmp_path: Path, names: str, expected: list[str]) -> None:
    assert names_of(read(yolo_set(tmp_path / "set", LINE, names=names))) == expected


@pytest.mark.parametrize("names", ["\n- a: b\n- c", "\n- [x, y]", "[a, '']", "{0: }"])
def test_names_that_are_none_are_refused(tmp_path: Path, names: str) -> None:
    with pytest.raises(DataError, match=r"data\.yaml: (the name of )?class \d (is no text|has no name)"):
        read(yolo_set(tmp_path / "set", LINE, names=names))


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        ("nc: 3", "data.yaml says nc: 3, but names 2 classes"),
        ("nc: 2", None),
        ("nc:", None),
    ],
)
def test_a_number_of_classes_that_differs_is_told(tmp_path: Path, extra: str, told: str | None) -> None:
    folder = yolo_set(tmp_path / "set", LINE)
    write(folder / "data.yaml", f"train: images\nnames: [cat, dog]\n{extra}\n")

    lines = read(folder).doubts.get("lists of classes that contradict each other", [])

    assert lines == ([told] if told else [])


def test_another_list_of_classes_in_another_order_is_told(tmp_path: Path) -> None:
    folder = yolo_set(tmp_path / "set", LINE)
    write(folder / "labels/classes.txt", "dog\ncat\n")

    (line,) = read(folder).doubts["lists of classes that contradict each other"]

    assert line == "labels/classes.txt has dog and cat, data.yaml has cat and dog: data.yaml is followed"
    write(folder / "labels/classes.txt", "cat\ndog\n")
    assert not read(folder).doubts


@pytest.mark.parametrize(
    ("line", "box"),
    [
        ("0.0 0.5 0.4 0.2 0.4", BOX),
        ("1e0 0.5 0.4 0.2 0.4", BOX),
        ("0\t0.5\t0.4\t0.2\t0.4\r", BOX),
        ("\ufeff0 0.5 0.4 0.2 0.4", BOX),
        ("0 0.4 0.2 0.6 0.2 0.6 0.6 0.4 0.6", BOX),  # four corners, turned or not
        ("0 0.4 0.2 0.6 0.2 0.5 0.6", BOX),  # a triangle
    ],
)
def test_lines_of_other_programs_are_read(tmp_path: Path, line: str, box: list[float]) -> None:
    assert boxes_of(read(yolo_set(tmp_path / "set", line)))["0.png"] == [box]


def test_text_of_windows_is_read(tmp_path: Path) -> None:
    folder = yolo_set(tmp_path / "set", LINE)
    write(folder / "labels/0.txt", LINE, encoding="utf-16")

    assert boxes_of(read(folder))["0.png"] == [BOX]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("0 nan nan nan nan", "has numbers that are not finite"),
        ("0 0.5 inf 0.1 0.1", "has numbers that are not finite"),
        ("cat 0.5 0.5 0.1 0.1", "does not begin with the number of a class"),
        ("0.5 0.5 0.5 0.1 0.1", "has the class 0.5, which has no name"),
        ("-1 0.5 0.5 0.1 0.1", "has the class -1, which has no name"),
        ("0 0,5 0,5 0,1 0,1", "has something else than numbers in it"),
        ("0 0.5 0.5 0.1", "has 3 numbers after its class"),
        ("0 0.5 0.5 0.1 0.1 0.9", "has 5 numbers after its class"),
    ],
)
def test_a_line_that_cannot_be_read_is_named_with_its_file(tmp_path: Path, line: str, reason: str) -> None:
    split = read(yolo_set(tmp_path / "set", f"{LINE}\n{line}\n"))

    (told,) = split.problems["label lines that cannot be read"]
    assert told.startswith(f'labels/0.txt, line 3: "{line}" {reason}')
    assert boxes_of(split)["0.png"] == [BOX]


def test_boxes_of_no_size_or_outside_are_named_with_their_line(tmp_path: Path) -> None:
    split = read(yolo_set(tmp_path / "set", *[LINE] * 9, "0 0.5 0.5 0 0.1\n0 3 0.5 0.1 0.1\n"))

    assert split.problems["bad boxes"] == [
        "labels/9.txt, line 1: has a box of width 0",
        "labels/9.txt, line 2: has the box [295, 22.5, 10, 5] outside its image of 100x50 pixels",
    ]


def test_pixels_in_the_place_of_fractions_are_refused_and_read_where_somebody_looks(tmp_path: Path) -> None:
    folder = yolo_set(tmp_path / "set", *["0 50 20 20 20\n"] * 4)

    with pytest.raises(DataError, match=r"all 4 boxes do not fit .* but as centre and size .* in pixels"):
        read(folder)
    split = read(folder, guess=True)
    assert boxes_of(split)["0.png"] == [BOX]
    assert list(split.problems) == [OTHER_MEANING]


def test_two_images_with_one_label_file_are_told(tmp_path: Path) -> None:
    folder = yolo_set(tmp_path / "set", LINE)
    picture(folder / "images/0.jpg")

    (line,) = read(folder).doubts["label files that several images share"]

    assert line == 'labels/0.txt is of "0.jpg" and "0.png": are they one image?'


def test_labels_without_an_image_and_images_that_are_not_read_are_told(tmp_path: Path) -> None:
    folder = yolo_set(tmp_path / "set", LINE, LINE)
    (folder / "images/1.png").rename(folder / "images/1.heic")
    write(folder / "labels/._0.txt", "of macOS")

    problems = read(folder).problems

    assert problems == {
        "images of a kind that is not read": ['image "1.heic": HEIC is not read: save it as JPEG'],
        "label files without an image": ["labels/1.txt has no image"],
    }


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("images/train/a.png", "labels/train/a.txt"),
        ("train/images/a.png", "train/labels/a.txt"),
        ("train/a.png", "train/a.txt"),
        ("train/images/a.png", "train/images/a.txt"),
        ("train/images/a.png", "train/Labels/a.txt"),
        ("images/train/a.PNG", "labels/train/a.TXT"),
        ("images/train/deep/a.png", "labels/train/deep/a.txt"),
        ("images/train/a.png", "labels/train/a.png.txt"),
    ],
)
def test_labels_are_found_beside_their_images_or_in_the_folder_for_them(tmp_path: Path, image: str, label: str) -> None:
    folder = tmp_path / "images of mine" / "set"
    picture(folder / "x.png")
    (folder / image).parent.mkdir(parents=True)
    (folder / "x.png").rename(folder / image)
    write(folder / label, LINE)
    place = image.split("/", maxsplit=1)[0] if image.startswith("train") else "images/train"
    write(folder / "data.yaml", f"train: {place}\nnames: [cat]\n")

    assert list(boxes_of(read(folder)).values()) == [[BOX]]


@pytest.mark.parametrize(
    "line",
    [
        "images/a b.png",
        "./images/a b.png",
        "images\\a b.png",
        "data/images/a b.png",  # Darknet's, relative to a folder above
        "/content/drive/set/images/a b.png",  # of another machine
        "{folder}/images/a b.png",
        "images/a%20b.png",
    ],
)
def test_lists_of_images_are_read_wherever_they_were_written(tmp_path: Path, line: str) -> None:
    folder = tmp_path / "set"
    picture(folder / "images/a b.png")
    write(folder / "labels/a b.txt", LINE)
    write(folder / "train.txt", f"{line.format(folder=folder)}\r\nimages/gone.png\r\n")
    write(folder / "data.yaml", "train: train.txt\nnames: [cat]\n")

    split = read(folder)

    assert list(boxes_of(split).values()) == [[BOX]]
    assert split.problems == {
        "listed images that are missing": ['train.txt lists "images/gone.png", which is not there']
    }


def test_the_mere_name_of_a_listed_image_is_not_enough(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    for place in ("images/val/0.png", "1.png"):
        picture(folder / place)
    write(folder / "labels/val/0.txt", LINE)
    write(folder / "val.txt", "images/val/0.png\nimages/val/1.png\n")
    write(folder / "data.yaml", "val: val.txt\nnames: [cat]\n")

    split = convert(find_layout(folder), tmp_path / "converted")["val"]

    assert boxes_of(split) == {"0.png": [BOX]}
    assert split.problems == {
        "listed images that are missing": ['val.txt lists "images/val/1.png", which is not there']
    }


def test_several_folders_are_one_split(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    for part in ("monday", "tuesday"):
        picture(folder / part / "images/a.png")
        write(folder / part / "labels/a.txt", LINE)
    write(folder / "data.yaml", "train:\n- monday/images\n- tuesday/images\nnames: [cat]\n")

    assert boxes_of(read(folder)) == {"monday/images/a.png": [BOX], "tuesday/images/a.png": [BOX]}


@pytest.mark.parametrize(
    "given", ["../train/images", "/content/set/train/images", "C:\\set\\train\\images", "train\\images", "./train"]
)
def test_a_folder_of_another_machine_is_found_in_the_set_and_not_beside_it(tmp_path: Path, given: str) -> None:
    folder = tmp_path / "set"
    for place in (folder, tmp_path):  # the neighbour has images of the same names
        picture(place / "train/images/a.png")
    write(folder / "train/labels/a.txt", LINE)
    write(folder / "data.yaml", f"train: {given}\nnames: [cat]\n")

    split = read(folder)

    assert split.root == folder / "train/images"
    assert boxes_of(split) == {"a.png": [BOX]}


def test_nothing_is_an_error_that_says_what_was_looked_for(tmp_path: Path) -> None:
    write(tmp_path / "set/data.yaml", "train: /elsewhere/images\nnames: [cat]\n")
    (tmp_path / "set/images").mkdir()

    # `images` alone may be of any split.
    with pytest.raises(DataError, match=r"`train` names /elsewhere/images, which does not exist"):
        read(tmp_path / "set")
