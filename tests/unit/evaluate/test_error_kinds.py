from __future__ import annotations

import pytest

from multibox.evaluate.average_precision import measure
from multibox.evaluate.error_kinds import KINDS, find_mistakes, fix_mistakes, gains
from multibox.evaluate.hits import find_hits
from tests.report_case import dataset, found, random_case, record

# Objects of 50 x 50 pixels, far from each other.
BOX = [10.0, 10.0, 60.0, 60.0]
NEXT = [100.0, 100.0, 150.0, 150.0]
AWAY = [150.0, 10.0, 190.0, 50.0]
BESIDE = [40.0, 10.0, 90.0, 60.0]  # of BOX: 20 x 50 shared of 80 x 50, IoU 0.25


def mistakes(objects, labels, boxes, scores, guessed):
    data = dataset(record(objects, labels), classes=("a", "b"))
    detections = [found(boxes, scores, guessed)]
    some = find_mistakes(detections, data, find_hits(detections, data))
    return [(one.kind, one.row, one.item) for one in some]


def test_each_kind():
    assert mistakes([BOX], [0], [BOX], [0.9], [1]) == [("class", 0, 0)]
    assert mistakes([BOX], [0], [BESIDE], [0.9], [0]) == [("localisation", 0, 0)]
    assert mistakes([BOX], [0], [BESIDE], [0.9], [1]) == [("both", 0, None), ("missed", None, 0)]
    assert mistakes([BOX], [0], [BOX, BOX], [0.9, 0.8], [0, 0]) == [("duplicate", 1, None)]
    assert mistakes([BOX], [0], [BOX, AWAY], [0.9, 0.8], [0, 0]) == [("background", 1, None)]
    assert mistakes([BOX], [0], [], [], []) == [("missed", None, 0)]


def test_a_right_detection_is_no_mistake():
    assert mistakes([BOX, NEXT], [0, 1], [BOX, NEXT], [0.9, 0.8], [0, 1]) == []


def test_the_thresholds_are_a_half_and_a_tenth():
    # 50 x 26 inside of 50 x 50: IoU 0.52, a hit; 50 x 24: 0.48.
    assert mistakes([BOX], [0], [[10, 10, 60, 36]], [0.9], [0]) == []
    assert mistakes([BOX], [0], [[10, 10, 60, 34]], [0.9], [0])[0][0] == "localisation"
    # Shifted so that 9.1 of 50 columns are shared: 455 / 4545 = 0.1001; 9 columns: 450 / 4550 = 0.0989.
    assert mistakes([BOX], [0], [[50.9, 10, 100.9, 60]], [0.9], [0])[0][0] == "localisation"
    assert mistakes([BOX], [0], [[51, 10, 101, 60]], [0.9], [0])[0][0] == "background"


def test_what_is_in_a_crowd_is_no_mistake_and_a_crowd_is_not_missed():
    data = dataset(record([BOX, NEXT], crowds=[True, False]))
    detections = [found([[20, 20, 40, 40], NEXT], [0.9, 0.8])]
    assert find_mistakes(detections, data, find_hits(detections, data)) == ()


def kinds_of(data, detections):
    hits = find_hits(detections, data)
    return {one.kind: one for one in gains(detections, data, hits, find_mistakes(detections, data, hits))}


def test_fixing_what_was_missed_takes_it_out_of_the_data():
    # One of two objects found: AP50 51/101; without the other: 1.
    found_one = kinds_of(dataset(record([BOX, NEXT])), [found([BOX], [0.9])])
    assert found_one["missed"].count == 1
    assert found_one["missed"].gain == pytest.approx(1 - 51 / 101)
    assert found_one["background"].gain == 0


def test_fixing_the_place_makes_it_a_hit():
    moved = kinds_of(dataset(record([BOX])), [found([BESIDE], [0.9])])
    assert (moved["localisation"].count, moved["localisation"].gain) == (1, 1.0)


def test_fixing_the_class_makes_it_a_hit():
    # AP50 of a is 0, of b, without detections, 0: the mean rises to 1/2.
    data = dataset(record([BOX, NEXT], [0, 1]), classes=("a", "b"))
    assert kinds_of(data, [found([BOX], [0.9], [1])])["class"].gain == pytest.approx(0.5)


def test_a_fix_of_an_object_that_has_a_better_detection_makes_no_duplicate():
    data = dataset(record([BOX]))
    detections = [found([BOX, BESIDE], [0.9, 0.8])]
    hits = find_hits(detections, data)
    some = find_mistakes(detections, data, hits)
    changed, _ = fix_mistakes(detections, data, hits, some, kinds={"localisation"})
    assert changed[0].scores.tolist() == pytest.approx([0.9])
    assert kinds_of(data, detections)["localisation"].gain == 0  # the hit came first anyway


def test_a_class_of_which_all_is_missed_is_mended_not_dropped():
    # a: all found, AP50 1. b: missed, 0. Mended: 1 and 1; dropping b would give the same mean by chance, so c is there.
    data = dataset(record([BOX, NEXT, AWAY], [0, 1, 2]), classes=("a", "b", "c"))
    missed = kinds_of(data, [found([BOX, [10, 150, 60, 190]], [0.9, 0.8], [0, 2])])["missed"]
    # b has no detection left: 1. c has one on background: 0. (1 + 1 + 0) / 3 - (1 + 0 + 0) / 3
    assert missed.gain == pytest.approx(1 / 3)


@pytest.mark.parametrize("seed", range(6))
def test_with_all_errors_fixed_nothing_is_wrong(seed):
    data, detections = random_case(seed)
    hits = find_hits(detections, data)
    some = find_mistakes(detections, data, hits)
    changed, reduced = fix_mistakes(detections, data, hits, some, kinds=KINDS)
    assert measure(changed, reduced).ap50 == pytest.approx(1)
    assert all(one.gain >= -1e-9 for one in gains(detections, data, hits, some))


def test_no_detections_and_no_mistakes():
    assert kinds_of(dataset(record([BOX])), [found([], [])])["missed"].gain == 1
    assert all(one.count == 0 for one in kinds_of(dataset(record([BOX])), [found([BOX], [0.5])]).values())
