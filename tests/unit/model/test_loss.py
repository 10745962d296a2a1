from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch

from multibox.config import LossConfig, replace
from multibox.model.loss import Losses, hard_negatives, multibox_loss
from multibox.model.matching import match, pad
from multibox.structures import RawOutput, Targets

CONFIG = LossConfig(match_iou_threshold=0.4, negatives_per_positive=3)
VARIANCES = (0.1, 0.2)
NUM_CLASSES = 3
NOTHING = Targets(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))


def grid_of_anchors() -> torch.Tensor:
    """36 anchors: squares of 0.2 and of 0.35 on 4 x 4 centres, and 4 of 0.6."""
    rows = []
    for step, side in ((4, 0.2), (4, 0.35), (2, 0.6)):
        centres = [(i + 0.5) / step for i in range(step)]
        rows += [(x - side / 2, y - side / 2, x + side / 2, y + side / 2) for y in centres for x in centres]
    return torch.tensor(rows, dtype=torch.float32)


ANCHORS = grid_of_anchors()


def batch(num_objects: list[int], *, seed: int = 0) -> tuple[RawOutput, list[Targets]]:
    """Random output, that asks for its gradient, and random objects."""
    rng = np.random.default_rng(seed)
    images = []
    for count in num_objects:
        corner = rng.uniform(0, 0.6, (count, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(0.1, 0.4, (count, 2))], axis=1).astype(np.float32)
        images.append(Targets(boxes, rng.integers(0, NUM_CLASSES, count)))
    shape = (len(num_objects), len(ANCHORS))
    deltas = torch.from_numpy(rng.normal(0, 2, (*shape, 4)).astype(np.float32)).requires_grad_()
    logits = torch.from_numpy(rng.normal(0, 2, (*shape, NUM_CLASSES + 1)).astype(np.float32)).requires_grad_()
    return RawOutput(deltas, logits), images


def losses_of(
    raw: RawOutput,
    images: list[Targets],
    *,
    weights: tuple[float, float] = (0, 0),
    config: LossConfig = CONFIG,
    **options,
) -> Losses:
    balance = torch.tensor(weights)
    return multibox_loss(raw, pad(images, "cpu"), ANCHORS, balance, config=config, variances=VARIANCES, **options)


def slow_iou(a: list[float], b: list[float]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def slow_match(boxes: list[list[float]], anchors: list[list[float]]) -> dict[int, int]:
    """Object of each positive anchor."""
    table = [[slow_iou(box, anchor) for anchor in anchors] for box in boxes]
    result = {}
    for a in range(len(anchors)):
        column = [row[a] for row in table]
        if column and max(column) >= 0.4:
            result[a] = column.index(max(column))
    return result | {row.index(max(row)): n for n, row in enumerate(table)}


def slow_deltas(box: list[float], anchor: list[float]) -> list[float]:
    width, height = anchor[2] - anchor[0], anchor[3] - anchor[1]
    return [
        (box[0] + box[2] - anchor[0] - anchor[2]) / 2 / width / 0.1,
        (box[1] + box[3] - anchor[1] - anchor[3]) / 2 / height / 0.1,
        math.log((box[2] - box[0]) / width) / 0.2,
        math.log((box[3] - box[1]) / height) / 0.2,
    ]


def smooth_l1(difference: float) -> float:
    return 0.5 * difference**2 if abs(difference) < 1 else abs(difference) - 0.5


def cross_entropy(logits: list[float], label: int) -> float:
    return math.log(sum(math.exp(logit - logits[label]) for logit in logits))


def slow_losses(raw: RawOutput, images: list[Targets], *, exponent: float) -> tuple[float, float]:
    """Class and box loss before balancing: image by image, anchor by anchor."""
    anchors = ANCHORS.tolist()
    positive_sum = negative_sum = box_sum = normaliser = sum_of_weights = 0.0
    for deltas, logits, image in zip(raw.deltas.tolist(), raw.logits.tolist(), images, strict=True):
        boxes, labels = image.boxes.tolist(), image.labels.tolist()
        positives = slow_match(boxes, anchors)
        counts = Counter(positives.values())
        normaliser += max(1, len(positives))
        sum_of_weights += max(1, sum(count**exponent for count in counts.values()))
        for a, n in positives.items():
            share = counts[n] ** exponent / counts[n]
            positive_sum += share * cross_entropy(logits[a], labels[n])
            wanted = slow_deltas(boxes[n], anchors[a])
            box_sum += share * sum(smooth_l1(d - t) for d, t in zip(deltas[a], wanted, strict=True))
        negatives = [cross_entropy(logits[a], NUM_CLASSES) for a in range(len(anchors)) if a not in positives]
        negative_sum += sum(sorted(negatives, reverse=True)[: 3 * len(positives)])
    return negative_sum / normaliser + positive_sum / sum_of_weights, box_sum / sum_of_weights


@pytest.mark.parametrize("exponent", [1, 0.5, 0])
@pytest.mark.parametrize("num_objects", [[1], [3, 1, 2], [2, 0, 30, 5, 0], [100]])
def test_losses_are_those_of_a_loop_over_images_and_anchors(num_objects, exponent):
    raw, images = batch(num_objects)
    class_loss, box_loss = slow_losses(raw, images, exponent=exponent)
    losses = losses_of(raw, images, config=replace(CONFIG, object_exponent=exponent))
    assert losses.raw_classes.item() == pytest.approx(class_loss, rel=1e-4)
    assert losses.boxes.item() == pytest.approx(box_loss, rel=1e-4)


@pytest.mark.parametrize("exponent", [1, 0.5, 0])
def test_an_object_counts_as_the_number_of_its_anchors_to_the_power_of_the_exponent(exponent):
    boxes = (ANCHORS[[0]].numpy(), np.array([[0.125, 0.125, 0.575, 0.575]], np.float32))
    small, large = (Targets(each, np.array([0])) for each in boxes)
    num_anchors = [int((match(pad([image], "cpu"), ANCHORS, iou_threshold=0.4) >= 0).sum()) for image in (small, large)]
    assert num_anchors[0] == 1 < num_anchors[1]
    raw = RawOutput(torch.zeros(2, len(ANCHORS), 4), torch.zeros(2, len(ANCHORS), 4).requires_grad_())
    losses_of(raw, [small, large], config=replace(CONFIG, object_exponent=exponent)).raw_classes.backward()
    pulls = [-float(raw.logits.grad[row, :, 0].clamp(max=0).sum()) for row in range(2)]
    assert pulls[1] / pulls[0] == pytest.approx(num_anchors[1] ** exponent, rel=1e-5)


def test_every_object_of_a_perfect_output_costs_nothing():
    _, images = batch([0])
    boxes = ANCHORS[[5, 20]].numpy()
    images = [Targets(boxes, np.array([2, 0]))]
    logits = torch.zeros(1, len(ANCHORS), NUM_CLASSES + 1)
    # Both objects are anchors; the others that reach the threshold for one have a distance that is not 0.
    positives = slow_match(boxes.tolist(), ANCHORS.tolist())
    deltas = torch.zeros(1, len(ANCHORS), 4)
    logits[..., NUM_CLASSES] = 50
    for a, n in positives.items():
        logits[0, a] = 0
        logits[0, a, images[0].labels[n]] = 50
        deltas[0, a] = torch.tensor(slow_deltas(boxes[n].tolist(), ANCHORS[a].tolist()))
    losses = losses_of(RawOutput(deltas, logits), images)
    assert losses.raw_classes.item() == pytest.approx(0, abs=1e-6)
    assert losses.boxes.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("num_images", [1, 3])
def test_a_batch_without_objects_is_finite_and_teaches_nothing(num_images):
    raw, images = batch([0] * num_images)
    losses = losses_of(raw, images)
    losses.total.backward()
    assert losses.total.item() == 0
    assert raw.deltas.grad.count_nonzero() == 0
    assert raw.logits.grad.count_nonzero() == 0


def test_only_positives_and_three_negatives_each_have_a_gradient():
    raw, images = batch([1, 0])
    losses_of(raw, images).total.backward()
    num_positive = len(slow_match(images[0].boxes.tolist(), ANCHORS.tolist()))
    assert raw.deltas.grad.abs().sum(2).count_nonzero(dim=1).tolist() == [num_positive, 0]
    assert raw.logits.grad.abs().sum(2).count_nonzero(dim=1).tolist() == [4 * num_positive, 0]


def test_an_image_without_objects_counts_one_in_the_normaliser():
    raw, images = batch([2, 0])
    num_positive = len(slow_match(images[0].boxes.tolist(), ANCHORS.tolist()))
    alone = losses_of(RawOutput(raw.deltas[:1], raw.logits[:1]), images[:1])
    both = losses_of(raw, images)
    share = num_positive / (num_positive + 1)
    assert both.raw_classes.item() == pytest.approx(alone.raw_classes.item() * share, rel=1e-5)
    assert both.boxes.item() == pytest.approx(alone.boxes.item() * share, rel=1e-5)


def test_images_twice_have_the_losses_of_once():
    raw, images = batch([2, 5, 1])
    once = losses_of(raw, images)
    twice = losses_of(RawOutput(raw.deltas.repeat(2, 1, 1), raw.logits.repeat(2, 1, 1)), images * 2)
    assert twice.raw_classes.item() == pytest.approx(once.raw_classes.item(), rel=1e-5)
    assert twice.boxes.item() == pytest.approx(once.boxes.item(), rel=1e-5)


@pytest.mark.parametrize("config", [CONFIG, replace(CONFIG, object_exponent=0.5)])
def test_two_processes_with_half_the_images_are_one_with_all(config):
    raw, images = batch([4, 1, 0, 2])
    whole = losses_of(raw, images, config=config)
    expected = torch.autograd.grad(whole.total, raw)

    counts: list[torch.Tensor] = []
    halves = [(RawOutput(raw.deltas[part], raw.logits[part]), images[part]) for part in (slice(2), slice(2, 4))]
    for half in halves:
        losses_of(*half, config=config, average_over_processes=lambda count: counts.append(count) or count)
    mean = sum(counts) / 2
    losses = [losses_of(*half, config=config, average_over_processes=lambda _: mean) for half in halves]
    gradients = torch.autograd.grad((losses[0].total + losses[1].total) / 2, raw)

    assert (losses[0].total + losses[1].total).item() / 2 == pytest.approx(whole.total.item(), rel=1e-5)
    for gradient, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, other)


def test_the_class_loss_is_balanced_and_the_box_loss_is_not():
    raw, images = batch([3])
    plain, balanced = losses_of(raw, images), losses_of(raw, images, weights=(0.7, 5.0))
    assert plain.classes.item() == plain.raw_classes.item()
    assert balanced.raw_classes.item() == plain.raw_classes.item()
    # exp(-0.7) = 0.4965853, 0.7 / 2 = 0.35
    assert balanced.classes.item() == pytest.approx(0.4965853 * plain.raw_classes.item() + 0.35, rel=1e-5)
    assert balanced.boxes.item() == plain.boxes.item()
    assert balanced.total.item() == pytest.approx(balanced.classes.item() + balanced.boxes.item(), rel=1e-6)


def test_the_balance_learns_its_first_weight_only():
    raw, images = batch([3])
    weights = torch.zeros(2, requires_grad=True)
    losses = multibox_loss(raw, pad(images, "cpu"), ANCHORS, weights, config=CONFIG, variances=VARIANCES)
    losses.total.backward()
    # d/dw of exp(-w) L + w / 2 at w = 0
    assert weights.grad[0].item() == pytest.approx(0.5 - losses.raw_classes.item(), rel=1e-5)
    assert weights.grad[1].item() == 0


def test_losses_of_a_bfloat16_output_are_computed_in_float32():
    raw, images = batch([3, 1])
    short = RawOutput(raw.deltas.bfloat16(), raw.logits.bfloat16())
    losses = losses_of(short, images)
    rounded = losses_of(RawOutput(short.deltas.float(), short.logits.float()), images)
    assert losses.total.dtype == torch.float32
    assert losses.total.item() == rounded.total.item()


def test_hard_negatives_are_three_per_positive_in_each_image():
    errors = torch.tensor(
        [
            [9.0, 1.0, 5.0, 3.0, 4.0, 2.0],  # one positive, the largest of all: the three largest others
            [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],  # two positives want six, and there are four
            [7.0, 7.0, 7.0, 7.0, 7.0, 7.0],  # no positive, no negative
        ]
    )
    is_positive = torch.tensor(
        [
            [True, False, False, False, False, False],
            [False, True, False, False, True, False],
            [False, False, False, False, False, False],
        ]
    )
    assert hard_negatives(errors, is_positive, ratio=3).tolist() == [
        [False, False, True, True, True, False],
        [True, False, True, True, False, True],
        [False, False, False, False, False, False],
    ]


def test_of_equally_hard_negatives_the_first_are_taken():
    is_positive = torch.zeros(1, 200, dtype=torch.bool)
    is_positive[0, 1] = True
    taken = hard_negatives(torch.zeros(1, 200), is_positive, ratio=3)
    assert taken.nonzero()[:, 1].tolist() == [0, 2, 3]


def test_no_negatives_are_taken_when_none_are_asked_for():
    assert not hard_negatives(torch.ones(1, 4), torch.tensor([[True, False, False, False]]), ratio=0).any()


def test_without_a_learnt_balance_the_class_loss_counts_as_it_is():
    raw, images = batch([3, 1])
    config = LossConfig(match_iou_threshold=0.4, negatives_per_positive=3, learn_balance=False)
    losses = losses_of(raw, images, weights=(1.5, 0), config=config)
    assert losses.classes == losses.raw_classes
    assert losses.total == losses.raw_classes + losses.boxes
    assert losses.raw_classes == losses_of(raw, images, weights=(1.5, 0)).raw_classes
