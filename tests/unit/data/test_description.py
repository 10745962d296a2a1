from __future__ import annotations

import pytest

from multibox.data.description import describe
from tests.report_case import dataset, record


def test_a_data_set_in_plain_values():
    # Of 200 x 200 pixels: 20 x 20 is a tenth of the side, 100 x 100 a half; the crowd does not count.
    data = dataset(
        record([[0, 0, 20, 20], [0, 0, 100, 100]], [0, 1]),
        record([[0, 0, 50, 50]], crowds=[True]),
        classes=("a", "b", "none"),
    )
    plain = describe(data)
    assert (plain["images"], plain["images_without_objects"], plain["objects"]) == (2, 1, 2)
    assert plain["objects_per_class"] == {"a": 1, "b": 1, "none": 0}
    # Percentiles 5, 25, 50, 75, 95 between 0.1 and 0.5.
    assert plain["object_side_percentiles"] == pytest.approx([0.12, 0.2, 0.3, 0.4, 0.48])


def test_no_objects_and_no_images():
    assert describe(dataset(record([])))["object_side_percentiles"] is None
    assert describe(dataset())["images"] == 0
