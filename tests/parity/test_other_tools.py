"""Labels as `predict --save-labels` writes them, read by the own code of other tools, each where it is installed.

They do not go into one environment with all of multibox (docs/bridges.md says how to run these tests).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from multibox.data.label_formats import LabelFormat, LabelSet
from multibox.data.labels import LabelledImage, LabelledObject
from multibox.data.labels_out import write_labels

# What other tools warn of is not our business.
pytestmark = pytest.mark.filterwarnings("default")

CLASSES = ("cat", "hot dog")
FOUND = {
    "a.jpg": [LabelledObject(0, 10, 5, 50, 25, score=0.9), LabelledObject(1, 60, 10, 90, 40, score=0.25)],
    "b.jpg": [],
    "c.jpg": [LabelledObject(1, 0, 0, 100, 50, score=0.5)],
}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three images of 100 x 50 pixels."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in FOUND:
        assert cv2.imwrite(str(folder / name), np.full((50, 100, 3), 90, np.uint8))
    return folder


def written(label_format: LabelFormat, photos: Path, *, split: str = "", model: str = "model.xml") -> Path:
    images = [LabelledImage(name, 100, 50, objects) for name, objects in FOUND.items()]
    folder = photos.parent / "labels"
    write_labels(label_format, folder, [LabelSet(split, photos, images, model)], CLASSES)
    return folder


def corners(x: float, y: float, width: float, height: float) -> list[float]:
    return [round(value, 3) for value in (x, y, x + width, y + height)]


def expected() -> list[tuple[str, str, list[float]]]:
    """The name of the image, of the class, and the corners of each object."""
    return [(name, CLASSES[one.number], list(one[1:5])) for name, objects in FOUND.items() for one in objects]


def test_fiftyone_imports_detections_with_their_scores(photos):
    importers = pytest.importorskip("fiftyone.utils.coco")
    labels = written("coco", photos) / "annotations.json"
    read, scores = [], []
    with importers.COCODetectionDatasetImporter(
        data_path=str(photos), labels_path=str(labels), label_types="detections"
    ) as importer:
        for path, size, found in importer:
            assert (size.width, size.height) == (100, 50)
            for one in found.detections if found else ():
                x, y, width, height = one.bounding_box
                read.append((Path(path).name, one.label, corners(100 * x, 50 * y, 100 * width, 50 * height)))
                scores.append(one.confidence)
    assert sorted(read) == expected()
    assert sorted(scores) == [0.25, 0.5, 0.9]


def test_label_studio_takes_the_interface_and_its_predictions(photos):
    interfaces = pytest.importorskip("label_studio_sdk.label_interface")
    folder = written("label-studio", photos)
    interface = interfaces.LabelInterface((folder / "label_config.xml").read_text(encoding="utf-8"))
    interface.validate()
    tasks = json.loads((folder / "tasks.json").read_text(encoding="utf-8"))
    predictions = [one for task in tasks for one in task["predictions"]]
    assert sum(len(one["result"]) for one in predictions) == len(expected())
    assert all(interface.validate_task({"data": task["data"]}) for task in tasks)
    assert all(interface.validate_prediction(one) for one in predictions)


def test_datumaro_reads_what_cvat_gets(photos):
    datumaro = pytest.importorskip("datumaro")
    folder = written("cvat", photos)
    photos.rename(folder / "images")
    data = datumaro.Dataset.import_from(str(folder), "cvat")
    names = [label.name for label in data.categories()[datumaro.AnnotationType.label]]
    read = [(f"{item.id}.jpg", names[box.label], corners(*box.get_bbox())) for item in data for box in item.annotations]
    assert sorted(read) == expected()


def test_hugging_face_datasets_reads_the_folder(photos):
    datasets = pytest.importorskip("datasets")
    folder = written("hf-folder", photos, split="train", model="")
    for photo in photos.iterdir():
        photo.rename(folder / "train" / photo.name)
    cache = str(photos.parent / "cache")
    rows: Any = datasets.load_dataset("imagefolder", data_dir=str(folder), cache_dir=cache)["train"]
    assert sorted(row["image"].size for row in rows) == [(100, 50)] * 3
    read = [
        (CLASSES[category], corners(*box))
        for row in rows
        for box, category in zip(row["objects"]["bbox"], row["objects"]["categories"], strict=True)
    ]
    assert sorted(read) == sorted((name, box) for _, name, box in expected())
