from __future__ import annotations

import numpy as np
import pytest

from multibox.evaluate.hits import find_hits
from multibox.evaluate.thresholds import THRESHOLDS, count, suggest, suggest_per_class, suggested
from tests.report_case import dataset, found, record

BOX = [10.0, 10.0, 60.0, 60.0]
NEXT = [100.0, 100.0, 150.0, 150.0]
AWAY = [150.0, 10.0, 190.0, 50.0]


def at(threshold: float) -> int:
    return int(np.flatnonzero(np.isclose(THRESHOLDS, threshold))[0])


def test_precision_recall_and_f1_at_a_threshold():
    # From 0.5 on: two hits and a wrong box of three, two of two objects. From 0.7 on: one hit, one of two objects.
    counts = count(find_hits([found([BOX, AWAY, NEXT], [0.8, 0.6, 0.5])], dataset(record([BOX, NEXT]))))
    assert (counts.hits[0, at(0.5)], counts.shown[0, at(0.5)]) == (2, 3)
    assert counts.precision[0, at(0.5)] == pytest.approx(2 / 3)
    assert counts.recall[0, at(0.5)] == 1
    assert counts.f1[0, at(0.5)] == pytest.approx(4 / 5)  # 2 x 2 hits / (3 shown + 2 objects)
    assert (counts.precision[0, at(0.7)], counts.recall[0, at(0.7)]) == (1, 0.5)


def test_a_score_at_the_threshold_reaches_it():
    counts = count(find_hits([found([BOX], [0.3])], dataset(record([BOX]))))
    assert counts.shown[0, at(0.30)] == 1
    assert counts.shown[0, at(0.31)] == 0


def test_what_lies_in_a_crowd_is_not_shown():
    counts = count(find_hits([found([BOX], [0.9])], dataset(record([BOX, NEXT], crowds=[True, False]))))
    assert counts.shown.max() == 0


def test_the_middle_of_the_best_thresholds_is_suggested():
    # All is right from 0.41, above the wrong box, to 0.80, the lower of the hits: the middle of 40 values is 0.60.
    data = dataset(record([BOX, NEXT]))
    assert suggested([found([BOX, NEXT, AWAY], [0.9, 0.8, 0.4])], data) == 0.60


def test_every_class_counts_the_same():
    # Class 0 has one object, class 1 two; 0.5 loses half of class 0's F1 and gains little of class 1's.
    data = dataset(record([BOX, NEXT, AWAY], [0, 1, 1]), classes=("a", "b", "none"))
    counts = count(find_hits([found([NEXT, AWAY, BOX], [0.9, 0.9, 0.2], [1, 1, 0])], data))
    assert suggest(counts) == 0.11  # both classes are perfect from 0.02 to 0.20
    assert suggest_per_class(counts) == (0.11, 0.46, None)  # class 1 is perfect from 0.02 to 0.90


def test_without_a_hit_nothing_is_suggested():
    assert suggested([found([AWAY], [0.9])], dataset(record([BOX]))) is None
    assert suggested([found([], [])], dataset(record([BOX]))) is None
    assert suggested([found([BOX], [0.9])], dataset(record([]))) is None
    assert suggested([], dataset()) is None
