"""Some classes only, or one box for each object."""

from __future__ import annotations

import numpy as np
import pytest

from multibox.errors import OptionError
from multibox.runtime.choosing_runtime import ChoosingRuntime, chosen_only
from multibox.structures import Detections


class FindsThree:
    """Finds a dog, the same as a cat, and a bird elsewhere, in any image."""

    classes = ("cat", "dog", "bird")
    input_size = 32
    threshold = 0.4

    def __call__(self, images):
        return list(self.stream(images))

    def stream(self, images):
        boxes = np.array([[0.1, 0.1, 0.5, 0.5], [0.1, 0.1, 0.5, 0.52], [0.6, 0.6, 0.9, 0.9]], np.float32)
        for _ in images:
            yield Detections(boxes, np.array([0.9, 0.8, 0.7], np.float32), np.array([1, 0, 2]))


IMAGE = np.zeros((32, 32, 3), np.uint8)


@pytest.mark.parametrize(
    ("classes", "is_agnostic", "labels"),
    [
        (["cat"], False, [0]),
        (["bird", "dog"], False, [1, 2]),
        ([], True, [1, 2]),  # the object is a dog, with the better score
        (["cat"], True, []),  # and so no cat
    ],
)
def test_what_is_left(classes, is_agnostic, labels):
    runtime = chosen_only(FindsThree(), classes, is_agnostic=is_agnostic)
    assert isinstance(runtime, ChoosingRuntime)
    assert runtime(IMAGE).labels.tolist() == labels
    assert [found.labels.tolist() for found in runtime.stream([IMAGE, IMAGE])] == [labels] * 2
    assert (runtime.classes, runtime.threshold) == (FindsThree.classes, 0.4)


def test_who_chooses_all_classes_chooses_nothing():
    runtime = FindsThree()
    assert chosen_only(runtime, ["dog", "cat", "bird"], is_agnostic=False) is runtime
    assert chosen_only(runtime, [], is_agnostic=False) is runtime


def test_a_class_that_the_model_lacks_is_told_what_is_near():
    with pytest.raises(OptionError, match=r"--classes cats: the model has no such class\. Is cat meant\?"):
        chosen_only(FindsThree(), ["cats"], is_agnostic=False)
    with pytest.raises(OptionError, match="It has cat, dog and bird"):
        chosen_only(FindsThree(), ["zebra"], is_agnostic=False)
