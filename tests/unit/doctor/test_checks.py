"""Checks of records that look at no pixel: what reading doubted, and what training would never see."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from multibox.data.coco import CocoData, Record
from multibox.data.layouts import Split
from multibox.data.problems import Doubt
from multibox.doctor import checks


def data(**changes: object) -> CocoData:
    record = Record(
        path=Path("a.jpg"),
        file_name="a.jpg",
        image_id=1,
        source=0,
        width=100,
        height=50,
        boxes=np.array([[0.1, 0.1, 0.5, 0.5]], np.float32),
        labels=np.zeros(1, np.int64),
        is_crowd=np.zeros(1, np.bool_),
        boxes_px=np.array([[10.0, 5, 50, 25]]),
        areas_px=np.array([800.0]),
    )
    facts = {"classes": ("cat",), "category_ids": (1,), "num_clipped": 0, "skipped": (), "fingerprint": ""}
    return CocoData(**({"records": (record,)} | facts | changes))  # type: ignore[arg-type]


def test_what_reading_doubted_is_a_warning_and_an_error_where_all_is_lost() -> None:
    doubts = (Doubt("turned-boxes", "2 turned boxes", ("a", "b")), Doubt("other", "all mean another", is_fatal=True))

    found = list(checks.doubtful("train", data(doubts=doubts)))

    assert [(one.severity, one.kind, one.count, one.text) for one in found] == [
        ("warning", "turned-boxes", 2, "2 turned boxes"),
        ("error", "other", 1, "all mean another"),
    ]


def test_training_hears_of_doubts_too() -> None:
    texts = [one.text for one in checks.cheap({"train": data(doubts=(Doubt("x", "something is odd"),))})]

    assert "something is odd" in texts


def test_what_conversion_doubted_is_a_warning() -> None:
    split = Split(Path("a.json"), Path(), doubts={"label files that several images share": ["a.txt"]})

    (finding,) = checks.converted("train", [split])

    assert (finding.severity, finding.kind) == ("warning", "label-files-that-several-images-share")


def test_objects_that_training_does_not_name_are_told_but_not_those_it_leaves_out() -> None:
    train, val = data(unchosen={"dog": 3}), data(unchosen={"dog": 1, "Cat": 2})

    (finding,) = checks.unknown_to_training({"train": train, "val": val})

    assert finding.text == "not a class of the training set, and so not measured: Cat (2)"


def test_boxes_that_are_one_object_are_told_with_the_first_of_them_alone() -> None:
    # Far from each other, but for rows 3, 300 and 597; crowds apart.
    count = 600
    corners = np.stack([np.arange(count) % 30, np.arange(count) // 30], axis=1) / 32
    boxes = np.concatenate([corners, corners + 0.02], axis=1).astype(np.float32)
    boxes[[300, 597, 598]] = boxes[3]
    is_crowd = np.arange(count) == 598
    (record,) = data().records
    labels, areas = np.zeros(count, np.int64), np.ones(count)
    record = replace(record, boxes=boxes, boxes_px=boxes * 100.0, labels=labels, is_crowd=is_crowd, areas_px=areas)

    (finding,) = (one for one in checks.questionable("train", data(records=(record,))) if "twice" in one.kind)

    assert (finding.kind, finding.count) == ("boxes-drawn-twice", 2)
