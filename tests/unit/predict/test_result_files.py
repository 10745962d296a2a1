"""Two detections, typed by hand, through every kind of file."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multibox.errors import DataError
from multibox.predict.frames import Failure, Frame
from multibox.predict.result_files import (
    RunFacts,
    images_path,
    open_coco,
    open_csv,
    open_json,
    open_json_lines,
    read_known_images,
)
from multibox.predict.sources import Source
from multibox.structures import Detections

RUN = RunFacts(model="a model.xml", classes=("red, tiny triangle", 'a "square"'), threshold=0.25)
IMAGE = Source("image", "photos/Ünï 1.jpg", "Ünï 1.jpg")
VIDEO = Source("video", "clip.mp4", "clip.mp4")
BROKEN = Source("video", "broken.mp4", "broken.mp4")

FOUND = Detections(
    np.array([[0.25, 0.5, 0.75, 1], [0, 0, 0.5, 0.5]], dtype=np.float32),
    np.array([0.75, 0.5], dtype=np.float32),
    np.array([1, 0]),
)
NOTHING = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))

# Of 80 x 40 pixels.
ROWS = [
    {"class": 'a "square"', "label": 1, "score": 0.75, "box_px": [20, 20, 60, 40]},
    {"class": "red, tiny triangle", "label": 0, "score": 0.5, "box_px": [0, 0, 40, 20]},
]


def frame(source: Source, index: int | None = None) -> Frame:
    time_s = None if index is None else index / 25
    return Frame(source, width=80, height=40, index=index, time_s=time_s, rate=None if index is None else 25.0)


def write_all(context: AbstractContextManager[Any]) -> None:
    """An image, a video of three frames that breaks off, and one that cannot be opened."""
    with context as file:
        file.write(frame(IMAGE), FOUND)
        for index, found in enumerate((FOUND, NOTHING, NOTHING)):
            file.write(frame(VIDEO, index), found)
        file.fail(Failure(VIDEO, "clip.mp4: it breaks off"))
        file.fail(Failure(BROKEN, "broken.mp4: cannot be decoded"))


def test_json_tells_of_the_run_and_every_source(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "found.json"

    write_all(open_json(path, RUN, was_stopped=lambda: False))

    assert json.loads(path.read_text("utf-8")) == {
        "model": "a model.xml",
        "classes": ["red, tiny triangle", 'a "square"'],
        "threshold": 0.25,
        "tile_px": None,
        "sources": [
            {"source": "photos/Ünï 1.jpg", "kind": "image", "width": 80, "height": 40, "detections": ROWS},
            {
                **{"source": "clip.mp4", "kind": "video", "width": 80, "height": 40, "rate": 25},
                "frames": [
                    {"frame": 0, "time_s": 0, "detections": ROWS},
                    {"frame": 1, "time_s": 0.04, "detections": []},
                    {"frame": 2, "time_s": 0.08, "detections": []},
                ],
                "error": "clip.mp4: it breaks off",
            },
            {"source": "broken.mp4", "kind": "video", "error": "broken.mp4: cannot be decoded"},
        ],
        "interrupted": False,
    }


@pytest.mark.parametrize("sources", [[], [VIDEO], [VIDEO, BROKEN], [IMAGE, VIDEO, IMAGE]])
def test_json_is_complete_whatever_comes_last(tmp_path: Path, sources: list[Source]) -> None:
    with open_json(tmp_path / "found.json", RUN, was_stopped=lambda: True) as file:
        for source in sources:
            file.write(frame(source, None if source == IMAGE else 0), FOUND)

    content = json.loads((tmp_path / "found.json").read_text("utf-8"))
    assert [one["source"] for one in content["sources"]] == [source.title for source in sources]
    assert content["interrupted"] is True


def test_json_lines_are_there_as_soon_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "found.jsonl"
    with open_json_lines(path, RUN) as file:
        file.write(frame(IMAGE), FOUND)
        file.write(frame(VIDEO, 7), NOTHING)
        file.fail(Failure(BROKEN, "broken.mp4: cannot be decoded"))
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]

    assert lines == [
        {"source": "photos/Ünï 1.jpg", "kind": "image", "width": 80, "height": 40, "detections": ROWS},
        {
            **{"source": "clip.mp4", "kind": "video", "width": 80, "height": 40, "frame": 7, "time_s": 0.28},
            "detections": [],
        },
        {"source": "broken.mp4", "kind": "video", "error": "broken.mp4: cannot be decoded"},
    ]


def test_csv_has_a_row_for_each_detection(tmp_path: Path) -> None:
    path = tmp_path / "found.csv"

    write_all(open_csv(path, RUN))

    with path.open(encoding="utf-8", newline="") as text:
        rows = list(csv.reader(text))
    square, triangle = ['a "square"', "1", "0.75", "20.0", "20.0", "60.0", "40.0"], ["red, tiny triangle", "0", "0.5"]
    assert rows == [
        ["source", "frame", "time_s", "width", "height", "class", "label", "score", "x1", "y1", "x2", "y2"],
        ["photos/Ünï 1.jpg", "", "", "80", "40", *square],
        ["photos/Ünï 1.jpg", "", "", "80", "40", *triangle, "0.0", "0.0", "40.0", "20.0"],
        ["clip.mp4", "0", "0.0", "80", "40", *square],
        ["clip.mp4", "0", "0.0", "80", "40", *triangle, "0.0", "0.0", "40.0", "20.0"],
    ]


def test_coco_results_without_an_annotation_file_come_with_their_images(tmp_path: Path) -> None:
    path = tmp_path / "found.json"

    write_all(open_coco(path, RUN, None))

    # x, y, width, height
    square = {"category_id": 2, "bbox": [20, 20, 40, 20], "score": 0.75}
    triangle = {"category_id": 1, "bbox": [0, 0, 40, 20], "score": 0.5}
    assert json.loads(path.read_text("utf-8")) == [{"image_id": i, **one} for i in (1, 2) for one in (square, triangle)]
    about = json.loads(images_path(path).read_text("utf-8"))
    size = {"width": 80, "height": 40}
    assert about == {
        "images": [
            {"id": 1, "file_name": "Ünï 1.jpg", **size},
            *({"id": i + 2, "file_name": "clip.mp4", **size, "frame": i, "time_s": i / 25} for i in range(3)),
        ],
        "annotations": [],
        "categories": [{"id": 1, "name": "red, tiny triangle"}, {"id": 2, "name": 'a "square"'}],
    }


def test_coco_results_of_nothing_are_an_empty_list(tmp_path: Path) -> None:
    with open_coco(tmp_path / "found.json", RUN, None) as file:
        file.write(frame(IMAGE), NOTHING)

    assert json.loads((tmp_path / "found.json").read_text("utf-8")) == []
    assert len(json.loads((tmp_path / "found.images.json").read_text("utf-8"))["images"]) == 1


def annotations(folder: Path, **images: int | str) -> Path:
    content = {
        "images": [{"id": one, "file_name": name, "width": 80, "height": 40} for name, one in images.items()],
        "annotations": [],
        "categories": [{"id": 30, "name": 'a "square"'}, {"id": 7, "name": "other"}],
    }
    path = folder / "val.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_coco_results_take_the_ids_of_an_annotation_file(tmp_path: Path) -> None:
    known = read_known_images(annotations(tmp_path, **{"Ünï 1.jpg": 0, "b.jpg": "two"}), RUN.classes)
    with open_coco(tmp_path / "found.json", RUN, known) as file:
        file.write(frame(IMAGE), FOUND)
        file.write(frame(Source("image", "deep/b.jpg", "deep/b.jpg")), FOUND)
        file.write(frame(Source("image", "c.jpg", "c.jpg")), FOUND)
        file.write(frame(VIDEO, 0), FOUND)
        assert (file.num_unknown, file.first_unknown) == (2, "c.jpg")
        assert file.left_out == {"red, tiny triangle": 2}  # of the two images that are known

    square = {"category_id": 30, "bbox": [20, 20, 40, 20], "score": 0.75}  # the file has no triangle
    found = json.loads((tmp_path / "found.json").read_text("utf-8"))
    assert found == [{"image_id": 0, **square}, {"image_id": "two", **square}]
    assert not images_path(tmp_path / "found.json").exists()


@pytest.mark.parametrize(
    ("address", "name", "expected"),
    [
        ("x/a/1.jpg", "1.jpg", 1),  # x/a was named, and so is an image of the file
        ("x/a/1.jpg", "a/1.jpg", 2),  # x was named
        ("x/b/1.jpg", "b/1.jpg", 1),  # only its last part is known
        ("y/2.jpg", "2.jpg", None),
    ],
)
def test_an_image_is_known_by_its_name_or_the_end_of_its_path(
    tmp_path: Path, address: str, name: str, expected: int | None
) -> None:
    known = read_known_images(annotations(tmp_path, **{"1.jpg": 1, "a/1.jpg": 2}), RUN.classes)
    assert known.find(frame(Source("image", address, name))) == expected


def test_an_image_of_another_size_than_annotated_is_unknown(tmp_path: Path) -> None:
    known = read_known_images(annotations(tmp_path, **{"1.jpg": 1}), RUN.classes)
    source = Source("image", "1.jpg", "1.jpg")
    assert known.find(Frame(source, width=40, height=80)) is None


def test_an_annotation_file_of_other_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match='there is no class "apple"'):
        read_known_images(annotations(tmp_path), ("apple",))


def make_json(path: Path) -> AbstractContextManager[Any]:
    return open_json(path, RUN, was_stopped=lambda: False)


@pytest.mark.parametrize(
    "opened", [make_json, lambda path: open_csv(path, RUN), lambda path: open_coco(path, RUN, None)]
)
def test_an_error_leaves_the_file_of_before(tmp_path: Path, opened: Callable[[Path], Any]) -> None:
    path = tmp_path / "found"
    path.write_text("from before")
    with pytest.raises(DataError), opened(path) as file:
        file.write(frame(IMAGE), FOUND)
        raise DataError("the disk is gone")

    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("found", "from before")]
