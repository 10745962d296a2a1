from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from multibox.boxes import iou
from multibox.config import TaskAlignedConfig, replace
from multibox.model.anchors import make_anchors
from multibox.model.matching import PaddedTargets, pad
from multibox.model.task_aligned import assign, paired_iou, task_aligned_loss
from multibox.structures import RawOutput, Targets

CONFIG = TaskAlignedConfig(num_places=10, score_exponent=0.5, iou_exponent=6, min_object_px=16, box_weight=5)
SIZE = 64
_ = -1  # background


def places(offset: float) -> Tensor:
    """Squares of one stride for 64 px: 8 x 8 places of stride 8, 4 x 4 of 16, 2 x 2 of 32."""
    return torch.from_numpy(make_anchors([[(s, s)] for s in (8, 16, 32)], (8, 16, 32), SIZE, offset=offset))


def points() -> Tensor:
    squares = places(0.5)
    return (squares[:, :2] + squares[:, 2:]) / 2


def targets(*images: list[tuple[int, tuple[float, ...]]]) -> PaddedTargets:
    """Targets from the labels and boxes (in 64ths) of each image."""
    return pad(
        [
            Targets(
                np.array([box for _, box in objects], dtype=np.float32).reshape(-1, 4) / SIZE,
                np.array([label for label, _ in objects], dtype=np.int64),
            )
            for objects in images
        ],
        "cpu",
    )


# A row of six cells, 8 px wide, with middles 4, 12, 20, 28, 36 and 44, at height 4. Predicted boxes hang from the top
# left corner of the object (0, 0, 48, 8) and have its height: their IoU with it is their width / 48.
ROW = torch.tensor([[4.0 + 8 * i, 4.0] for i in range(6)]) / SIZE
OBJECT = (0, 0, 48, 8)


def hanging(*widths: float) -> Tensor:
    return torch.tensor([[[0.0, 0.0, width, 8.0] for width in widths]]) / SIZE


@pytest.mark.parametrize(
    ("num_places", "scores", "widths", "expected"),
    [
        # With equal scores, overlap decides.
        (2, [0.5] * 6, (12, 24, 36, 48, 6, 18), [_, _, 0, 0, _, _]),
        # With equal overlap, the score does.
        (3, [0.1, 0.9, 0.2, 0.8, 0.3, 0.7], (24,) * 6, [_, 0, _, 0, _, 0]),
        # sqrt(0.64) * (24/48)^6 = 0.8 / 64 = 0.0125; sqrt(0.01) * (36/48)^6 = 0.1 * 0.178 = 0.0178
        (1, [0.64, 0.01, 0, 0, 0, 0], (24, 36, 1, 1, 1, 1), [_, 0, _, _, _, _]),
        # sqrt(0.64) * 1/64 = 0.0125; sqrt(0.0025) * 0.178 = 0.0089
        (1, [0.64, 0.0025, 0, 0, 0, 0], (24, 36, 1, 1, 1, 1), [0, _, _, _, _, _]),
        # What has no overlap, or no score, is not taken though there is room for it.
        (6, [0.5, 0.5, 0.5, 0.0, 0.5, 0.5], (48, 0, 48, 48, 0, 48), [0, _, 0, _, _, 0]),
    ],
)
def test_an_object_is_learnt_where_score_and_overlap_are_best(num_places, scores, widths, expected):
    config = replace(CONFIG, num_places=num_places)
    matched = assign(
        torch.tensor(scores).view(1, 6, 1), hanging(*widths), ROW, targets([(0, OBJECT)]), config=config, input_size=64
    )
    assert matched.tolist() == [expected]


def test_the_score_is_that_of_the_class():
    scores = torch.tensor([[[0.9, 0.1], [0.1, 0.9], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9], [0.9, 0.1]]])
    config = replace(CONFIG, num_places=3)
    matched = assign(scores, hanging(*[24] * 6), ROW, targets([(1, OBJECT)]), config=config, input_size=64)
    assert matched.tolist() == [[_, 0, _, 0, 0, _]]


def test_only_places_inside_the_box_are_taken():
    # Middles 20 and 28 lie inside 16..32; every predicted box is the object.
    target = targets([(0, (16, 0, 32, 16))])
    boxes = target.boxes[:, :1].expand(1, 6, 4)
    matched = assign(torch.ones(1, 6, 1), boxes, ROW, target, config=CONFIG, input_size=64)
    assert matched.tolist() == [[_, _, 0, 0, _, _]]


@pytest.mark.parametrize(
    ("min_object_px", "expected"), [(0, [_] * 6), (16, [_, 0, 0, _, _, _]), (32, [0, 0, 0, 0, _, _])]
)
def test_small_objects_count_as_larger(min_object_px, expected):
    # Nothing lies inside 15..17. As 16 px it reaches from 8 to 24, as 32 px from 0 to 32.
    target = targets([(0, (15, 3, 17, 5))])
    boxes = target.boxes[:, :1].expand(1, 6, 4)
    config = replace(CONFIG, min_object_px=min_object_px)
    assert assign(torch.ones(1, 6, 1), boxes, ROW, target, config=config, input_size=64).tolist() == [expected]


def test_a_place_that_two_objects_take_learns_the_one_it_overlaps_more():
    # Widths 40 and 12: IoU 40/48 and 12/48 with the first object, 16/40 and 12/16 with the second.
    target = targets([(0, (0, 0, 48, 8)), (0, (0, 0, 16, 8))])
    matched = assign(torch.ones(1, 2, 1), hanging(40, 12), ROW[:2], target, config=CONFIG, input_size=64)
    assert matched.tolist() == [[0, 1]]


def test_of_two_equal_objects_the_first_is_learnt():
    target = targets([(0, OBJECT), (0, OBJECT)])
    matched = assign(torch.ones(1, 6, 1), hanging(*[24] * 6), ROW, target, config=CONFIG, input_size=64)
    assert matched.tolist() == [[0] * 6]


def test_padding_and_images_without_objects_learn_nothing():
    target = targets([], [(0, OBJECT)])
    matched = assign(torch.ones(2, 6, 1), hanging(*[24] * 6).expand(2, 6, 4), ROW, target, config=CONFIG, input_size=64)
    assert matched.tolist() == [[_] * 6, [0] * 6]


def slow_assign(scores: Tensor, boxes: Tensor, target: Targets, config: TaskAlignedConfig) -> list[int]:
    """The assignment of one image, one object and one place at a time."""
    takers: list[list[tuple[float, int]]] = [[] for _ in boxes]
    overlaps = iou(target.boxes, boxes.numpy())
    for row, (corners, label) in enumerate(zip(target.boxes, target.labels, strict=True)):
        candidates = []
        for place, (x, y) in enumerate(points().tolist()):
            middle = (corners[:2] + corners[2:]) / 2
            half = np.maximum(corners[2:] - corners[:2], config.min_object_px / SIZE) / 2
            overlap = float(overlaps[row, place])
            quality = float(scores[place, label]) ** 0.5 * overlap**6
            if abs(x - middle[0]) < half[0] and abs(y - middle[1]) < half[1] and quality > 0:
                candidates.append((quality, place, overlap))
        for _, place, overlap in sorted(candidates, reverse=True)[: config.num_places]:
            takers[place].append((overlap, -row))
    return [-max(rows)[1] if rows else -1 for rows in takers]


@pytest.mark.parametrize("seed", range(20))
def test_assignment_agrees_with_the_slow_one(seed):
    random = np.random.default_rng(seed)
    counts = random.integers(0, 6, size=3)
    images = []
    for count in counts:
        corners = random.uniform(0, 0.8, size=(count, 2))
        sides = random.uniform(0.02, 0.6, size=(count, 2))
        boxes = np.concatenate([corners, np.minimum(corners + sides, 1)], axis=1).astype(np.float32)
        images.append(Targets(boxes, random.integers(0, 3, size=count)))
    deltas = torch.from_numpy(random.normal(0, 1, size=(3, 84, 4)).astype(np.float32))
    scores = torch.from_numpy(random.uniform(0, 1, size=(3, 84, 3)).astype(np.float32))
    centres, sides = places(0)[:, :2] + deltas[..., :2] * 0.05, 0.3 * deltas[..., 2:].exp()
    predicted = torch.cat([centres - sides / 2, centres + sides / 2], dim=-1)
    matched = assign(scores, predicted, points(), pad(images, "cpu"), config=CONFIG, input_size=SIZE)
    for i, target in enumerate(images):
        assert matched[i].tolist() == slow_assign(scores[i], predicted[i], target, CONFIG)


@pytest.mark.parametrize(
    ("box", "other", "expected_iou", "expected_giou"),
    [
        ((0, 0, 4, 4), (0, 0, 4, 4), 1, 1),
        # 8 of 16, hull 16
        ((0, 0, 4, 4), (0, 0, 4, 2), 0.5, 0.5),
        # 2 x 4 and 4 x 2 from one corner: 4 of 12; 4 of the hull's 16 belong to neither
        ((0, 0, 2, 4), (0, 0, 4, 2), 1 / 3, 1 / 3 - 1 / 4),
        # Apart: hull 3 x 1, union 2
        ((0, 0, 1, 1), (2, 0, 3, 1), 0, -1 / 3),
        # Only corners touch: hull 4, union 2
        ((0, 0, 1, 1), (1, 1, 2, 2), 0, -1 / 2),
    ],
)
def test_generalised_overlap(box, other, expected_iou, expected_giou):
    ious, gious = paired_iou(torch.tensor([box]).float(), torch.tensor([other]).float())
    assert ious.tolist() == pytest.approx([expected_iou])
    assert gious.tolist() == pytest.approx([expected_giou])


def raw_output(boxes: Tensor, anchors: Tensor, class_logits: list[list[float]], objectness: list[float]) -> RawOutput:
    """Output whose decoded boxes (A, 4) are these, for one image."""
    centres, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    middles, strides = (anchors[:, :2] + anchors[:, 2:]) / 2, anchors[:, 2:] - anchors[:, :2]
    deltas = torch.cat([(centres - middles) / strides, (sides / strides).log()], dim=1)
    return RawOutput(
        deltas[None], torch.tensor([[[*row, o] for row, o in zip(class_logits, objectness, strict=True)]]).float()
    )


def test_losses_by_hand():
    # Two places, (4, 4) and (12, 4); the object (0, 0, 8, 8) of class 1 holds the first only, at 8 px at least. There
    # the box is (0, 0, 8, 4): IoU and GIoU are 1/2. All logits are 0: every probability is 1/2.
    anchors = torch.tensor([[0.0, 0, 8, 8], [8, 0, 16, 8]]) / SIZE
    boxes = torch.tensor([[0.0, 0, 8, 4], [8, 0, 16, 8]]) / SIZE
    raw = raw_output(boxes, anchors, [[0, 0], [0, 0]], [0, 0])
    losses = task_aligned_loss(
        raw,
        targets([(1, (0, 0, 8, 8))]),
        anchors,
        torch.tensor([[4.0, 4], [12, 4]]) / SIZE,
        config=replace(CONFIG, min_object_px=8),
        variances=(1, 1),
        input_size=SIZE,
    )
    # One positive place. Cross-entropy with probability 1/2 is log 2 whatever the target: twice, for two classes at the
    # positive place; twice, for objectness at both places.
    assert losses.classes.item() == pytest.approx(2 * math.log(2))
    assert losses.objectness.item() == pytest.approx(2 * math.log(2))
    assert losses.boxes.item() == pytest.approx(5 * (1 - 1 / 2), rel=1e-5)
    assert losses.total.item() == pytest.approx(4 * math.log(2) + 2.5, rel=1e-5)


def test_objectness_is_to_be_the_overlap():
    # As above. The gradient of a cross-entropy is probability - target: for the classes 1/2 - 0 and 1/2 - 1, for
    # objectness 1/2 - 1/2, where the box overlaps by a half, and 1/2 - 0.
    anchors = torch.tensor([[0.0, 0, 8, 8], [8, 0, 16, 8]]) / SIZE
    boxes = torch.tensor([[0.0, 0, 8, 4], [8, 0, 16, 8]]) / SIZE
    raw = raw_output(boxes, anchors, [[0, 0], [0, 0]], [0, 0])
    raw.logits.requires_grad_()
    task_aligned_loss(
        raw,
        targets([(1, (0, 0, 8, 8))]),
        anchors,
        torch.tensor([[4.0, 4], [12, 4]]) / SIZE,
        config=replace(CONFIG, min_object_px=8),
        variances=(1, 1),
        input_size=SIZE,
    ).total.backward()
    assert raw.logits.grad is not None
    torch.testing.assert_close(raw.logits.grad, torch.tensor([[[0.5, -0.5, 0], [0, 0, 0.5]]]), atol=1e-5, rtol=0)


def loss_of(raw: RawOutput, target: PaddedTargets):
    return task_aligned_loss(raw, target, places(0), points(), config=CONFIG, variances=(1, 1), input_size=SIZE)


def random_output(count: int) -> RawOutput:
    return RawOutput(0.3 * torch.randn(count, 84, 4), torch.randn(count, 84, 4))


def test_a_batch_without_objects_gives_finite_losses_and_gradients():
    raw = random_output(2)
    raw.deltas.requires_grad_()
    raw.logits.requires_grad_()
    losses = loss_of(raw, targets([], []))
    losses.total.backward()
    assert (losses.classes.item(), losses.boxes.item()) == (0, 0)
    assert losses.objectness.isfinite()
    assert raw.logits.grad.isfinite().all()


def test_the_order_of_images_and_objects_is_nothing_to_the_losses():
    objects = [(0, (0, 0, 30, 30)), (2, (20, 20, 60, 50)), (1, (40, 4, 52, 16))]
    raw = random_output(2)
    in_order = loss_of(raw, targets(objects, objects[:1]))
    turned_round = loss_of(RawOutput(raw.deltas.flip(0), raw.logits.flip(0)), targets(objects[:1], objects[::-1]))
    for given, expected in zip(turned_round, in_order, strict=True):
        torch.testing.assert_close(given, expected)


def test_processes_share_the_divisor():
    raw, target = random_output(1), targets([(0, (0, 0, 30, 30))])
    alone = loss_of(raw, target)
    halved = task_aligned_loss(
        raw,
        target,
        places(0),
        points(),
        config=CONFIG,
        variances=(1, 1),
        input_size=SIZE,
        average_over_processes=lambda count: 2 * count,
    )
    torch.testing.assert_close(2 * halved.total, alone.total)


def test_descending_fits_one_object():
    """A few hundred steps on free deltas and logits find the object, once for each place that learns it."""
    raw = RawOutput(torch.zeros(1, 84, 4, requires_grad=True), torch.full((1, 84, 3), -2.0, requires_grad=True))
    target = targets([(1, (10, 12, 40, 50))])
    optimizer = torch.optim.Adam(raw, lr=0.05)
    for _step in range(300):
        optimizer.zero_grad()
        task_aligned_loss(
            raw, target, places(0), points(), config=CONFIG, variances=(1, 1), input_size=SIZE
        ).total.backward()
        optimizer.step()
    losses = task_aligned_loss(raw, target, places(0), points(), config=CONFIG, variances=(1, 1), input_size=SIZE)
    assert losses.boxes.item() < 0.1
    assert int((raw.logits[0, :, -1] > 0).sum()) == CONFIG.num_places
