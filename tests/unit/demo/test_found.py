"""What was found, saved as labels: a zip file, made in memory."""

from __future__ import annotations

import io
import json
import zipfile

import pytest

from multibox.demo.found import labels_zip, read_wanted
from multibox.errors import DataError

CLASSES = ("cat", "dog")


def wanted(label_format: str, *images: dict) -> bytes:
    return json.dumps({"format": label_format, "images": images}).encode()


def image(name: str = "a.jpg", *detections: dict) -> dict:
    return {"name": name, "width": 200, "height": 100, "detections": detections}


def found(label: int, *box: float, score: float = 0.5) -> dict:
    return {"label": label, "score": score, "box_px": box}


def unpacked(data: bytes) -> dict[str, str]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def saved(request: bytes) -> dict[str, str]:
    return unpacked(labels_zip(read_wanted(request), CLASSES, model="model.xml"))


def test_coco_has_the_boxes_cut_at_the_border_of_the_image():
    (text,) = saved(wanted("coco", image("a.jpg", found(1, -5, 10, 50, 30)), image("b.jpg"))).values()
    content = json.loads(text)
    assert [entry["file_name"] for entry in content["images"]] == ["a.jpg", "b.jpg"]
    (box,) = content["annotations"]
    assert (box["bbox"], box["category_id"], box["score"]) == ([0, 10, 50, 20], 2, 0.5)


def test_yolo_has_a_file_for_each_image():
    files = saved(wanted("yolo", image("a.jpg", found(0, 50, 25, 150, 75)), image("b.png")))
    assert files["labels/a.txt"] == "0 0.500000 0.500000 0.500000 0.500000\n"
    assert files["labels/b.txt"] == ""
    assert files["classes.txt"] == "cat\ndog\n"


def test_what_lies_outside_of_its_image_is_left_out():
    (text,) = saved(wanted("coco", image("a.jpg", found(0, 300, 10, 400, 20)))).values()
    assert json.loads(text)["annotations"] == []


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (b"{", "no detections to save"),
        (wanted("coco"), "no detections to save"),
        (wanted("excel", image()), "no detections to save"),
        (wanted("coco", image("a.jpg", found(0, 1, 2, 3, 1e9))), "no detections to save"),
        (wanted("coco", image("a.jpg", found(2, 1, 2, 3, 4))), "class 2; there are 2"),
        (wanted("coco", image("../../a.jpg")), "without folders"),
        (wanted("coco", image("c:\\a.jpg")), "without folders"),
        (wanted("coco", image("a.jpg"), image("a.jpg")), "Two images"),
        (wanted("yolo", image("a.jpg"), image("a.png")), "a.jpg"),
        (wanted("coco", image("a\n.jpg")), "cannot have such a name"),
    ],
)
def test_what_cannot_be_saved_is_refused(request_, words):
    with pytest.raises(DataError, match=words.replace("\\", "\\\\")):
        saved(request_)
