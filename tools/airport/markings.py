"""What is painted and laid on the concrete: lines, roads, traces of tyres, grass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from airport.arrays import Array
from airport.colours import DARK, Colour, paint

YELLOW, WHITE, RED, ASPHALT = paint("#e3b52a"), paint("#e9e8e2"), paint("#b23a2e"), paint("#5c5d5e")
GRASS = paint("#6d8050")


@dataclass(frozen=True)
class Mark:
    """Paint, asphalt or grass on the ground: corner points and how much of it covers the concrete."""

    points: Array
    colour: Colour
    cover: float = 0.9


def road(start: tuple[float, float], end: tuple[float, float], width: float) -> list[Mark]:
    """A service road with white edges and a broken middle line."""
    along = np.array(end) - np.array(start)
    aside = np.array([-along[1], along[0]]) / np.linalg.norm(along) * width / 2
    marks = ribbon([start, end], width, ASPHALT, 0.55)
    for sign in (-1, 1):
        edge = [tuple(np.array(point) + aside * sign) for point in (start, end)]
        marks += ribbon(edge, 0.18, WHITE)
    return marks + dashes(start, end, 0.14, WHITE)


def dashes(start: tuple[float, float], end: tuple[float, float], width: float, colour: Colour) -> list[Mark]:
    """A broken line."""
    first, last = np.array(start), np.array(end)
    count = int(np.linalg.norm(last - first) / 4)
    marks = []
    for i in range(count):
        marks += ribbon([tuple(first + (last - first) * (i + part) / count) for part in (0.0, 0.5)], width, colour)
    return marks


def tyre_marks(path: Array) -> list[Mark]:
    """The dark traces of many tyres beside a line."""
    sides = [path + np.array([offset, 0.2]) for offset in (-1.5, -1.1, 1.2, 1.6)]
    return [mark for side in sides for mark in ribbon(side, 0.35, DARK, 0.16)]


def ribbon(
    points: Sequence[tuple[float, float]] | Array, width: float, colour: Colour, cover: float = 0.85
) -> list[Mark]:
    """A painted line along points."""
    path = np.asarray(points, float)
    step = np.gradient(path, axis=0)
    aside = np.stack([-step[:, 1], step[:, 0]], axis=1) / np.linalg.norm(step, axis=1)[:, None] * width / 2
    left, right = path + aside, path - aside
    return [Mark(np.array([left[i], left[i + 1], right[i + 1], right[i]]), colour, cover) for i in range(len(path) - 1)]


def curve(start: tuple[float, float], bend: tuple[float, float], end: tuple[float, float]) -> Array:
    """Points of a smooth curve that bends towards a point."""
    share = np.linspace(0, 1, 15)[:, None]
    path = (1 - share) ** 2 * np.array(start) + 2 * share * (1 - share) * np.array(bend) + share**2 * np.array(end)
    return np.asarray(path, float)
