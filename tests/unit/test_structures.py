from __future__ import annotations

import numpy as np
import pytest

from multibox.structures import Detections, shown_from


@pytest.mark.parametrize(
    ("chosen", "recommended", "expected", "reason"),
    [
        (0.7, 0.4, 0.7, "as given"),
        (0.0, 0.4, 0.0, "as given"),
        (None, 0.4, 0.4, "which the model's file recommends"),
        (None, None, 0.3, "the default: the model's file recommends none"),
    ],
)
def test_a_choice_comes_before_a_recommendation_and_that_before_the_default(chosen, recommended, expected, reason):
    assert shown_from(chosen, recommended) == (expected, reason)


@pytest.mark.parametrize(("threshold", "expected"), [(0.8, 1), (0.5, 2), (0.0, 4), (None, 3)])
def test_detections_above_a_threshold_include_those_on_it(threshold, expected):
    scores = np.array([0.9, 0.5, 0.31, 0.29], dtype=np.float32)
    found = Detections(np.zeros((4, 4), np.float32), scores, np.zeros(4, np.int64)).above(threshold)
    assert found.scores.tolist() == scores[:expected].tolist()
