from __future__ import annotations

import numpy as np
import pytest

from multibox.model.anchors import MAX_BOXES, choose_anchors, cluster, fit_anchors, make_anchors, measure_fit

SIZES_PX = [[(8, 4), (16, 16)], [(40, 20)]]
STRIDES = [16, 32]
SIZE = 64


@pytest.mark.parametrize(
    ("index", "corners_px"),
    [
        (0, (4, 6, 12, 10)),  # centre (8, 8), 8 x 4
        (1, (0, 0, 16, 16)),  # same cell, 16 x 16: anchors of a cell are innermost
        (2, (20, 6, 28, 10)),  # centre (24, 8): then x
        (8, (4, 22, 12, 26)),  # centre (8, 24): then y, after 4 cells * 2
        (31, (48, 48, 64, 64)),  # centre (56, 56), the last of 16 cells * 2
        (32, (-4, 6, 36, 26)),  # level 1, centre (16, 16), 40 x 20, over the border
        (33, (28, 6, 68, 26)),  # centre (48, 16)
        (34, (-4, 38, 36, 58)),  # centre (16, 48)
        (35, (28, 38, 68, 58)),  # centre (48, 48)
    ],
)
def test_anchors_stand_in_the_order_of_the_output(index, corners_px):
    anchors = make_anchors(SIZES_PX, STRIDES, SIZE)
    assert anchors.shape == (36, 4)  # 4 * 4 * 2 + 2 * 2 * 1
    assert anchors.dtype == np.float32
    assert (anchors[index] * SIZE).tolist() == list(corners_px)


@pytest.mark.parametrize(
    ("size", "count"),
    [(256, 1344), (384, 3024), (512, 5376), (96, 189)],  # (S / 16)^2 * 4 + (S / 32)^2 * 5
)
def test_number_of_anchors(size, count):
    assert make_anchors([[(9, 9)] * 4, [(9, 9)] * 5], STRIDES, size).shape == (count, 4)


def test_levels_and_strides_must_pair_up():
    with pytest.raises(ValueError, match="shorter"):
        make_anchors(SIZES_PX, [16], SIZE)


def test_fit_is_over_boxes_each_with_its_best_anchor():
    anchors = np.array([(0, 0, 0.5, 0.5), (0, 0, 0.1, 0.1)], np.float32)
    boxes = np.array([(0, 0, 0.5, 0.5), (0, 0, 0.5, 0.25), (0.5, 0.5, 1, 1)], np.float32)
    # 1, 0.5 and 0; 0.5 reaches the threshold
    fit = measure_fit(boxes, anchors, iou_threshold=0.5)
    assert fit.mean_iou == pytest.approx(0.5)
    assert fit.recall == pytest.approx(2 / 3)


@pytest.mark.parametrize("count", [1, 255, 256, 257, 1000])
def test_fit_counts_every_box_once(count):
    anchors = np.array([(0, 0, 0.5, 0.5)], np.float32)
    boxes = np.tile(np.array([(0, 0, 0.5, 0.25)], np.float32), (count, 1))
    boxes[-1] = (0, 0, 0.5, 0.5)
    # all but one have 0.5
    assert measure_fit(boxes, anchors, iou_threshold=0.6).recall == pytest.approx(1 / count)
    assert measure_fit(boxes, anchors, iou_threshold=0.6).mean_iou == pytest.approx((0.5 * (count - 1) + 1) / count)


def test_clusters_are_the_groups_smallest_first():
    sizes = np.array([(50.0, 20), (10, 10), (50, 22), (10, 11), (50, 18), (10, 9)])
    # medians of each group
    for seed in range(5):
        assert cluster(sizes, 2, np.random.default_rng(seed)) == [(10.0, 10.0), (50.0, 20.0)]


def test_clusters_of_as_many_boxes_as_clusters_are_the_boxes():
    sizes = np.array([(50.0, 20), (10, 10), (3, 90)])
    assert cluster(sizes, 3, np.random.default_rng(0)) == [(10.0, 10.0), (3.0, 90.0), (50.0, 20.0)]


INPUT = 128
GIVEN = (((10.0, 12.0), (25.0, 25.0)), ((50.0, 60.0), (80.0, 40.0), (100.0, 110.0)))


def flat_and_tall_boxes(count: int, *, seed: int = 0) -> np.ndarray:
    """Half 40 x 8 pixels, half 14 x 70, each side give or take a tenth, anywhere inside."""
    rng = np.random.default_rng(seed)
    sides = np.where(rng.random((count, 1)) < 0.5, (40.0, 8.0), (14.0, 70.0)) * rng.uniform(0.9, 1.1, (count, 2))
    corner = rng.uniform(0, 1, (count, 2)) * (INPUT - sides)
    return (np.concatenate([corner, corner + sides], axis=1) / INPUT).astype(np.float32)


def fitted(boxes: np.ndarray, *, seed: int = 0):
    return fit_anchors(boxes, GIVEN, STRIDES, INPUT, iou_threshold=0.4, seed=seed)


def test_fitted_anchors_meet_the_boxes_better():
    sizes, before, after = fitted(flat_and_tall_boxes(300))
    assert after.recall > before.recall + 0.2
    assert after.mean_iou > before.mean_iou + 0.1
    assert [len(level) for level in sizes] == [2, 3]


def test_the_fits_are_those_of_the_given_and_of_the_fitted_anchors():
    boxes = flat_and_tall_boxes(300)
    sizes, before, after = fitted(boxes)
    assert before == measure_fit(boxes, make_anchors(GIVEN, STRIDES, INPUT), iou_threshold=0.4)
    assert after == measure_fit(boxes, make_anchors(sizes, STRIDES, INPUT), iou_threshold=0.4)


def test_fitted_sizes_are_pixels_of_the_input():
    sizes, _, _ = fitted(flat_and_tall_boxes(300))
    flat = [size for level in sizes for size in level]
    assert any(36 <= width <= 44 and 7 <= height <= 9 for width, height in flat)
    assert any(12 <= width <= 16 and 63 <= height <= 77 for width, height in flat)


def test_fitted_sizes_are_plain_numbers():
    sizes, _, _ = fitted(flat_and_tall_boxes(300))
    assert {type(side) for level in sizes for size in level for side in size} == {float}


@pytest.mark.parametrize("count", [1, 2, 4])
def test_fewer_boxes_than_anchors_keep_the_given_ones(count):
    sizes, before, after = fitted(flat_and_tall_boxes(count))
    assert sizes == GIVEN
    assert after == before


def test_anchors_that_fit_already_are_kept():
    boxes = make_anchors(GIVEN, STRIDES, INPUT)
    sizes, before, after = fitted(boxes)
    assert sizes == GIVEN
    assert before.mean_iou == pytest.approx(1)
    assert after == before


UNFIT = (((3.0, 3.0), (3.0, 4.0)), ((120.0, 5.0), (120.0, 6.0), (120.0, 7.0)))
SUITED = (((40.0, 8.0), (14.0, 70.0)), ((40.0, 9.0), (14.0, 60.0), (100.0, 110.0)))
OPTIONS = {"strides": STRIDES, "input_size": INPUT, "iou_threshold": 0.4, "seed": 0}


def test_the_first_offered_anchors_that_fitted_ones_do_not_beat_are_chosen():
    boxes = flat_and_tall_boxes(300)
    _, _, best = fitted(boxes)
    suited = measure_fit(boxes, make_anchors(SUITED, STRIDES, INPUT), iou_threshold=0.4)
    assert best.recall - suited.recall < 0.01
    for offered, known in (([SUITED, UNFIT], 0), ([UNFIT, SUITED], 1), ([UNFIT, GIVEN, SUITED], 2)):
        choice = choose_anchors(boxes, offered, min_gain=0.01, **OPTIONS)
        assert choice.known == known
        assert choice.anchors_px == SUITED
        assert choice.fits[known] == suited


def test_fitted_anchors_are_chosen_where_they_beat_all_offered_ones():
    boxes = flat_and_tall_boxes(300)
    choice = choose_anchors(boxes, [UNFIT, GIVEN], min_gain=0.01, **OPTIONS)
    assert choice.known is None
    assert choice.anchors_px == fit_anchors(boxes, UNFIT, STRIDES, INPUT, iou_threshold=0.4, seed=0)[0]
    assert [round(fit.recall, 6) for fit in choice.fits] == [
        round(measure_fit(boxes, make_anchors(sizes, STRIDES, INPUT), iou_threshold=0.4).recall, 6)
        for sizes in (UNFIT, GIVEN)
    ]
    gain = choice.fitted.recall - choice.fits[1].recall
    assert gain > 0.01
    # Not by more than is asked: the given ones stay.
    assert choose_anchors(boxes, [GIVEN, UNFIT], min_gain=gain + 0.001, **OPTIONS).known == 0


def test_of_many_boxes_the_same_part_judges_all_anchors():
    boxes = flat_and_tall_boxes(MAX_BOXES + 500)
    choice = choose_anchors(boxes, [GIVEN, UNFIT], min_gain=0.01, **OPTIONS)
    _, before, after = fitted(boxes)
    assert (choice.fits[0], choice.fitted) == (before, after)


def test_one_seed_gives_one_result():
    boxes = flat_and_tall_boxes(MAX_BOXES + 500)
    np.random.seed(1)  # noqa: NPY002 - the global generator must not matter
    first = fitted(boxes, seed=7)
    np.random.seed(2)  # noqa: NPY002
    assert fitted(boxes, seed=7) == first


def test_the_boxes_are_left_as_they_are():
    boxes = flat_and_tall_boxes(100)
    copy = boxes.copy()
    fitted(boxes)
    assert (boxes == copy).all()


@pytest.mark.parametrize("count", [5, 60])
def test_equal_boxes_are_one_size(count):
    boxes = np.tile(np.array([(0.1, 0.1, 0.4, 0.2)], np.float32), (count, 1))
    sizes, before, after = fitted(boxes)
    assert [len(level) for level in sizes] == [2, 3]
    assert all(np.isfinite(size).all() and min(size) > 0 for level in sizes for size in level)
    assert after.mean_iou >= before.mean_iou


def test_an_offset_of_0_puts_the_centre_on_the_corner_of_the_cell():
    # 64 px, stride 32: corners at 0 and 32; anchors of 32 x 16 reach 16 and 8 to each side.
    anchors = make_anchors([[(32, 16)]], [32], 64, offset=0) * 64
    np.testing.assert_allclose(anchors, [[-16, -8, 16, 8], [16, -8, 48, 8], [-16, 24, 16, 40], [16, 24, 48, 40]])
