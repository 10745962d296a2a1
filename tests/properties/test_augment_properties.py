"""What holds for every image, every set of boxes and every draw."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from multibox.config import AugmentConfig, CropConfig, PhotometricConfig
from multibox.data.augment import augment, flip
from multibox.structures import Targets

CONFIG = AugmentConfig(
    photometric=PhotometricConfig(
        brightness=32, contrast=(0.5, 1.5), saturation=(0.5, 1.5), hue_degrees=18, permute_channels=0.5
    ),
    crop=CropConfig(min_ious=(1.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.0), min_side=0.1),
    flip=0.5,
)


@st.composite
def boxes_inside(draw: st.DrawFn) -> np.ndarray:
    """Up to eight boxes in the image, down to the smallest that the reader of annotations lets through."""
    rows = []
    for _ in range(draw(st.integers(0, 8))):
        width, height = draw(st.floats(1.1e-5, 1)), draw(st.floats(1.1e-5, 1))
        x, y = draw(st.floats(0, 1)) * (1 - width), draw(st.floats(0, 1)) * (1 - height)
        rows.append((x, y, x + width, y + height))
    return np.array(rows, dtype=np.float32).reshape(-1, 4)


@settings(max_examples=150, deadline=None)
@given(
    boxes=boxes_inside(),
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    size=st.sampled_from([32, 64]),
    seed=st.integers(0, 2**32),
)
def test_boxes_stay_inside_have_a_size_and_never_all_go(
    boxes: np.ndarray, width: int, height: int, size: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    labels = np.arange(len(boxes), dtype=np.int64)

    square, targets = augment(image, Targets(boxes, labels), CONFIG, size, rng)

    assert square.shape == (size, size, 3) and square.dtype == np.uint8
    assert targets.boxes.dtype == np.float32 and targets.labels.dtype == np.int64
    assert (targets.boxes >= 0).all() and (targets.boxes <= 1).all()
    assert (targets.boxes[:, 2:] > targets.boxes[:, :2]).all()
    assert set(targets.labels.tolist()) <= set(labels.tolist())
    assert (len(targets) > 0) == (len(boxes) > 0)


@settings(max_examples=50, deadline=None)
@given(boxes=boxes_inside())
def test_two_mirrors_show_the_original(boxes: np.ndarray) -> None:
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)

    twice, twice_boxes = flip(*flip(image, boxes))

    assert np.array_equal(twice, image)
    assert np.allclose(twice_boxes, boxes, atol=1e-6)
