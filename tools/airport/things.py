"""Things that stand in a scene, built of groups of shapes, and the categories of those that get a label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from airport.shapes import Shape, moved, rotation

CATEGORIES = ("vehicle", "person", "non-vehicle")
VEHICLE, PERSON, NON_VEHICLE = 1, 2, 3


@dataclass(frozen=True)
class Group:
    """Shapes that are drawn together; level orders the groups of one thing before distance does."""

    shapes: tuple[Shape, ...]
    level: int = 0
    in_order: bool = True


@dataclass(frozen=True)
class Thing:
    """Something that stands in a scene: category 0 is scenery, which gets no label.

    Its parts are drawn from far to near, the groups of a part by level and then from far to near.
    """

    category: int
    parts: tuple[tuple[Group, ...], ...]
    length: float
    width: float
    x: float = 0.0
    y: float = 0.0
    heading: float = 0.0
    casts_shadow: bool = True


def placed(thing: Thing, x: float, y: float, heading: float) -> Thing:
    """The thing put at a spot of the ground, facing along heading."""
    parts = tuple(shifted(part, (x, y, 0.0), heading) for part in thing.parts)
    return replace(thing, parts=parts, x=x, y=y, heading=heading)


def shifted(groups: Iterable[Group], offset: Sequence[float], angle: float = 0.0) -> tuple[Group, ...]:
    """The groups turned about the z axis, then shifted."""
    turn, shift = rotation(angle), np.asarray(offset, float)
    return tuple(replace(g, shapes=tuple(moved(s, turn, shift) for s in g.shapes)) for g in groups)
