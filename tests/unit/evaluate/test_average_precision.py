"""Average precision against sums made by hand, and against pycocotools."""

from __future__ import annotations

from pathlib import Path

import pytest

from multibox.evaluate import overlaps
from multibox.evaluate.average_precision import ClassMetrics, Metrics, measure
from tests.coco_case import (
    NOWHERE,
    A,
    B,
    C,
    D,
    assert_equal_to_pycocotools,
    dataset,
    detections,
    perfect,
    random_problem,
    read_coco,
    record,
)

# Average precision. COCO reads precision at the 101 recalls 0, 0.01, ... 1 and takes the mean.


def test_perfect_detections_have_ap_1() -> None:
    data = dataset(record((A, 0), (B, 0)), record((C, 0)))
    metrics = measure([perfect(one) for one in data.records], data)
    assert (metrics.ap, metrics.ap50, metrics.ap75, metrics.recall) == (1, 1, 1, 1)


def test_one_hit_of_two_objects() -> None:
    # Precision 1 up to recall 0.5, which are 51 of the 101 recalls.
    metrics = measure([detections((A, 0.9, 0))], dataset(record((A, 0), (B, 0))))
    assert metrics.ap == pytest.approx(51 / 101)
    assert metrics.recall == pytest.approx(0.5)


def test_false_alarm_above_the_hit_halves_ap() -> None:
    metrics = measure([detections((NOWHERE, 0.9, 0), (A, 0.8, 0))], dataset(record((A, 0))))
    assert metrics.ap == pytest.approx(0.5)


def test_false_alarm_below_all_hits_costs_nothing() -> None:
    metrics = measure([detections((A, 0.8, 0), (NOWHERE, 0.7, 0))], dataset(record((A, 0))))
    assert metrics.ap == pytest.approx(1)


def test_duplicate_is_a_false_alarm() -> None:
    # Ranked hit, duplicate, hit: precision 1 up to recall 0.5 (51 recalls), then 2/3 (50 recalls).
    found = detections((A, 0.9, 0), (A, 0.8, 0), (B, 0.7, 0))
    assert measure([found], dataset(record((A, 0), (B, 0)))).ap == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_scores_rank_detections_of_all_images_together() -> None:
    # The false alarm in the second image has the best score of all.
    data = dataset(record((A, 0)), record())
    assert measure([detections((A, 0.5, 0)), detections((NOWHERE, 0.6, 0))], data).ap == pytest.approx(0.5)


def test_right_place_with_the_wrong_class_is_no_hit() -> None:
    data = dataset(record((A, 0), (B, 1)), classes=("cat", "dog"))
    metrics = measure([detections((A, 0.9, 1), (B, 0.8, 0))], data)
    assert metrics.ap == 0
    assert metrics.recall == 0


def test_overlap_decides_at_which_thresholds_a_box_hits() -> None:
    # 40 x 40 against 40 x 31 inside it: IoU 0.775, a hit at 0.50, 0.55, ... 0.75: six of the ten thresholds.
    metrics = measure([detections(((10, 10, 50, 41), 0.9, 0))], dataset(record((A, 0))))
    assert metrics.ap == pytest.approx(0.6)
    assert (metrics.ap50, metrics.ap75) == (1, 1)


def test_box_in_a_crowd_is_neither_hit_nor_false_alarm() -> None:
    crowd = (100, 100, 200, 200)
    data = dataset(record((A, 0), (crowd, 0), crowd=[1]))
    metrics = measure([detections((D, 0.9, 0), (D, 0.8, 0), (A, 0.7, 0))], data)
    assert metrics.ap == 1
    assert metrics.num_objects == 1
    assert metrics.per_class["cat"].num_objects == 1


def test_class_with_crowds_only_has_no_metrics() -> None:
    data = dataset(record((A, 0), (B, 1), crowd=[1]), classes=("cat", "dog"))
    metrics = measure([detections((A, 0.9, 0), (NOWHERE, 0.9, 1))], data)
    assert metrics.per_class["dog"] == ClassMetrics(ap=None, ap50=None, recall=None, num_objects=0)
    assert metrics.ap == 1


def test_first_annotation_of_a_set_counted_from_0_keeps_its_hit(tmp_path: Path) -> None:
    """COCO's matcher takes annotation 0 for "no match": passed on as it is, this hit would be lost."""
    data = read_coco(tmp_path, annotations=[{"id": 0, "image_id": 0, "category_id": 0, "bbox": [10, 10, 40, 40]}])
    assert measure([detections((A, 0.9, 0))], data).ap == 1


def test_class_without_objects_does_not_count_in_the_mean() -> None:
    data = dataset(record((A, 0)), classes=("cat", "dog"))
    metrics = measure([detections((A, 0.9, 0), (NOWHERE, 0.95, 1))], data)
    assert metrics.ap == 1
    assert metrics.per_class["cat"] == ClassMetrics(ap=1, ap50=1, recall=1, num_objects=1)
    assert metrics.per_class["dog"] == ClassMetrics(ap=None, ap50=None, recall=None, num_objects=0)


def test_mean_over_classes_weighs_rare_and_frequent_alike() -> None:
    data = dataset(record((A, 0), (B, 0), (C, 0), (D, 1)), classes=("cat", "dog"))
    metrics = measure([detections((A, 0.9, 0), (B, 0.9, 0), (C, 0.9, 0))], data)
    assert metrics.per_class["cat"].ap == 1
    assert metrics.per_class["dog"].ap == 0
    assert metrics.ap == pytest.approx(0.5)


def test_per_class_metrics_follow_the_order_of_the_classes() -> None:
    data = dataset(record((A, 2), (B, 0)), classes=("zebra", "ant", "mouse"))
    metrics = measure([detections((A, 0.9, 2))], data)
    assert list(metrics.per_class) == ["zebra", "ant", "mouse"]
    assert [one.ap for one in metrics.per_class.values()] == [0, None, 1]


def test_sizes_are_told_apart_by_area() -> None:
    # 31 x 31 = 961 < 32²; 40 x 40 between 32² and 96²; 97 x 97 = 9409 > 96²
    small, medium, large = (0, 0, 31, 31), A, (100, 100, 197, 197)
    data = dataset(record((small, 0)), record((medium, 0)), record((large, 0)))
    metrics = measure([detections((small, 0.9, 0)), detections(), detections((large, 0.9, 0))], data)
    assert (metrics.ap_small, metrics.ap_medium, metrics.ap_large) == (1, 0, 1)


def test_size_without_objects_is_none() -> None:
    metrics = measure([detections((A, 0.9, 0))], dataset(record((A, 0))))
    assert (metrics.ap_small, metrics.ap_medium, metrics.ap_large) == (None, 1, None)


def test_no_detections_at_all_give_0() -> None:
    metrics = measure([detections(), detections()], dataset(record((A, 0)), record()))
    assert (metrics.ap, metrics.ap50, metrics.ap75, metrics.recall) == (0, 0, 0, 0)
    assert metrics.per_class["cat"].ap == 0


def test_no_objects_at_all_give_none() -> None:
    metrics = measure([detections((A, 0.9, 0))], dataset(record()))
    assert metrics == Metrics(
        ap=None,
        ap50=None,
        ap75=None,
        ap_small=None,
        ap_medium=None,
        ap_large=None,
        recall=None,
        per_class={"cat": ClassMetrics(ap=None, ap50=None, recall=None, num_objects=0)},
        num_images=1,
        num_objects=0,
    )


def test_box_of_no_area_is_measured_as_a_miss() -> None:
    assert measure([detections(((20, 20, 20, 20), 0.9, 0))], dataset(record((A, 0)))).ap == 0


def test_detections_beyond_100_of_a_class_in_an_image_do_not_count() -> None:
    clutter = [(NOWHERE, 0.9, 0)] * 100
    data = dataset(record((A, 0)))
    assert measure([detections(*clutter[1:], (A, 0.5, 0))], data).ap == pytest.approx(0.01)
    assert measure([detections(*clutter, (A, 0.5, 0))], data).ap == 0


def test_measuring_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    measure([detections((A, 0.9, 0))], dataset(record((A, 0))))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_number_is_that_of_pycocotools(seed: int) -> None:
    assert_equal_to_pycocotools(*random_problem(seed))


def test_crowded_images_are_compared_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    data, found = random_problem(3)
    expected = measure(found, data)
    monkeypatch.setattr(overlaps, "MAX_PAIRS", 7)
    assert measure(found, data) == expected


def test_an_area_at_a_limit_belongs_to_both_ranges() -> None:
    square, large = (0, 0, 32, 32), (100, 100, 196, 196)
    data = dataset(record((square, 0), (large, 0)))
    metrics = measure([detections((square, 0.9, 0))], data)
    # The large one, which nothing finds, is medium as well: one of two.
    assert (metrics.ap_small, metrics.ap_medium, metrics.ap_large) == (1, pytest.approx(51 / 101), 0)
