"""Pascal VOC sets as they are found: lists, names of images, boxes of other kinds."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from multibox.data.convert import convert
from multibox.data.layouts import Split, find_layout
from multibox.errors import DataError
from tests.unit.data.test_convert import boxes_of

BOX = "<bndbox><xmin>11</xmin><ymin>6</ymin><xmax>50</xmax><ymax>25</ymax></bndbox>"
"""10..50, 5..25 counted from 0."""

READ = [10, 5, 40, 20]


def thing(inner: str = BOX, name: str = "cat") -> str:
    return f"<object><name>{name}</name>{inner}</object>"


def annotation(file_name: str, *objects: str, size: str = "<width>100</width><height>50</height>") -> str:
    return (
        f'<?xml version="1.0"?>\n<annotation verified="no"><folder>x</folder><filename>{file_name}</filename>'
        f"<size>{size}<depth>3</depth></size>{''.join(objects)}</annotation>"
    )


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((50, 100, 3), np.uint8))


def voc_set(folder: Path, *names: str, inner: str = BOX) -> Path:
    """A set of images with these names, a cat on each."""
    (folder / "Annotations").mkdir(parents=True)
    for name in names:
        picture(folder / "JPEGImages" / name)
        file = folder / "Annotations" / Path(name).with_suffix(".xml")
        file.write_text(annotation(name, thing(inner)), encoding="utf-8")
    return folder


def read(folder: Path) -> dict[str, Split]:
    return convert(find_layout(folder), folder.parent / "converted")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("my pic 1\np2\n", {"my pic 1.jpg", "p2.jpg"}),
        ("my pic 1  1\np2 -1\n", {"my pic 1.jpg", "p2.jpg"}),
        ("my pic 1.jpg\r\np2.jpg\r\n", {"my pic 1.jpg", "p2.jpg"}),
        ("/home/somebody/JPEGImages/p2.jpg\n", {"p2.jpg"}),
        ("C:\\photos\\p2.jpg\n", {"p2.jpg"}),
        ("JPEGImages/p2.jpg\n", {"p2.jpg"}),
        ("\ufeffp2\n\n", {"p2.jpg"}),
        ("my pic\np2\n", {"my pic.jpg", "p2.jpg"}),
        ("Ba\u0308r\n", {"Bär.jpg"}),
        ("a.b\n", {"a.b.jpg"}),
    ],
)
def test_lists_name_images_in_many_ways(tmp_path: Path, lines: str, expected: set[str]) -> None:
    folder = voc_set(tmp_path / "set", "my pic 1.jpg", "my pic.jpg", "p2.jpg", "p3.jpg", "Bär.jpg", "a.b.jpg")
    (folder / "ImageSets/Main").mkdir(parents=True)
    (folder / "ImageSets/Main/train.txt").write_bytes(lines.encode())

    split = read(folder)["train"]

    assert set(boxes_of(split)) == expected
    assert all(boxes == [READ] for boxes in boxes_of(split).values())
    assert not split.remarks and not split.problems


def test_listed_images_without_annotations_are_told(tmp_path: Path) -> None:
    folder = voc_set(tmp_path / "set", "a.jpg")
    (folder / "ImageSets/Main").mkdir(parents=True)
    (folder / "ImageSets/Main/train.txt").write_text("a\ngone for good\n")

    assert read(folder)["train"].remarks == {"images without an annotation file, left out": ['image "gone for good"']}


@pytest.mark.parametrize(
    ("on_disk", "inside", "taken", "told"),
    [
        (["a.jpg"], "a.jpg", "a.jpg", None),
        (["a.jpg"], "/home/x/a.jpg", "a.jpg", None),
        (["a.jpg"], "", "a.jpg", None),
        (["a.jpg"], "other.jpg", "a.jpg", None),
        (["a.jpg"], "a.png", "a.jpg", 'names "a.png": "a.jpg" is taken'),
        (["a.JPG"], "a.jpg", "a.JPG", 'names "a.jpg": "a.JPG" is taken'),
        (["a.jpg", "a.png"], "a.png", "a.png", None),
        (["a.jpg", "a.png"], "a.bmp", "a.jpg", 'could be of "a.jpg" and "a.png": "a.jpg" is taken'),
        (["a.jpg", "b.jpg"], "b.jpg", "a.jpg", 'names "b.jpg", which is there too: "a.jpg" is taken'),
        (["b.jpg"], "b.jpg", "b.jpg", None),
        (["b.png"], "b.jpg", "b.png", 'names "b.jpg": "b.png" is taken'),
    ],
)
def test_the_image_is_that_of_the_files_stem_and_what_differs_is_told(
    tmp_path: Path, on_disk: list[str], inside: str, taken: str, told: str | None
) -> None:
    folder = tmp_path / "set"
    (folder / "Annotations").mkdir(parents=True)
    (folder / "Annotations/a.xml").write_text(annotation(inside, thing()))
    for name in on_disk:
        picture(folder / "JPEGImages" / name)

    split = read(folder)["train"]

    assert boxes_of(split) == {taken: [READ]}
    doubts = split.doubts.get("annotation files that name another image", [])
    assert doubts == ([f"a.xml {told}"] if told else [])


def test_an_annotation_without_its_image_is_named_with_what_lies_near(tmp_path: Path) -> None:
    folder = voc_set(tmp_path / "set", "a.jpg", "B.jpg")
    (folder / "Annotations/B.xml").rename(folder / "Annotations/b.xml")
    (folder / "Annotations/b.xml").write_text(annotation("b.jpg", thing()))

    problems = read(folder)["train"].problems

    assert problems == {"annotation files without an image": ['b.xml: image "b.jpg" is missing; there is B.jpg']}


TURNED = "<robndbox><cx>40</cx><cy>40</cy><w>30</w><h>20</h><angle>0.5</angle></robndbox>"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (thing(TURNED), "(cat) has a turned box (robndbox), which is not read"),
        (thing(""), "(cat) has no box"),
        (thing(name=""), "has no name"),
        (thing(BOX.replace("11", "ten")), '(cat) has a box whose xmin is "ten"'),
        (thing(BOX.replace("11", "nan")), '(cat) has a box whose xmin is "nan"'),
        (thing(BOX.replace("<xmax>50</xmax>", "")), '(cat) has a box whose xmax is ""'),
    ],
)
def test_one_bad_object_is_named_and_the_good_ones_stay(tmp_path: Path, bad: str, reason: str) -> None:
    folder = voc_set(tmp_path / "set", "a.jpg")
    (folder / "Annotations/a.xml").write_text(annotation("a.jpg", thing(), bad))

    split = read(folder)["train"]

    assert boxes_of(split) == {"a.jpg": [READ]}
    assert split.problems == {"objects that cannot be read": [f"a.xml, object 2 {reason}"]}


@pytest.mark.parametrize(
    ("inner", "box", "kind"),
    [
        (
            "<polygon><x1>11</x1><y1>6</y1><x2>50</x2><y2>6</y2><x3>50</x3><y3>25</y3></polygon>",
            READ,
            "objects without a box, read as the box around their polygon",
        ),
        (
            "<polygon><pt><x>11</x><y>6</y></pt><pt><x>50</x><y>6</y></pt><pt><x>50</x><y>25</y></pt></polygon>",
            READ,
            "objects without a box, read as the box around their polygon",
        ),
        (
            BOX + "<attributes><attribute><name>rotation</name><value>90.0</value></attribute></attributes>",
            # 11..50 x 6..25 about (30.5, 15.5), turned: 21..40 x -4..35; counted from 0
            [21, -4, 19, 39],
            "turned boxes, read as the box around the turned rectangle",
        ),
        (
            "<bndbox><xmin>50</xmin><ymin>6</ymin><xmax>11</xmax><ymax>25</ymax></bndbox>",
            READ,
            "boxes whose corners are the other way round, read as meant",
        ),
    ],
)
def test_boxes_of_other_kinds_are_read_and_told(tmp_path: Path, inner: str, box: list[float], kind: str) -> None:
    folder = voc_set(tmp_path / "set", "a.jpg", inner=inner)

    split = read(folder)["train"]

    assert [round(value, 6) for value in boxes_of(split)["a.jpg"][0]] == box
    assert list(split.doubts) == [kind]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_xml_of_any_encoding_and_ending_is_read(tmp_path: Path, encoding: str) -> None:
    folder = voc_set(tmp_path / "set", "ä.JPG")
    (folder / "Annotations/ä.xml").unlink()
    text = annotation("ä.JPG", thing(name="Bär")).replace("?>", f' encoding="{encoding.removesuffix("-sig")}"?>')
    (folder / "Annotations/ä.XML").write_bytes(text.encode(encoding))

    assert boxes_of(read(folder)["train"]) == {"ä.JPG": [READ]}


def test_corners_that_are_widths_and_heights_are_refused(tmp_path: Path) -> None:
    inner = "<bndbox><xmin>60</xmin><ymin>30</ymin><xmax>20</xmax><ymax>10</ymax></bndbox>"
    folder = voc_set(tmp_path / "set", *[f"{i}.jpg" for i in range(5)], inner=inner)

    with pytest.raises(DataError, match=r"all 5 boxes do not fit as two corners .* but as corner and size"):
        read(folder)


def test_a_set_of_which_nothing_is_left_says_why(tmp_path: Path) -> None:
    folder = voc_set(tmp_path / "set", "a.jpg", inner=TURNED)

    with pytest.raises(DataError, match=r"no annotation has an object that can be read; the first: a\.xml, object 1"):
        read(folder)


def test_annotations_in_a_folder_of_their_own_and_files_of_macos(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    for name in ("a", "b"):
        picture(folder / f"images/{name}.jpg")
        (folder / "annotations/xmls").mkdir(parents=True, exist_ok=True)
        (folder / f"annotations/xmls/{name}.xml").write_text(annotation("", thing()))
        (folder / f"annotations/xmls/._{name}.xml").write_bytes(b"\0\5\x16\7")

    split = read(folder)["train"]

    assert boxes_of(split) == {"a.jpg": [READ], "b.jpg": [READ]}
    assert not split.problems and not split.doubts


def test_boxes_of_images_whose_size_is_not_said_are_read(tmp_path: Path) -> None:
    folder = voc_set(tmp_path / "set", "a.jpg")
    (folder / "Annotations/a.xml").write_text(annotation("a.jpg", thing(), size="<width>0</width>"), encoding="utf-8")

    split = read(folder)["train"]

    assert not split.problems and boxes_of(split) == {"a.jpg": [READ]}
