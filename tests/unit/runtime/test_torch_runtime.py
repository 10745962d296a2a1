"""The runtime of a network in PyTorch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from multibox import config
from multibox.errors import OptionError
from multibox.model import detector
from multibox.runtime.torch_runtime import TorchRuntime, pick_device
from multibox.structures import Detections, Image


@pytest.fixture(scope="module", params=["SSD", "YOLOX-Nano"])
def runtime(request: pytest.FixtureRequest, tiny_template_file: Path, tiny_yolox_file: Path) -> TorchRuntime:
    """A network of random weights, whose scores are near enough to chance for it to find something everywhere."""
    torch.manual_seed(0)
    template = config.load_template(tiny_template_file if request.param == "SSD" else tiny_yolox_file)
    network = detector.build(template, num_classes=2).eval()
    for name, module in network.named_modules():
        if name.endswith((".classes", ".objectness")):
            torch.nn.init.normal_(module.weight)
            torch.nn.init.zeros_(module.bias)
    return TorchRuntime(network, template, ["a", "b"])


@pytest.fixture(scope="module")
def images() -> list[Image]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (int(rng.integers(40, 200)), 120, 3), dtype=np.uint8) for _ in range(19)]


def assert_equal(found: list[Detections], expected: list[Detections]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert len(other) > 0
        np.testing.assert_array_equal(one.boxes, other.boxes)
        np.testing.assert_array_equal(one.scores, other.scores)
        np.testing.assert_array_equal(one.labels, other.labels)


@pytest.mark.parametrize("count", [0, 1, 8, 9, 19])
def test_a_stream_is_calls_with_eight_images(runtime: TorchRuntime, images: list[Image], count: int) -> None:
    calls = [runtime(images[start : min(start + 8, count)]) for start in range(0, count, 8)]
    assert_equal(list(runtime.stream(iter(images[:count]))), list(itertools.chain(*calls)))


def test_a_stream_takes_images_as_it_needs_them(runtime: TorchRuntime, images: list[Image]) -> None:
    def endless() -> Iterator[Image]:
        yield from itertools.cycle(images[:8])

    results = runtime.stream(endless())
    assert_equal([next(results) for _ in range(16)], 2 * runtime(images[:8]))


def test_compiled_it_finds_the_same_with_the_weights_of_that_moment(runtime: TorchRuntime, images: list[Image]) -> None:
    before = runtime(images)
    compiled = runtime.compiled()
    found = compiled(images)
    for one, other in zip(found, before, strict=True):
        assert len(one) == len(other) > 0
        # Detections with almost the same score may change places: the best is compared, and all scores.
        np.testing.assert_allclose(one.scores, other.scores, rtol=1e-4)
        np.testing.assert_allclose(one.boxes[0], other.boxes[0], atol=1e-4)
    assert_equal(compiled(images), found)


def test_a_network_in_training_stays_in_training(runtime: TorchRuntime, images: list[Image]) -> None:
    expected = runtime(images[:2])
    network = runtime._model.train()
    assert_equal(list(runtime.stream(images[:2])), expected)
    assert network.training
    network.eval()


@pytest.mark.parametrize("is_training", [False, True])
def test_threads_share_a_runtime(runtime: TorchRuntime, images: list[Image], is_training: bool) -> None:
    alone = [runtime(image) for image in images[:6]]
    runtime._model.train(is_training)

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda image: [runtime(image) for _ in range(5)], images[:6]))

    assert runtime._model.training == is_training
    for one, expected in zip(found, alone, strict=True):
        assert_equal(one, [expected] * 5)
    runtime._model.eval()


def test_a_device_that_is_not_there_is_one_line() -> None:
    with pytest.raises(OptionError, match=r"^--device nonsense: this machine has no such device\. Try"):
        pick_device("nonsense")
