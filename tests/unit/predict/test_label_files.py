"""Detections typed by hand, written as labels of each format and read again: the same boxes, the same names."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from multibox.data import coco
from multibox.data.convert import convert
from multibox.data.label_formats import LabelFormat
from multibox.data.layouts import find_layout
from multibox.errors import DataError, OptionError
from multibox.predict.frames import Failure, Frame
from multibox.predict.label_files import LabelFile, open_labels, plan_label_files
from multibox.predict.result_files import RunFacts
from multibox.predict.sources import Source, find_sources
from multibox.structures import Detections

CLASSES = ("red, tiny triangle", "Bär", "no", "never seen")
RUN = RunFacts(model="a model.xml", classes=CLASSES, threshold=0.25)
WIDTH, HEIGHT = 80, 40

# Corners in pixels, class, score; of 80 x 40 pixels. Names: letters with accents, commas, blanks, points, and folders
# that have the names of what is special in a format.
DETECTED: dict[str, list[tuple[list[float], int, float]]] = {
    "Ünï 1.png": [([20.25, 10.5, 60.75, 40.0], 1, 0.9), ([0.0, 0.0, 7.5, 3.25], 0, 0.5)],
    "a.b, c.jpg": [([1.0, 2.0, 3.0, 4.0], 2, 0.75)],
    "empty.jpg": [],
    "sub folder/images/train/d.jpg": [([70.5, 30.5, 80.0, 40.0], 0, 0.3)],
    "sub folder/empty.jpg": [],
    "train/5.png": [([10.0, 10.0, 20.0, 20.0], 1, 0.6), ([10.0, 10.0, 20.0, 20.0], 1, 0.55)],
}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "my photos"
    for name in DETECTED:
        save_image(folder / name)
    return folder


def save_image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _, data = cv2.imencode(path.suffix, np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
    path.write_bytes(data.tobytes())


def detections(rows: Sequence[tuple[list[float], int, float]]) -> Detections:
    corners = np.array([box for box, _, _ in rows], dtype=np.float32).reshape(-1, 4)
    return Detections(
        corners / np.array([WIDTH, HEIGHT, WIDTH, HEIGHT], dtype=np.float32),
        np.array([score for _, _, score in rows], dtype=np.float32),
        np.array([label for _, label, _ in rows], dtype=np.int64),
    )


def write(photos: Path, folder: Path, label_format: LabelFormat) -> LabelFile:
    sources, _ = find_sources([str(photos)])
    with open_labels(folder, label_format, RUN, sources) as file:
        for source in sources:
            file.write(Frame(source, WIDTH, HEIGHT), detections(DETECTED[source.name]))
    return file


def read_again(folder: Path, root: Path | None = None) -> dict[str, list[tuple[str, list[float]]]]:
    """Names of classes and corners in pixels by image, as training reads them."""
    layout = find_layout(folder)
    split = layout.splits["train"] if layout.splits else convert(layout, folder.parent / "as COCO")["train"]
    assert not split.problems
    assert not split.doubts
    data = coco.read([split.annotation_file], [root or split.root])
    assert not data.doubts
    return {
        record.file_name: [
            (data.classes[label], box) for label, box in zip(record.labels, record.boxes_px.tolist(), strict=True)
        ]
        for record in data.records
    }


def assert_same(read: dict[str, list[tuple[str, list[float]]]], tolerance_px: float) -> None:
    assert sorted(read) == sorted(DETECTED)
    for name, rows in DETECTED.items():
        assert [label for label, _ in read[name]] == [CLASSES[label] for _, label, _ in rows], name
        for (_, box), (expected, _, _) in zip(read[name], rows, strict=True):
            assert box == pytest.approx(expected, abs=tolerance_px), name


def test_coco_labels_are_read_again_in_the_folder_of_the_images(photos, tmp_path):
    write(photos, tmp_path / "out", "coco")
    assert_same(read_again(tmp_path / "out", root=photos), 0.001)
    data = coco.read([tmp_path / "out/annotations.json"], [photos])
    assert data.classes == CLASSES  # with those of which nothing was found


@pytest.mark.parametrize(
    ("label_format", "place", "tolerance_px"),
    [("yolo", "images", 0.001), ("voc", "JPEGImages", 0.5), ("cvat", "images", 0.006)],
)
def test_labels_are_read_again_with_the_images_beside_them(photos, tmp_path, label_format, place, tolerance_px):
    write(photos, tmp_path / "out", label_format)
    shutil.copytree(photos, tmp_path / "out" / place, dirs_exist_ok=True)
    assert_same(read_again(tmp_path / "out"), tolerance_px)


def test_yolo_labels_are_those_of_the_format(photos, tmp_path):
    write(photos, tmp_path / "out", "yolo")
    # 20.25..60.75 of 80: centre 40.5 / 80, width 40.5 / 80; 10.5..40 of 40: centre 25.25 / 40, height 29.5 / 40
    lines = (tmp_path / "out/labels/Ünï 1.txt").read_text("utf-8").splitlines()
    assert lines == ["1 0.506250 0.631250 0.506250 0.737500", "0 0.046875 0.040625 0.093750 0.081250"]
    assert (tmp_path / "out/labels/empty.txt").read_text("utf-8") == ""
    assert (tmp_path / "out/classes.txt").read_text("utf-8").splitlines() == list(CLASSES)
    # The labels of images/.../images/train are in images/.../labels/train: the last `images` counts.
    assert (tmp_path / "out/images/sub folder/labels/train/d.txt").is_file()


def test_cvat_gets_every_image_with_its_boxes(photos, tmp_path):
    write(photos, tmp_path / "out", "cvat")
    root = ElementTree.parse(tmp_path / "out/annotations.xml").getroot()
    assert (root.tag, root.findtext("version")) == ("annotations", "1.1")
    assert [label.text for label in root.iterfind("meta/task/labels/label/name")] == list(CLASSES)
    images = {image.get("name"): image for image in root.iterfind("image")}
    assert list(images) == sorted(DETECTED)
    assert [image.get("id") for image in images.values()] == [str(index) for index in range(6)]
    assert {(image.get("width"), image.get("height")) for image in images.values()} == {("80", "40")}
    assert [box.attrib for box in images["Ünï 1.png"]] == [
        {"label": "Bär", "source": "auto", "occluded": "0", "z_order": "0"}
        | {"xtl": "20.25", "ytl": "10.50", "xbr": "60.75", "ybr": "40.00"},
        {"label": "red, tiny triangle", "source": "auto", "occluded": "0", "z_order": "0"}
        | {"xtl": "0.00", "ytl": "0.00", "xbr": "7.50", "ybr": "3.25"},
    ]
    assert not list(images["empty.jpg"])


def test_label_studio_gets_tasks_with_predictions_for_the_interface_beside_them(photos, tmp_path):
    write(photos, tmp_path / "out", "label-studio")
    tasks: list[dict[str, Any]] = json.loads((tmp_path / "out/tasks.json").read_text("utf-8"))
    names = [parse_qs(urlsplit(task["data"]["image"]).query)["d"][0] for task in tasks]
    assert sorted(names) == sorted(f"my photos/{name}" for name in DETECTED)
    by_name = {name: task["predictions"][0] for name, task in zip(names, tasks, strict=True)}
    assert by_name["my photos/empty.jpg"] == {"model_version": "a model.xml", "result": []}
    # 20.25 / 80, 10.5 / 40, 40.5 / 80, 29.5 / 40 in percent
    assert by_name["my photos/Ünï 1.png"]["result"][0] == {
        "id": "0",
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": 80,
        "original_height": 40,
        "image_rotation": 0,
        "value": {"x": 25.3125, "y": 26.25, "width": 50.625, "height": 73.75, "rotation": 0}
        | {"rectanglelabels": ["Bär"]},
        "score": 0.9,
    }
    view = ElementTree.parse(tmp_path / "out/label_config.xml").getroot()
    labels = view.find("RectangleLabels")
    assert labels is not None
    assert labels.attrib == {"name": "label", "toName": "image"}
    assert [label.get("value") for label in labels] == list(CLASSES)


@pytest.mark.parametrize("label_format", ["yolo", "voc", "cvat"])
def test_two_images_of_one_stem_are_refused_where_they_would_share_labels(tmp_path, label_format):
    for name in ("a.jpg", "a.png"):
        save_image(tmp_path / name)
    sources, _ = find_sources([str(tmp_path)])
    with pytest.raises(DataError, match=r'"a.jpg" and "a.png" .* same labels'):
        plan_label_files(tmp_path / "out", label_format, sources, CLASSES)


@pytest.mark.parametrize("label_format", ["coco", "label-studio"])
def test_two_images_of_one_stem_are_two_images_elsewhere(tmp_path, label_format):
    for name in ("a.jpg", "a.png"):
        save_image(tmp_path / name)
    sources, _ = find_sources([str(tmp_path)])
    assert plan_label_files(tmp_path / "out", label_format, sources, CLASSES)


@pytest.mark.parametrize("label_format", ["coco", "yolo", "voc", "cvat", "label-studio"])
def test_no_file_is_replaced(photos, tmp_path, label_format):
    write(photos, tmp_path / "out", label_format)
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    sources, _ = find_sources([str(photos)])
    assert sorted(plan_label_files(tmp_path / "new", label_format, sources, CLASSES)) == sorted(
        tmp_path / "new" / path.relative_to(tmp_path / "out") for path in before
    )
    with pytest.raises(OptionError, match="labels replace none"):
        plan_label_files(tmp_path / "out", label_format, sources, CLASSES)
    with pytest.raises(OptionError, match="labels replace none"):
        write(photos, tmp_path / "out", label_format)
    assert {path: path.read_bytes() for path in before} == before


def test_an_error_leaves_nothing_behind(photos, tmp_path):
    sources, _ = find_sources([str(photos)])
    with pytest.raises(ValueError, match="half way"), open_labels(tmp_path / "out", "yolo", RUN, sources) as file:
        file.write(Frame(sources[0], WIDTH, HEIGHT), detections(DETECTED[sources[0].name]))
        raise ValueError("half way")
    assert not (tmp_path / "out").exists()


def test_images_of_several_folders_get_names_below_the_folder_that_they_share(tmp_path):
    for name in ("one/x.jpg", "two/y.jpg"):
        save_image(tmp_path / name)
    sources, _ = find_sources([str(tmp_path / "one/x.jpg"), str(tmp_path / "two/y.jpg")])
    with open_labels(tmp_path / "out", "coco", RUN, sources) as file:
        for source in sources:
            file.write(Frame(source, WIDTH, HEIGHT), detections([]))
    assert file.labels.root == tmp_path.resolve()
    data = coco.read([tmp_path / "out/annotations.json"], [tmp_path])
    assert [record.file_name for record in data.records] == ["one/x.jpg", "two/y.jpg"]


def test_frames_and_boxes_without_an_area_are_counted_not_written(tmp_path):
    save_image(tmp_path / "a.jpg")
    image = Source("image", str(tmp_path / "a.jpg"), "a.jpg")
    video = Source("video", "clip.mp4", "clip.mp4")
    with open_labels(tmp_path / "out", "coco", RUN, [image, video]) as file:
        file.write(Frame(image, WIDTH, HEIGHT), detections([([5.0, 5.0, 5.0, 9.0], 0, 0.9), ([90, 5, 99, 9], 0, 0.9)]))
        file.write(Frame(video, WIDTH, HEIGHT, index=0, time_s=0.0, rate=25.0), detections(DETECTED["a.b, c.jpg"]))
        file.fail(Failure(video, "clip.mp4: it breaks off"))
    assert (file.num_frames, file.num_empty) == (1, 2)
    content = json.loads((tmp_path / "out/annotations.json").read_text("utf-8"))
    assert (len(content["images"]), content["annotations"]) == (1, [])


def test_boxes_are_cut_at_the_border(tmp_path):
    save_image(tmp_path / "a.jpg")
    image = Source("image", str(tmp_path / "a.jpg"), "a.jpg")
    with open_labels(tmp_path / "out", "coco", RUN, [image]) as file:
        file.write(Frame(image, WIDTH, HEIGHT), detections([([-5, -5, 90, 50], 0, 0.9)]))
    content = json.loads((tmp_path / "out/annotations.json").read_text("utf-8"))
    assert content["annotations"][0]["bbox"] == [0, 0, 80, 40]


def test_videos_alone_have_no_labels(tmp_path):
    with pytest.raises(OptionError, match="there is none"):
        plan_label_files(tmp_path, "coco", [Source("video", "clip.mp4", "clip.mp4")], CLASSES)


@pytest.mark.parametrize("name", ["two\nlines", " blanks around "])
def test_a_class_that_the_format_cannot_name_is_refused(photos, tmp_path, name):
    sources, _ = find_sources([str(photos)])
    with pytest.raises(DataError, match="Rename it"):
        plan_label_files(tmp_path / "out", "yolo", sources, ["fine", name])
