"""What holds for all boxes, in numpy and in torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from multibox import boxes as box

# From 1/50 of the image to all of it: the ratio of two such boxes stays within the limit of `decode`, 62.5 ...
SIDES = st.floats(0.02, 1)
# ... and from a hair, the smallest that the reader of annotations lets through, for all that needs no ratio.
THIN_SIDES = st.floats(1.1e-5, 1)


@pytest.fixture(params=["numpy", "torch"], scope="module")
def array(request) -> Any:
    return (lambda values: values) if request.param == "numpy" else torch.from_numpy


@st.composite
def boxes(draw: st.DrawFn, sides: st.SearchStrategy[float], smallest: int = 1, largest: int = 8) -> np.ndarray:
    rows = []
    for _ in range(draw(st.integers(smallest, largest))):
        width, height = draw(sides), draw(sides)
        x, y = draw(st.floats(0, 1)) * (1 - width), draw(st.floats(0, 1)) * (1 - height)
        rows.append((x, y, x + width, y + height))
    return np.array(rows, dtype=np.float32).reshape(-1, 4)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    count = draw(st.integers(1, 6))
    return draw(boxes(SIDES, count, count)), draw(boxes(SIDES, count, count))


@given(pair=pairs(), variances=st.sampled_from([(0.1, 0.2), (1.0, 1.0)]))
def test_decode_undoes_encode(array, pair, variances):
    objects, anchors = (array(part) for part in pair)
    again = box.decode(box.encode(objects, anchors, variances), anchors, variances)
    np.testing.assert_allclose(np.asarray(again), np.asarray(objects), atol=2e-6)


@given(first=boxes(THIN_SIDES), second=boxes(THIN_SIDES))
def test_iou_is_symmetric_and_between_0_and_1(array, first, second):
    table = np.asarray(box.iou(array(first), array(second)))
    assert (table >= 0).all() and (table <= 1).all()
    assert np.array_equal(table, np.asarray(box.iou(array(second), array(first))).T)


@given(some=boxes(THIN_SIDES))
def test_iou_of_a_box_with_itself_is_1(array, some):
    diagonal = np.asarray(box.iou(array(some), array(some))).diagonal()
    np.testing.assert_allclose(diagonal, 1, rtol=1e-6)


@given(some=boxes(THIN_SIDES, 0), threshold=st.floats(0.1, 0.9))
def test_nms_keeps_the_best_and_no_two_that_overlap(array, some, threshold):
    keep = np.asarray(box.nms(array(some), threshold))
    assert keep.shape == some.shape[:1]
    assert keep[:1].all()
    overlap = box.iou(some[keep], some[keep])
    assert (overlap[~np.eye(len(overlap), dtype=bool)] < threshold + 1e-6).all()


@given(some=boxes(SIDES, 0, 12), threshold=st.floats(0.1, 0.9))
def test_every_dropped_box_overlaps_a_better_one_that_is_kept(array, some, threshold):
    keep = np.asarray(box.nms(array(some), threshold))
    overlap = box.iou(some, some)
    for i in np.flatnonzero(~keep):
        assert overlap[i, :i][keep[:i]].max(initial=0) >= threshold - 1e-6


@given(some=boxes(SIDES, 0, 12), threshold=st.floats(0.1, 0.9))
def test_nms_of_what_it_kept_keeps_all(array, some, threshold):
    kept = some[np.asarray(box.nms(array(some), threshold))]
    assert box.nms(array(kept), threshold).all()


@given(
    values=st.lists(st.tuples(*[st.floats(-3, 3, width=32)] * 4), min_size=1, max_size=8),
)
def test_clipping_twice_is_clipping_once(array, values):
    some = array(np.array(values, dtype=np.float32))
    once = box.clip(some)
    assert (np.asarray(once) >= 0).all() and (np.asarray(once) <= 1).all()
    assert np.array_equal(np.asarray(box.clip(once)), np.asarray(once))


@given(some=boxes(THIN_SIDES))
def test_clipping_leaves_boxes_inside_alone(array, some):
    assert np.array_equal(np.asarray(box.clip(array(some))), some)
