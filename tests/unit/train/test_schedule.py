from __future__ import annotations

from itertools import pairwise

import pytest

from multibox.config import ScheduleConfig, replace
from multibox.train.schedule import passes_per_epoch, rate_factor

CONFIG = ScheduleConfig(
    min_steps_per_epoch=50, warmup_fraction=0.1, max_warmup_steps=100, warmup_start=0.2, final_factor=0.01
)


@pytest.mark.parametrize(
    ("progress", "factor"),
    [
        # Warm-up: cosine * (0.2 + 0.8 * progress / 0.1)
        (0, 0.2),  # 1 * 0.2
        (0.05, 0.5963434),  # (0.01 + 0.495 * (1 + cos 9 deg)) * 0.6 = (0.01 + 0.495 * 1.9876883) * 0.6
        # From here on 0.01 + 0.99 / 2 * (1 + cos(180 deg * progress))
        (0.1, 0.9757730),  # 0.01 + 0.495 * 1.9510565
        (0.25, 0.8550179),  # 0.01 + 0.495 * 1.7071068
        (0.5, 0.505),
        (0.75, 0.1549821),  # 0.01 + 0.495 * 0.2928932
        (1, 0.01),
        (1.5, 0.01),  # a run that goes on after its planned end
    ],
)
def test_rate_factor(progress, factor):
    assert rate_factor(progress, num_steps=1000, config=CONFIG) == pytest.approx(factor, rel=1e-6)


def test_warmup_of_a_long_run_is_limited_in_steps():
    # 100 of 10000 steps are a hundredth of the run; half of that is done: 0.2 + 0.8 / 2, the cosine still near 1.
    assert rate_factor(0.005, num_steps=10000, config=CONFIG) == pytest.approx(0.6, rel=1e-3)
    assert rate_factor(0.01, num_steps=10000, config=CONFIG) == pytest.approx(1, rel=1e-3)


def test_warmup_of_a_short_run_is_its_share():
    # A tenth of 20 steps are 2: after 1 of them, 0.6.
    assert rate_factor(0.05, num_steps=20, config=CONFIG) == pytest.approx(0.5963434, rel=1e-6)


@pytest.mark.parametrize("change", [{"warmup_fraction": 0.0}, {"max_warmup_steps": 0}])
def test_without_warmup_the_first_step_has_the_full_rate(change):
    assert rate_factor(0, num_steps=1000, config=replace(CONFIG, **change)) == 1


def test_the_rate_rises_to_the_end_of_warmup_and_then_falls():
    factors = [rate_factor(step / 1000, num_steps=1000, config=CONFIG) for step in range(1001)]
    rising = [after > before for before, after in pairwise(factors)]
    top = factors.index(max(factors))
    assert 90 <= top <= 100
    assert all(rising[:top]) and not any(rising[top:])
    assert max(abs(b - a) for a, b in pairwise(factors)) < 0.01


@pytest.mark.parametrize("num_steps", [0, 1])
def test_a_run_of_hardly_any_steps_has_a_rate(num_steps):
    assert 0 < rate_factor(0, num_steps=num_steps, config=CONFIG) <= 1


@pytest.mark.parametrize(
    ("num_images", "global_batch", "passes"),
    [
        (10, 16, 80),  # 50 * 16 / 10
        (1, 16, 800),
        (300, 16, 3),  # 800 / 300 = 2.67
        (799, 16, 2),  # 800 / 799 is more than 1
        (800, 16, 1),
        (801, 16, 1),
        (100000, 16, 1),
        (800, 32, 2),  # two processes
    ],
)
def test_passes_per_epoch(num_images, global_batch, passes):
    assert passes_per_epoch(num_images, global_batch, config=CONFIG) == passes
