"""Results: what they are cut to, what they are turned into, and what a notebook shows of them."""

from __future__ import annotations

import base64
import copy
import doctest
import json
import pickle
import re
import sys
from typing import Any

import cv2
import numpy as np
import pytest

from multibox import drawing, structures
from multibox.drawing import colour
from multibox.errors import DependencyError, OptionError
from multibox.structures import Detections, Image, shown_from

CLASSES = ("cat", "dog", "<b>")


class Picture:
    """An image that can be had again."""

    def __init__(self, image: Image | None) -> None:
        self.image = image

    def read(self) -> Image | None:
        return self.image


def result(**facts: Any) -> Detections:
    """A cat on the left, a dog on the right, a dim `<b>` in the middle, of an image of 200 x 100 pixels."""
    boxes = np.array([[0, 0, 0.25, 0.5], [0.5, 0.5, 1, 1], [0.4, 0.4, 0.6, 0.6]], np.float32)
    scores, labels = np.array([0.9, 0.75, 0.125], np.float32), np.array([0, 1, 2])
    known: dict[str, Any] = {"size": (200, 100), "classes": CLASSES}
    return Detections(boxes, scores, labels, **known | facts)


def bare() -> Detections:
    """The result of a detector that says neither sizes nor names."""
    return result(size=None, classes=None)


@pytest.mark.parametrize(
    ("chosen", "expected", "reason"),
    [
        ((0.7, 0.4), 0.7, "as given"),
        ((0.0, 0.4), 0.0, "as given"),
        ((None, 0.4), 0.4, "which the model's file recommends"),
        ((None, None), 0.3, "the default: the model's file recommends none"),
    ],
)
def test_a_choice_comes_before_a_recommendation_and_that_before_the_default(chosen, expected, reason):
    assert shown_from(*chosen) == (expected, reason)


@pytest.mark.parametrize(("threshold", "expected"), [(0.8, 1), (0.5, 2), (0.0, 4), (None, 3)])
def test_detections_above_a_threshold_include_those_on_it(threshold, expected):
    scores = np.array([0.9, 0.5, 0.31, 0.29], dtype=np.float32)
    found = Detections(np.zeros((4, 4), np.float32), scores, np.zeros(4, np.int64)).above(threshold)
    assert found.scores.tolist() == scores[:expected].tolist()


@pytest.mark.parametrize(
    ("chosen", "labels"),
    [
        (slice(None, 2), [0, 1]),
        (slice(None, None, -1), [2, 1, 0]),
        ([2, 0], [2, 0]),
        (np.array([1]), [1]),
        ([True, False, True], [0, 2]),
        (np.array([False, False, False]), []),
        ([], []),
    ],
)
def test_it_is_cut_by_slices_positions_and_truth_values(chosen, labels):
    found = result(source="a.jpg", threshold=0.4)[chosen]

    assert found.labels.tolist() == labels and len(found.boxes) == len(found.scores) == len(labels)
    assert (found.size, found.classes, found.source) == ((200, 100), CLASSES, "a.jpg")


@pytest.mark.parametrize("chosen", [3, -4, [3], [True, False]])
def test_rows_that_are_not_there_are_an_index_error(chosen):
    with pytest.raises(IndexError):
        result()[chosen]


def test_one_object_has_a_name_and_its_box_in_both_units():
    assert result()[-2] == result()[np.int64(1)] == ("dog", 0.75, (0.5, 0.5, 1.0, 1.0), (100.0, 50.0, 200.0, 100.0), 1)
    assert bare()[0] == ("class 0", pytest.approx(0.9), (0.0, 0.0, 0.25, 0.5), None, 0)


def test_a_loop_gives_every_object_once():
    assert [one.name for one in result()] == result().names == ["cat", "dog", "<b>"]
    assert list(result()[:0]) == []


def test_classes_are_chosen_by_name():
    assert result().only("dog").names == ["dog"]
    assert result().only("<b>", "cat").names == ["cat", "<b>"]
    assert result().only().names == []
    assert bare().only("class 1").labels.tolist() == [1]
    with pytest.raises(OptionError, match=r'no class "bird"\. There are cat, dog and <b>\.'):
        result().only("cat", "bird")


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (result(), "Detections(3 objects: cat 0.90, dog 0.75, <b> 0.12; image 200x100)"),
        (result()[:0], "Detections(0 objects; image 200x100)"),
        (bare()[:1], "Detections(1 object: class 0 0.90)"),
        (result()[[0] * 7], "Detections(7 objects: " + "cat 0.90, " * 5 + "2 more; image 200x100)"),
        (result(classes=("\x1b[31m\n", "b", "c"))[:1], r"Detections(1 object: \x1b[31m\n 0.90; image 200x100)"),
    ],
)
def test_a_console_shows_it_on_one_line(found, text):
    assert repr(found) == str(found) == text


def test_boxes_are_in_pixels_of_its_own_image_or_of_another():
    assert result().boxes_px()[0].tolist() == [0, 0, 50, 50]
    assert result().boxes_px(400, 10)[0].tolist() == bare().boxes_px(400, 10)[0].tolist() == [0, 0, 100, 5]
    assert result().corner_and_size_px()[1].tolist() == [100, 50, 100, 50]
    with pytest.raises(ValueError, match="the size of the image is not known"):
        bare().boxes_px()


def test_what_existed_before_is_made_as_before():
    found = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    assert not found and found.size is None and found.above(None).classes is None
    with pytest.raises(AttributeError):
        found.labels = np.zeros(1)  # type: ignore[misc]


@pytest.mark.parametrize("copied", [lambda one: pickle.loads(pickle.dumps(one)), copy.copy, copy.deepcopy])
def test_it_can_be_copied_and_sent_to_another_process(copied):
    found = copied(result(source="a.jpg", threshold=0.5))
    assert repr(found) == repr(result()) and (found.source, found.threshold) == ("a.jpg", 0.5)


def coloured(drawing: Image, label: int) -> bool:
    return bool((drawing == colour(label)).all(axis=2).any())


@pytest.mark.parametrize(
    ("found", "threshold", "labels"),
    [
        (result(threshold=0.8), None, {0}),
        (result(), None, {0, 1}),
        (result(threshold=0.8), 0.1, {0, 1, 2}),
        (result(threshold=0.8)[1:], None, {1, 2}),  # what was chosen is shown
        (result(threshold=0.8).above(0.5), None, {0, 1}),
        (result(classes=None), None, {0, 1}),
    ],
)
def test_a_drawing_has_what_the_model_or_the_user_finds_worth_showing(found, threshold, labels):
    shown = found.plot(threshold=threshold)
    assert {label for label in range(3) if coloured(shown, label)} == labels
    assert shown.shape == (100, 200, 3)


def test_a_drawing_is_on_the_image_that_was_looked_at_or_a_given_one_and_changes_neither():
    image = np.full((100, 200, 3), 7, np.uint8)
    for shown in (result(pixels=Picture(image)).plot(), bare().plot(image)):
        assert shown[90, 20].tolist() == [7, 7, 7] and coloured(shown, 0)
    assert (image == 7).all()
    assert result(pixels=Picture(None)).plot()[90, 20].tolist() == [structures.GREY] * 3
    with pytest.raises(ValueError, match="the size of the image is not known"):
        bare().plot()


def test_a_notebook_shows_the_image_and_a_table_in_which_names_are_text():
    shown = result(threshold=0.1)._repr_html_()
    png = base64.b64decode(re.search(r'src="data:image/png;base64,([^"]*)"', shown)[1])
    assert np.array_equal(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR), result(threshold=0.1).plot())
    assert re.findall(r"<td>(.*?)</td>", shown) == ["cat", "0.90", "dog", "0.75", "&lt;b&gt;", "0.12"]
    assert "Nothing was found" in result()[:0]._repr_html_()
    assert bare()._repr_png_() is None and "<img" not in bare()._repr_html_()


def test_a_notebook_gets_large_images_made_smaller():
    png = result(size=(6000, 3000))._repr_png_()
    assert cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR).shape == (512, 1024, 3)


def test_coco_has_corner_and_size_in_pixels_and_ids_of_ones_choice():
    rows = result()[:2].to_coco(image_id="b")
    assert json.loads(json.dumps(rows)) == [
        {"image_id": "b", "category_id": 1, "bbox": [0, 0, 50, 50], "score": 0.9},
        {"image_id": "b", "category_id": 2, "bbox": [100, 50, 100, 50], "score": 0.75},
    ]
    assert [row["category_id"] for row in result().to_coco(7, category_ids=(3, 7, 12))] == [3, 7, 12]


def test_supervision_gets_boxes_in_pixels_scores_and_names():
    other = result().to_supervision()
    assert other.xyxy[1].tolist() == [100, 50, 200, 100] and other.xyxy.dtype == np.float32
    assert other.confidence.tolist() == pytest.approx([0.9, 0.75, 0.125]) and other.class_id.tolist() == [0, 1, 2]
    assert other.data["class_name"].tolist() == ["cat", "dog", "<b>"]
    assert other[other.class_id == 1].xyxy.tolist() == [[100, 50, 200, 100]]
    assert len(result()[:0].to_supervision()) == 0


def test_pandas_gets_a_row_for_each_object():
    table = result().to_pandas()
    assert table.columns.tolist() == ["name", "score", "x1", "y1", "x2", "y2", "label"]
    assert table.iloc[1].tolist() == ["dog", 0.75, 100, 50, 200, 100, 1]
    assert result()[:0].to_pandas().shape == (0, 7)


@pytest.mark.parametrize(("name", "turn"), [("supervision", "to_supervision"), ("pandas", "to_pandas")])
def test_a_library_that_is_not_installed_is_one_line(monkeypatch, name, turn):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DependencyError, match=rf"^This needs {name}\. Install it with: pip install {name}$"):
        getattr(result(), turn)()


def test_the_examples_hold():
    example = doctest.DocTestParser().get_examples(Detections.__doc__)
    names: dict[str, Any] = {"Detections": Detections}
    for line in example[:3]:  # until there is `found`
        exec(line.source, names)
    names["draw"] = drawing.draw
    found = [test for module in (structures, drawing) for test in doctest.DocTestFinder().find(module, globs=names)]
    tests = [test for test in found if test.examples]
    runner = doctest.DocTestRunner()
    assert len(tests) >= 11
    for test in tests:
        for one in test.examples:
            one.options.pop(doctest.SKIP, None)
    assert [runner.run(test).failed for test in tests] == [0] * len(tests)
