"""Where the images of COCO files are: never in another split's folder or outside the set, and asked for in doubt."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from multibox.data.convert import convert
from multibox.data.layouts import find_layout
from multibox.errors import DataError
from tests.unit.data.test_tools import cvat_xml


def annotate(file: Path, *names: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    images = [{"id": i, "file_name": name} for i, name in enumerate(names)]
    file.write_text(json.dumps({"images": images, "annotations": [], "categories": [{"id": 1, "name": "a"}]}))
    return file


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


FRAMES = tuple(f"{i}.png" for i in range(6))


@pytest.mark.parametrize("camera", ["cam1", "cam2"])
@pytest.mark.parametrize(
    ("file", "folder"),
    [
        ("{}.json", "{}"),
        ("annotations/{}.json", "images/{}"),
        ("annotations/instances_{}.json", "{}/images"),
        ("{}/annotations.json", "{}"),
        ("{}_coco.json", "{}"),
    ],
)
def test_of_two_cameras_with_the_same_names_each_has_its_own(
    tmp_path: Path, camera: str, file: str, folder: str
) -> None:
    for name in ("cam1", "cam2"):
        annotate(tmp_path / file.format(name), *FRAMES)
        put(tmp_path / folder.format(name), *FRAMES)

    layout = find_layout(tmp_path / file.format(camera))

    assert layout.splits["train"].root == tmp_path / folder.format(camera)


def test_a_missing_image_of_a_split_is_not_looked_for_in_another(tmp_path: Path) -> None:
    for split in ("train", "val"):
        annotate(tmp_path / f"{split}.json", *FRAMES)
        put(tmp_path / split, *FRAMES)
    for name in FRAMES[1:]:
        (tmp_path / "val" / name).unlink()

    roots = {name: split.root for name, split in find_layout(tmp_path).splits.items()}

    assert roots == {"train": tmp_path / "train", "val": tmp_path / "val"}


@pytest.mark.parametrize("others", ["train", "images/train2017", "test/images"])
def test_images_of_another_split_are_never_taken(tmp_path: Path, others: str) -> None:
    annotate(tmp_path / "val.json", *FRAMES)
    put(tmp_path / others, *FRAMES)

    assert find_layout(tmp_path / "val.json").splits["train"].root == tmp_path


def test_images_of_a_neighbouring_set_are_never_taken(tmp_path: Path) -> None:
    annotate(tmp_path / "one/annotations.json", *FRAMES)
    annotate(tmp_path / "one/labels/train.json", *FRAMES)
    put(tmp_path / "two", *FRAMES)
    put(tmp_path / "images", *FRAMES)

    assert find_layout(tmp_path / "one/annotations.json").splits["train"].root == tmp_path / "one"
    assert find_layout(tmp_path / "one").splits["train"].root.is_relative_to(tmp_path / "one")


def test_folders_of_equal_right_are_asked_for(tmp_path: Path) -> None:
    file = annotate(tmp_path / "objects.json", *FRAMES)
    put(tmp_path / "monday", *FRAMES)
    put(tmp_path / "tuesday", *FRAMES)

    with pytest.raises(DataError, match=r"are in .*monday and .*tuesday\. Say which with --train-ann-files"):
        find_layout(file)


def test_images_that_are_nowhere_are_named_when_the_set_is_read(tmp_path: Path) -> None:
    file = annotate(tmp_path / "train.json", *FRAMES)
    put(tmp_path / "train", "another.png")

    assert find_layout(file).splits["train"].root == tmp_path


def test_a_file_without_annotations_is_passed_over_with_a_reason(tmp_path: Path) -> None:
    annotate(tmp_path / "train.json", *FRAMES)
    (tmp_path / "val.json").write_text('{"images": [], "categories": []}')

    (line,) = find_layout(tmp_path).passed_over

    assert line == f"{tmp_path / 'val.json'} is passed over: it lists images, but has no `annotations`"


def test_images_without_any_labels_are_told(tmp_path: Path) -> None:
    put(tmp_path, *FRAMES)

    with pytest.raises(DataError, match="this is 6 images, but no labels of them"):
        find_layout(tmp_path)


def test_labels_of_yolo_without_names_of_classes_are_told(tmp_path: Path) -> None:
    put(tmp_path / "images", *FRAMES)
    put(tmp_path / "labels", "0.txt")

    with pytest.raises(DataError, match=r"nothing says what the classes are called\. Add a classes\.txt"):
        find_layout(tmp_path)


def test_what_was_converted_is_read_from_where_its_images_stayed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my set").mkdir()
    monkeypatch.chdir(tmp_path / "my set")
    cvat_xml(Path("in"))
    splits = convert(find_layout(Path("in")), Path("../out"))

    monkeypatch.chdir(tmp_path)
    split = find_layout(Path("out")).splits["train"]

    assert split.root == tmp_path / "my set/in/images"
    assert split.annotation_file.resolve() == (tmp_path / "my set" / splits["train"].annotation_file).resolve()


def test_images_that_moved_since_are_looked_for_as_usual(tmp_path: Path) -> None:
    file = annotate(tmp_path / "train.json", *FRAMES)
    content = json.loads(file.read_text()) | {"info": {"image_folder": "../not there"}}
    file.write_text(json.dumps(content))
    put(tmp_path / "train", *FRAMES)

    assert find_layout(tmp_path).splits["train"].root == tmp_path / "train"
