"""Comparing images: what is found does not depend on how many are alike."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from multibox.data.coco import CocoData, Record
from multibox.doctor.duplicates import Twins, check_boxes_of_twins, find_twins, groups_alike
from multibox.doctor.looks import see


def save(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    _, encoded = cv2.imencode(".png", image)
    path.write_bytes(encoded.tobytes())
    return path


def blots(seed: int) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return cv2.resize(small, (160, 120), interpolation=cv2.INTER_CUBIC)


def twins_of(splits: dict[str, CocoData]) -> list[Twins]:
    return find_twins({name: seen.looks for name, seen in see(splits).items()})


def split(paths: list[Path]) -> CocoData:
    none = np.zeros((0, 4))
    records = tuple(
        Record(
            path=path,
            file_name=path.name,
            image_id=number,
            source=0,
            width=160,
            height=120,
            boxes=none.astype(np.float32),
            labels=np.zeros(0, np.int64),
            is_crowd=np.zeros(0, np.bool_),
            boxes_px=none,
            areas_px=np.zeros(0),
        )
        for number, path in enumerate(paths)
    )
    return CocoData(records, ("cat",), (1,), 0, (), "")


def test_each_picture_has_its_nearest_partner_where_a_camera_does_not_move(tmp_path):
    """Ten frames of one scene, in which a square moves on, in train and in val: all are near."""

    def frame(i: int) -> np.ndarray:
        image = blots(1)
        image[40:60, 10 + 12 * i : 30 + 12 * i] = 255
        return image

    train = split([save(tmp_path / "train" / f"{i}.png", frame(i)) for i in range(10)])
    # Not the same file: one pixel is another.
    changed = [frame(i) for i in range(10)]
    for image in changed:
        image[0, 0] = 0
    val = split([save(tmp_path / "val" / f"{i}.png", image) for i, image in enumerate(changed)])
    twins = twins_of({"train": train, "val": val})
    assert [(twin.first[1], twin.second[1]) for twin in twins] == [(f"{i}.png", f"{i}.png") for i in range(10)]


@pytest.mark.parametrize("level", [0, 128, 255])
def test_empty_pictures_are_no_twins_unless_they_are_the_same_file(tmp_path, level):
    image = np.full((120, 160, 3), level, np.uint8)
    other = image.copy()
    other[0, 0] = 100
    train = split([save(tmp_path / "a.png", image)])
    val = split([save(tmp_path / "b.png", other), save(tmp_path / "c.png", image)])
    assert [twin.second[1] for twin in twins_of({"train": train, "val": val})] == ["c.png"]


def test_pictures_of_noise_are_no_twins(tmp_path):
    rng = np.random.default_rng(0)
    dark = [rng.normal(4, 1.5, (120, 160, 3)).clip(0, 255).astype(np.uint8) for _ in range(8)]
    paths = [save(tmp_path / f"{i}.png", image) for i, image in enumerate(dark)]
    assert twins_of({"train": split(paths[:4]), "val": split(paths[4:])}) == []


@pytest.mark.parametrize(
    ("boxes", "labels", "kinds"),
    [
        ([[0.1, 0.1, 0.4, 0.5]], [0], []),
        # Two pixels of 48 beside: the same object, boxed by two people.
        ([[0.1125, 0.1, 0.4125, 0.5]], [0], []),
        ([[0.5, 0.1, 0.8, 0.5]], [0], ["twins-boxed-differently"]),
        ([[0.1, 0.1, 0.4, 0.5]], [1], ["twins-boxed-differently"]),
        ([[0.1, 0.1, 0.4, 0.5], [0.5, 0.1, 0.8, 0.5]], [0, 0], ["twins-boxed-differently"]),
        ([], [], ["twins-boxed-differently"]),
    ],
    ids=["as it is", "nearly as it is", "another place", "another class", "one more", "none"],
)
@pytest.mark.parametrize("is_listed_twice", [False, True])
def test_copies_of_a_file_must_have_the_same_objects(tmp_path, boxes, labels, kinds, is_listed_twice):
    paths = [save(tmp_path / "a.png", blots(1)), save(tmp_path / "b.png", blots(1))]
    one, other = split([paths[0], paths[0 if is_listed_twice else 1]]).records
    one = with_objects(one, [[0.1, 0.1, 0.4, 0.5]], [0])
    other = with_objects(other, boxes, labels)
    data = {"train": dataclasses.replace(split(paths), records=(one, other))}
    assert [finding.kind for finding in check_boxes_of_twins(data, twins_of(data))] == kinds


def with_objects(record: Record, boxes: list[list[float]], labels: list[int]) -> Record:
    array = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    return dataclasses.replace(
        record, boxes=array, labels=np.array(labels, np.int64), is_crowd=np.zeros(len(labels), np.bool_)
    )


def test_alike_are_chains_of_near_images_mirrored_ones_and_copies(tmp_path):
    def frame(number: int) -> np.ndarray:
        image = blots(1)
        image[30:90, 8 * number : 8 * number + 60] = 255
        return image

    # A square crosses the image: the first and the last are not near, each is near the next.
    film = [save(tmp_path / f"film{number}.png", frame(number)) for number in range(12)]
    others = [
        save(tmp_path / "other.png", blots(2)),
        save(tmp_path / "mirrored.png", blots(2)[:, ::-1]),
        save(tmp_path / "alone.png", blots(3)),
        save(tmp_path / "black.png", np.zeros((120, 160, 3), np.uint8)),
        save(tmp_path / "same black.png", np.zeros((120, 160, 3), np.uint8)),
        save(tmp_path / "other black.png", np.full((120, 160, 3), 1, np.uint8)),
    ]
    looks = see({"train": split([*film, *others])})["train"].looks
    assert find_twins({"train": [looks[0]], "val": [looks[11]]}) == []
    assert groups_alike(looks) == [*[0] * 12, 1, 1, 2, 3, 3, 4]
