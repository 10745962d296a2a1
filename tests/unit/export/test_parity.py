from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from multibox import config
from multibox.config import PostprocessConfig
from multibox.data import coco
from multibox.data.builtin_images import builtin_images
from multibox.data.coco import CocoData, Record
from multibox.data.images import read_image
from multibox.errors import DataError
from multibox.evaluate.intervals import Interval
from multibox.export.agreement import ImageComparison, Tolerance, compare, describe_disagreement, summarise
from multibox.export.parity import (
    ComparedForm,
    Parity,
    Reference,
    candidates_of,
    check_parity,
    collect,
    is_surely_below,
)
from multibox.model.ssd import build_ssd
from multibox.structures import Detections, Image

SIDE = 100  # pixels of the network input; boxes are typed in pixels
RULES = PostprocessConfig(score_threshold=0.02, iou_threshold=0.45, max_per_class=200, max_detections=200)
CLASSES = ("cat", "dog")
CAT, DOG = 0, 1

Row = tuple[float, float, float, float, float, int]


def listed(*rows: Row) -> Detections:
    """Detections (x1, y1, x2, y2, score, label), best first."""
    table = np.array([row[:5] for row in rows], dtype=np.float64).reshape(-1, 5)
    labels = np.array([row[5] for row in rows], dtype=np.int64)
    return Detections((table[:, :4] / SIDE).astype(np.float32), table[:, 4].astype(np.float32), labels)


def compared(
    reference: Sequence[Row],
    found: Sequence[Row],
    *,
    suppressed: Sequence[Row] = (),
    rules: PostprocessConfig = RULES,
    tolerance: Tolerance | None = None,
) -> ImageComparison:
    """`suppressed` are candidates of the reference that are not among its detections."""
    return compare(
        listed(*reference),
        listed(*found),
        candidates=listed(*reference, *suppressed),
        rules=rules,
        input_size=SIDE,
        tolerance=tolerance or Tolerance(),
    )


def counts(one: ImageComparison) -> tuple[int, int, int]:
    return one.num_matched, one.num_undecided, one.num_unexplained


A: Row = (10, 10, 50, 50, 0.9, CAT)
B: Row = (60, 60, 90, 90, 0.7, DOG)


def test_equal_lists_match_without_a_difference():
    one = compared([A, B], [A, B])
    assert counts(one) == (2, 0, 0)
    assert (one.largest_box_px, one.largest_score, one.difference) == (0, 0, None)


def test_two_empty_lists_are_equal():
    assert counts(compared([], [])) == (0, 0, 0)


def test_differences_within_the_tolerance_match_in_any_order():
    one = compared([A, B], [(60, 60.05, 90, 90, 0.7, DOG), (10, 10, 50, 50, 0.9005, CAT)])
    assert counts(one) == (2, 0, 0)
    assert one.largest_box_px == pytest.approx(0.05, abs=1e-4)
    assert one.largest_score == pytest.approx(0.0005, abs=1e-6)


def test_each_detection_has_one_partner():
    # A point has no area: it suppresses nothing, so two may lie in one place.
    point: Row = (0, 10, 0, 10, 0.5, CAT)
    assert counts(compared([point], [point, point])) == (1, 0, 1)


def test_a_detection_without_partner_is_unexplained():
    one = compared([A, B], [A])
    assert counts(one) == (1, 0, 1)
    assert one.difference is not None
    assert (
        describe_disagreement(one.difference, CLASSES) == "dog of score 0.700 at (60.0, 60.0, 90.0, 90.0) px is missing"
    )


def test_a_detection_that_is_no_candidate_is_unexplained():
    one = compared([A], [A, B])
    assert counts(one) == (1, 0, 1)
    assert one.difference is not None
    assert describe_disagreement(one.difference, CLASSES).endswith("is not in the reference")


def test_a_box_in_the_wrong_place_is_unexplained_although_it_looks_like_a_tie():
    one = compared([A], [(12, 10, 52, 50, 0.9, CAT)])
    # The missing one is dominated by the moved one; but the network never gave the moved one.
    assert counts(one) == (0, 1, 1)
    assert one.largest_box_px == pytest.approx(2, abs=1e-4)
    assert one.difference is not None
    assert describe_disagreement(one.difference, CLASSES).endswith("is off by 2.000 px and a score of 0.00000")


def test_a_wrong_score_is_unexplained():
    one = compared([A], [(10, 10, 50, 50, 0.95, CAT)])
    assert one.num_unexplained == 1
    assert one.largest_score == pytest.approx(0.05, abs=1e-6)


def test_a_wrong_label_is_unexplained():
    one = compared([A], [(10, 10, 50, 50, 0.9, DOG)])
    assert counts(one) == (0, 0, 2)
    assert one.difference is not None
    assert (
        describe_disagreement(one.difference, CLASSES)
        == "cat of score 0.900 at (10.0, 10.0, 50.0, 50.0) px is dog here"
    )


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_no_number_is_unexplained(bad):
    assert compared([A], [(10, 10, 50, 50, bad, CAT)]).num_unexplained >= 1
    assert compared([A], [(bad, 10, 50, 50, 0.9, CAT)]).num_unexplained >= 1


def test_a_score_at_the_threshold_is_undecided():
    at_threshold: Row = (60, 60, 90, 90, 0.0205, DOG)
    assert counts(compared([A, at_threshold], [A])) == (1, 1, 0)
    assert counts(compared([A], [A, at_threshold], suppressed=[at_threshold])) == (1, 1, 0)


def test_a_score_below_the_threshold_is_unexplained_though_it_is_a_candidate():
    below: Row = (60, 60, 90, 90, 0.015, DOG)
    assert counts(compared([A], [A, below], suppressed=[below])) == (1, 0, 1)


def test_the_last_place_of_a_full_list_is_undecided():
    full = config.replace(RULES, max_detections=2)
    last, next_one = (60, 60, 90, 90, 0.5003, DOG), (10, 60, 50, 90, 0.5, CAT)
    assert counts(compared([A, last], [A, next_one], suppressed=[next_one], rules=full)) == (1, 2, 0)


def test_a_list_that_is_too_short_or_too_long_is_unexplained():
    full = config.replace(RULES, max_detections=2)
    other: Row = (10, 60, 50, 90, 0.5, CAT)
    assert counts(compared([A, B], [A], rules=full)) == (1, 0, 1)
    assert counts(compared([A, B], [A, B, other], suppressed=[other], rules=full)) == (2, 0, 1)


def test_the_last_candidate_of_a_class_is_undecided():
    # The limit lets two cats through; the third is equally good, so either may be the second.
    limited = config.replace(RULES, max_per_class=2)
    second, third = (60, 10, 90, 50, 0.5001, CAT), (10, 60, 50, 90, 0.5, CAT)
    assert counts(compared([A, second], [A, third], suppressed=[third], rules=limited)) == (1, 2, 0)


def test_what_the_limit_of_a_class_leaves_out_is_unexplained():
    limited = config.replace(RULES, max_per_class=2)
    second, third = (60, 10, 90, 50, 0.5, CAT), (10, 60, 50, 90, 0.4, CAT)
    assert counts(compared([A, second], [A, second, third], suppressed=[third], rules=limited)) == (2, 0, 1)


def test_among_hundreds_of_equal_scores_the_list_of_candidates_need_not_be_complete():
    # Two candidates are kept per place of the limit, here two; a third equal one is none of them.
    limited = config.replace(RULES, max_per_class=1)
    first, second, third = (10, 10, 50, 50, 0.5, CAT), (60, 10, 90, 50, 0.5, CAT), (10, 60, 50, 90, 0.5, CAT)
    assert counts(compared([first], [third], suppressed=[second], rules=limited)) == (0, 2, 0)


# Two boxes of 40 x 40 pixels, one moved along x by d: IoU (40 - d) / (40 + d).
#   d = 15:    25 / 55    = 0.4545, just above 0.45
#   d = 15.2:  24.8/55.2  = 0.4493, just below 0.45
#   d = 10:    30 / 50    = 0.6
#   d = 25:    15 / 65    = 0.23
def moved(by: float, score: float) -> Row:
    return (10 + by, 10, 50 + by, 50, score, CAT)


def test_an_overlap_at_the_threshold_is_undecided():
    assert counts(compared([A, moved(15.2, 0.6)], [A])) == (1, 1, 0)
    assert counts(compared([A], [A, moved(15, 0.6)], suppressed=[moved(15, 0.6)])) == (1, 1, 0)


def test_a_clear_overlap_in_one_list_is_unexplained():
    assert counts(compared([A], [A, moved(10, 0.6)], suppressed=[moved(10, 0.6)])) == (1, 0, 1)


def test_a_clear_gap_is_no_reason_to_be_absent():
    assert counts(compared([A, moved(25, 0.6)], [A])) == (1, 0, 1)


def test_a_small_box_leaves_more_to_rounding_than_a_large_one():
    # Sides of 5 pixels, d = 1.7: IoU 3.3 / 6.7 = 0.493; a shift by 0.1 to d = 1.8 gives 3.2 / 6.8 = 0.471, and the
    # bound 0.43. Sides of 50 pixels, d = 17: the same 0.493, and the bound 0.485.
    def pair(scale: float) -> tuple[Row, Row]:
        side, shift = 5 * scale, 1.7 * scale
        return (10, 10, 10 + side, 10 + side, 0.9, CAT), (10 + shift, 10, 10 + shift + side, 10 + side, 0.6, CAT)

    small, small_other = pair(1)
    large, large_other = pair(10)
    assert counts(compared([small], [small, small_other], suppressed=[small_other])) == (1, 1, 0)
    assert counts(compared([large], [large, large_other], suppressed=[large_other])) == (1, 0, 1)


def test_overlap_with_another_class_explains_nothing():
    other: Row = (10, 10, 50, 50, 0.95, DOG)
    assert counts(compared([other, A], [other])) == (1, 0, 1)


def test_an_overlapping_weaker_detection_explains_nothing():
    assert compared([A], [moved(10, 0.6)], suppressed=[moved(10, 0.6)]).num_unexplained == 1


def test_twins_are_undecided():
    twin = moved(10, 0.9002)
    assert counts(compared([A], [twin], suppressed=[twin])) == (0, 2, 0)


def test_what_a_twin_sets_free_is_undecided():
    # A and its twin change places; the third overlaps A alone (d = 15 to the left of it, 25 of the twin).
    twin, third = moved(10, 0.9002), moved(-15 + 2, 0.5)
    assert counts(compared([A], [twin, third], suppressed=[twin, third])) == (0, 3, 0)
    assert counts(compared([twin, third], [A], suppressed=[A])) == (0, 3, 0)


def image(undecided: int = 0, unexplained: int = 0, box_px: float = 0.0) -> ImageComparison:
    return ImageComparison(
        num_reference=10,
        num_found=10,
        num_matched=10 - undecided - unexplained,
        num_undecided=undecided,
        num_unexplained=unexplained,
        largest_box_px=box_px,
        largest_score=0.0,
        difference=None,
    )


def test_summary_adds_up_and_names_the_worst_image():
    total = summarise([image(box_px=0.09), image(undecided=3), image(unexplained=1, box_px=2.0), image()])
    assert (total.num_reference, total.num_matched, total.num_undecided, total.num_unexplained) == (40, 36, 3, 1)
    assert (total.largest_box_px, total.worst_image, total.num_differing_images) == (2.0, 2, 1)


def test_summary_of_equal_or_no_images_has_no_worst():
    assert summarise([image(), image()]).worst_image is None
    assert summarise([]).worst_image is None


def test_four_or_two_percent_may_be_undecided():
    assert summarise([image()]).max_undecided == 4
    # 50 images of 10 + 10 detections: 2 % of 1000.
    assert summarise([image()] * 50).max_undecided == 20


def record(*objects: Row) -> Record:
    boxes_px = np.array([one[:4] for one in objects], dtype=np.float64).reshape(-1, 4)
    return Record(
        path=Path("0.jpg"),
        file_name="0.jpg",
        image_id=0,
        source=0,
        width=SIDE,
        height=SIDE,
        boxes=(boxes_px / SIDE).astype(np.float32),
        labels=np.array([one[5] for one in objects], dtype=np.int64),
        is_crowd=np.zeros(len(objects), dtype=np.bool_),
        boxes_px=boxes_px,
        areas_px=(boxes_px[:, 2] - boxes_px[:, 0]) * (boxes_px[:, 3] - boxes_px[:, 1]),
    )


def annotated(*records: Record) -> CocoData:
    return CocoData(
        records=records, classes=CLASSES, category_ids=(1, 2), num_clipped=0, skipped=(), fingerprint="typed by hand"
    )


CHECKPOINT = ComparedForm("checkpoint", "latest.pth", "float32", 100)
ONNX = ComparedForm("ONNX", "model.onnx", "float32", 200, reference="checkpoint")


def checked(
    forms: Sequence[ComparedForm],
    reference: Sequence[Sequence[Row]],
    found: Sequence[Sequence[Row]],
    *,
    data: CocoData | None = None,
) -> Parity:
    """`found` is what every form but the references finds in each image."""
    images = [
        {form.name: listed(*(rows if form.reference else first)) for form in forms}
        | {candidates_of(form.name): listed(*first, *rows) for form in forms if form.reference is None}
        for first, rows in zip(reference, found, strict=True)
    ]
    return check_parity(
        forms,
        images,
        image_names=[f"image {number}.jpg" for number in range(len(images))],
        data=data,
        classes=CLASSES,
        rules=RULES,
        input_size=SIDE,
        median_ms={"ONNX": 12.5},
    )


def test_equal_form_passes_and_the_reference_is_not_judged():
    parity = checked([CHECKPOINT, ONNX], [[A, B]], [[A, B]])
    assert parity.passed
    assert [row.passed for row in parity.rows] == [None, True]
    assert [row.median_ms for row in parity.rows] == [None, 12.5]
    assert parity.rows[0].comparison is None
    assert parity.rows[1].ap is None


def test_failed_form_names_the_image_and_what_differs():
    parity = checked([CHECKPOINT, ONNX], [[A], [A, B]], [[A], [A]])
    assert not parity.passed
    assert parity.reasons == (
        "ONNX: 1 detection out of tolerance in 1 image, most in image 1.jpg: "
        "dog of score 0.700 at (60.0, 60.0, 90.0, 90.0) px is missing.",
    )


def test_form_that_is_only_shown_does_not_fail():
    shown = ComparedForm("bf16", "model.xml", "bfloat16", 200, "checkpoint", is_judged=False)
    parity = checked([CHECKPOINT, shown], [[A, B]], [[A]])
    assert parity.passed
    assert (parity.rows[1].passed, parity.rows[1].reason) == (None, None)
    assert parity.rows[1].comparison is not None
    assert parity.rows[1].comparison.num_unexplained == 1


def test_too_many_undecided_detections_fail():
    at_threshold: Row = (60, 60, 90, 90, 0.0205, DOG)
    few = checked([CHECKPOINT, ONNX], [[A, at_threshold]] * 4, [[A]] * 4)
    many = checked([CHECKPOINT, ONNX], [[A, at_threshold]] * 5, [[A]] * 5)
    assert few.passed
    assert many.reasons == (
        "ONNX: 5 detections hang on rounding, more than the 4 that chance explains, most in image 0.jpg.",
    )


def test_a_difference_of_average_precision_fails_by_itself():
    # Rounded weights: single detections are not judged. One of two classes is lost in all of twenty images: AP 0.5
    # instead of 1.
    half = ComparedForm("FP16", "model.xml", "float32", 50, "checkpoint", Tolerance(ap_points=0.2, only_ap=True))
    data = annotated(*(replace(record(A, B), image_id=i) for i in range(20)))
    parity = checked([CHECKPOINT, half], 20 * [[A, B]], 20 * [[A]], data=data)
    (reason,) = parity.reasons
    assert reason.startswith("FP16: AP is 50.00, that of checkpoint 100.00, which is no chance of the images:")
    assert [row.ap for row in parity.rows] == [pytest.approx(1), pytest.approx(0.5)]


def test_rounded_weights_may_find_more_than_their_reference_and_float_ones_may_not():
    data = annotated(*(replace(record(A, B), image_id=i) for i in range(20)))
    rounded = ComparedForm("INT8", "model.onnx", "int8", 50, "checkpoint", Tolerance(ap_points=0.2, only_ap=True))
    assert checked([CHECKPOINT, rounded], 20 * [[A]], 20 * [[A, B]], data=data).passed
    assert not checked([CHECKPOINT, ONNX], 20 * [[A]], 20 * [[A, B]], data=data).passed


def test_a_difference_of_average_precision_that_chance_explains_passes():
    # One detection of one image in twenty is lost: of other images, it might have been none.
    half = ComparedForm("FP16", "model.xml", "float32", 50, "checkpoint", Tolerance(ap_points=0.2, only_ap=True))
    data = annotated(*(replace(record(A, B), image_id=i) for i in range(20)))
    parity = checked([CHECKPOINT, half], 20 * [[A, B]], [[A], *(19 * [[A, B]])], data=data)
    assert parity.rows[1].ap < parity.rows[0].ap - 0.002
    assert parity.passed


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        # Deviations 0.314, 0.306, 0.5 and none: -0.82 + 1.04 = 0.22, -1.3 + 1.01 = -0.29, -3 + 1.65 = -1.35.
        ((-0.82, -1.44, -0.21), False),
        ((-1.3, -1.9, -0.7), True),
        ((-3.0, -3.98, -2.02), True),
        ((-0.3, -0.3, -0.3), True),
        ((-0.2, -0.2, -0.2), False),
        ((2.0, 1.9, 2.1), False),
    ],
)
def test_ap_is_surely_lower_more_than_three_deviations_below_the_tolerance(interval, expected):
    assert is_surely_below(Interval(*interval), -0.2) is expected


def test_only_ap_lets_single_detections_differ():
    int8 = ComparedForm("INT8", "model.xml", "int8", 50, "checkpoint", Tolerance(ap_points=0.2, only_ap=True))
    # IoU with the annotation 39/41 = 0.951, so AP stays 1.
    parity = checked([CHECKPOINT, int8], [[A]], [[moved(1, 0.9)]], data=annotated(record(A)))
    assert parity.passed
    assert parity.rows[1].ap == pytest.approx(1)


def test_each_form_has_its_own_reference():
    halved = ComparedForm("checkpoint FP16", "latest.pth", "float32", 100)
    form = ComparedForm("FP16", "model.xml", "float32", 100, reference="checkpoint FP16")
    images = [
        {
            "checkpoint": listed(A),
            "checkpoint FP16": listed(B),
            "checkpoint FP16, candidates": listed(B),
            "FP16": listed(B),
        }
    ]
    parity = check_parity(
        [CHECKPOINT, halved, form],
        images,
        image_names=["0.jpg"],
        data=None,
        classes=CLASSES,
        rules=RULES,
        input_size=SIDE,
        median_ms={},
    )
    assert parity.passed


def test_nothing_found_anywhere_is_told_of():
    assert checked([CHECKPOINT, ONNX], [[]], [[]]).is_empty
    assert not checked([CHECKPOINT, ONNX], [[A]], [[A]]).is_empty


def test_plain_form_is_json():
    plain = checked([CHECKPOINT, ONNX], [[A, B]], [[A]]).to_plain()
    again = msgspec.json.decode(msgspec.json.encode(plain))
    assert again["passed"] is False
    assert again["rows"][1]["form"]["name"] == "ONNX"
    assert again["rows"][1]["comparison"]["worst_difference"]["label"] == DOG


class Corner:
    """A runtime that finds one cat, whose score is the brightness of the first pixel; it counts its calls."""

    classes = CLASSES
    input_size = SIDE

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, images: Sequence[Image]) -> list[Detections]:
        self.batches.append(len(images))
        return [listed((10, 10, 50, 50, float(one[0, 0, 0]) / 255, CAT)) for one in images]


def test_all_runtimes_see_each_annotated_image_once(shapes_data):
    data = coco.read([shapes_data.val_file], [shapes_data.val_root], classes=shapes_data.classes)
    first, second = Corner(), Corner()
    done: list[int] = []
    results = list(collect({"a": first, "b": second}, data, batch_size=3, progress=done.append))
    assert first.batches == second.batches == done == [3, 3, 2]
    expected = [read_image(one.path)[0, 0, 0] / 255 for one in data.records]
    for name in ("a", "b"):
        assert [float(one[name].scores[0]) for one in results] == pytest.approx(expected)


def test_pictures_without_annotations_are_read_from_their_paths(tmp_path):
    paths = [tmp_path / "0.png", tmp_path / "1.png"]
    for path, grey in zip(paths, (51, 102), strict=True):
        assert cv2.imwrite(str(path), np.full((20, 30, 3), grey, dtype=np.uint8))
    results = list(collect({"a": Corner()}, paths))
    assert [float(one["a"].scores[0]) for one in results] == pytest.approx([0.2, 0.4])


def test_picture_that_is_missing_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.jpg: the image is missing"):
        list(collect({"a": Corner()}, [tmp_path / "gone.jpg"]))


def test_candidates_hold_every_detection_and_what_was_suppressed(tiny_template_file):
    template = config.load_template(tiny_template_file)
    reference = Reference(build_ssd(template, num_classes=2), template, CLASSES)
    of_image = next(collect({"checkpoint": reference}, builtin_images()[:1]))
    assert list(of_image) == ["checkpoint", "checkpoint, candidates"]
    few, many = of_image["checkpoint"], of_image["checkpoint, candidates"]
    (found,) = reference([read_image(builtin_images()[0])])
    assert np.array_equal(found.boxes, few.boxes) and np.array_equal(found.scores, few.scores)
    assert len(many) > len(few) > 0
    # Random weights: all scores are over the threshold, so each class fills its limit, twice for candidates.
    assert set(zip(few.labels.tolist(), few.scores.tolist(), strict=True)) <= set(
        zip(many.labels.tolist(), many.scores.tolist(), strict=True)
    )


def test_builtin_images_are_six_small_readable_jpegs():
    paths = builtin_images()
    assert [path.stem for path in paths] == ["crowd", "day", "dusk", "empty", "night", "rain"]
    assert all(path.stat().st_size < 60_000 for path in paths)
    assert {read_image(path).shape for path in paths} == {(360, 640, 3)}
