from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multibox.export.timing import median_ms
from multibox.structures import Detections, Image

NOTHING = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))


class Counting:
    """A runtime that finds nothing and writes down how many images each call has, and whose turn it is."""

    classes = ("cat",)
    input_size = 8

    def __init__(self, name: str, turns: list[str]) -> None:
        self.name, self.turns = name, turns
        self.batches: list[int] = []

    def __call__(self, images: Sequence[Image]) -> list[Detections]:
        self.turns.append(self.name)
        self.batches.append(len(images))
        return [NOTHING for _ in images]


def test_every_runtime_has_a_median_after_equally_many_calls_in_changing_order():
    turns: list[str] = []
    first, second = Counting("a", turns), Counting("b", turns)
    medians = median_ms({"a": first, "b": second}, np.zeros((8, 8, 3), dtype=np.uint8), seconds=0)
    assert list(medians) == ["a", "b"]
    assert first.batches == second.batches == [1] * 6  # one to warm up, at least five that count
    assert "".join(turns) == "ababbaabbaab"
