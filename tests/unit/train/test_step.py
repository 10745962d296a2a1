"""One step, and the check that stops a run whose numbers are not finite."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from multibox.data.dataset import Batch
from multibox.errors import TrainingError
from multibox.model.loss import Losses
from multibox.structures import Targets
from multibox.train.batches import DeviceBatch, to_tensors
from multibox.train.progress import Counters
from multibox.train.step import FiniteCheck, Learner, step
from tests.unit.train.conftest import fresh_learner

NAN, INF = math.nan, math.inf


def losses(total: float) -> Losses:
    return Losses(*(torch.tensor(value) for value in (total, 3.2, total)))


def check(*, is_delayed: bool) -> FiniteCheck:
    return FiniteCheck(is_delayed=is_delayed, remedy="Lower --base-learning-rate, now 0.1.")


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_a_loss_that_is_not_finite_is_told_with_its_place_and_the_remedy(value):
    with pytest.raises(TrainingError) as caught:
        check(is_delayed=False).add_losses(losses(value), Counters(epoch=1, step_in_epoch=4))
    text = str(caught.value)
    assert text.startswith("Loss is not finite at epoch 2, step 5 (boxes ")
    assert text.endswith("Lower --base-learning-rate, now 0.1.")


@pytest.mark.parametrize("norm", [NAN, INF])
def test_gradients_that_are_not_finite_stop_the_run_too(norm):
    with pytest.raises(TrainingError, match=r"Gradients are not finite at epoch 1, step 1 \(their norm is (nan|inf)\)"):
        check(is_delayed=False).add_gradient_norm(torch.tensor(norm), Counters())


def test_finite_numbers_pass():
    each = check(is_delayed=True)
    for number in range(3):
        each.add_losses(losses(1.0), Counters(step_in_epoch=number))
        each.add_gradient_norm(torch.tensor(2.0), Counters(step_in_epoch=number))
    each.settle()


@pytest.mark.parametrize("is_gradient", [False, True])
def test_a_delayed_check_waits_for_the_next_step_and_names_the_step_that_failed(is_gradient):
    each = check(is_delayed=True)
    each.add_losses(losses(1.0 if is_gradient else NAN), Counters(step_in_epoch=6))
    each.add_gradient_norm(torch.tensor(INF if is_gradient else 1.0), Counters(step_in_epoch=6))
    with pytest.raises(TrainingError, match="at epoch 1, step 7 "):
        each.add_losses(losses(1.0), Counters(step_in_epoch=7))


@pytest.mark.parametrize("is_gradient", [False, True])
def test_what_waits_is_looked_at_before_anything_is_saved(is_gradient):
    each = check(is_delayed=True)
    each.add_losses(losses(1.0 if is_gradient else NAN), Counters())
    each.add_gradient_norm(torch.tensor(NAN if is_gradient else 1.0), Counters())
    with pytest.raises(TrainingError, match="not finite at epoch 1, step 1"):
        each.settle()
    each.settle()  # told once


@pytest.fixture
def batch() -> DeviceBatch:
    images = np.random.default_rng(0).integers(0, 256, (4, 96, 96, 3), dtype=np.uint8)
    box = np.array([[0.2, 0.3, 0.6, 0.7]], dtype=np.float32)
    return to_tensors(Batch(images, [Targets(box, np.array([i % 2])) for i in range(4)], list(range(4))))


def state(learner: Learner) -> list[torch.Tensor]:
    models = (learner.model, learner.average.model)
    # Parameters only: batch statistics follow the images as soon as these went through, before the loss is known.
    return [value.clone() for model in models for value in model.parameters()]


def test_a_step_learns_at_its_rate_and_moves_the_average(learner, batch):
    before = state(learner)
    result = step(learner, batch, Counters(), rate=0.01)
    assert math.isfinite(result.total.item())
    assert [group["lr"] for group in learner.optimizer.param_groups] == [0.01]
    changed = [not torch.equal(a, b) for a, b in zip(before, state(learner), strict=True)]
    assert sum(changed) > 0.8 * len(changed)


def test_a_step_at_rate_zero_changes_no_weight(learner, batch):
    before = state(learner)
    step(learner, batch, Counters(), rate=0.0)
    for a, b in zip(before, state(learner), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_a_loss_that_is_not_finite_leaves_the_weights_as_they_were(learner, batch):
    step(learner, batch, Counters(), rate=0.01)
    with torch.no_grad():
        list(learner.model.bbox_head.parameters())[-1].fill_(NAN)
    before = state(learner)
    with pytest.raises(TrainingError, match="Loss is not finite at epoch 1, step 2"):
        step(learner, batch, Counters(step_in_epoch=1, step=1), rate=0.01)
    for a, b in zip(before, state(learner), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


def test_gradients_that_are_not_finite_leave_the_weights_as_they_were(learner, batch):
    parameter = next(value for value in learner.model.parameters() if value.requires_grad)
    parameter.register_hook(lambda gradient: gradient * INF)
    before = state(learner)
    with pytest.raises(TrainingError, match="Gradients are not finite at epoch 1, step 1"):
        step(learner, batch, Counters(), rate=0.01)
    for a, b in zip(before, state(learner), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_a_processor_records_no_graph_and_computes_the_same(tiny_yolox_file, batch):
    plain, other = (fresh_learner(tiny_yolox_file, cuda_graph=has_graph) for has_graph in (False, True))
    first, second = (step(learner, batch, Counters(), rate=0.01) for learner in (plain, other))
    assert first.total.item() == second.total.item()
    for a, b in zip(state(plain), state(other), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
