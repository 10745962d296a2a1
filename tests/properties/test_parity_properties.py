"""What rounding does is never unexplained, and what rounding cannot do always is."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from multibox import config
from multibox.config import PostprocessConfig
from multibox.export.agreement import CANDIDATES_PER_PLACE, ImageComparison, Tolerance, compare
from multibox.export.parity import NO_IOU
from multibox.model.postprocess import postprocess
from multibox.structures import Detections

SIDE = 256
TOLERANCE = Tolerance()
VARIANCES = (0.1, 0.2)


@st.composite
def networks(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Deltas, logits and anchors of one image: few different places, sizes and scores, so that ties abound.

    Anchors of equal size side by side at steps of a half or a third of it overlap by exactly 1/3, 1/2, 1/5, ...
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    num_anchors, num_classes = draw(st.integers(1, 60)), draw(st.integers(1, 3))
    side = rng.choice([4.0, 12.0, 48.0, 96.0], num_anchors)
    x, y = (side / 2 + side / rng.choice([2, 3], num_anchors) * rng.integers(0, 4, num_anchors) for _ in range(2))
    anchors = np.stack([x - side / 2, y - side / 2, x + side / 2, y + side / 2], axis=1) / SIDE
    logits = rng.choice([-3.0, 0.0, 1.0, 8.0], (num_anchors, num_classes + 1))
    if draw(st.booleans()):
        logits += rng.normal(0, 1, logits.shape)
    spread = draw(st.sampled_from([0.0, 0.5, 1.0]))
    deltas = rng.choice([0.0, 0.5], (num_anchors, 4)) if spread == 0.5 else rng.normal(0, spread, (num_anchors, 4))
    return deltas[None].astype(np.float32), logits[None].astype(np.float32), anchors.astype(np.float32)


@st.composite
def rules(draw: st.DrawFn) -> PostprocessConfig:
    return PostprocessConfig(
        score_threshold=draw(st.sampled_from([0.02, 0.25, 0.5])),
        iou_threshold=draw(st.sampled_from([1 / 3, 0.45, 0.5])),
        max_per_class=draw(st.sampled_from([1, 3, 10, 200])),
        max_detections=draw(st.sampled_from([1, 5, 200])),
    )


def compared(
    reference: Detections, found: Detections, candidates: Detections, using: PostprocessConfig
) -> ImageComparison:
    return compare(reference, found, candidates=candidates, rules=using, input_size=SIDE, tolerance=TOLERANCE)


@settings(max_examples=400)
@given(network=networks(), using=rules(), seed=st.integers(0, 2**32 - 1))
def test_rounding_is_never_unexplained(network, using, seed):
    deltas, logits, anchors = network
    rng = np.random.default_rng(seed)
    # A logit that moves by e moves a probability by e/2 at most; a delta of a centre by e moves the box by 0.1 e sides,
    # one of a size by half of 0.2 e sides, grown by exp(0.2 * 5): less than 0.3 e * 96 pixels, about 30 e.
    noisy_logits = logits + rng.uniform(-1, 1, logits.shape).astype(np.float32) * np.float32(TOLERANCE.score / 100)
    noisy_deltas = deltas + rng.uniform(-1, 1, deltas.shape).astype(np.float32) * np.float32(TOLERANCE.box_px / 3000)
    loose = config.replace(
        using,
        score_threshold=max(0.0, using.score_threshold - 0.01),
        iou_threshold=NO_IOU,
        max_per_class=CANDIDATES_PER_PLACE * using.max_per_class,
        max_detections=10_000,
    )
    reference, candidates = (
        postprocess(deltas, logits, anchors, variances=VARIANCES, config=one)[0] for one in (using, loose)
    )
    found = postprocess(noisy_deltas, noisy_logits, anchors, variances=VARIANCES, config=using)[0]
    one = compared(reference, found, candidates, using)
    assert one.num_unexplained == 0, one
    assert one.num_matched + one.num_undecided >= max(len(reference), len(found))
    assert one.largest_box_px <= TOLERANCE.box_px
    assert one.largest_score <= TOLERANCE.score


RULES = PostprocessConfig(score_threshold=0.02, iou_threshold=0.45, max_per_class=200, max_detections=200)


@st.composite
def clear_cut(draw: st.DrawFn) -> tuple[Detections, Detections]:
    """Detections and candidates, each alone in one of 16 cells, scores far from each other and from 0.02.

    Beside some detections lies a weaker candidate of the same label, which overlaps it by an IoU of 0.7 or more.
    """
    cells = draw(st.lists(st.integers(0, 15), min_size=1, max_size=16, unique=True))
    rows, suppressed = [], []
    for place, cell in enumerate(cells):
        x, y = cell % 4 * 64 + draw(st.floats(0, 10)), cell // 4 * 64 + draw(st.floats(0, 10))
        width, height = draw(st.floats(20, 40)), draw(st.floats(20, 40))
        score, label = 0.95 - 0.05 * place, draw(st.integers(0, 2))
        rows.append((x, y, x + width, y + height, score, label))
        if draw(st.booleans()):
            suppressed.append((x + 2, y + 1, x + 2 + width, y + 1 + height, score - 0.02, label))
    return _listed(rows), _listed(rows + suppressed)


def _listed(rows: list[tuple[float, ...]]) -> Detections:
    table = np.array(rows, dtype=np.float64)
    return Detections(
        (table[:, :4] / SIDE).astype(np.float32), table[:, 4].astype(np.float32), table[:, 5].astype(np.int64)
    )


def _with(one: Detections, **changed: np.ndarray) -> Detections:
    return Detections(**({"boxes": one.boxes, "scores": one.scores, "labels": one.labels} | changed))


@given(lists=clear_cut())
def test_a_clear_cut_list_equals_itself(lists):
    reference, candidates = lists
    assert compared(reference, reference, candidates, RULES).num_matched == len(reference)


@given(lists=clear_cut(), data=st.data())
def test_dropping_a_detection_is_unexplained(lists, data):
    reference, candidates = lists
    keep = np.arange(len(reference)) != data.draw(st.integers(0, len(reference) - 1))
    found = Detections(reference.boxes[keep], reference.scores[keep], reference.labels[keep])
    assert compared(reference, found, candidates, RULES).num_unexplained == 1


@given(lists=clear_cut(), data=st.data(), shift_px=st.floats(0.11, 12), side=st.integers(0, 3))
def test_moving_a_side_of_a_box_is_unexplained(lists, data, shift_px, side):
    reference, candidates = lists
    boxes = reference.boxes.copy()
    boxes[data.draw(st.integers(0, len(reference) - 1)), side] += shift_px / SIDE
    assert compared(reference, _with(reference, boxes=boxes), candidates, RULES).num_unexplained >= 1


@given(lists=clear_cut(), data=st.data())
def test_another_label_is_unexplained(lists, data):
    reference, candidates = lists
    labels = reference.labels.copy()
    row = data.draw(st.integers(0, len(reference) - 1))
    labels[row] = (labels[row] + data.draw(st.integers(1, 2))) % 3
    assert compared(reference, _with(reference, labels=labels), candidates, RULES).num_unexplained == 2


@given(lists=clear_cut(), data=st.data(), change=st.floats(0.0011, 0.04), sign=st.sampled_from([-1, 1]))
def test_another_score_is_unexplained(lists, data, change, sign):
    reference, candidates = lists
    scores = reference.scores.copy()
    scores[data.draw(st.integers(0, len(reference) - 1))] += sign * change
    assert compared(reference, _with(reference, scores=scores), candidates, RULES).num_unexplained >= 1


@given(lists=clear_cut(), data=st.data())
def test_keeping_what_suppression_drops_is_unexplained(lists, data):
    reference, candidates = lists
    extra = np.arange(len(candidates)) >= len(reference)
    assert compared(reference, candidates, candidates, RULES).num_unexplained == extra.sum()
