from __future__ import annotations

import pytest

from multibox.evaluate.confusion import confusion_matrix
from multibox.evaluate.hits import find_hits
from multibox.evaluate.thresholds import THRESHOLDS, count
from tests.report_case import dataset, found, random_case, record

BOX = [10.0, 10.0, 60.0, 60.0]
NEXT = [100.0, 100.0, 150.0, 150.0]
AWAY = [150.0, 10.0, 190.0, 50.0]
NAMES = ("a", "b")


def matrix(records, detections, *, threshold=0.3):
    data = dataset(*records, classes=NAMES)
    table, confusions = confusion_matrix(detections, data, find_hits(detections, data), threshold=threshold)
    return table.tolist(), [(one.image, one.row, one.item) for one in confusions]


def test_rows_are_objects_and_columns_what_they_are_taken_for():
    # a is found, one b is taken for a, another is missed, and one b is seen where nothing is.
    objects = record([BOX, NEXT, [10, 100, 60, 150]], [0, 1, 1])
    detections = found([BOX, NEXT, AWAY], [0.9, 0.8, 0.7], [0, 0, 1])
    table, confusions = matrix([objects], [detections])
    assert table == [
        [1, 0, 0],
        [1, 0, 1],
        [0, 1, 0],
    ]
    assert confusions == [(0, 1, 1)]


def test_a_detection_below_the_threshold_is_not_there():
    table, _ = matrix([record([BOX])], [found([BOX], [0.2])])
    assert table == [[0, 0, 1], [0, 0, 0], [0, 0, 0]]


def test_an_object_that_is_found_may_be_called_something_else_too():
    table, confusions = matrix([record([BOX])], [found([BOX, BOX], [0.9, 0.8], [1, 0])])
    assert table == [[1, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert confusions == [(0, 0, 0)]


def test_a_duplicate_is_on_background():
    table, _ = matrix([record([BOX])], [found([BOX, BOX], [0.9, 0.8])])
    assert table == [[1, 0, 0], [0, 0, 0], [1, 0, 0]]


def test_a_crowd_is_neither_missed_nor_confused():
    crowd = record([BOX], crowds=[True])
    table, _ = matrix([crowd], [found([BOX, BOX], [0.9, 0.8], [0, 1])])
    assert table == [[0, 0, 0], [0, 0, 0], [0, 1, 0]]


def test_no_image_gives_zeros():
    table, confusions = matrix([], [])
    assert (table, confusions) == ([[0] * 3] * 3, [])


@pytest.mark.parametrize("seed", range(3))
def test_the_diagonal_is_what_recall_counts(seed):
    data, detections = random_case(seed)
    hits = find_hits(detections, data)
    counts = count(hits)
    column = 40
    table, _ = confusion_matrix(detections, data, hits, threshold=float(THRESHOLDS[column]))
    assert table.diagonal()[:-1].tolist() == counts.hits[:, column].tolist()
    # Every detection that counts is in one cell.
    assert table[:, :-1].sum() == counts.shown[:, column].sum()
