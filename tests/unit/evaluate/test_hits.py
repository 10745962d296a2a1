from __future__ import annotations

import numpy as np
import pytest

from multibox.evaluate.average_precision import measure
from multibox.evaluate.hits import NO_OBJECT, find_hits
from tests.report_case import dataset, found, random_case, record

BOX = [10.0, 10.0, 60.0, 60.0]
NEXT = [100.0, 100.0, 150.0, 150.0]


def test_a_hit_names_its_object_per_threshold():
    # IoU with the second object: 50 x 41 of 50 x 50, so 0.82: hit up to the threshold 0.80, the seventh.
    data = dataset(record([BOX, NEXT]))
    one = find_hits([found([[100, 100, 150, 141]], [0.9])], data).classes[0]
    assert one.objects[:, 0].tolist() == [1] * 7 + [NO_OBJECT] * 3
    assert (one.images.tolist(), one.rows.tolist()) == ([0], [0])


def test_the_second_on_an_object_hits_nothing():
    one = find_hits([found([BOX, BOX], [0.9, 0.8])], dataset(record([BOX]))).classes[0]
    assert one.is_hit[0].tolist() == [True, False]
    assert one.is_counted[0].tolist() == [True, True]


def test_of_two_objects_that_overlap_alike_the_last_is_hit():
    # Both share 75 x 100 with the first box: 7500 / (10000 + 10000 - 7500) = 0.6. The second box is the last object
    # itself, which is taken; with the other it shares 50 x 100: 5000 / 15000 = 0.33.
    data = dataset(record([[0, 0, 100, 100], [50, 0, 150, 100]]))
    one = find_hits([found([[25, 0, 125, 100], [50, 0, 150, 100]], [0.9, 0.8])], data).classes[0]
    assert one.objects[0].tolist() == [1, NO_OBJECT]


def test_what_lies_in_a_crowd_does_not_count():
    data = dataset(record([BOX, NEXT], crowds=[True, False]))
    one = find_hits([found([[20, 20, 40, 40]], [0.9])], data).classes[0]
    assert not one.is_counted.any() and not one.is_hit.any()
    assert one.num_objects.tolist() == [1]


def test_detections_of_all_images_come_best_first():
    data = dataset(record([BOX]), record([BOX]))
    one = find_hits([found([BOX, NEXT], [0.5, 0.4]), found([BOX], [0.9])], data).classes[0]
    assert one.scores.tolist() == pytest.approx([0.9, 0.5, 0.4])
    assert one.images.tolist() == [1, 0, 0]
    assert one.rows.tolist() == [0, 0, 1]


def test_no_image_no_object_no_detection():
    nothing = find_hits([], dataset(classes=("a", "b")))
    assert [len(one.scores) for one in nothing.classes] == [0, 0]
    assert nothing.measured == ()
    assert np.isnan(nothing.class_aps()).all()
    empty = find_hits([found([], [])], dataset(record([BOX])))
    assert empty.class_aps().tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("seed", range(4))
def test_ap_and_the_area_below_the_curve_are_those_of_the_evaluation(seed):
    data, detections = random_case(seed)
    metrics, hits = measure(detections, data), find_hits(detections, data)
    for one, (ap, ap50), name in zip(hits.classes, hits.class_aps(), data.classes, strict=True):
        assert ap == pytest.approx(metrics.per_class[name].ap, abs=1e-9)
        assert one.precision()[0].mean() == pytest.approx(metrics.per_class[name].ap50, abs=1e-9)
        assert ap50 == pytest.approx(metrics.per_class[name].ap50, abs=1e-9)


def test_an_image_that_is_drawn_twice_counts_twice():
    data = dataset(record([BOX]), record([BOX]))
    hits = find_hits([found([BOX], [0.9]), found([NEXT], [0.8])], data)
    # Once each: recall 1 of 2 at precision 1, read at 51 of 101 recalls. The first alone, twice: all found.
    assert hits.class_aps()[0, 1] == pytest.approx(51 / 101)
    assert hits.class_aps(np.array([2, 0]))[0, 1] == 1
    assert hits.class_aps(np.array([0, 2]))[0, 1] == 0
