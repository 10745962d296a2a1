from __future__ import annotations

import numpy as np
import pytest

from multibox.evaluate.average_precision import ap_by_area, measure
from multibox.evaluate.object_size import ap_by_size, sides_px
from tests.report_case import dataset, found, random_case, record


def test_sides_are_those_in_the_network_input():
    # 50 x 50 of 200 x 200 pixels at an input of 64: 16 x 16. A crowd is no object.
    data = dataset(record([[0, 0, 50, 50], [0, 0, 100, 100]], crowds=[False, True]))
    assert sides_px(data, input_size=64).tolist() == [16.0]
    assert sides_px(dataset(), input_size=64).size == 0


def test_an_object_at_the_edge_of_two_ranges_is_in_the_upper_one():
    ranges = ap_by_size([found([[0, 0, 50, 50]], [0.9])], dataset(record([[0, 0, 50, 50]])), input_size=64)
    assert [(one.low_px, one.high_px, one.num_objects, one.ap50) for one in ranges] == [(16.0, 32.0, 1, 1.0)]


def test_each_range_has_its_own_ap():
    # At an input of 64: 16 x 16 is found, 32 x 32 is not.
    data = dataset(record([[0, 0, 50, 50], [60, 60, 160, 160]]))
    ranges = ap_by_size([found([[0, 0, 50, 50]], [0.9])], data, input_size=64)
    assert [(one.low_px, one.num_objects, one.ap50) for one in ranges] == [(16.0, 1, 1.0), (32.0, 1, 0.0)]


def test_without_objects_there_are_no_ranges():
    assert ap_by_size([found([], [])], dataset(record([])), input_size=64) == ()


def test_coco_s_own_ranges_give_coco_s_figures():
    data, detections = random_case(1)
    metrics = measure(detections, data)
    (small, _), (medium, _), (everything, ap50) = ap_by_area(
        detections, data, [(0, 32**2), (32**2, 96**2), (0, np.inf)]
    )
    assert (small, medium) == (pytest.approx(metrics.ap_small), pytest.approx(metrics.ap_medium))
    assert (everything, ap50) == (pytest.approx(metrics.ap), pytest.approx(metrics.ap50))
