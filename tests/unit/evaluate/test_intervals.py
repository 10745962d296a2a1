from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from multibox.data.coco import CocoData, Record
from multibox.evaluate.average_precision import measure
from multibox.evaluate.intervals import Interval, ap_difference, ap_differences, ap_intervals
from multibox.structures import Detections

SIDE = 200


def record(boxes_px: list[list[float]], labels: list[int], *, crowds: list[bool] | None = None) -> Record:
    corners = np.array(boxes_px, dtype=np.float64).reshape(-1, 4)
    return Record(
        path=Path("image.jpg"),
        file_name="image.jpg",
        image_id=0,
        source=0,
        width=SIDE,
        height=SIDE,
        boxes=(corners / SIDE).astype(np.float32),
        labels=np.array(labels, dtype=np.int64),
        is_crowd=np.array(crowds or [False] * len(labels), dtype=bool),
        boxes_px=corners,
        areas_px=(corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1]),
    )


def dataset(*records: Record, num_classes: int = 1) -> CocoData:
    names = tuple(f"class {i}" for i in range(num_classes))
    return CocoData(records, names, tuple(range(num_classes)), 0, (), "")


def found(boxes_px: list[list[float]], scores: list[float], labels: list[int] | None = None) -> Detections:
    return Detections(
        (np.array(boxes_px, dtype=np.float64).reshape(-1, 4) / SIDE).astype(np.float32),
        np.array(scores, dtype=np.float32),
        np.array(labels or [0] * len(scores), dtype=np.int64),
    )


NOTHING = found([], [])
BOX = [10.0, 10.0, 60.0, 60.0]


def random_case(seed: int, *, levels: int = 20) -> tuple[CocoData, list[Detections], list[Detections]]:
    """12 images with objects of three classes, crowds among them, and two models that find them more or less.

    Scores are of so many levels: of few, many are equal.
    """
    rng = np.random.default_rng(seed)
    records, models = [], ([], [])
    for _ in range(12):
        count = int(rng.integers(0, 6))
        corners = rng.integers(0, 100, (count, 2))
        boxes = np.concatenate([corners, corners + rng.integers(8, 90, (count, 2))], axis=1).astype(float)
        labels = rng.integers(0, 3, count)
        records.append(record(boxes.tolist(), labels.tolist(), crowds=(rng.random(count) < 0.15).tolist()))
        for model in models:
            near = np.concatenate([boxes + rng.integers(-6, 7, boxes.shape), boxes, rng.integers(0, 60, (3, 4)) + BOX])
            near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
            scores = rng.integers(1, levels, len(near)) / levels
            order = np.argsort(-scores, kind="stable")
            guessed = np.concatenate([labels, labels, rng.integers(0, 3, 3)])
            model.append(found(near[order].tolist(), scores[order].tolist(), guessed[order].tolist()))
    return dataset(*records, num_classes=4), *models


@pytest.mark.parametrize("seed", range(6))
def test_the_difference_is_that_of_the_measured_aps(seed):
    data, first, second = random_case(seed)
    expected = 100 * (measure(second, data).ap - measure(first, data).ap)
    assert ap_difference(first, second, data, resamples=1).value == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_a_draw_has_the_ap_of_a_data_set_with_its_images_so_often(seed):
    # Which of two equal scores comes first depends on the order of the images, which a draw has not.
    data, first, second = random_case(seed, levels=1 << 22)
    drawn = np.random.default_rng(seed).integers(0, 12, 12)  # the only draw of this seed
    expected = [
        measure([model[i] for i in drawn], replace(data, records=tuple(data.records[i] for i in drawn))).ap
        for model in (first, second)
    ]
    interval = ap_difference(first, second, data, resamples=1, seed=seed)
    assert interval.low == interval.high == pytest.approx(100 * (expected[1] - expected[0]), abs=1e-9)


def test_a_model_does_not_differ_from_itself():
    data, model, _ = random_case(0)
    assert ap_difference(model, model, data) == Interval(0, 0, 0)


def test_finding_the_object_of_one_image_in_two_gains_half_of_all_points():
    data = dataset(record([BOX], [0]), record([BOX], [0]))
    one, both = [found([BOX], [0.9]), NOTHING], [found([BOX], [0.9]), found([BOX], [0.8])]
    interval = ap_difference(one, both, data)
    # Recall 1/2: precision 1 at recalls 0.00 to 0.50, 51 of 101.
    assert interval.value == pytest.approx(100 * (1 - 51 / 101))
    # One draw in four has the second image twice, where the gain is all; one in four the first, where it is none.
    assert (interval.low, interval.high) == (0, 100)


def test_the_interval_holds_the_value_and_more_images_make_it_narrower():
    widths = []
    for repeat in (1, 9):
        data, first, second = random_case(1)
        data = replace(data, records=data.records * repeat)
        interval = ap_difference(first * repeat, second * repeat, data)
        assert interval.low <= interval.value <= interval.high
        widths.append(interval.high - interval.low)
    assert 2 < widths[0] / widths[1] < 4.5  # about the root of 9


def test_equal_seeds_give_equal_intervals_and_others_do_not():
    data, first, second = random_case(2)
    one, again, other = (ap_difference(first, second, data, seed=seed) for seed in (0, 0, 1))
    assert one == again != other
    assert one.value == other.value


def test_seen_from_the_other_side_a_gain_is_a_loss():
    data, first, second = random_case(3)
    there, back = ap_difference(first, second, data), ap_difference(second, first, data)
    assert (-there).value == pytest.approx(back.value)
    assert ((-there).low, (-there).high) == pytest.approx((back.low, back.high))
    assert str(Interval(-0.5, -1, 0.25)) == "-0.50 [-1.00 +0.25]"


def test_an_interval_of_95_percent_is_four_deviations_wide():
    assert Interval(1.0, -0.96, 2.96).deviation == pytest.approx(1.0)  # 3.92 / 3.92
    assert Interval(1.0, 1.0, 1.0).deviation == 0


def test_draws_without_any_object_are_left_out():
    data = dataset(record([BOX], [0]), record([], []))
    interval = ap_difference([NOTHING, NOTHING], [found([BOX], [0.9]), NOTHING], data)
    assert interval == Interval(100, 100, 100)


def test_without_any_detection_the_ap_is_0():
    data = dataset(record([BOX], [0]))
    assert ap_difference([NOTHING], [NOTHING], data) == Interval(0, 0, 0)


@pytest.mark.parametrize("seed", range(2))
def test_intervals_of_single_aps_hold_the_evaluation_s_figures(seed):
    data, detections, _ = random_case(seed)
    metrics, found_ones = measure(detections, data), ap_intervals(detections, data)
    assert found_ones.ap.value == pytest.approx(100 * metrics.ap)
    assert found_ones.ap50.value == pytest.approx(100 * metrics.ap50)
    per_class = zip(metrics.per_class.values(), found_ones.ap_per_class, found_ones.ap50_per_class, strict=True)
    known = [(one, ap, ap50) for one, ap, ap50 in per_class if ap is not None and ap50 is not None]
    assert len(known) >= 2
    assert [ap.value for _, ap, _ in known] == pytest.approx([100 * one.ap for one, _, _ in known])
    assert [ap50.value for _, _, ap50 in known] == pytest.approx([100 * one.ap50 for one, _, _ in known])
    assert all(0 <= ap50.low <= ap50.high <= 100 for _, _, ap50 in known)


def test_a_class_without_objects_has_no_interval():
    data = dataset(record([BOX], [0]), record([BOX], [0]), num_classes=2)
    intervals = ap_intervals([found([BOX], [0.9]), NOTHING], data)
    assert intervals.ap_per_class[1] is None
    # One of two images is solved: a draw has it not at all (0), once (51 of 101 recalls) or twice (1), and these are
    # moved by the little that their mean is beside 51/101.
    assert intervals.ap50.value == pytest.approx(100 * 51 / 101)
    assert (intervals.ap50.low, intervals.ap50.high) == (pytest.approx(0, abs=6), pytest.approx(100, abs=6))


@pytest.mark.parametrize("seed", range(4))
def test_an_interval_holds_its_figure(seed):
    # Of few scores, many are equal, and images that are drawn twice make AP higher than it is.
    data, one, _ = random_case(seed, levels=3)
    found_ones = ap_intervals(one, data)
    every = [found_ones.ap, found_ones.ap50, *found_ones.ap_per_class, *found_ones.ap50_per_class]
    assert all(0 <= interval.low <= interval.value <= interval.high <= 100 for interval in every if interval)


def test_differences_are_those_of_the_single_figures_on_the_same_draws():
    data, one, two = random_case(3)
    both = ap_differences(one, two, data)
    assert both.ap == ap_difference(one, two, data)
    assert both.ap50.value == pytest.approx(100 * (measure(two, data).ap50 - measure(one, data).ap50))
    assert ap_differences(one, one, data).ap == Interval(0, 0, 0)
