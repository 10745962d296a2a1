"""Average precision against pycocotools, on small data sets full of ties."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from multibox.evaluate.average_precision import ap_by_area
from tests.coco_case import assert_close, assert_equal_to_pycocotools, grid_problem, mean_of, pycocotools_reference

seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=150, deadline=None)
@given(seeds)
def test_every_number_is_that_of_pycocotools(seed: int) -> None:
    data, detections = grid_problem(np.random.default_rng(seed))
    assert_equal_to_pycocotools(data, detections)


@settings(max_examples=50, deadline=None)
@given(seeds)
def test_ap_of_any_range_of_area_is_that_of_pycocotools(seed: int) -> None:
    data, detections = grid_problem(np.random.default_rng(seed))
    ranges = [(0.0, 400.0), (400.0, 32.0**2), (np.nextafter(32.0**2, np.inf), 96.0**2), (2000.0, 2048.0)]
    precision = pycocotools_reference(data, detections, ranges).eval["precision"][..., -1]
    for place, aps in enumerate(ap_by_area(detections, data, ranges)):
        assert_close(aps, [mean_of(precision[..., place]), mean_of(precision[0, ..., place])])
