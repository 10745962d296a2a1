"""Which images are picked to be labelled next."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from multibox.predict.picking import LEAST_SCORE, pick, pick_sources, unlabelled_image
from multibox.predict.sources import find_sources
from multibox.structures import Detections


def found(*scores: float, label: int = 0) -> Detections:
    """Detections of one class with these scores."""
    count = len(scores)
    boxes = np.tile(np.array([[0.1, 0.1, 0.5, 0.5]], np.float32), (count, 1))
    return Detections(boxes, np.array(scores, np.float32), np.full(count, label, np.int64))


def image(seed: int) -> np.ndarray:
    """An image like no other."""
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return cv2.resize(small, (64, 48), interpolation=cv2.INTER_NEAREST)


def names(candidates, count: int) -> list[str]:
    return [each.name for each in pick(candidates, count)]


def test_doubt_is_largest_at_a_half():
    doubts = unlabelled_image("a", image(0), found(1.0, 0.75, 0.5, 0.25, LEAST_SCORE / 2)).doubts
    assert doubts.tolist() == pytest.approx([0, 0.5, 1, 0.5])


def test_what_the_detector_is_unsure_of_comes_first():
    candidates = [
        unlabelled_image(name, image(i), found(score))
        for i, (name, score) in enumerate(
            [("sure", 0.99), ("unsure", 0.5), ("less sure", 0.8), ("surely nothing", 0.01)]
        )
    ]
    assert names(candidates, 3) == ["unsure", "less sure", "sure"]


def test_a_twin_of_a_picked_image_waits():
    candidates = [
        unlabelled_image("first", image(1), found(0.5, 0.5)),
        unlabelled_image("its twin", image(1), found(0.5, 0.5)),
        unlabelled_image("another", image(2), found(0.7)),
    ]
    assert names(candidates, 3) == ["first", "another", "its twin"]


def test_a_rare_class_is_not_lost_among_common_ones():
    common = [unlabelled_image(f"common {i}", image(i), found(0.6)) for i in range(20)]
    rare = unlabelled_image("rare", image(50), found(0.7, label=1))
    assert names([*common, rare], 1) == ["rare"]


def test_all_are_picked_once_where_there_are_no_more():
    candidates = [unlabelled_image(str(i), image(i), found(0.5)) for i in range(4)]
    assert sorted(names(candidates, 9)) == ["0", "1", "2", "3"]
    assert pick([], 3) == []


def test_an_image_of_one_colour_is_like_none():
    grey = np.full((48, 64, 3), 90, np.uint8)
    candidates = [unlabelled_image("a", grey, found(0.5)), unlabelled_image("b", grey, found(0.5))]
    assert names(candidates, 2) == ["a", "b"]


class Scripted:
    """A runtime whose score is the blue of the image, of 255."""

    classes = ("thing",)
    input_size = 32
    threshold = None

    def stream(self, images):
        for each in images:
            yield found(float(each[0, 0, 0]) / 255)

    def __call__(self, one):
        return found(float(one[0, 0, 0]) / 255)


def test_sources_are_picked_by_what_is_found_in_them(tmp_path):
    for name, blue in (("sure.png", 255), ("unsure.png", 128), ("nothing.png", 0)):
        drawn = image(blue)
        drawn[..., 0] = blue
        cv2.imwrite(str(tmp_path / name), drawn)
    (tmp_path / "broken.png").write_bytes(b"no image")
    sources, _ = find_sources([str(tmp_path)], output_folder=None)
    heard = []
    picked = pick_sources(Scripted(), sources, 1, stop=_Never(), on_result=heard.append)
    assert [source.name for source in picked] == ["unsure.png"]
    assert len(heard) == 4


class _Never:
    def is_set(self) -> bool:
        return False
