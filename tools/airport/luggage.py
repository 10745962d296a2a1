"""Piles of cases as carts and trolleys carry them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from airport.chance import Random, choice
from airport.colours import paint
from airport.shapes import Shape, box


def luggage(random: Random, length: float, width: float, floor: float, rows: int) -> list[Shape]:
    """Cases piled up on a platform."""
    shades = ["#7a2f3a", "#2c3e57", "#3a5a4a", "#8a6a45", "#444a52", "#b0762c", "#5b3f6e", "#a8b0b5", "#b8473a"]
    cases: list[Shape] = []
    for row in range(rows):
        count = max(2, round(length / float(random.uniform(0.38, 0.5))))
        cuts = np.linspace(-length / 2, length / 2, count + 1)
        cuts[1:-1] += random.uniform(-0.06, 0.06, count - 1)
        low, depth = floor + row * 0.36, width / 2 * (1 - 0.08 * row)
        for start, end in pairwise(cuts.tolist()):
            height = 0.35 if row + 1 < rows else float(random.uniform(0.24, 0.42))
            half = depth * float(random.uniform(0.9, 1.0))
            colour = paint(choice(random, shades))
            cases.extend(box((start + 0.01, end - 0.01), (-half, half), (low, low + height), colour))
    return cases
